"""Folders of the cache: named by the key of their content, built once, built again if damaged."""

from __future__ import annotations

import functools
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from elmo.utils.files import sha256_of

log = logging.getLogger(__name__)

# What these libraries keep they would keep in the home folder and among the temporary files.
LIBRARIES = {"MPLCONFIGDIR": "matplotlib", "TORCHINDUCTOR_CACHE_DIR": "torch"}
SEAL = "sha256.json"  # the hash of every other file of the folder

Stamp = tuple[str, int, int, int]  # of a file: name, size, time, number


def redirect_library_caches(cache_dir: Path) -> None:
    """Let libraries keep their own caches below `cache_dir`, unless the environment says where."""
    for variable, name in LIBRARIES.items():
        os.environ.setdefault(variable, str((cache_dir / name).absolute()))


def cached(folder: Path, build: Callable[[Path], object]) -> Path:
    """`folder`, filled by `build` where it is missing or damaged."""
    if not is_whole(folder):
        publish(folder, build)
    return folder


def publish(folder: Path, build: Callable[[Path], object]) -> None:
    """Let `build` fill a temporary folder that becomes `folder` once it is whole and sealed.

    Where another process was faster, its folder stays and ours is dropped: both hold the same,
    because the name of a cached folder is the key of its content.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = _aside(folder)
    try:
        build(temporary)
        hashes = {
            str(file.relative_to(temporary)): sha256_of(file)
            for file in sorted(temporary.rglob("*"))
            if file.is_file()
        }
        (temporary / SEAL).write_text(json.dumps(hashes, indent=2))
        temporary.chmod(0o755)
        temporary.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Whether `folder` is there as it was built; a damaged one is removed."""
    if not folder.is_dir():
        return False
    if _fits(folder):
        return True
    # Under a lock, so that nobody removes what another process has just built again.
    with FileLock(folder.parent / ".lock"):
        if folder.is_dir() and not _fits(folder):
            log.warning("%s: damaged, so it is built again", folder)
            aside = _aside(folder)
            folder.rename(aside)  # at once: nobody finds half of it
            shutil.rmtree(aside)
    return False


def _aside(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))


def _fits(folder: Path) -> bool:
    try:
        hashes = json.loads((folder / SEAL).read_text())
        stamps = [(name, (folder / name).stat()) for name in hashes]
        found = tuple((name, s.st_size, s.st_mtime_ns, s.st_ino) for name, s in stamps)
        return _hashes_of(folder, found) == tuple(hashes.values())
    except (OSError, ValueError, TypeError, AttributeError):
        return False  # damaged, or another process has just taken it aside


@functools.lru_cache
def _hashes_of(folder: Path, stamps: tuple[Stamp, ...]) -> tuple[str, ...]:
    """Of each file; read once in a process as long as size and time stay."""
    return tuple(sha256_of(folder / name) for name, *_ in stamps)
