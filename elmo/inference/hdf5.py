"""The HDF5 file of vectors: a data set per document, as AllenNLP's command `elmo` writes it.

"0", "1", ... hold the vectors of each document, `sentence_to_index` is a JSON object of documents
and their numbers. `tokens` is added here: the tokens of each document, joined by spaces.
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
    """Merge finished parts into the file, and remove them.

    Returns:
        Whether the file has `sentence_to_index`; it is left out where it would be too large.

    Raises:
        ConfigError: the disk has too little space.
    """
    needed = parts.size() + OVERHEAD * sum(map(len, parts.finished()))
    if (free := shutil.disk_usage(parts.folder).free) < needed:
        raise ConfigError(
            f"{parts.out}: to finish it, {needed / 1e9:,.1f} GB are needed and {free / 1e9:,.1f} "
            f"are free; free some space and repeat the command, {parts.folder} is kept"
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
    """Copy vectors and tokens; return the bytes that `sentence_to_index` needs."""
    finished = parts.finished()
    total = finished[-1].stop if finished else 0
    tokens = file.create_dataset("tokens", (total,), h5py.string_dtype())
    size = len("{}") + len(SEPARATOR) * max(0, len(finished) - 1)
    for documents in finished:
        part = parts.read(documents)
        for number, array in zip(documents, parts.arrays(documents, part), strict=True):
            add_dataset(file, b"%d" % number, array)
        tokens[documents.start : documents.stop] = part.tokens
        size += len(part.entries.encode())
    return size


def index(parts: Parts) -> Iterator[bytes]:
    """Yield the JSON of `sentence_to_index` in pieces."""
    yield b"{"
    for documents in parts.finished():
        if documents.start:
            yield SEPARATOR.encode()
        yield parts.read(documents).entries.encode()
    yield b"}"


def add_dataset(file: h5py.File, name: bytes, array: np.ndarray) -> None:
    """Add a data set in half the time that h5py's `create_dataset` takes."""
    space = h5py.h5s.create_simple(array.shape)
    kind = h5py.h5t.py_create(array.dtype, logical=True)
    data_set = h5py.h5d.create(file.id, name, kind, space)
    data_set.write(h5py.h5s.ALL, h5py.h5s.ALL, array)


def reserve(file: h5py.File, size: int) -> int:
    """Create `sentence_to_index` as a string of `size` bytes; return their offset in the file.

    HDF5 writes an element in one piece, which would have to fit in memory. A contiguous data set
    that is allocated early has a known offset, and plain writes can fill it.
    """
    layout = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    layout.set_layout(h5py.h5d.CONTIGUOUS)
    layout.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    layout.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    kind = h5py.string_dtype("utf-8", size)
    return file.create_dataset("sentence_to_index", (1,), kind, dcpl=layout).id.get_offset()
