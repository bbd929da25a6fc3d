"""Classification: the LightningModule of the classifier."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from elmo.data.batches import Batch
from elmo.data.classification_data import ClassificationData
from elmo.errors import ConfigError, check_range
from elmo.evaluation.metrics import TokenMean, classification_metrics, per_class_metrics
from elmo.evaluation.results import ClassificationResult
from elmo.models.classifier import TextClassifier
from elmo.runs.job import make
from elmo.training.distillation import Teacher
from elmo.training.label_weights import SuspectWeights
from elmo.training.language_model_loss import LanguageModelLoss
from elmo.training.schedule import Group
from elmo.training.task import MakeOptimizer, Task, count_parameters
from elmo.utils.tensor_files import state_checksum


class ClassificationTask(Task[ClassificationResult]):
    """Training of mixer and head by cross-entropy; a frozen encoder must not change.

    An encoder that is fine-tuned gets learning rates that fall from layer to layer, from the top
    down (Howard and Ruder 2018, section 3.2).

    Args:
        model: the classifier.
        finetune_lr: of the encoder's top layer, as a share of the head's.
        layer_decay: of each layer below, as a share of the one above.
        unfreeze_epochs: gradual unfreezing (section 3.3): after so many epochs the encoder's top
            layer starts to learn, after as many again the layer below, and so on; until then its
            learning rate is zero. None or 0 trains all layers from the start.
        label_smoothing: share of the target's probability that is spread over all classes (Szegedy
            et al. 2016, section 7); only in training, so that losses are comparable.
        robust_exponent: q of the generalised cross-entropy (1 - p^q) / q, which wrong labels pull
            less than the cross-entropy, its limit for q = 0 (Zhang and Sabuncu 2018, section 3.2);
            only in training. None takes the cross-entropy.
        teacher: makes the targets of training; None takes the labels.
        language_model: its loss is added to that of the classes; None adds nothing.
        label_weights: weights the loss of each train row; None lets all count the same.
        optimizer, warmup: see `Task`.

    Raises:
        ConfigError: a number that is out of range, or `unfreeze_epochs` with a frozen encoder.
    """

    VALIDATED: ClassVar[Mapping[str, str]] = {
        "val/loss": "min",
        "val/accuracy": "max",
        "val/precision": "max",
        "val/recall": "max",
        "val/f1": "max",
    }

    def __init__(
        self,
        model: TextClassifier,
        label_smoothing: float = 0.0,
        finetune_lr: float = 1.0,
        layer_decay: float = 0.4,
        unfreeze_epochs: float | None = None,
        robust_exponent: float | None = None,
        teacher: Teacher | None = None,
        language_model: LanguageModelLoss | None = None,
        label_weights: SuspectWeights | None = None,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        check_range({"finetune_lr": finetune_lr}, above=0)
        check_range({"layer_decay": layer_decay}, above=0, at_most=1)
        check_range({"unfreeze_epochs": unfreeze_epochs}, at_least=0, otherwise="null")
        if unfreeze_epochs and not model.encoder.finetune:
            raise ConfigError(
                f"unfreeze_epochs is {unfreeze_epochs}, but the encoder stays frozen; set "
                "encoder.finetune=true, or unfreeze_epochs=null"
            )
        check_range({"label_smoothing": label_smoothing}, at_least=0, below=1)
        check_range({"robust_exponent": robust_exponent}, above=0, at_most=1, otherwise="null")
        self.model = model
        self.label_smoothing = label_smoothing
        self.robust_exponent = robust_exponent
        self.teacher = teacher
        self.label_weights = label_weights
        self.finetune_lr = finetune_lr
        self.layer_decay = layer_decay
        self.unfreeze_epochs = unfreeze_epochs or 0.0
        self.language_model = language_model
        classes = len(model.class_names)
        self.train_loss, self.val_loss = TokenMean(), TokenMean()
        self.train_metrics = classification_metrics(classes).clone(prefix="train/")
        for metric in (self.train_loss, self.train_metrics):
            metric.persistent(True)  # a resumed epoch continues with the sums of its start
        self.val_metrics = classification_metrics(classes).clone(prefix="val/")
        self.final_metrics = classification_metrics(classes, calibration=True)
        self.final_loss = TokenMean()
        self.per_class = per_class_metrics(classes)
        self.outputs: list[tuple[Tensor, Tensor, Tensor]] = []

    def parts(self) -> Mapping[str, nn.Module]:
        trained = {"mixer": self.model.mixer, "head": self.model.head}
        return trained | {"encoder": self.model.encoder} if self.model.encoder.finetune else trained

    def parameter_groups(self) -> list[Group]:
        groups = [Group(_trained(self.model.mixer, self.model.head))]
        for depth, level in enumerate(self.model.encoder.layer_groups()):
            # The softmax of the language model belongs to the layer that it reads.
            beside = [self.language_model] if self.language_model and not depth else []
            share = self.finetune_lr * self.layer_decay**depth
            start = self.unfreeze_epochs * (depth + 1)
            groups.append(Group(_trained(level, *beside), share, start))
        return [group for group in groups if group.parameters]

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.encoder_checksum = state_checksum(self.model.encoder.state_dict())

    def on_fit_end(self) -> None:
        if self.model.encoder.finetune:
            return
        if state_checksum(self.model.encoder.state_dict()) != self.encoder_checksum:
            raise RuntimeError("the frozen encoder changed in training: this is a bug")

    def training_step(self, batch: Batch, index: int) -> Tensor:
        layers = self.model.layers(batch)  # (L, B, T, D)
        logits = self.model.scores(layers, batch.mask)  # (B, C)
        losses = self._losses(logits, batch)  # (B,)
        if self.label_weights is not None:
            losses = losses * self.label_weights.of(batch.row)
        loss = self.mean_over_ranks(losses, index)
        if self.language_model is not None:
            nll = self.language_model(layers, batch)  # (2 N,)
            mean = self.mean_over_ranks(nll, index, "train/batch_lm_loss")
            loss = loss + self.language_model.weight * mean
        if (penalty := self.model.mixer.penalty()) is not None:
            loss = loss + penalty
        self.train_loss.update(losses.detach())
        self.train_metrics.update(logits.detach(), batch.label)
        return loss

    def _losses(self, logits: Tensor, batch: Batch) -> Tensor:
        """Return the training loss of each document (B,), given its logits (B, C)."""
        if self.teacher is None and self.robust_exponent is None:
            return functional.cross_entropy(
                logits, batch.label, reduction="none", label_smoothing=self.label_smoothing
            )
        if self.teacher is not None:
            targets = self.teacher.targets(batch.label, batch.row)  # (B, C)
        else:
            targets = functional.one_hot(batch.label, logits.shape[1]).float()
        targets = targets.lerp(torch.full_like(targets, 1 / logits.shape[1]), self.label_smoothing)
        log_probabilities = logits.float().log_softmax(1)
        if self.robust_exponent is None:
            return -(targets * log_probabilities).sum(1)
        powers = (self.robust_exponent * log_probabilities).exp()  # p^q
        return (targets * (1 - powers)).sum(1) / self.robust_exponent

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        if self.logs_now:
            mixer = self.model.mixer
            self.log_dict({f"lambda/{i}": value for i, value in enumerate(mixer.lambdas())})
            self.log("lambda/gamma", mixer.scale.detach())

    def on_train_epoch_end(self) -> None:
        self.log("train/loss", self.train_loss.compute())
        if self.language_model is not None:
            self.log("train/lm_loss", self.language_model.mean.compute())
            self.language_model.mean.reset()
        self.log_dict(self.train_metrics.compute())
        self.train_loss.reset()
        self.train_metrics.reset()

    def validation_step(self, batch: Batch, index: int) -> None:
        logits = self.model(batch)
        self.val_loss.update(functional.cross_entropy(logits, batch.label, reduction="none"))
        self.val_metrics.update(logits, batch.label)

    def on_validation_epoch_end(self) -> None:
        self.log("val/loss", self.val_loss.compute())
        self.val_loss.reset()
        for name, value in self.val_metrics.compute().items():
            self.log(name, value, prog_bar=name == "val/accuracy")
        self.val_metrics.reset()

    def test_step(self, batch: Batch, index: int) -> None:
        logits = self.model(batch)
        self.final_loss.update(functional.cross_entropy(logits, batch.label, reduction="none"))
        probabilities = logits.float().softmax(1)
        self.final_metrics.update(probabilities, batch.label)
        self.per_class.update(probabilities, batch.label)
        self.outputs.append((batch.row, batch.label, probabilities))

    def on_test_epoch_end(self) -> None:
        figures = {"loss": self.final_loss.compute(), **self.final_metrics.compute()}
        self.figures = {name: value.item() for name, value in figures.items()}
        rows, labels, probabilities = map(torch.cat, zip(*self.outputs, strict=True))
        order = rows.argsort()
        self.results[self.split] = ClassificationResult(
            rows[order].cpu(),
            labels[order].cpu(),
            probabilities[order].cpu(),
            {name: values.cpu() for name, values in self.per_class.compute().items()},
            self.model.mixer.lambdas().tolist(),
            self.figures["ece"],
        )
        self.final_loss.reset()
        self.final_metrics.reset()
        self.per_class.reset()
        self.outputs.clear()

    def facts(self) -> dict[str, Any]:
        facts = super().facts()
        facts["parameters"] = count_parameters({"encoder": self.model.encoder, **self.parts()})
        if self.teacher is not None:
            facts["teachers"] = self.teacher.count
        if self.label_weights is not None:
            facts["suspected_labels"] = self.label_weights.count
        lambdas = self.results["validation"].lambdas
        if self.model.encoder.has_read:
            facts["bilm_has_read"] = self.model.encoder.has_read
        return {**facts, "lambdas": lambdas, "gamma": self.model.mixer.scale.item()}


def _trained(*modules: nn.Module) -> list[nn.Parameter]:
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def task_of(
    cfg: DictConfig, model: TextClassifier, data: ClassificationData, optimizer: MakeOptimizer
) -> ClassificationTask:
    """Return the training that the settings of conf/train_cls.yaml describe."""
    weight = cfg.language_model_weight
    return ClassificationTask(
        model,
        cfg.label_smoothing,
        cfg.finetune_lr,
        cfg.layer_decay,
        cfg.unfreeze_epochs,
        cfg.robust_exponent,
        make(cfg.teacher)(data=data) if cfg.get("teacher") else None,
        LanguageModelLoss(model.encoder, weight) if weight else None,
        make(cfg.label_weights)(data=data) if cfg.get("label_weights") else None,
        optimizer=optimizer,
        warmup=cfg.warmup,
    )
