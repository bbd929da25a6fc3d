"""Reading gensim's KeyedVectors (`.kv`) without running code: the file is a pickle, which could.

The pickle is read with stand-ins for the few classes that vectors consist of. A stand-in only keeps
what it is given. The real classes of numpy would crash where the file asks for an array of objects,
or for one of any size.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gensim.models import KeyedVectors

FLOATS = {"f2", "f4", "f8"}


class _DType:
    """Stand-in for `numpy.dtype`."""

    def __init__(self, code: str = "", *_: Any) -> None:
        self.code = code
        self.order = "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]


class _Array:
    """Stand-in for `numpy.ndarray`, created by `numpy.core.multiarray._reconstruct`."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple = ()

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def to_numpy(self) -> np.ndarray:
        _, shape, stored, by_column, content = self.state
        if stored.code not in FLOATS:
            raise ValueError(f"vectors of type {stored.code}, expected one of {sorted(FLOATS)}")
        if isinstance(content, str):  # as Python 2 writes bytes
            content = content.encode("latin1")
        dtype = np.dtype(f"{stored.order}{stored.code}")
        if len(shape) != 2 or len(content) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{len(content)} bytes for an array of shape {shape}")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if by_column else "C")


class _Object:
    """Stand-in for `KeyedVectors`, and for the facts about each word that gensim 3 kept."""

    def __init__(self, *_: Any) -> None:
        pass


def _encode(text: str, encoding: str) -> bytes:
    """Stand-in for `_codecs.encode`, which Python 2's pickles of bytes name."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it names the encoding {encoding!r}, expected 'latin1'")
    return text.encode(encoding)


STAND_INS: dict[tuple[str, str], Any] = {
    ("gensim.models.keyedvectors", "KeyedVectors"): _Object,
    ("gensim.models.keyedvectors", "Word2VecKeyedVectors"): _Object,
    ("gensim.models.keyedvectors", "CompatVocab"): _Object,
    ("gensim.models.keyedvectors", "Vocab"): _Object,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _DType,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _Object,
    ("numpy._core.multiarray", "scalar"): _Object,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle._Unpickler):
    """Python's own unpickler, restricted to the stand-ins and to memory that the file fills.

    The unpickler in C allocates gigabytes where the file holds a large index for its memo. The
    operation BYTEARRAY8, which allocates as many bytes as the file says, is removed.
    """

    dispatch: ClassVar = {
        code: load
        for code, load in pickle._Unpickler.dispatch.items()
        if code != pickle.BYTEARRAY8[0]
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in STAND_INS:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which could run code")
        return STAND_INS[module, name]


def read_keyed_vectors(file: Path) -> KeyedVectors:
    """Read vectors that gensim's `KeyedVectors.save` wrote.

    Raises:
        Exception: the file is malformed; unpickling can raise any type.
    """
    with file.open("rb") as handle:
        saved = _Unpickler(handle, encoding="latin1").load()
    if not isinstance(saved, _Object):
        kind = type(saved).__name__.strip("_")
        raise ValueError(f"it holds an object of type {kind}; save the .wv of a model")
    content = vars(saved)
    words = content.get("index_to_key") or content["index2word"]
    if "vectors" in content.get("__numpys", ()):  # gensim writes large arrays to a second file
        array = np.load(f"{file}.vectors.npy", mmap_mode="r", allow_pickle=False)
    else:
        array = content["vectors"].to_numpy()
    if not (isinstance(words, list) and len(words) == len(array)):
        raise ValueError(f"it holds {len(array)} vectors, but another number of words")
    vectors = KeyedVectors(array.shape[1])
    vectors.add_vectors(words, np.asarray(array, dtype=np.float32))
    return vectors
