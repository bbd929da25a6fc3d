"""gensim's KeyedVectors (`.kv`), read without gensim: the file is a pickle, which can run code.

The pickle is read with stand-ins for the few classes that vectors are made of. They only note what
they are given: numpy's own, asked for an array of objects or of any size, would crash.
"""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from gensim.models import KeyedVectors

FLOATS = {"f2", "f4", "f8"}


class _Kind:
    """Stands for `numpy.dtype`."""

    def __init__(self, code: str = "", *_: Any) -> None:
        self.code = code
        self.order = "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]


class _Array:
    """Stands for `numpy.ndarray`, made by `numpy.core.multiarray._reconstruct`."""

    def __init__(self, *_: Any) -> None:
        self.state: tuple = ()

    def __setstate__(self, state: tuple) -> None:
        self.state = state

    def read(self) -> np.ndarray:
        _, shape, kind, by_column, content = self.state
        if kind.code not in FLOATS:
            raise ValueError(f"vectors of type {kind.code}, expected one of {sorted(FLOATS)}")
        if isinstance(content, str):  # as Python 2 wrote it
            content = content.encode("latin1")
        dtype = np.dtype(f"{kind.order}{kind.code}")
        if len(shape) != 2 or len(content) != math.prod(shape) * dtype.itemsize:
            raise ValueError(f"{len(content)} bytes for an array of shape {shape}")
        return np.frombuffer(content, dtype).reshape(shape, order="F" if by_column else "C")


class _Object:
    """Stands for the vectors themselves, and for what gensim 3 kept of each word."""

    def __init__(self, *_: Any) -> None:
        pass


def _encode(text: str, encoding: str) -> bytes:
    """Stands for `_codecs.encode`, which Python 2's pickles of bytes name."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it encodes as {encoding!r}")
    return text.encode(encoding)


STAND_INS: dict[tuple[str, str], Any] = {
    ("gensim.models.keyedvectors", "KeyedVectors"): _Object,
    ("gensim.models.keyedvectors", "Word2VecKeyedVectors"): _Object,
    ("gensim.models.keyedvectors", "CompatVocab"): _Object,
    ("gensim.models.keyedvectors", "Vocab"): _Object,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Kind,
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,
    ("numpy.core.multiarray", "scalar"): _Object,
    ("numpy._core.multiarray", "scalar"): _Object,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle._Unpickler):
    """In Python: the one in C takes gigabytes where the file has a large number for its memory.

    Without the one operation that takes room for as many bytes as the file says.
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
    """
    Raises:
        Exception: whatever the malformed place led to.
    """
    with file.open("rb") as handle:
        found = _Unpickler(handle, encoding="latin1").load()
    if not isinstance(found, _Object):
        raise ValueError(f"it holds a {type(found).__name__.strip('_')}; save the .wv of a model")
    content = vars(found)
    words = content.get("index_to_key") or content["index2word"]
    if "vectors" in content.get("__numpys", ()):  # large ones lie in a file beside it
        array = np.load(f"{file}.vectors.npy", mmap_mode="r", allow_pickle=False)
    else:
        array = content["vectors"].read()
    if not (isinstance(words, list) and len(words) == len(array)):
        raise ValueError(f"vectors of {len(array)} words, and not as many words")
    vectors = KeyedVectors(array.shape[1])
    vectors.add_vectors(words, np.asarray(array, dtype=np.float32))
    return vectors
