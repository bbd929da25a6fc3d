"""The finished parts of a file of vectors that is in the making, so that a kill costs little."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

import numpy as np

from elmo.errors import ConfigError
from elmo.utils.files import atomic_writer, write_json

try:
    import fcntl
except ImportError:  # Windows: there two processes that write the same file are not told apart
    fcntl = None  # type: ignore[assignment]

SEPARATOR = ", "  # of the entries of `sentence_to_index`


class Vectors(NamedTuple):
    """What is kept of one document."""

    row: int  # of the document in its block
    tokens: list[str]
    array: np.ndarray


class Part(NamedTuple):
    """A block of documents that is finished; their arrays lie in a file beside this record."""

    tokens: list[str]  # of each document, joined by spaces
    entries: str  # in the JSON of `sentence_to_index`
    dtype: str
    places: list[tuple[int, list[int]]]  # offset and shape of each array


def check_new(out: Path) -> None:
    """Refuse a file that is there already, or that lies in no folder.

    Raises:
        ConfigError: either of them.
    """
    if out.exists():
        raise ConfigError(f"{out}: exists already; say -o with another name, or delete it")
    if not out.parent.is_dir():
        raise ConfigError(f"{out.parent}: no such folder; make it, or say -o with another one")


class Parts:
    """The folder `OUT.parts`, a context within which no other process can work on it.

    A part holds the documents of a range of numbers. Its arrays are written as they come, plainly
    rather than as HDF5, whose library can crash on a full disk; its record comes last and whole.

    Args:
        out: the file in the making.
        settings: what decides its content; parts of other settings are not gone on with.

    Raises:
        ConfigError: see `check_new`; or the folder is of other settings, or in use.
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
            self._lock(stack.enter_context((self.folder / ".lock").open("w")))
            check_new(self.out)  # another process may have finished it just now
            self._compare()
            self._open = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def _lock(self, handle: IO[str]) -> None:
        if fcntl is None:
            return
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(
                f"{self.folder}: another process works on {self.out}; wait for it, or say -o with "
                "another name"
            ) from error
        except OSError:
            pass  # a file system without locks

    def _compare(self) -> None:
        """Keep the settings with the parts, or see that they are the same."""
        record = self.folder / "settings.json"
        way_out = "say -o with another name, or delete that folder"
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
                f"{self.folder}: begun with other settings ({'; '.join(differences)}); repeat "
                f"them to go on, or {way_out}"
            )

    def finished(self) -> list[range]:
        """The documents of each finished part, in their order."""
        stems = sorted(file.stem for file in self.folder.glob("[0-9]*.json"))
        return [range(*map(int, stem.split("-"))) for stem in stems]

    def has(self, documents: range) -> bool:
        return self._file(documents, "json").exists()

    def _file(self, documents: range, suffix: str) -> Path:
        return self.folder / f"{documents.start:012d}-{documents.stop:012d}.{suffix}"

    def write(self, documents: range, texts: Sequence[str], found: Iterable[Vectors]) -> None:
        """Finish a part.

        Args:
            documents: their numbers.
            texts: the documents.
            found: of each of them, in any order.
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
        return Part(**json.loads(self._file(documents, "json").read_bytes()))

    def arrays(self, documents: range, part: Part) -> Iterator[np.ndarray]:
        """The array of each document, one at a time, in their order."""
        with self._file(documents, "raw").open("rb") as handle:
            for offset, shape in part.places:
                handle.seek(offset)
                content = handle.read(math.prod(shape) * np.dtype(part.dtype).itemsize)
                yield np.ndarray(shape, part.dtype, content)

    def size(self) -> int:
        """Bytes of all files in the folder."""
        return sum(file.stat().st_size for file in self.folder.iterdir())

    def remove(self) -> None:
        """Delete the folder, once the file is there, which keeps other processes out."""
        self._open.close()  # network file systems keep a file, and its folder, while it is open
        shutil.rmtree(self.folder, ignore_errors=True)
