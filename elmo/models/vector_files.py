"""Reading word vectors from files of other programs."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from gensim.models import KeyedVectors

from elmo.errors import DataError
from elmo.models.keyed_vectors import read_keyed_vectors

OPENERS: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open}


def check_file(path: str | Path) -> Path:
    """Return the path of a file of word vectors, after checking that it exists.

    Raises:
        DataError: there is no file.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(
            f"{file}: no such file; set embedding.path to a file of word vectors, or to null to "
            "train them"
        )
    return file


def read_vectors(path: str | Path) -> KeyedVectors:
    """Read word vectors: gensim's KeyedVectors (.kv), word2vec text or binary (.bin), or GloVe.

    Raises:
        DataError: the file is missing, not in one of these formats, or could run code.
    """
    file = check_file(path)
    try:
        vectors = _read(file)
        if not vectors.vectors.size:
            raise ValueError("it holds no vectors")
        finite = np.isfinite(vectors.vectors).all(axis=1)
        if not finite.all():
            word = vectors.index_to_key[int(finite.argmin())]
            raise ValueError(f"the vector of {word!r:.60} holds infinity or NaN")
        return vectors
    except Exception as error:  # gensim raises errors of any type for a malformed line
        raise DataError(
            f"{file}: not readable as word vectors ({error}); expected gensim KeyedVectors (.kv), "
            "word2vec binary (.bin, .bin.gz), word2vec text, or GloVe text"
        ) from error


def _read(file: Path) -> KeyedVectors:
    if file.suffix == ".kv":
        return read_keyed_vectors(file)
    with OPENERS.get(file.suffix, open)(file, "rb") as handle:
        first = handle.readline(10_000).split()
        binary = ".bin" in file.suffixes
        has_header = binary or len(first) == 2
        if has_header:
            count, dim = map(int, first)
            # gensim allocates all vectors at once, so the file has to be large enough for them: a
            # number takes at least two bytes as text, four in binary.
            needed = count * dim * (4 if binary else 2)
            if dim < 1 or not _has_bytes(handle, needed):
                raise ValueError(f"it is too small for {count} vectors of width {dim}")
    return KeyedVectors.load_word2vec_format(str(file), binary=binary, no_header=not has_header)


def _has_bytes(handle: IO[bytes], count: int) -> bool:
    """Tell whether `count` bytes follow; they are read in chunks, as the file may be compressed."""
    while count > 0 and (chunk := handle.read(min(count, 2**20))):
        count -= len(chunk)
    return count <= 0
