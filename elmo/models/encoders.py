"""The encoders, which turn tokens into layers: their base, a biLM, several biLMs side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from elmo.data.batches import TOKEN_BUDGET, Batch, Text, text_batches
from elmo.data.text import WordTokenizer
from elmo.errors import ArtifactError, ConfigError
from elmo.models.artifacts import build, describe
from elmo.models.word_vectors import WordVectors
from elmo.modules.bilm import BiLM
from elmo.modules.characters import CharacterCNN
from elmo.modules.projected_lstm import Memory


class Embedding(NamedTuple):
    """The vectors of one text."""

    tokens: list[str]  # as in the cleaned text, without <s> and </s>
    vectors: Tensor  # (L, T, D), T = len(tokens)


class Encoder(nn.Module, ABC):
    """Base of the encoders, which compute layers for every token.

    An encoder is frozen: it stays in eval mode and has no gradients, unless `finetune` is true.

    Attributes:
        finetune: whether the encoder is trained with the classifier.
        token_budget: padded tokens of a batch in which `embed` computes.
        tokenizer: the tokenizer of its ids, which the data has to use.
        num_layers: L, number of layers.
        stored_layers: S, the number of upper layers that are worth storing once computed.
        dim: D, width of a layer.
        has_read: how many validation and test texts of the classifier's corpus the pretraining has
            read, where it was on other splits of the same rows.
        bilm_path: the `bilstm.pt` that it was loaded from, which holds the softmax as well; of
            several the first, None for none.
    """

    finetune = False
    token_budget = TOKEN_BUDGET
    num_layers: int
    stored_layers: int
    dim: int

    def __init__(self, tokenizer: WordTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.has_read: dict[str, int] = {}
        self.bilm_path: Path | None = None

    @abstractmethod
    def forward(self, batch: Batch) -> Tensor:
        """Return the layers (L, B, T, D) of B documents.

        The upper S layers are taken from the batch where it holds them.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Return the plain data that `from_config` needs."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any], tokenizer: WordTokenizer) -> Self:
        """Build an encoder of the same shape, with new weights."""

    def train(self, mode: bool = True) -> Self:
        """Set the mode; a frozen encoder stays in eval mode inside a model in train mode."""
        return super().train(mode and self.finetune)

    def prepares(self) -> Callable[[Batch], Batch]:
        """Return a function that does once what batches of the same documents have in common."""
        return lambda batch: batch

    def parts(self) -> list[Encoder]:
        """Return the encoders whose layers, side by side, are those of this one."""
        return [self]

    def layer_groups(self) -> Sequence[nn.Module]:
        """Return the parts that fine-tuning trains, from the top layer down."""
        return []

    def embed(self, texts: Sequence[Text], token_budget: int | None = None) -> list[Embedding]:
        """Return the layers of each text, which is cleaned and tokenized first.

        Args:
            texts: documents, as texts or as lists of words; an empty one gives T = 0.
            token_budget: largest number of padded tokens in a batch; None takes the encoder's.

        Returns:
            An `Embedding` for each text, with vectors (L, T, D) in single precision on the CPU.
        """
        embeddings = dict(self.embed_by_length(texts, token_budget))
        return [embeddings[row] for row in range(len(texts))]

    def embed_by_length(
        self, texts: Sequence[Text], token_budget: int | None = None
    ) -> Iterator[tuple[int, Embedding]]:
        """Yield what `embed` returns, with the position of each text in `texts`, shortest first.

        Only the vectors of one batch are held at a time.
        """
        yield from self._embed(texts, self.token_budget if token_budget is None else token_budget)

    @torch.no_grad()
    def _embed(
        self, texts: Sequence[Text], token_budget: int | None
    ) -> Iterator[tuple[int, Embedding]]:
        """Yield what `embed_by_length` does; without a budget in one batch, in their order."""
        device = next(self.parameters()).device
        prepare = self.prepares()
        for documents, batch in text_batches(texts, self.tokenizer, token_budget):
            layers = self(prepare(batch.to(device))).float().cpu()  # (L, B, T, D)
            for index, row in enumerate(batch.row.tolist()):
                words = documents[index].words
                yield row, Embedding(words, layers[:, index, 1 : len(words) + 1].clone())


class ElmoEncoder(Encoder):
    """All layers of a pretrained biLM (Peters et al. 2018, section 3.2): D = 2 H.

    Args:
        tokenizer: the tokenizer that the biLM was pretrained with.
        bilm: the pretrained biLM; the embedding and its num_layers LSTM layers give L.
        finetune: train the biLM with the classifier, with the dropout of the biLM, instead of
            freezing it; its layers then change with every step, so none is worth storing.
        stateful: let each row of a batch start where the same row of the batch before ended, as
            AllenNLP and bilm-tf do. `embed` then takes all texts as one batch, in their order, and
            a text has other vectors in each call.
        warm_up: with `stateful`, embed the first batch once before, as simple_elmo does.

    Raises:
        ConfigError: `stateful` with a biLM without projected LSTMs, or `warm_up` without it.
    """

    def __init__(
        self,
        tokenizer: WordTokenizer,
        bilm: BiLM,
        finetune: bool = False,
        stateful: bool = False,
        warm_up: bool = False,
    ) -> None:
        super().__init__(tokenizer)
        if stateful and bilm.cell_dim is None:
            raise ConfigError(
                "stateful=True is for models in the published format; this one starts every text "
                "from the same state"
            )
        if warm_up and not stateful:
            raise ConfigError("warm_up=True needs stateful=True: without a state nothing is kept")
        self._memories = (Memory(), Memory()) if stateful else None
        self._warm_up = warm_up
        self.num_layers = bilm.num_layers + 1
        self.stored_layers = 0 if finetune else bilm.num_layers
        self.dim = 2 * bilm.hidden_dim
        self.finetune = finetune
        if bilm.cell_dim is not None:  # wide cells gain from large batches, and padding is free
            self.token_budget = 4 * TOKEN_BUDGET
        self.bilm = bilm.eval().requires_grad_(finetune)

    def forward(self, batch: Batch) -> Tensor:
        if batch.layers is None:
            with torch.set_grad_enabled(self.finetune and torch.is_grad_enabled()):
                inputs = batch.tokens, batch.lengths, batch.spellings, self._memories
                return self.bilm(*inputs)  # (L, B, T, D)
        with torch.no_grad():
            bottom = self.bilm.bottom_layer(batch.tokens, batch.spellings)  # (B, T, D)
            layers = bottom.new_empty((self.num_layers, *bottom.shape))  # (L, B, T, D)
            layers[0] = bottom
            layers[1:] = batch.layers
        return layers

    def embed_by_length(
        self, texts: Sequence[Text], token_budget: int | None = None
    ) -> Iterator[tuple[int, Embedding]]:
        if self._memories is None:
            yield from super().embed_by_length(texts, token_budget)
            return
        if self._warm_up and texts:
            self._warm_up = False
            list(self._embed(texts, None))
        yield from self._embed(texts, None)

    def prepares(self) -> Callable[[Batch], Batch]:
        embedding = self.bilm.embedding
        return WordVectors(embedding) if isinstance(embedding, CharacterCNN) else super().prepares()

    def layer_groups(self) -> Sequence[nn.Module]:
        stacks = zip(self.bilm.forward_lstm.layers, self.bilm.backward_lstm.layers, strict=True)
        bottom = nn.ModuleList([self.bilm.embedding, self.bilm.projection])
        return [*reversed([nn.ModuleList(pair) for pair in stacks]), bottom]

    def config(self) -> dict[str, Any]:
        arguments = {"bilm": describe(self.bilm), "finetune": self.finetune}
        return {"class": "ElmoEncoder", "arguments": arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any], tokenizer: WordTokenizer) -> Self:
        bilm = build(config["arguments"]["bilm"], BiLM)
        check_vocabulary(bilm.vocab_size, tokenizer)
        tokenizer = WordTokenizer(tokenizer.json, bilm.max_characters)
        return cls(tokenizer, bilm, config["arguments"].get("finetune", False))


class SideBySideEncoder(Encoder):
    """The layers of several pretrained biLMs, concatenated layer by layer: D = D_1 + ... + D_n.

    biLMs that differ in their seed alone make different mistakes, of which a head on all of them
    can average some out.

    Args:
        encoders: one for each biLM, with the same tokenizer and number of layers.

    Raises:
        ConfigError: there are fewer than two, or they do not fit together.
    """

    def __init__(self, encoders: Sequence[ElmoEncoder]) -> None:
        if len(encoders) < 2:
            raise ConfigError(
                f"encoder.bilm_paths names {len(encoders)} biLM{'' if encoders else 's'}; "
                "expected two or more, or encoder=elmo with bilm_path"
            )
        first = encoders[0]
        super().__init__(first.tokenizer)
        for place, encoder in enumerate(encoders[1:], start=2):
            for name, one, other in (
                ("vocabulary", first.tokenizer.fingerprint, encoder.tokenizer.fingerprint),
                ("number of layers", first.num_layers, encoder.num_layers),
            ):
                if one != other:
                    raise ConfigError(
                        f"encoder.bilm_paths: the first biLM has the {name} {one}, number {place} "
                        f"has {other}; expected biLMs of the same data and depth"
                    )
        self.num_layers = first.num_layers
        self.stored_layers = first.stored_layers
        self.dim = sum(encoder.dim for encoder in encoders)
        self.finetune = first.finetune
        self.bilm_path = first.bilm_path
        self.encoders = nn.ModuleList(encoders)

    def forward(self, batch: Batch) -> Tensor:
        parts: list[Tensor | None] = [None] * len(self.encoders)
        if batch.layers is not None:
            parts = list(batch.layers.split([part.dim for part in self.parts()], -1))
        layers = [
            encoder(batch._replace(layers=part))
            for encoder, part in zip(self.encoders, parts, strict=True)
        ]
        return torch.cat(layers, -1)  # (L, B, T, D)

    def parts(self) -> list[Encoder]:
        return [encoder for encoder in self.encoders if isinstance(encoder, Encoder)]

    def layer_groups(self) -> Sequence[nn.Module]:
        groups = zip(*(part.layer_groups() for part in self.parts()), strict=True)
        return [nn.ModuleList(group) for group in groups]

    def config(self) -> dict[str, Any]:
        arguments = {"encoders": [part.config() for part in self.parts()]}
        return {"class": "SideBySideEncoder", "arguments": arguments}

    @classmethod
    def from_config(cls, config: dict[str, Any], tokenizer: WordTokenizer) -> Self:
        parts = config["arguments"]["encoders"]
        return cls([ElmoEncoder.from_config(part, tokenizer) for part in parts])


def check_vocabulary(vocab_size: int, tokenizer: WordTokenizer) -> None:
    """Check that there is a token vector for each word of the tokenizer.

    Raises:
        ArtifactError: the numbers differ.
    """
    if vocab_size != len(tokenizer):
        raise ArtifactError(
            f"it has vectors for {vocab_size:,} words, but its tokenizer knows {len(tokenizer):,}"
        )
