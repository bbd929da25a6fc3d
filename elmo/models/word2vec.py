"""Word2Vec, trained by gensim: to initialise the embedding of a biLM, and as a static encoder."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from gensim.models import KeyedVectors, Word2Vec
from torch import Tensor

from elmo.data.corpus import Corpus
from elmo.data.text import PAD, WordTokenizer
from elmo.errors import ConfigError, check_range
from elmo.models.embedding_starts import TableStart
from elmo.models.encoders import StaticEncoder
from elmo.models.vector_files import check_file, read_vectors
from elmo.utils.cache import cached

log = logging.getLogger(__name__)
logging.getLogger("gensim").setLevel(logging.WARNING)  # it logs each epoch of each thread


class Sentences:
    """The train descriptions as lists of words; gensim iterates over them several times."""

    def __init__(self, corpus: Corpus, tokenizer: WordTokenizer) -> None:
        self.corpus = corpus
        self.tokenizer = tokenizer

    def __iter__(self) -> Iterator[list[str]]:
        words = self.tokenizer.words
        for batch in self.corpus.splits["train"].iter(10_000):
            for ids in self.tokenizer.encode_ids(batch["text"]):
                yield [words[index] for index in ids[1:-1]]


def train_word2vec(
    corpus: Corpus,
    tokenizer: WordTokenizer,
    dim: int,
    window: int,
    epochs: int,
    seed: int,
    skip_gram: bool = True,
    sample: float = 1e-3,
    exponent: float = 0.75,
) -> KeyedVectors:
    """Train skip-gram or CBOW with negative sampling (Mikolov et al. 2013), or read the cache.

    Training is done once, by a single thread, so that it is reproducible.

    Args:
        corpus: gives the train descriptions.
        tokenizer: splits them into words.
        dim: width of a vector.
        window, epochs, seed: see `Word2VecStart`.
        skip_gram: each word predicts the words around it; otherwise they predict the word (CBOW).
        sample: words more frequent than this share are left out at random, the more often the more
            frequent they are (section 2.3); 0 keeps all.
        exponent: negative samples are drawn in proportion to their count to this power (section
            2.2, where it is 3/4).
    """
    settings = [corpus.fingerprint, tokenizer.json, dim, window, epochs, seed, skip_gram]
    settings += [sample, exponent]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    folder = corpus.cache_dir / "word2vec" / f"{corpus.name}-{key}"

    def build(path: Path) -> None:
        kind = "skip-gram" if skip_gram else "CBOW"
        log.info("training Word2Vec, %s: width %d, window %d, %d epochs", kind, dim, window, epochs)
        vectors = Word2Vec(
            Sentences(corpus, tokenizer),
            vector_size=dim,
            window=window,
            epochs=epochs,
            sg=int(skip_gram),
            negative=5,
            sample=sample,
            ns_exponent=exponent,
            min_count=1,
            workers=1,
            seed=seed,
        ).wv
        # Saved as a plain array and JSON, because gensim's own format is a pickle.
        np.save(path / "vectors.npy", vectors.vectors)
        (path / "words.json").write_text(json.dumps(vectors.index_to_key))

    cached(folder, build)
    keyed = KeyedVectors(dim)
    keyed.add_vectors(
        json.loads((folder / "words.json").read_text()), np.load(folder / "vectors.npy")
    )
    return keyed


def copy_vectors(vectors: KeyedVectors, weight: Tensor, tokenizer: WordTokenizer) -> int:
    """Copy the vectors of all known words into `weight` (V, E); return the number of these words.

    The other words keep their random vectors, scaled to the standard deviation of the copied ones.
    """
    words = tokenizer.words
    known = [index for index, word in enumerate(words) if index != PAD and word in vectors]
    with torch.no_grad():
        if known:
            copied = torch.from_numpy(vectors[[words[index] for index in known]])  # (N, E)
            weight[PAD + 1 :] *= copied.std() / weight.std()
            weight[known] = copied.to(weight.dtype)
    return len(known)


class Word2VecStart(TableStart):
    """Word2Vec vectors: trained on the train descriptions, or read from a file.

    Args:
        dim, freeze: see `TableStart`.
        path: file of vectors, see `read_vectors`; None trains them.
        window: words on each side that a word predicts.
        epochs: passes over the train descriptions.
        seed: seed of the training.
    """

    def __init__(
        self, dim: int, freeze: bool, path: str | None, window: int, epochs: int, seed: int
    ) -> None:
        super().__init__(dim, freeze)
        check_range({"embedding.window": window, "embedding.epochs": epochs}, at_least=1)
        if path:
            check_file(path)
        self.path = path
        self.window = window
        self.epochs = epochs
        self.seed = seed

    def fill(self, weight: Tensor, corpus: Corpus, tokenizer: WordTokenizer) -> dict:
        if self.path:
            vectors = read_vectors(self.path)
        else:
            vectors = train_word2vec(
                corpus, tokenizer, self.dim, self.window, self.epochs, self.seed
            )
        if vectors.vector_size != self.dim:
            raise ConfigError(
                f"{self.path}: vectors of width {vectors.vector_size}, embedding.dim is "
                f"{self.dim}; set embedding.dim={vectors.vector_size}"
            )
        known = copy_vectors(vectors, weight, tokenizer)
        log.info("embedding: %s of %s words have a vector", f"{known:,}", f"{len(tokenizer):,}")
        return {"words_with_vector": known, "source": self.path or "train descriptions"}


def word2vec_encoder(
    corpus: Corpus,
    dim: int,
    window: int,
    epochs: int,
    seed: int,
    skip_gram: bool = True,
    sample: float = 1e-3,
    exponent: float = 0.75,
) -> StaticEncoder:
    """Build the encoder of `encoder=word2vec`: frozen vectors from the train descriptions.

    Args:
        corpus: gives the train descriptions and the tokenizer.
        dim, window, epochs, seed, skip_gram, sample, exponent: see `train_word2vec`.

    Raises:
        ConfigError: a number is out of range.
    """
    counts = {"encoder.dim": dim, "encoder.window": window, "encoder.epochs": epochs}
    check_range(counts, at_least=1)
    check_range({"encoder.sample": sample}, at_least=0, at_most=1)
    check_range({"encoder.exponent": exponent}, at_least=0, at_most=1)
    with torch.random.fork_rng(devices=[]):  # words without a vector keep what is drawn here
        torch.manual_seed(seed)
        encoder = StaticEncoder(corpus.tokenizer, dim)
    settings = (dim, window, epochs, seed, skip_gram, sample, exponent)
    vectors = train_word2vec(corpus, corpus.tokenizer, *settings)
    copy_vectors(vectors, encoder.embedding.table.weight.data, corpus.tokenizer)
    return encoder
