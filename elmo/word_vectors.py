"""Word vectors from files that others made."""

from __future__ import annotations

import bz2
import gzip
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np
from gensim.models import KeyedVectors

from elmo.errors import DataError

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

    A `.kv` file is a pickle, which can name any function: one that names more than such vectors
    are made of is not read.

    Raises:
        DataError: the file is missing, not in its format, or would run code.
    """
    file = check_file(path)
    try:
        vectors = _read(file)
        if not isinstance(vectors, KeyedVectors):
            raise TypeError(f"it holds a {type(vectors).__name__}; save its .wv")
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


def _read(file: Path) -> object:
    if file.suffix == ".kv":
        with file.open("rb") as handle:
            found = VectorsUnpickler(handle, encoding="latin1").load()
        # Parts that gensim keeps in files beside it, the last two as pickles that it believes.
        for part in ("__scipys", "__recursive_saveloads"):
            if len(getattr(found, part, ())):
                raise pickle.UnpicklingError("it names other pickles, which could run code")
        return KeyedVectors.load(str(file))
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


class VectorsUnpickler(pickle.Unpickler):
    """Finds nothing but what the vectors of gensim are made of."""

    ALLOWED: ClassVar = {
        ("gensim.models.keyedvectors", "KeyedVectors"),
        ("gensim.models.keyedvectors", "Word2VecKeyedVectors"),
        ("gensim.models.keyedvectors", "CompatVocab"),
        ("gensim.models.keyedvectors", "Vocab"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy.core.multiarray", "scalar"),
        ("numpy._core.multiarray", "scalar"),
        ("_codecs", "encode"),
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which could run code")
        return super().find_class(module, name)
