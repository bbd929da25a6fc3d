"""Word vectors from counts: positive PMI of co-occurring words, cut down by an SVD."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import coo_array, csr_array
from scipy.sparse.linalg import svds

from elmo.data.corpus import Corpus, texts_of
from elmo.data.text import PAD, WordTokenizer
from elmo.errors import ConfigError, check_range
from elmo.models.encoders import StaticEncoder
from elmo.utils.cache import cached

log = logging.getLogger(__name__)

BLOCK = 500_000  # tokens counted at a time


def svd_encoder(
    corpus: Corpus, dim: int, window: int, smoothing: float, exponent: float, seed: int
) -> StaticEncoder:
    """The encoder of `encoder=svd`: vectors of the train descriptions, frozen.

    Made once, then read from the cache. The vectors are U_d S_d^p of M = U S V', the positive
    pointwise mutual information of words and the words around them (Levy, Goldberg and Dagan
    2015, sections 2.1 and 3).

    Args:
        corpus: whose train split is counted, with its tokenizer.
        dim: d, width of a vector.
        window: words on each side that count as context.
        smoothing: contexts are as probable as their counts to this power (0.75 there), so that
            rare contexts do not win.
        exponent: p, how much the singular values weigh; 1 is the plain factorisation.
        seed: of the solver's first vector.

    Raises:
        ConfigError: a number that cannot be.
    """
    check_range({"encoder.dim": dim, "encoder.window": window}, at_least=1)
    exponents = {"encoder.smoothing": smoothing, "encoder.exponent": exponent}
    check_range(exponents, at_least=0, at_most=1)
    tokenizer = corpus.tokenizer
    if dim >= len(tokenizer):
        raise ConfigError(f"encoder.dim is {dim}; expected less than V = {len(tokenizer)}")
    settings = [corpus.fingerprint, tokenizer.json, dim, window, smoothing, exponent, seed]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    folder = corpus.cache_dir / "svd" / f"{corpus.name}-{key}"

    def build(path: Path) -> None:
        log.info("counting words within %d of each other, SVD to width %d", window, dim)
        matrix = positive_pmi(co_occurrences(corpus, tokenizer, window), smoothing)
        np.save(path / "vectors.npy", truncated_svd(matrix, dim, exponent, seed))

    vectors = torch.from_numpy(np.load(cached(folder, build) / "vectors.npy"))
    encoder = StaticEncoder(tokenizer, dim)
    with torch.no_grad():
        encoder.embedding.table.weight[PAD + 1 :] = vectors[PAD + 1 :]
    return encoder


def co_occurrences(corpus: Corpus, tokenizer: WordTokenizer, window: int) -> csr_array:
    """How often two words of the train split stand within `window` of each other: (V, V).

    `<s>` and `</s>` are no words. Memory is bounded by the pairs that occur.
    """
    size = len(tokenizer)
    counts = csr_array((size, size), dtype=np.float32)
    for ids, document in _blocks(corpus, tokenizer):
        for distance in range(1, window + 1):
            near = document[distance:] == document[:-distance]
            pair = (ids[:-distance][near], ids[distance:][near])
            ones = np.ones(len(pair[0]), dtype=np.float32)
            counts += coo_array((ones, pair), shape=(size, size)).tocsr()
    return csr_array(counts + counts.T)


def _blocks(corpus: Corpus, tokenizer: WordTokenizer) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The words of many documents one after another, and which document each is of."""
    documents: list[np.ndarray] = []
    held = 0
    for ids in tokenizer.encode_ids(texts_of(corpus.splits["train"])):
        documents.append(ids[1:-1])
        held += len(ids)
        if held > BLOCK:
            yield _joined(documents)
            documents, held = [], 0
    if documents:
        yield _joined(documents)


def _joined(documents: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    lengths = [len(ids) for ids in documents]
    return np.concatenate(documents), np.repeat(np.arange(len(documents)), lengths)


def positive_pmi(counts: csr_array, smoothing: float) -> csr_array:
    """max(0, log(p(w, c) / (p(w) p(c)))), where p(c) ~ count(c)^smoothing, of counts (V, V)."""
    rows, columns = counts.nonzero()
    total = counts.sum(axis=1)  # of each word, as word and as context: the counts are symmetric
    smoothed = total.astype(np.float64) ** smoothing
    smoothed[total == 0] = 0
    share = smoothed / smoothed.sum()
    ratio = counts.data / (total[rows].astype(np.float64) * share[columns])
    values = np.log(ratio).clip(min=0).astype(np.float32)
    result = csr_array((values, (rows, columns)), shape=counts.shape)
    result.eliminate_zeros()
    return result


def truncated_svd(matrix: csr_array, dim: int, exponent: float, seed: int) -> np.ndarray:
    """U_d S_d^p (V, d) of a sparse matrix (V, V), the largest singular value first."""
    start = np.random.default_rng(seed).standard_normal(matrix.shape[0]).astype(np.float32)
    left, values, _ = svds(matrix, k=dim, v0=start)
    order = np.argsort(-values)
    left, values = left[:, order], values[order]
    # A pair of singular vectors may be turned round; each points to its largest entry.
    largest = np.abs(left).argmax(axis=0)
    left = left * np.sign(left[largest, np.arange(dim)])
    return np.ascontiguousarray(left * values.clip(min=0) ** exponent, dtype=np.float32)
