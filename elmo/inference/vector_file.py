"""The HDF5 file of vectors: many documents, each a data set, as AllenNLP's `elmo` command has it.

"0", "1", ... are the vectors of each document, `sentence_to_index` is a JSON object of documents
and their numbers. `tokens`, the tokens of each document joined by spaces, is our own.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import h5py
import numpy as np

from elmo.errors import ConfigError
from elmo.inference.vector_parts import SEPARATOR, Parts, check_new

# The groups of this format keep a million data sets in flat memory, and HDF5 1.8 can read them.
FORMAT = ("v108", "v108")
LARGEST_STRING = 2**31 - 1  # bytes in an element of a numpy array
OVERHEAD = 512  # bytes of HDF5 for a document, generously


def merge(parts: Parts) -> bool:
    """Make the file of its finished parts and remove them.

    Returns:
        Whether `sentence_to_index` is in it; it is left out where it would be too large.

    Raises:
        ConfigError: the disk has no room for it.
    """
    needed = parts.size() + OVERHEAD * sum(map(len, parts.finished()))
    if (free := shutil.disk_usage(parts.folder).free) < needed:
        raise ConfigError(
            f"{parts.out}: to finish it, {needed / 1e9:,.1f} GB are needed and {free / 1e9:,.1f} "
            f"are free; make room and give the same command again, {parts.folder} stays"
        )
    temporary = parts.folder / ".merged"
    offset = None
    with h5py.File(temporary, "w", libver=FORMAT) as file:
        size = copy(parts, file)
        if size <= LARGEST_STRING:
            offset = reserve(file, size)
    with temporary.open("r+b") as handle:
        if offset is not None:
            handle.seek(offset)
            handle.writelines(index(parts))
            handle.flush()
        os.fsync(handle.fileno())
    check_new(parts.out)
    temporary.replace(parts.out)
    parts.remove()
    return offset is not None


def copy(parts: Parts, file: h5py.File) -> int:
    """Copy vectors and tokens; returns the bytes of `sentence_to_index`."""
    finished = parts.finished()
    total = finished[-1].stop if finished else 0
    tokens = file.create_dataset("tokens", (total,), h5py.string_dtype())
    size = len("{}") + len(SEPARATOR) * max(0, len(finished) - 1)
    for documents in finished:
        part = parts.read(documents)
        for number, array in zip(documents, parts.arrays(documents, part), strict=True):
            put(file, b"%d" % number, array)
        tokens[documents.start : documents.stop] = part.tokens
        size += len(part.entries.encode())
    return size


def index(parts: Parts) -> Iterator[bytes]:
    """The JSON of `sentence_to_index` in pieces."""
    yield b"{"
    for documents in parts.finished():
        if documents.start:
            yield SEPARATOR.encode()
        yield parts.read(documents).entries.encode()
    yield b"}"


def put(file: h5py.File, name: bytes, array: np.ndarray) -> None:
    """Add a data set, in half the time that h5py's `create_dataset` takes."""
    space = h5py.h5s.create_simple(array.shape)
    kind = h5py.h5t.py_create(array.dtype, logical=True)
    data_set = h5py.h5d.create(file.id, name, kind, space)
    data_set.write(h5py.h5s.ALL, h5py.h5s.ALL, array)


def reserve(file: h5py.File, size: int) -> int:
    """Make `sentence_to_index`, a string of `size` bytes; returns where in the file they belong.

    HDF5 writes an element in one piece, which would have to be in memory. In a contiguous data set
    that is allocated at once its place is known, and plain writing can fill it.
    """
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.CONTIGUOUS)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    kind = h5py.string_dtype("utf-8", size)
    return file.create_dataset("sentence_to_index", (1,), kind, dcpl=layout).id.get_offset()
