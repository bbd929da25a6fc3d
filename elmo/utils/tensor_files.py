"""PyTorch files of tensors and plain data: written atomically, read without running their code."""

from __future__ import annotations

import hashlib
import pickle
import pickletools
import re
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from elmo.errors import ArtifactError
from elmo.utils.files import atomic_writer


def write_plain(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain data atomically, with `torch.save`.

    Raises:
        OSError: the file cannot be written, for example because the disk is full.
    """
    with atomic_writer(path) as handle:
        try:
            torch.save(content, handle)
        except RuntimeError as error:
            # After an OSError PyTorch still closes its archive, which raises this second error.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def read_plain(file: Path) -> Any:
    """Read a file of `torch.save` that holds only tensors and plain data, without running its code.

    Every record of the file is checked against its CRC-32, which `torch.load` does not do.

    Raises:
        ArtifactError: the file is not of this format, truncated, damaged, or holds anything else.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            # PyTorch does not compress; a small file that grows when it is read is an attack.
            compressed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            damage = (
                "it is compressed"
                if compressed or size > file.stat().st_size
                else f"record {name!r} does not match its checksum"
                if (name := archive.testzip())
                else None
            )
    except Exception as error:  # zipfile's errors for a bad file have no common base class
        raise ArtifactError(
            f"{file}: not a PyTorch file, or a truncated one ({type(error).__name__}); copy the "
            "file again, or train again"
        ) from error
    if damage:
        raise ArtifactError(f"{file}: damaged ({damage}); copy the file again, or train again")
    try:
        _check_pickle(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ArtifactError(
            f"{file}: holds more than tensors and plain data, which could run code, so it was not "
            "read; elmo did not write this file"
        ) from error
    except Exception as error:  # torch's errors have no common base class either
        raise ArtifactError(
            f"{file}: damaged ({type(error).__name__}); copy the file again, or train again"
        ) from error


# The names that `torch.save` writes into the pickle of tensors. `weights_only` allows more, such as
# a `bytearray` of any size.
PICKLE_NAMES = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch \w+Storage"
)


def _check_pickle(file: Path) -> None:
    """Check that the pickle in the file names nothing but `PICKLE_NAMES`.

    Raises:
        UnpicklingError: it names something else.
    """
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            if member.endswith(".pkl"):
                for operation, name, _ in pickletools.genops(archive.read(member)):
                    is_name = operation.name in ("GLOBAL", "INST", "STACK_GLOBAL")
                    if is_name and not PICKLE_NAMES.fullmatch(str(name)):
                        raise pickle.UnpicklingError(f"it names {name}")


def state_checksum(state: dict[str, Tensor], digest: Any = None) -> str:
    """Return the sha256 of the names, types, shapes and bytes of tensors.

    Args:
        state: tensors by name.
        digest: a `hashlib` digest to update; None starts a new one.
    """
    digest = digest or hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
