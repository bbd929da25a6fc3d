"""Word2Vec by gensim: as the start of the biLM's embedding, and as a static encoder."""

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
from elmo.models.embedding_starts import EmbeddingStart
from elmo.models.encoders import StaticEncoder
from elmo.models.vector_files import check_file, read_vectors
from elmo.utils.cache import cached

log = logging.getLogger(__name__)
logging.getLogger("gensim").setLevel(logging.WARNING)  # it reports each epoch of each thread


class Sentences:
    """The train descriptions as lists of words, as many times as gensim asks for them."""

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
) -> KeyedVectors:
    """Skip-gram or CBOW with negative sampling (Mikolov et al. 2013) on the train descriptions.

    Trained once, by one thread so that it repeats, then read from the cache.
    """
    settings = [corpus.fingerprint, tokenizer.json, dim, window, epochs, seed, skip_gram]
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
            min_count=1,
            workers=1,
            seed=seed,
        ).wv
        # Plain arrays and text: gensim's own format is a pickle.
        np.save(path / "vectors.npy", vectors.vectors)
        (path / "words.json").write_text(json.dumps(vectors.index_to_key))

    cached(folder, build)
    result = KeyedVectors(dim)
    result.add_vectors(
        json.loads((folder / "words.json").read_text()), np.load(folder / "vectors.npy")
    )
    return result


def fill_from(vectors: KeyedVectors, weight: Tensor, tokenizer: WordTokenizer) -> int:
    """Copy the vectors of the words that both know into `weight` (V, E); returns how many.

    The other words keep their random vectors, scaled to the spread of the vectors that came in.
    """
    words = tokenizer.words
    found = [index for index, word in enumerate(words) if index != PAD and word in vectors]
    with torch.no_grad():
        if found:
            known = torch.from_numpy(np.stack([vectors[words[index]] for index in found]))
            weight[PAD + 1 :] *= known.std() / weight.std()
            weight[found] = known.to(weight.dtype)
    return len(found)


class Word2VecStart(EmbeddingStart):
    """Start from Word2Vec: trained on the train descriptions, or read from a file.

    Args:
        dim, freeze: see `EmbeddingStart`.
        path: vectors to read, see `read_vectors`; None trains them.
        window: words on each side that a word predicts.
        epochs: passes over the train descriptions.
        seed: of the training.
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
                f"{self.dim}; say embedding.dim={vectors.vector_size}"
            )
        found = fill_from(vectors, weight, tokenizer)
        log.info("embedding: %s of %s words have a vector", f"{found:,}", f"{len(tokenizer):,}")
        return {"words_with_vector": found, "source": self.path or "train descriptions"}


def word2vec_encoder(
    corpus: Corpus, dim: int, window: int, epochs: int, seed: int, skip_gram: bool = True
) -> StaticEncoder:
    """The encoder of `encoder=word2vec`: vectors of the train descriptions, frozen.

    Args:
        corpus: whose train split is read, with its tokenizer.
        dim: width of a vector.
        window, epochs, seed: see `Word2VecStart`.
        skip_gram: a word predicts those around it; otherwise they predict the word (CBOW).
    """
    counts = {"encoder.dim": dim, "encoder.window": window, "encoder.epochs": epochs}
    check_range(counts, at_least=1)
    with torch.random.fork_rng(devices=[]):  # words without a vector keep what is drawn here
        torch.manual_seed(seed)
        encoder = StaticEncoder(corpus.tokenizer, dim)
    vectors = train_word2vec(corpus, corpus.tokenizer, dim, window, epochs, seed, skip_gram)
    fill_from(vectors, encoder.embedding.table.weight.data, corpus.tokenizer)
    return encoder
