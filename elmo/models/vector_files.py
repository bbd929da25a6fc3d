"""Word vectors from files that others made."""

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
    """
    Raises:
        DataError: there are no vectors at `path`.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(
            f"{file}: no such file; embedding.path names word vectors, null trains them"
        )
    return file


def read_vectors(path: str | Path) -> KeyedVectors:
    """Vectors in gensim's KeyedVectors (.kv), word2vec text or binary (.bin), or GloVe format.

    Raises:
        DataError: the file is missing, not in its format, or would run code.
    """
    file = check_file(path)
    try:
        vectors = _read(file)
        if not vectors.vectors.size:
            raise ValueError("no vectors in it")
        finite = np.isfinite(vectors.vectors).all(axis=1)
        if not finite.all():
            word = vectors.index_to_key[int(finite.argmin())]
            raise ValueError(f"the vector of {word!r:.60} holds infinity or no number")
        return vectors
    except Exception as error:  # gensim raises whatever the malformed line led to
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
            # Room for all is taken at once: a number takes two bytes as text, four as such.
            needed = count * dim * (4 if binary else 2)
            if dim < 1 or not _holds(handle, needed):
                raise ValueError(f"it is too small for {count} vectors of width {dim}")
    return KeyedVectors.load_word2vec_format(str(file), binary=binary, no_header=not has_header)


def _holds(handle: IO[bytes], count: int) -> bool:
    """Whether so many bytes follow; of a packed file they have to be unpacked, piece by piece."""
    while count > 0 and (piece := handle.read(min(count, 2**20))):
        count -= len(piece)
    return count <= 0
