"""The bidirectional language model: BiLM and softmax, and its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MetricCollection

from elmo.batches import Batch
from elmo.bilm import BiLM
from elmo.checkpoint import build, describe, fill, load_artifact, save_artifact
from elmo.dropout import Dropout
from elmo.encoders import check_vocabulary
from elmo.errors import ArtifactError
from elmo.metrics import language_model_metrics, update_directions
from elmo.scores import TOP, LanguageModelResult, LanguageModelScores
from elmo.softmax import Softmax
from elmo.task import Task
from elmo.text import WordTokenizer


class LanguageModel(nn.Module):
    """Forward: the next word from the words before; backward: the previous from those behind.

    Both directions share the token embedding and the softmax (Peters et al. 2018, section 3.1).
    Forward targets are the words and `</s>`, backward targets the words and `<s>`, so both count
    N = sum of (lengths - 1) tokens. The dropout of the biLM is applied to its top layer, too.

    Args:
        bilm: whose top layer is read, one half for each direction.
        softmax: over its width D/2.
    """

    def __init__(self, bilm: BiLM, softmax: Softmax) -> None:
        super().__init__()
        self.bilm = bilm
        self.softmax = softmax
        self.dropout = Dropout(bilm.dropout, shared=1 if bilm.variational else None)

    def hidden_and_targets(self, tokens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """tokens (B, T), lengths (B,) -> hidden (2, N, D/2) and targets (2, N); padding is out."""
        forward, backward = self.bilm.directions(tokens, lengths)
        count, longest = tokens.shape
        starts = torch.arange(0, count * longest, longest, device=tokens.device).unsqueeze(1)
        positions = torch.arange(longest, device=tokens.device)
        pairs = positions < lengths.unsqueeze(1) - 1  # (B, T), t and t + 1 are both real
        # As rows of (B T, ...); the backward direction has read t + 1 at step length - 2 - t.
        left = (starts + positions)[pairs]  # (N,)
        mirrored = (starts + lengths.unsqueeze(1) - 2 - positions)[pairs]
        hidden = [
            self.dropout(states[-1]).flatten(0, 1).index_select(0, rows)
            for states, rows in ((forward, left), (backward, mirrored))
        ]
        targets = [tokens.flatten().index_select(0, rows) for rows in (left + 1, left)]
        return torch.stack(hidden), torch.stack(targets)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """tokens (B, T), lengths (B,) -> negative log-likelihood in nats (2, N)."""
        hidden, targets = self.hidden_and_targets(tokens, lengths)
        return self.softmax(hidden.flatten(0, 1), targets.flatten()).view_as(targets)

    @torch.no_grad()
    def score(self, tokens: Tensor, lengths: Tensor, scores: LanguageModelScores) -> None:
        """Add the targets of tokens (B, T), lengths (B,) to `scores`."""
        hidden, targets = self.hidden_and_targets(tokens, lengths)
        flat = hidden.flatten(0, 1)  # (2 N, D/2)
        nll = self.softmax(flat, targets.flatten()).view_as(targets)
        k = min(TOP, self.softmax.vocab_size)
        top = self.softmax.topk(flat, k).view(*targets.shape, k)
        places = torch.arange(1, tokens.shape[1], device=tokens.device).expand(len(tokens), -1)
        ahead = places[places < lengths.unsqueeze(1)]  # (N,), in the order of the targets
        scores.update(nll, top, targets, torch.stack([ahead, ahead - 1]))

    def save(self, path: Path, tokenizer: WordTokenizer, facts: dict[str, Any]) -> None:
        """Write `bilstm.pt`: BiLM, softmax and tokenizer."""
        config = {"bilm": describe(self.bilm), "softmax": describe(self.softmax)}
        save_artifact(path, "bilm", config, tokenizer.json, facts, self.state_dict())


def load_language_model(path: str | Path) -> tuple[LanguageModel, WordTokenizer]:
    """The whole language model of a `bilstm.pt`, softmax included, in eval mode.

    Args:
        path: the file, or the run folder it lies in.

    Raises:
        ArtifactError: see `elmo.checkpoint.load_artifact`.
    """
    content = load_artifact(path, "bilm")
    try:
        tokenizer = WordTokenizer(content["tokenizer"])
        with torch.device("meta"):
            bilm = build(content["config"].get("bilm"), BiLM)
            model = LanguageModel(bilm, build(content["config"].get("softmax"), Softmax))
        fill(model, content["state"])
        check_vocabulary(bilm.vocab_size, tokenizer)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    return model.eval(), tokenizer


class LanguageModelTask(Task):
    """Pretraining: minimises the mean negative log-likelihood over both directions.

    Args:
        model: the language model.
        optimizer, warmup: see `Task`.
    """

    def __init__(self, model: LanguageModel, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.model = model
        self.train_metrics = language_model_metrics().clone(prefix="train/")
        self.train_metrics.persistent(True)  # a resumed epoch goes on with the sums of its start
        self.val_metrics = language_model_metrics().clone(prefix="val/")
        self.final_metrics = LanguageModelScores(model.softmax.vocab_size)
        self.results: dict[str, LanguageModelResult] = {}

    def parts(self) -> dict[str, nn.Module]:
        bilm = self.model.bilm
        return {
            "embedding": bilm.embedding,
            "forward_lstm": bilm.forward_lstm,
            "backward_lstm": bilm.backward_lstm,
            "softmax": self.model.softmax,
        }

    def training_step(self, batch: Batch, index: int) -> Tensor:
        nll = self.model(batch.tokens, batch.lengths)  # (2, N)
        loss = self.of_all_ranks(nll, index)
        _update(self.train_metrics, nll.detach())
        return loss

    def on_train_epoch_end(self) -> None:
        self.log_dict(self.train_metrics.compute())
        self.train_metrics.reset()

    def validation_step(self, batch: Batch, index: int) -> None:
        _update(self.val_metrics, self.model(batch.tokens, batch.lengths))

    def on_validation_epoch_end(self) -> None:
        for name, value in self.val_metrics.compute().items():
            self.log(name, value, prog_bar=name == "val/perplexity")
        self.val_metrics.reset()

    def test_step(self, batch: Batch, index: int) -> None:
        self.model.score(batch.tokens, batch.lengths, self.final_metrics)

    def on_test_epoch_end(self) -> None:
        result = self.final_metrics.compute()
        self.figures = result.scalars
        self.results[self.split] = result
        self.final_metrics.reset()


def _update(metrics: MetricCollection, nll: Tensor) -> None:
    metrics["loss"].update(nll)
    update_directions(metrics, "perplexity", nll)
