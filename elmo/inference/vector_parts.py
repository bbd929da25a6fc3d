"""The finished parts of an unfinished file of vectors, so that a kill costs little."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from filelock import FileLock, Timeout

from elmo.errors import ConfigError
from elmo.utils.files import atomic_writer, write_json

SEPARATOR = ", "  # of the entries of `sentence_to_index`


class Vectors(NamedTuple):
    """The tokens of one document and the array that is kept of its layers."""

    row: int  # of the document in its block
    tokens: list[str]
    array: np.ndarray


class Part(NamedTuple):
    """The record of a finished block of documents; a file beside it holds their arrays."""

    tokens: list[str]  # of each document, joined by spaces
    entries: str  # of the documents in the JSON of `sentence_to_index`
    dtype: str
    places: list[tuple[int, list[int]]]  # offset and shape of each array


def check_new(out: Path) -> None:
    """Check that a file does not exist yet and that its folder does.

    Raises:
        ConfigError: one of the two fails.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists already; choose another name with -o, or delete it")
    if not out.parent.is_dir():
        raise ConfigError(f"{out.parent}: no such folder; create it, or choose another with -o")


class Parts:
    """The folder `OUT.parts`; as a context, it locks the folder against other processes.

    A part holds the documents of a range of numbers. Its arrays are written in the order in which
    they are computed, as plain bytes rather than as HDF5, whose library can crash on a full disk.
    Its record is written last, and atomically.

    Args:
        out: the file that the parts will become.
        settings: everything that decides its content; parts with other settings are refused.

    Raises:
        ConfigError: see `check_new`; or the folder has other settings, or is in use.
    """

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.out = out
        self.folder = out.with_name(f"{out.name}.parts")
        self.settings = settings
        self._open = contextlib.ExitStack()

    def __enter__(self) -> Self:
        check_new(self.out)
        self.folder.mkdir(exist_ok=True)
        with contextlib.ExitStack() as stack:
            self._lock(stack)
            check_new(self.out)  # another process may have finished it just now
            self._check_settings()
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _lock(self, stack: contextlib.ExitStack) -> None:
        try:
            stack.enter_context(FileLock(self.folder / ".lock", timeout=0))
        except Timeout as error:
            raise ConfigError(
                f"{self.folder}: another process is writing {self.out}; wait for it, or choose "
                "another name with -o"
            ) from error

    def _check_settings(self) -> None:
        """Write the settings beside the parts, or check that they are the same as before."""
        record = self.folder / "settings.json"
        way_out = "choose another name with -o, or delete that folder"
        if not record.exists():
            if any(not file.name.startswith(".") for file in self.folder.iterdir()):
                raise ConfigError(f"{self.folder}: holds other files than parts; {way_out}")
            write_json(record, self.settings)
            return
        begun = json.loads(record.read_text())
        differences = [
            f"{name} was {begun.get(name)}, is {value}"
            for name, value in self.settings.items()
            if begun.get(name) != value
        ]
        if differences:
            raise ConfigError(
                f"{self.folder}: started with other settings ({'; '.join(differences)}); repeat "
                f"them to continue, or {way_out}"
            )

    def finished(self) -> list[range]:
        """Return the range of documents of each finished part, in order."""
        stems = sorted(file.stem for file in self.folder.glob("[0-9]*.json"))
        return [range(*map(int, stem.split("-"))) for stem in stems]

    def has(self, documents: range) -> bool:
        """Tell whether the part with these documents is finished."""
        return self._file(documents, "json").exists()

    def _file(self, documents: range, suffix: str) -> Path:
        return self.folder / f"{documents.start:012d}-{documents.stop:012d}.{suffix}"

    def write(self, documents: range, texts: Sequence[str], found: Iterable[Vectors]) -> None:
        """Write a whole part.

        Args:
            documents: the numbers of the documents.
            texts: the documents.
            found: the vectors of each document, in any order.
        """
        entries = SEPARATOR.join(
            f'{json.dumps(text, ensure_ascii=False)}: "{number}"'
            for number, text in zip(documents, texts, strict=True)
        )
        part = Part([""] * len(texts), entries, "", [(0, [])] * len(texts))
        with self._file(documents, "raw").open("wb") as handle:
            for row, tokens, array in found:
                part.tokens[row] = " ".join(tokens)
                part.places[row] = (handle.tell(), list(array.shape))
                part = part._replace(dtype=array.dtype.name)
                handle.write(array.tobytes())
            handle.flush()
            os.fsync(handle.fileno())
        with atomic_writer(self._file(documents, "json")) as handle:
            handle.write(json.dumps(part._asdict()).encode())

    def read(self, documents: range) -> Part:
        """Return the record of a finished part."""
        return Part(**json.loads(self._file(documents, "json").read_bytes()))

    def arrays(self, documents: range, part: Part) -> Iterator[np.ndarray]:
        """Yield the array of each document, in order."""
        with self._file(documents, "raw").open("rb") as handle:
            for offset, shape in part.places:
                handle.seek(offset)
                content = handle.read(math.prod(shape) * np.dtype(part.dtype).itemsize)
                yield np.ndarray(shape, part.dtype, content)

    def size(self) -> int:
        """Return the bytes of all files in the folder."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def remove(self) -> None:
        """Delete the folder; by now the finished file keeps other processes out."""
        self._open.close()  # network file systems keep a file, and its folder, while it is open
        shutil.rmtree(self.folder, ignore_errors=True)
