"""The encoders, which turn tokens into layers: the biLM, or one static vector for each word."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from elmo.data.batches import TOKEN_BUDGET, Batch, text_batches
from elmo.data.corpus import Corpus, texts_of
from elmo.data.text import UNK, WordTokenizer
from elmo.errors import ArtifactError, ConfigError
from elmo.models.artifacts import build, describe, find_class, load_artifact, load_weights
from elmo.modules.bilm import BiLM
from elmo.modules.embedding import TokenEmbedding
from elmo.runs.latest import bilm_for, is_released, model_path, shown, title_of

log = logging.getLogger(__name__)

MAX_UNKNOWN = 0.05  # of the words of a corpus on which the released biLM is taken unasked
SAMPLE = 5000  # train documents in which these are counted


class Embedding(NamedTuple):
    """The vectors of one text."""

    tokens: list[str]  # as in the cleaned text, without <s> and </s>
    vectors: Tensor  # (L, T, D), T = len(tokens)


class Encoder(nn.Module, ABC):
    """Base of the encoders, which compute layers for every token.

    An encoder is frozen: it stays in eval mode and has no gradients, unless `finetune` is true.

    Attributes:
        finetune: whether the encoder is trained with the classifier.
        tokenizer: the tokenizer of its ids, which the data has to use.
        num_layers: L, number of layers.
        stored_layers: S, the number of upper layers that are worth storing once computed.
        dim: D, width of a layer.
    """

    finetune = False
    num_layers: int
    stored_layers: int
    dim: int

    def __init__(self, tokenizer: WordTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer

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

    def layer_groups(self) -> Sequence[nn.Module]:
        """Return the parts that fine-tuning trains, from the top layer down."""
        return []

    def embed(self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET) -> list[Embedding]:
        """Return the layers of each text, which is cleaned and tokenized first.

        Args:
            texts: documents; an empty one gives T = 0.
            token_budget: largest number of padded tokens in a batch.

        Returns:
            An `Embedding` for each text, with vectors (L, T, D) in single precision on the CPU.
        """
        embeddings = dict(self.embed_by_length(texts, token_budget))
        return [embeddings[row] for row in range(len(texts))]

    @torch.no_grad()
    def embed_by_length(
        self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET
    ) -> Iterator[tuple[int, Embedding]]:
        """Yield what `embed` returns, with the position of each text in `texts`, shortest first.

        Only the vectors of one batch are held at a time.
        """
        device = next(self.parameters()).device
        for documents, batch in text_batches(texts, self.tokenizer, token_budget):
            layers = self(batch.to(device)).float().cpu()  # (L, B, T, D)
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
    """

    def __init__(self, tokenizer: WordTokenizer, bilm: BiLM, finetune: bool = False) -> None:
        super().__init__(tokenizer)
        self.num_layers = bilm.num_layers + 1
        self.stored_layers = 0 if finetune else bilm.num_layers
        self.dim = 2 * bilm.hidden_dim
        self.finetune = finetune
        self.bilm = bilm.eval().requires_grad_(finetune)

    def forward(self, batch: Batch) -> Tensor:
        if batch.layers is None:
            with torch.set_grad_enabled(self.finetune and torch.is_grad_enabled()):
                return self.bilm(batch.tokens, batch.lengths)  # (L, B, T, D)
        with torch.no_grad():
            bottom = self.bilm.bottom_layer(batch.tokens)  # (B, T, D)
            layers = bottom.new_empty((self.num_layers, *bottom.shape))  # (L, B, T, D)
            layers[0] = bottom
            layers[1:] = batch.layers
        return layers

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
        return cls(tokenizer, bilm, config["arguments"].get("finetune", False))


class StaticEncoder(Encoder):
    """One vector for each word, the same in every context: L = 1, D = E.

    Args:
        tokenizer: its V words are the rows of the table.
        dim: D, width of a layer.
    """

    num_layers = 1
    stored_layers = 0  # a look-up is as fast as reading from a store

    def __init__(self, tokenizer: WordTokenizer, dim: int) -> None:
        super().__init__(tokenizer)
        self.dim = dim
        self.embedding = TokenEmbedding(len(tokenizer), dim).requires_grad_(False)

    @torch.no_grad()
    def forward(self, batch: Batch) -> Tensor:
        return self.embedding(batch.tokens).unsqueeze(0)  # (1, B, T, D)

    def config(self) -> dict[str, Any]:
        return {"class": "StaticEncoder", "arguments": {"dim": self.dim}}

    @classmethod
    def from_config(cls, config: dict[str, Any], tokenizer: WordTokenizer) -> Self:
        return cls(tokenizer, **config["arguments"])


def encoder_from_config(config: dict[str, Any], tokenizer: WordTokenizer) -> Encoder:
    """Build the encoder that a config describes, with new weights.

    Raises:
        ArtifactError: the config names no encoder, or the encoder cannot be built from it.
    """
    described = find_class(config, Encoder)
    try:
        return described.from_config(config, tokenizer)
    except (TypeError, KeyError, RuntimeError, OverflowError) as error:
        raise ArtifactError(f"its {described.__name__} cannot be built: {error!r}") from error


def load_bilm(path: str | Path | None = None, device: str | torch.device = "cpu") -> ElmoEncoder:
    """Load the frozen biLM of a `bilstm.pt`, in eval mode, ready to `embed`.

    Args:
        path: the file, or its run folder; "released" or "latest", the model trained last in
            `outputs`; None takes the latest on real text, or else the released one.
        device: where the weights go.

    Raises:
        MissingModelError: there is no such model.
        ArtifactError: see `elmo.models.artifacts.load_artifact`.
    """
    path = model_path(path, "bilm")
    return _load_elmo(load_artifact(path, "bilm"), path).eval().to(device)


def _load_elmo(content: dict[str, Any], path: str | Path, finetune: bool = False) -> ElmoEncoder:
    try:
        tokenizer = WordTokenizer(content["tokenizer"])
        with torch.device("meta"):
            bilm = build(content["config"].get("bilm"), BiLM)
        load_weights(bilm, _part_of(content["state"], "bilm."))
        check_vocabulary(bilm.vocab_size, tokenizer)
        return ElmoEncoder(tokenizer, bilm, finetune)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def check_vocabulary(vocab_size: int, tokenizer: WordTokenizer) -> None:
    """Check that there is a token vector for each word of the tokenizer.

    Raises:
        ArtifactError: the numbers differ.
    """
    if vocab_size != len(tokenizer):
        raise ArtifactError(
            f"it has vectors for {vocab_size:,} words, but its tokenizer knows {len(tokenizer):,}"
        )


def _part_of(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }


def load_encoder(path: str | Path, device: str | torch.device = "cpu") -> Encoder:
    """Load the frozen encoder of a `bilstm.pt` or of a `classifier.pt`, in eval mode.

    Args:
        path: the file, or its run folder.
        device: where the weights go.

    Raises:
        ArtifactError: see `elmo.models.artifacts.load_artifact`.
    """
    content = load_artifact(path, "bilm", "classifier")
    if content["format"] == "elmo.bilm":
        return _load_elmo(content, path).eval().to(device)
    try:
        with torch.device("meta"):
            encoder = encoder_from_config(
                content["config"].get("encoder"), WordTokenizer(content["tokenizer"])
            )
        load_weights(encoder, _part_of(content["state"], "encoder."))
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    return encoder.eval().to(device)


def pretrained_elmo(
    corpus: Corpus, bilm_path: str | None, output_dir: str, finetune: bool = False
) -> ElmoEncoder:
    """Load the encoder of `encoder=elmo`: a pretrained biLM.

    Args:
        corpus: the corpus of the classifier.
        bilm_path: the biLM: a file, its run folder, `released` or `latest`; None takes the latest
            of the corpus, or else, on a corpus of AG News whose words it knows, the released one.
        output_dir: where runs are written.
        finetune: see `ElmoEncoder`.

    Raises:
        MissingModelError: no biLM was pretrained on the corpus yet.
        ConfigError: the latest biLM was pretrained on other data, or the released one does not know
            the words, so `bilm_path` has to name it.
        ArtifactError: see `elmo.models.artifacts.load_artifact`.
    """
    path = bilm_for(bilm_path, Path(output_dir), corpus.name)
    content = load_artifact(path, "bilm")
    trained_on = content["facts"].get("data")
    if not isinstance(trained_on, dict) or not {"name", "fingerprint"} <= trained_on.keys():
        raise ArtifactError(f"{path}: does not name the data of its pretraining; train again")
    encoder = _load_elmo(content, path, finetune)
    title = f"{title_of(path)}, pretrained on data={trained_on['name']}"
    if trained_on["fingerprint"] == corpus.fingerprint:
        log.info("biLM: %s", title)
        return encoder
    difference = (
        f"{shown(path)} was pretrained on data={trained_on['name']} "
        f"({trained_on['fingerprint']}), the classifier's data={corpus.name} is "
        f"{corpus.fingerprint}: another corpus, split or cleaning"
    )
    if bilm_path:
        log.info("biLM: %s", title)
        log.warning("%s; used because bilm_path names it, see the unknown rate", difference)
    elif is_released(path):
        rate = _check_words(encoder.tokenizer, corpus)
        log.warning(
            "biLM: %s, because none was pretrained on data=%s: about %.1f%% of the train words "
            "are unknown to it, and validation texts may have been in its pretraining",
            *(title, corpus.name, 100 * rate),
        )
    else:
        raise ConfigError(
            f"{difference}, so validation or test rows may have been in its pretraining; run "
            f"`python train_lm.py data={corpus.name}` with the same data settings, or set "
            f"bilm_path={shown(path)} or bilm_path=released to use that one anyway"
        )
    return encoder


def _check_words(tokenizer: WordTokenizer, corpus: Corpus) -> float:
    """Return the share of unknown words in a sample of the train documents.

    Raises:
        ConfigError: it is above `MAX_UNKNOWN`.
    """
    words = unknown = 0
    for ids in tokenizer.encode_ids(islice(texts_of(corpus.splits["train"]), SAMPLE)):
        words += len(ids) - 2  # without <s> and </s>
        unknown += int((ids == UNK).sum())
    rate = unknown / max(1, words)
    if rate > MAX_UNKNOWN:
        raise ConfigError(
            f"no biLM was pretrained on data={corpus.name} yet, and {rate:.1%} of its words are "
            f"unknown to the released one, more than {MAX_UNKNOWN:.0%}; run `python train_lm.py "
            f"data={corpus.name}` first, or set bilm_path=released to use the released one anyway"
        )
    return rate
