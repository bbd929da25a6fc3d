"""Word vectors from counts: positive PMI of co-occurring words, reduced by a truncated SVD."""

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
from elmo.models.static import StaticEncoder
from elmo.utils.cache import cached

log = logging.getLogger(__name__)

BLOCK = 500_000  # tokens counted at a time


def svd_encoder(
    corpus: Corpus, dim: int, window: int, smoothing: float, exponent: float, seed: int
) -> StaticEncoder:
    """Build the encoder of `encoder=svd`: frozen word vectors from the train descriptions.

    The vectors are computed once, then read from the cache. They are U_d S_d^p of M = U S V', where
    M is the positive pointwise mutual information of words and the words around them (Levy,
    Goldberg and Dagan 2015, sections 2.1 and 3).

    Args:
        corpus: gives the train split, which is counted, and the tokenizer.
        dim: d, width of a vector.
        window: words on each side that count as context.
        smoothing: the probability of a context is proportional to its count to this power (0.75 in
            the paper), so that rare contexts do not dominate.
        exponent: p, the weight of the singular values; 1 is the plain factorisation.
        seed: seed of the solver's start vector.

    Raises:
        ConfigError: a number is out of range.
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
        log.info("counting co-occurrences within %d words, SVD to width %d", window, dim)
        matrix = positive_pmi(co_occurrences(corpus, tokenizer, window), smoothing)
        np.save(path / "vectors.npy", truncated_svd(matrix, dim, exponent, seed))

    vectors = torch.from_numpy(np.load(cached(folder, build) / "vectors.npy"))
    encoder = StaticEncoder(tokenizer, dim)
    with torch.no_grad():
        encoder.embedding.table.weight[PAD + 1 :] = vectors[PAD + 1 :]
    return encoder


def co_occurrences(corpus: Corpus, tokenizer: WordTokenizer, window: int) -> csr_array:
    """Count how often two words of the train split occur within `window` words: (V, V).

    `<s>` and `</s>` are not counted. Memory grows with the number of different pairs.
    """
    size = len(tokenizer)
    counts = csr_array((size, size), dtype=np.float32)
    for ids, document in _blocks(corpus, tokenizer):
        for distance in range(1, window + 1):
            same_document = document[distance:] == document[:-distance]
            pairs = (ids[:-distance][same_document], ids[distance:][same_document])
            ones = np.ones(len(pairs[0]), dtype=np.float32)
            counts += coo_array((ones, pairs), shape=(size, size)).tocsr()
    return csr_array(counts + counts.T)


def _blocks(corpus: Corpus, tokenizer: WordTokenizer) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield blocks of documents: the ids of their words, and the document number of each word."""
    documents: list[np.ndarray] = []
    tokens = 0
    for ids in tokenizer.encode_ids(texts_of(corpus.splits["train"])):
        documents.append(ids[1:-1])
        tokens += len(ids)
        if tokens > BLOCK:
            yield _joined(documents)
            documents, tokens = [], 0
    if documents:
        yield _joined(documents)


def _joined(documents: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    lengths = [len(ids) for ids in documents]
    return np.concatenate(documents), np.repeat(np.arange(len(documents)), lengths)


def positive_pmi(counts: csr_array, smoothing: float) -> csr_array:
    """Return max(0, log(p(w, c) / (p(w) p(c)))) of symmetric counts (V, V), same shape.

    p(c) is proportional to count(c)^smoothing.
    """
    rows, columns = counts.nonzero()
    total = counts.sum(axis=1)  # (V,), of each word, both as word and as context
    smoothed = total.astype(np.float64) ** smoothing
    smoothed[total == 0] = 0
    context = smoothed / smoothed.sum()  # (V,), p(c)
    ratio = counts.data / (total[rows].astype(np.float64) * context[columns])
    values = np.log(ratio).clip(min=0).astype(np.float32)
    result = csr_array((values, (rows, columns)), shape=counts.shape)
    result.eliminate_zeros()
    return result


def truncated_svd(matrix: csr_array, dim: int, exponent: float, seed: int) -> np.ndarray:
    """Return U_d S_d^p (V, d) of a sparse matrix (V, V), the largest singular value first."""
    start = np.random.default_rng(seed).standard_normal(matrix.shape[0]).astype(np.float32)
    left, values, _ = svds(matrix, k=dim, v0=start)
    order = np.argsort(-values)
    left, values = left[:, order], values[order]
    # The sign of a singular vector is arbitrary; here its largest entry is made positive.
    largest = np.abs(left).argmax(axis=0)
    left = left * np.sign(left[largest, np.arange(dim)])
    return np.ascontiguousarray(left * values.clip(min=0) ** exponent, dtype=np.float32)
