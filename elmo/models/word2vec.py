"""Word2Vec, trained by gensim: to initialise the embedding of a biLM, and as a static encoder."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import torch
from gensim.models import KeyedVectors, Word2Vec
from torch import Tensor

from elmo.data.corpus import Corpus
from elmo.data.text import PAD, WordTokenizer
from elmo.errors import ConfigError, check_range
from elmo.models.embedding_starts import TableStart
from elmo.models.static import PairEncoder, StaticEncoder
from elmo.models.vector_files import check_file, read_vectors
from elmo.utils.cache import cached

log = logging.getLogger(__name__)
logging.getLogger("gensim").setLevel(logging.WARNING)  # it logs each epoch of each thread


PAIR = " "  # between the words of a pair; no word has one


class Sentences:
    """The train descriptions as lists of words; gensim iterates over them several times.

    Args:
        pairs: pairs of words that are merged into one in two more copies of each description, in
            which a pair starts at every even or at every odd place. So each pair and the words
            predict each other (after Gupta, Pagliardini and Jaggi 2019, section 3).
    """

    def __init__(
        self, corpus: Corpus, tokenizer: WordTokenizer, pairs: Collection[str] = ()
    ) -> None:
        self.corpus = corpus
        self.tokenizer = tokenizer
        self.pairs = pairs

    def __iter__(self) -> Iterator[list[str]]:
        words = self.tokenizer.words
        for batch in self.corpus.splits["train"].iter(10_000):
            for ids in self.tokenizer.encode_ids(batch["text"]):
                found = [words[index] for index in ids[1:-1]]
                yield found
                if self.pairs:
                    yield from (_merged(found, self.pairs, start) for start in (0, 1))


def _merged(words: list[str], pairs: Collection[str], start: int) -> list[str]:
    """Merge the words at places start and start + 1, start + 2 and start + 3, ... where a pair."""
    merged = words[:start]
    for place in range(start, len(words), 2):
        two = words[place : place + 2]
        pair = PAIR.join(two)
        merged += [pair] if pair in pairs else two
    return merged


def frequent_pairs(corpus: Corpus, tokenizer: WordTokenizer, least: int) -> set[str]:
    """Return the pairs of neighbouring words that occur at least so often in the train split."""
    counts: Counter[str] = Counter()
    for words in Sentences(corpus, tokenizer):
        counts.update(map(PAIR.join, itertools.pairwise(words)))
    return {pair for pair, count in counts.items() if count >= least}


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
    pairs: int | None = None,
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
        pairs: train vectors of the pairs of neighbouring words that occur so often, together with
            those of the words, see `Sentences`; None for words alone.
    """
    settings = [corpus.fingerprint, tokenizer.json, dim, window, epochs, seed, skip_gram]
    settings += [sample, exponent] if pairs is None else [sample, exponent, pairs]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    folder = corpus.cache_dir / "word2vec" / f"{corpus.name}-{key}"

    def build(path: Path) -> None:
        kind = "skip-gram" if skip_gram else "CBOW"
        log.info("training Word2Vec, %s: width %d, window %d, %d epochs", kind, dim, window, epochs)
        merged = set() if pairs is None else frequent_pairs(corpus, tokenizer, pairs)
        vectors = Word2Vec(
            Sentences(corpus, tokenizer, merged),
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
    pairs: int | None = None,
) -> StaticEncoder:
    """Build the encoder of `encoder=word2vec`: frozen vectors from the train descriptions.

    Args:
        corpus: gives the train descriptions and the tokenizer.
        dim, window, epochs, seed, skip_gram, sample, exponent: see `train_word2vec`.
        pairs: add a layer with the vectors of pairs of words that occur at least so often; None for
            words alone.

    Raises:
        ConfigError: a number is out of range.
    """
    counts = {"encoder.dim": dim, "encoder.window": window, "encoder.epochs": epochs}
    check_range(counts, at_least=1)
    check_range({"encoder.sample": sample}, at_least=0, at_most=1)
    check_range({"encoder.exponent": exponent}, at_least=0, at_most=1)
    check_range({"encoder.pairs": pairs}, at_least=1, otherwise="null")
    tokenizer = corpus.tokenizer
    settings = (dim, window, epochs, seed, skip_gram, sample, exponent, pairs)
    vectors = train_word2vec(corpus, tokenizer, *settings)
    with torch.random.fork_rng(devices=[]):  # words without a vector keep what is drawn here
        torch.manual_seed(seed)
        if pairs is None:
            encoder = StaticEncoder(tokenizer, dim)
        else:
            encoder = _pair_encoder(vectors, tokenizer)
    copy_vectors(vectors, encoder.embedding.table.weight.data, tokenizer)
    return encoder


def _pair_encoder(vectors: KeyedVectors, tokenizer: WordTokenizer) -> PairEncoder:
    """Return an encoder with the vectors of the pairs, but new ones of the words."""
    ids = {word: index for index, word in enumerate(tokenizer.words)}
    names = [name for name in vectors.index_to_key if PAIR in name]
    pairs = np.array([[ids[word] for word in name.split(PAIR)] for name in names]).reshape(-1, 2)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    encoder = PairEncoder(tokenizer, vectors.vector_size, pairs[order].astype(np.int64))
    if names:
        found = torch.from_numpy(vectors[[names[place] for place in order]])  # (P, E)
        encoder.pair_embedding.table.weight.data[1:] = found
    log.info("encoder: %s pairs of words have a vector", f"{len(names):,}")
    return encoder
