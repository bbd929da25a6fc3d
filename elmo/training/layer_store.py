"""The layer store: frozen layers of a corpus, computed once and kept on disk for all jobs."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import time
from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor
from tqdm import tqdm

from elmo.data.batches import EpochOrder, TokenBudgetBatches
from elmo.data.datamodule import TokenData
from elmo.data.tokens import TokenizedSplit
from elmo.errors import check_range
from elmo.models.encoders import Encoder
from elmo.utils.cache import SEAL, is_intact, publish
from elmo.utils.tensor_files import state_checksum

log = logging.getLogger(__name__)

# Another budget makes other batches, and so other last bits of an entry.
TOKEN_BUDGET = 8192


class Store(ABC):
    """Gives the batches of a classifier their frozen layers."""

    @abstractmethod
    def attach(
        self, encoder: Encoder, data: TokenData, device: torch.device, test: bool = True
    ) -> float:
        """Let the batches of `data` carry the layers that the encoder would compute for them.

        Args:
            encoder: frozen.
            device: computes the layers.
            test: include the test split.

        Returns:
            The seconds that computing them took.
        """


class NoStore(Store):
    """Stores nothing: the encoder computes the layers of every batch."""

    def attach(
        self, encoder: Encoder, data: TokenData, device: torch.device, test: bool = True
    ) -> float:
        return 0.0


class DiskStore(Store):
    """Stores an entry for each encoder and split, in half precision; the oldest are deleted first.

    The name of an entry is a hash of everything that its bits depend on: the encoder's weights and
    tokenizer, the rows, and the device, number of threads and version of PyTorch. An entry is
    always computed from the same batches in the same order, never from the batches of a job, so
    every job would write the same bits. A job whose entries do not fit runs without them.

    Args:
        folder: of all entries.
        max_gigabytes: of all entries together; they also leave half of the free disk to others.

    Raises:
        ConfigError: `max_gigabytes` is not positive.
    """

    def __init__(self, folder: str, max_gigabytes: float) -> None:
        check_range({"store.max_gigabytes": max_gigabytes}, above=0, otherwise="store=off")
        self.folder = Path(folder)
        self.max_gigabytes = max_gigabytes

    def attach(
        self, encoder: Encoder, data: TokenData, device: torch.device, test: bool = True
    ) -> float:
        if not encoder.stored_layers:
            return 0.0
        documents = {k: v for k, v in data.documents().items() if test or k != "test"}
        keys = [(part, self._key(part, data, device)) for part in encoder.parts()]
        entries = {
            name: [Entry(self.folder / f"{key}-{name}", name, split, part) for part, key in keys]
            for name, split in documents.items()
        }
        wanted = [entry for parts in entries.values() for entry in parts]
        began = time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.folder / "lock"):
                if not self._make_room(wanted):
                    return 0.0
                for entry in wanted:
                    if not entry.exists():
                        entry.build(device)
                    os.utime(entry.folder)
                for name, parts in entries.items():
                    documents[name].layers = SideBySideLayers([part.open() for part in parts])
        except OSError as error:
            for split in documents.values():
                split.layers = None
            log.warning("store: %s; the frozen layers are computed in every batch", error)
        return time.monotonic() - began

    @staticmethod
    def _key(encoder: Encoder, data: TokenData, device: torch.device) -> str:
        content = [
            encoder.config(),
            encoder.tokenizer.fingerprint,
            data.corpus.fingerprint,
            data.max_tokens,
            device.type,
            torch.get_num_threads(),
            torch.__version__,
        ]
        digest = hashlib.sha256(json.dumps(content).encode())
        return state_checksum(encoder.state_dict(), digest)[:16]

    def _make_room(self, wanted: list[Entry]) -> bool:
        """Delete unfinished builds, then the entries used longest ago, until all wanted fit."""
        names = {entry.folder for entry in wanted}
        others = []
        for folder in filter(Path.is_dir, self.folder.iterdir()):
            if folder.name.startswith("."):
                shutil.rmtree(folder)
            elif folder not in names:
                others.append(folder)
        others.sort(key=lambda folder: (folder.stat().st_mtime, folder.name))
        sizes = {folder: _size(folder) for folder in [*others, *filter(Path.is_dir, names)]}
        free = shutil.disk_usage(self.folder).free + sum(sizes.values())
        limit = min(self.max_gigabytes * 1e9, free / 2)
        needed = sum(entry.bytes for entry in wanted)
        if needed > limit:
            log.warning(
                "store: the frozen layers would take %.1f GB, there is room for %.1f (at most half "
                "of the free disk and store.max_gigabytes=%g); they are computed in every batch",
                needed / 1e9,
                limit / 1e9,
                self.max_gigabytes,
            )
            return False
        used = sum(sizes[folder] for folder in others)
        while used + needed > limit:
            oldest = others.pop(0)
            used -= sizes[oldest]
            shutil.rmtree(oldest)
        return True


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.name != SEAL)


class Entry:
    """The folder with the stored layers of one split: S layers of D half-precision numbers a token.

    `layers.bin` holds them token by token, from the shortest row to the longest.
    """

    def __init__(self, folder: Path, name: str, split: TokenizedSplit, encoder: Encoder) -> None:
        self.folder = folder
        self.name = name
        self.split = split
        self.encoder = encoder
        self.shape = (len(split.tokens), encoder.stored_layers, encoder.dim)

    @property
    def bytes(self) -> int:
        return 2 * int(np.prod(self.shape))

    @property
    def _file(self) -> Path:
        return self.folder / "layers.bin"

    def exists(self) -> bool:
        """Tell whether the entry is complete; a damaged one is removed."""
        return is_intact(self.folder)

    def build(self, device: torch.device) -> None:
        """Compute the layers of the split on a device and write them."""
        encoder = self.encoder.to(device)
        batches = TokenBudgetBatches(EpochOrder(self.split.lengths, seed=None), TOKEN_BUDGET)
        log.info(
            "store: computing the frozen layers of %s once, %.1f GB in %s",
            self.name,
            self.bytes / 1e9,
            self.folder,
        )

        def write(folder: Path) -> None:
            with (folder / self._file.name).open("wb") as file:
                for rows in tqdm(batches, desc=f"frozen layers, {self.name}", disable=None):
                    batch = self.split.__getitems__(rows).to(device)
                    layers = encoder(batch)[-self.shape[1] :].half()  # (S, B, T, D)
                    file.write(layers.permute(1, 2, 0, 3)[batch.mask].cpu().numpy().data)

        publish(self.folder, write)

    def open(self) -> StoredLayers:
        """Return a reader of the entry."""
        return StoredLayers(self._file, self.shape, self.split.lengths)


class StoredLayers:
    """Reads the layers of rows from the memory-mapped file of an `Entry`."""

    def __init__(self, file: Path, shape: tuple[int, int, int], lengths: np.ndarray) -> None:
        self.file = file
        self.shape = shape
        self.lengths = lengths
        order = np.argsort(lengths, kind="stable")
        self.starts = np.empty_like(lengths)
        self.starts[order] = np.cumsum(lengths[order]) - lengths[order]
        self.layers = np.memmap(file, np.float16, "r", shape=shape)

    def __getstate__(self) -> tuple:
        """Send the name of the file to worker processes, not its content."""
        return self.file, self.shape, self.lengths

    def __setstate__(self, state: tuple) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __call__(self, rows: list[int]) -> Tensor:
        """Return the stored layers of B rows, padded with zeros: (S, B, T, D), half precision."""
        lengths = self.lengths[rows]
        _, count, dim = self.shape
        padded = np.zeros((len(rows), lengths.max(), count, dim), dtype=np.float16)
        for into, start, length in zip(padded, self.starts[rows], lengths, strict=True):
            into[:length] = self.layers[start : start + length]
        return torch.from_numpy(padded).permute(2, 0, 1, 3)


class SideBySideLayers:
    """Reads the layers of rows from the files of several biLMs.

    Args:
        parts: a reader for each biLM.
    """

    def __init__(self, parts: list[StoredLayers]) -> None:
        self.parts = parts

    def __call__(self, rows: list[int]) -> Tensor:
        """Return the stored layers of B rows, padded with zeros: (S, B, T, D), half precision."""
        found = [part(rows) for part in self.parts]
        return found[0] if len(found) == 1 else torch.cat(found, -1)
