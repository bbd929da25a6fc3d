"""The bidirectional language model: biLM, softmax and tokenizer, saved and loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from elmo.data.characters import Spellings
from elmo.data.text import WordTokenizer
from elmo.errors import ArtifactError, ConfigError
from elmo.models.artifacts import build, describe, load_artifact, load_weights, save_artifact
from elmo.models.embedding_starts import EmbeddingStart
from elmo.models.encoders import ElmoEncoder, check_vocabulary
from elmo.modules.bilm import BiLM
from elmo.modules.dropout import Dropout
from elmo.modules.softmax import Softmax
from elmo.runs.latest import model_path

Modules = tuple[BiLM, Softmax]


class LanguageModel(nn.Module):
    """The language model of both directions: predicts the next word, and the previous word.

    Both directions share the token embedding and the softmax (Peters et al. 2018, section 3.1). The
    forward targets are the words and `</s>`, the backward targets the words and `<s>`, so each
    direction has N = sum of (lengths - 1) targets. The dropout of the biLM is applied to its top
    layer as well.

    Args:
        bilm: its top layer gives the hidden states, one half for each direction.
        softmax: reads hidden states of width D/2.
        tokenizer: the vocabulary of the ids; None only where the model is neither saved nor given
            texts.
    """

    def __init__(
        self, bilm: BiLM, softmax: Softmax, tokenizer: WordTokenizer | None = None
    ) -> None:
        super().__init__()
        self.bilm = bilm
        self.softmax = softmax
        self.dropout = Dropout(bilm.dropout, shared=1 if bilm.variational else None)
        self._tokenizer = tokenizer

    @property
    def tokenizer(self) -> WordTokenizer:
        """The tokenizer; raises `ConfigError` where the model was built without one."""
        if self._tokenizer is None:
            raise ConfigError("this language model was built without a tokenizer; pass it one")
        return self._tokenizer

    def hidden_and_targets(
        self, tokens: Tensor, lengths: Tensor, spellings: Spellings | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return hidden states and targets, both without padding, forward direction first.

        Args:
            tokens: (B, T).
            lengths: (B,).
            spellings: see `BiLM.both_directions`.

        Returns:
            Hidden states (2, N, D/2) and targets (2, N).
        """
        forward, backward = self.bilm.both_directions(tokens, lengths, spellings)
        longest = tokens.shape[1]
        starts = torch.arange(len(tokens), device=tokens.device).unsqueeze(1) * longest  # (B, 1)
        positions = torch.arange(longest, device=tokens.device)  # (T,)
        pairs = positions < lengths.unsqueeze(1) - 1  # (B, T), t and t + 1 are both real
        # As rows of (B T, ...); the backward direction has read t + 1 at step length - 2 - t.
        left = (starts + positions)[pairs]  # (N,)
        backward_rows = (starts + lengths.unsqueeze(1) - 2 - positions)[pairs]  # (N,)
        hidden = [
            self.dropout(layers[-1]).flatten(0, 1).index_select(0, rows)  # (N, D/2)
            for layers, rows in ((forward, left), (backward, backward_rows))
        ]
        targets = [tokens.flatten().index_select(0, rows) for rows in (left + 1, left)]  # (N,) each
        return torch.stack(hidden), torch.stack(targets)

    def forward(
        self, tokens: Tensor, lengths: Tensor, spellings: Spellings | None = None
    ) -> Tensor:
        """Return the negative log-likelihoods (2, N) in nats; see `hidden_and_targets`."""
        hidden, targets = self.hidden_and_targets(tokens, lengths, spellings)
        return self.softmax(hidden.flatten(0, 1), targets.flatten()).view_as(targets)  # (2, N)

    def log_probs_between(
        self,
        tokens: Tensor,
        lengths: Tensor,
        chosen: Tensor,
        spellings: Spellings | None = None,
    ) -> Tensor:
        """Return what both directions expect at chosen words, given all words around each.

        log p(word | words before) + log p(word | words after), normalised: the product of both
        directions. The chosen words themselves are not read at their places.

        Args:
            tokens: (B, T).
            lengths: (B,).
            chosen: true at n words, none of which is the first or last token of its text (B, T).
            spellings: see `BiLM.both_directions`.

        Returns:
            Log-probabilities (n, V), in the order of the texts.
        """
        hidden, _ = self.hidden_and_targets(tokens, lengths, spellings)  # (2, N, D/2)
        left = torch.arange(tokens.shape[1] - 1, device=tokens.device)  # (T - 1,)
        pairs = left < lengths.unsqueeze(1) - 1  # (B, T - 1), as `hidden_and_targets` has them
        # The forward direction predicts the right token of a pair, the backward one the left.
        forward = hidden[0][chosen[:, 1:][pairs]]  # (n, D/2)
        backward = hidden[1][chosen[:, :-1][pairs]]  # (n, D/2)
        return (self.softmax.log_prob(forward) + self.softmax.log_prob(backward)).log_softmax(1)

    def encoder(self) -> ElmoEncoder:
        """Return the biLM as a frozen encoder, which shares its weights with this model."""
        return ElmoEncoder(self.tokenizer, self.bilm)

    def save(self, path: Path, facts: dict[str, Any]) -> None:
        """Write `bilstm.pt`: biLM, softmax and tokenizer.

        Args:
            path: the file.
            facts: see `elmo.models.artifacts.save_artifact`.
        """
        config = {"bilm": describe(self.bilm), "softmax": describe(self.softmax)}
        save_artifact(path, "bilm", config, self.tokenizer.json, facts, self.state_dict())


def build_modules(
    bilm: Callable[..., BiLM], softmax: Callable[..., Softmax], start: EmbeddingStart
) -> Callable[[int], Modules]:
    """Return a function that builds biLM and softmax for a vocabulary of V words.

    The settings are checked at once: both are built on the meta device, which takes no memory.

    Args:
        bilm: called with `vocab_size`, `embedding_dim` and `characters`.
        softmax: called with `dim` and `vocab_size`.
        start: knows the width of a token vector, and whether it is made from characters.

    Raises:
        ConfigError: a setting cannot work.
    """

    def build_for(vocab_size: int) -> Modules:
        new_bilm = bilm(vocab_size=vocab_size, embedding_dim=start.dim, characters=start.characters)
        return new_bilm, softmax(dim=new_bilm.hidden_dim, vocab_size=vocab_size)

    with torch.device("meta"):
        build_for(1000)
    return build_for


def load_language_model(
    path: str | Path | None = None, device: str | torch.device = "cpu"
) -> LanguageModel:
    """Load the whole language model of a `bilstm.pt`, softmax included, in eval mode.

    Args:
        path: the file, or its run folder; "released" or "latest", the model trained last in
            `outputs`; None takes the latest on real text, or else the released one.
        device: the device to which the weights are moved.

    Raises:
        MissingModelError: there is no such model.
        ArtifactError: see `elmo.models.artifacts.load_artifact`.
    """
    path = model_path(path, "bilm")
    content = load_artifact(path, "bilm")
    try:
        with torch.device("meta"):
            bilm = build(content["config"].get("bilm"), BiLM)
            tokenizer = WordTokenizer(content["tokenizer"], bilm.max_characters)
            softmax = build(content["config"].get("softmax"), Softmax)
            model = LanguageModel(bilm, softmax, tokenizer)
        load_weights(model, content["state"])
        check_vocabulary(bilm.vocab_size, tokenizer)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    return model.eval().to(device)
