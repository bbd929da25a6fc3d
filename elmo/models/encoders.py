"""What turns tokens into layers: the frozen biLM, or one static vector a word."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from elmo.data.batches import TOKEN_BUDGET, Batch, text_batches
from elmo.data.corpus import Corpus
from elmo.data.text import WordTokenizer
from elmo.errors import ArtifactError, ConfigError
from elmo.models.artifacts import build, describe, fill, load_artifact, look_up
from elmo.modules.bilm import BiLM
from elmo.modules.embedding import TokenEmbedding
from elmo.runs.latest import latest_or_released, latest_run, title_of

log = logging.getLogger(__name__)


class Embedding(NamedTuple):
    """The vectors of one text."""

    tokens: list[str]  # as they stand in the cleaned text, without <s> and </s>
    vectors: Tensor  # (L, T, D), T = len(tokens)


class Encoder(nn.Module, ABC):
    """Layers for every token: frozen, always in eval mode, without gradients.

    Attributes:
        finetune: the exception: trained on with the classifier.
        tokenizer: that its ids come from; the data has to use it.
        num_layers: L.
        stored_layers: S, how many of them, from the top, are worth keeping once computed.
        dim: D.
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
        """B documents of T tokens -> layers (L, B, T, D).

        The upper S are those that the batch carries, where it does.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What `from_config` needs."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any], tokenizer: WordTokenizer) -> Self:
        """An encoder of the same shape with fresh weights."""

    def train(self, mode: bool = True) -> Self:
        """A frozen encoder stays in eval mode, whatever the model around it does."""
        return super().train(mode and self.finetune)

    def levels(self) -> Sequence[nn.Module]:
        """The parts that fine-tuning trains, from the top layer down."""
        return []

    def embed(self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET) -> list[Embedding]:
        """The layers of each text, which is cleaned and tokenised first.

        Args:
            texts: documents; an empty one gives T = 0.
            token_budget: padded tokens encoded at a time, at most.

        Returns:
            One `Embedding` a text, vectors (L, T, D) in single precision on the CPU.
        """
        found = dict(self.embed_by_length(texts, token_budget))
        return [found[row] for row in range(len(texts))]

    @torch.no_grad()
    def embed_by_length(
        self, texts: Sequence[str], token_budget: int = TOKEN_BUDGET
    ) -> Iterator[tuple[int, Embedding]]:
        """As `embed`, but one text at a time with its position in `texts`, the shortest first.

        No more than a batch of vectors is held at a time.
        """
        device = next(self.parameters()).device
        for documents, batch in text_batches(texts, self.tokenizer, token_budget):
            layers = self(batch.to(device)).float().cpu()
            for index, row in enumerate(batch.row.tolist()):
                words = documents[index].words
                yield row, Embedding(words, layers[:, index, 1 : len(words) + 1].clone())


class ElmoEncoder(Encoder):
    """All layers of a biLM (Peters et al. 2018, section 3.2): L = 3, D = 2 H.

    Args:
        tokenizer: the biLM's own.
        bilm: pretrained.
        finetune: train it with the classifier, under its own dropout, instead of freezing it; its
            layers then change with every step, and none is worth keeping.
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
                return self.bilm(batch.tokens, batch.lengths)
        with torch.no_grad():
            bottom = self.bilm.bottom(batch.tokens)  # (B, T, D)
            layers = bottom.new_empty((self.num_layers, *bottom.shape))
            layers[0] = bottom
            layers[1:] = batch.layers
        return layers

    def levels(self) -> Sequence[nn.Module]:
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
    """One vector a word, whatever its context: L = 1, D = E.

    Args:
        tokenizer: whose V words the table holds.
        dim: D.
    """

    num_layers = 1
    stored_layers = 0  # a look-up is as fast as reading it back

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
    """The encoder that a config describes, with fresh weights."""
    found = look_up(config, Encoder)
    try:
        return found.from_config(config, tokenizer)
    except (TypeError, KeyError, RuntimeError, OverflowError) as error:
        raise ArtifactError(f"its {found.__name__} cannot be built: {error!r}") from error


def load_bilm(path: str | Path | None = None, device: str | torch.device = "cpu") -> ElmoEncoder:
    """Load the frozen biLM of a `bilstm.pt`, in eval mode, ready to `embed`.

    Args:
        path: the file, or its run folder; None takes the latest in `outputs`, or else the released
            one.
        device: to which the weights are moved.

    Raises:
        ArtifactError: see `elmo.models.artifacts.load_artifact`.
    """
    path = path or latest_or_released("bilm")
    return _bilm_from(load_artifact(path, "bilm"), path).eval().to(device)


def _bilm_from(content: dict[str, Any], path: str | Path, finetune: bool = False) -> ElmoEncoder:
    try:
        tokenizer = WordTokenizer(content["tokenizer"])
        with torch.device("meta"):
            bilm = build(content["config"].get("bilm"), BiLM)
        fill(bilm, _under(content["state"], "bilm."))
        check_vocabulary(bilm.vocab_size, tokenizer)
        return ElmoEncoder(tokenizer, bilm, finetune)
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error


def check_vocabulary(vocab_size: int, tokenizer: WordTokenizer) -> None:
    """
    Raises:
        ArtifactError: the vectors are not those of the tokenizer's words.
    """
    if vocab_size != len(tokenizer):
        raise ArtifactError(
            f"it has vectors of {vocab_size:,} words, and its tokenizer knows {len(tokenizer):,}"
        )


def _under(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }


def load_encoder(path: str | Path, device: str | torch.device = "cpu") -> Encoder:
    """Load the frozen encoder of a `bilstm.pt` or of a `classifier.pt`, in eval mode.

    Args:
        path: the file, or its run folder.
        device: to which the weights are moved.

    Raises:
        ArtifactError: see `elmo.models.artifacts.load_artifact`.
    """
    content = load_artifact(path, "bilm", "classifier")
    if content["format"] == "elmo.modules.bilm":
        return _bilm_from(content, path).eval().to(device)
    try:
        with torch.device("meta"):
            encoder = encoder_from_config(
                content["config"].get("encoder"), WordTokenizer(content["tokenizer"])
            )
        fill(encoder, _under(content["state"], "encoder."))
    except ArtifactError as error:
        raise ArtifactError(f"{path}: {error}") from error
    return encoder.eval().to(device)


def pretrained_elmo(
    corpus: Corpus, bilm_path: str | None, output_dir: str, finetune: bool = False
) -> ElmoEncoder:
    """The encoder of `encoder=elmo`: the biLM at `bilm_path`, else the latest one of the corpus.

    Args:
        finetune: see `ElmoEncoder`.

    Raises:
        MissingModelError: none was pretrained yet.
        ConfigError: it was pretrained on other data, and `bilm_path` does not name it.
    """
    path = Path(bilm_path) if bilm_path else latest_run(Path(output_dir), corpus.name)
    content = load_artifact(path, "bilm")
    trained_on = content["facts"].get("data")
    if not isinstance(trained_on, dict) or not {"name", "fingerprint"} <= trained_on.keys():
        raise ArtifactError(f"{path}: does not say what data it was pretrained on; train again")
    log.info("biLM: %s, pretrained on data=%s", title_of(path), trained_on["name"])
    if trained_on["fingerprint"] != corpus.fingerprint:
        difference = (
            f"{path} was pretrained on data={trained_on['name']} "
            f"({trained_on['fingerprint']}), the classifier's data={corpus.name} is "
            f"{corpus.fingerprint}: another corpus, split or cleaning"
        )
        if not bilm_path:
            raise ConfigError(
                f"{difference}, so validation or test rows may have been in its pretraining; run "
                f"`python train_lm.py data={corpus.name}` with the same data settings, or say "
                f"bilm_path={path} to use it all the same"
            )
        log.warning("%s; used because bilm_path names it, see the unknown rate", difference)
    return _bilm_from(content, path, finetune)
