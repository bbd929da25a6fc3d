"""Pretraining: the LightningModule of the language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torchmetrics import MetricCollection

from elmo.data.batches import Batch
from elmo.evaluation.language_model_scores import LanguageModelResult, LanguageModelScores
from elmo.evaluation.metrics import TokenMean, language_model_metrics, update_directions
from elmo.models.language_model import LanguageModel
from elmo.training.schedule import Group
from elmo.training.task import Task


class LanguageModelTask(Task[LanguageModelResult]):
    """Pretraining: minimises the mean negative log-likelihood over both directions.

    Args:
        model: the language model.
        embedding_lr_share: learning rate of the token vectors, as a share of that of the rest.
        optimizer, warmup: see `Task`.
    """

    VALIDATED: ClassVar[Mapping[str, str]] = {
        "val/loss": "min",
        "val/perplexity": "min",
        "val/perplexity_forward": "min",
        "val/perplexity_backward": "min",
        "val/accuracy": "max",
    }

    def __init__(
        self, model: LanguageModel, embedding_lr_share: float = 1.0, **arguments: Any
    ) -> None:
        super().__init__(**arguments)
        self.model = model
        self.embedding_lr_share = embedding_lr_share
        self.train_metrics = language_model_metrics().clone(prefix="train/")
        self.train_metrics.persistent(True)  # a resumed epoch continues with the sums of its start
        self.val_metrics = language_model_metrics().clone(prefix="val/")
        self.val_accuracy = TokenMean()  # of the most probable words, over both directions
        self.final_metrics = LanguageModelScores(model.softmax.vocab_size)

    def parts(self) -> dict[str, nn.Module]:
        bilm = self.model.bilm
        return {
            "embedding": bilm.embedding,
            "forward_lstm": bilm.forward_lstm,
            "backward_lstm": bilm.backward_lstm,
            "softmax": self.model.softmax,
        }

    def parameter_groups(self) -> list[Group]:
        if self.embedding_lr_share == 1:
            return super().parameter_groups()
        vectors = [p for p in self.model.bilm.embedding.parameters() if p.requires_grad]
        of_vectors = set(vectors)
        rest = [p for p in self.parameters() if p.requires_grad and p not in of_vectors]
        return [Group(rest), Group(vectors, self.embedding_lr_share)]

    def training_step(self, batch: Batch, index: int) -> Tensor:
        nll = self.model(batch.tokens, batch.lengths, batch.spellings)  # (2, N)
        loss = self.mean_over_ranks(nll, index)
        _update(self.train_metrics, nll.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        self.log_dict(self.train_metrics.compute())
        self.train_metrics.reset()

    def validation_step(self, batch: Batch, index: int) -> None:
        inputs = batch.tokens, batch.lengths, batch.spellings
        hidden, targets = self.model.hidden_and_targets(*inputs)
        flat = hidden.flatten(0, 1), targets.flatten()  # (2 N, D/2), (2 N,)
        nll = self.model.softmax(*flat)
        _update(self.val_metrics, nll.view_as(targets))
        self.val_accuracy.update(self.model.softmax.hits(*flat, nll).float())

    def on_validation_epoch_end(self) -> None:
        for name, value in self.val_metrics.compute().items():
            self.log(name, value, prog_bar=name == "val/perplexity")
        self.log("val/accuracy", self.val_accuracy.compute())
        self.val_metrics.reset()
        self.val_accuracy.reset()

    def test_step(self, batch: Batch, index: int) -> None:
        self.final_metrics.add(self.model, batch)

    def on_test_epoch_end(self) -> None:
        result = self.final_metrics.compute()
        self.figures = result.scalars
        self.results[self.split] = result
        self.final_metrics.reset()


def _update(metrics: MetricCollection, nll: Tensor) -> None:
    metrics["loss"].update(nll)
    update_directions(metrics, "perplexity", nll)
