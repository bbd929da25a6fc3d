"""The text classifier: encoder, mixer and head, and its training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from elmo.batches import Batch
from elmo.checkpoint import build, describe, fill, load_artifact, save_artifact, state_checksum
from elmo.encoders import TOKEN_BUDGET, Encoder, encoder_from_config, text_batches
from elmo.errors import ArtifactError, ConfigError
from elmo.heads import Head
from elmo.latest import latest_or_released
from elmo.metrics import TokenMean, classification_metrics, per_class_metrics
from elmo.mixers import Mixer
from elmo.task import Task
from elmo.text import WordTokenizer


class Prediction(NamedTuple):
    """What a classifier says of one text."""

    label: str
    probabilities: dict[str, float]  # of every class, summing to one


class TextClassifier(nn.Module):
    """Classes of documents from the layers of their tokens.

    Frozen layers above the embedding are rounded to half precision, as a store keeps them, so that
    training and predictions do not depend on whether they come from there.

    Args:
        encoder: gives the layers, untouched by training unless it is fine-tuned.
        mixer: makes one embedding of them.
        head: scores the classes.
        class_names: in the order of the labels.
    """

    def __init__(
        self, encoder: Encoder, mixer: Mixer, head: Head, class_names: Sequence[str]
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.mixer = mixer
        self.head = head
        self.class_names = list(class_names)

    def forward(self, batch: Batch) -> Tensor:
        """B documents -> logits (B, C)."""
        return self.head(self.mixer(self.layers(batch), batch.mask), batch.mask)

    def layers(self, batch: Batch) -> Tensor:
        """B documents of T tokens -> the layers (L, B, T, D) that the mixer gets."""
        layers = self.encoder(batch)
        if batch.layers is None:  # no layers, where the encoder is fine-tuned
            computed = layers[self.encoder.num_layers - self.encoder.stored_layers :]
            computed.copy_(computed.half())
        return layers

    @torch.no_grad()
    def scores(self, batch: Batch) -> Tensor:
        """B documents, on any device -> logits (B, C); leaves the model in eval mode."""
        self.eval()
        device = next(self.parameters()).device
        return self(batch.to(device))

    def predict(self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET) -> list[Prediction]:
        """The class of each text, cleaned and tokenised first; leaves the model in eval mode.

        Args:
            texts: documents; an empty one is classified too, by `<s> </s>` alone.
            token_budget: padded tokens classified at a time, at most.
        """
        rows: dict[int, Prediction] = {}
        for _, batch in text_batches(texts, self.encoder.tokenizer, token_budget):
            logits = self.scores(batch)
            for row, best, scores in zip(
                batch.row.tolist(),
                logits.argmax(1).tolist(),
                logits.softmax(1).tolist(),
                strict=True,
            ):
                probabilities = dict(zip(self.class_names, scores, strict=True))
                rows[row] = Prediction(self.class_names[best], probabilities)
        return [rows[row] for row in range(len(texts))]

    def save(self, path: Path, facts: dict[str, Any]) -> None:
        """Write `classifier.pt`: all that `load_classifier` needs, the encoder included."""
        config = {
            "encoder": self.encoder.config(),
            "mixer": describe(self.mixer),
            "head": describe(self.head),
            "class_names": self.class_names,
        }
        save_artifact(
            path, "classifier", config, self.encoder.tokenizer.json, facts, self.state_dict()
        )


def load_classifier(path: str | Path | None = None) -> TextClassifier:
    """The classifier of a `classifier.pt`, in eval mode, ready to `predict`.

    Args:
        path: the file, or the run folder it lies in; None takes the latest in `outputs`, else the
            released one.

    Raises:
        ArtifactError: see `elmo.checkpoint.load_artifact`.
    """
    path = path or latest_or_released("classifier")
    content = load_artifact(path, "classifier")
    config = content["config"]
    try:
        tokenizer = WordTokenizer(content["tokenizer"])
        with torch.device("meta"):
            encoder = encoder_from_config(config.get("encoder"), tokenizer)
            mixer = build(config.get("mixer"), Mixer)
            head = build(config.get("head"), Head)
        names = config.get("class_names")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ArtifactError("its class_names are no list of names")
        shapes = {
            "encoder": (encoder.num_layers, encoder.dim, mixer.output_dim, len(names)),
            "mixer": (mixer.num_layers, mixer.dim, mixer.output_dim, len(names)),
            "head": (encoder.num_layers, encoder.dim, head.dim, head.num_classes),
        }
        if len(set(shapes.values())) > 1:
            raise ArtifactError(f"layers, widths and classes of its parts do not agree: {shapes}")
        model = TextClassifier(encoder, mixer, head, names)
        fill(model, content["state"])
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    return model.eval()


class ClassificationTask(Task):
    """Training of mixer and head by cross-entropy; a frozen encoder must come out as it went in.

    One that is fine-tuned gets lower learning rates, from layer to layer down (Howard and Ruder
    2018, section 3.2).

    Args:
        model: the classifier.
        finetune_lr: of the encoder's top layer, as a share of the head's.
        layer_decay: of each layer below, as a share of the one above.
        label_smoothing: share of the probability that the target gives to all classes alike
            (Szegedy et al. 2016, section 7); in training alone, so that losses compare.
        optimizer, warmup: see `Task`.

    Raises:
        ConfigError: a share that cannot be.
    """

    def __init__(
        self,
        model: TextClassifier,
        label_smoothing: float = 0.0,
        finetune_lr: float = 1.0,
        layer_decay: float = 0.4,
        **arguments: Any,
    ) -> None:
        super().__init__(**arguments)
        for name, value in (("finetune_lr", finetune_lr), ("layer_decay", layer_decay)):
            if not 0 < value <= 1:
                raise ConfigError(f"{name} is {value}; expected more than 0 and at most 1")
        if not 0 <= label_smoothing < 1:
            raise ConfigError(
                f"label_smoothing is {label_smoothing}; expected 0 or more and less than 1"
            )
        self.model = model
        self.label_smoothing = label_smoothing
        self.finetune_lr = finetune_lr
        self.layer_decay = layer_decay
        classes = len(model.class_names)
        self.train_loss, self.val_loss = TokenMean(), TokenMean()
        self.train_metrics = classification_metrics(classes).clone(prefix="train/")
        for metric in (self.train_loss, self.train_metrics):
            metric.persistent(True)  # a resumed epoch goes on with the sums of its start
        self.val_metrics = classification_metrics(classes).clone(prefix="val/")
        self.final_metrics = classification_metrics(classes, calibration=True)
        self.final_loss = TokenMean()
        self.per_class = per_class_metrics(classes)
        self.outputs: list[tuple[Tensor, Tensor, Tensor]] = []
        self.results: dict[str, SplitResult] = {}

    def parts(self) -> Mapping[str, nn.Module]:
        trained = {"mixer": self.model.mixer, "head": self.model.head}
        return trained | {"encoder": self.model.encoder} if self.model.encoder.finetune else trained

    def groups(self) -> list[tuple[list[nn.Parameter], float]]:
        modules: list[tuple[list[nn.Module], float]] = [([self.model.mixer, self.model.head], 1.0)]
        for depth, level in enumerate(self.model.encoder.levels()):
            modules.append(([level], self.finetune_lr * self.layer_decay**depth))
        found = [
            ([p for module in parts for p in module.parameters() if p.requires_grad], share)
            for parts, share in modules
        ]
        return [(parameters, share) for parameters, share in found if parameters]

    def on_fit_start(self) -> None:
        super().on_fit_start()
        self.encoder_checksum = state_checksum(self.model.encoder.state_dict())

    def on_fit_end(self) -> None:
        if self.model.encoder.finetune:
            return
        if state_checksum(self.model.encoder.state_dict()) != self.encoder_checksum:
            raise RuntimeError("the frozen encoder changed in training: this is a defect of elmo")

    def training_step(self, batch: Batch, index: int) -> Tensor:
        logits = self.model(batch)
        losses = functional.cross_entropy(
            logits, batch.label, reduction="none", label_smoothing=self.label_smoothing
        )
        loss = self.of_all_ranks(losses, index)
        self.train_loss.update(losses.detach())
        self.train_metrics.update(logits.detach(), batch.label)
        return loss

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        super().on_before_optimizer_step(optimizer)
        if self.logs_now:
            mixer = self.model.mixer
            self.log_dict({f"lambda/{i}": value for i, value in enumerate(mixer.lambdas())})
            self.log("lambda/gamma", mixer.scale.detach())

    def on_train_epoch_end(self) -> None:
        self.log("train/loss", self.train_loss.compute())
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
        self.results[self.split] = SplitResult(
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


class SplitResult(NamedTuple):
    """What the final evaluation of one split leaves behind besides its scalars."""

    rows: Tensor  # (N,) position in the split
    labels: Tensor  # (N,)
    probabilities: Tensor  # (N, C)
    per_class: dict[str, Tensor]  # precision, recall, f1 (C,), confusion (C true, C predicted)
    lambdas: list[float]  # (L,); of a learned mixer, the mean over this split
    calibration_error: float
