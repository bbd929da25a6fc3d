"""Cache entries: folders named by the key of their content, rebuilt where they are damaged."""

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

# By default these libraries keep their caches in the home folder and among the temporary files.
LIBRARIES = {"MPLCONFIGDIR": "matplotlib", "TORCHINDUCTOR_CACHE_DIR": "torch"}
SEAL = "sha256.json"  # the hash of every other file of the folder

Stamp = tuple[str, int, int, int]  # name, size, time and inode of a file


def redirect_library_caches(cache_dir: Path) -> None:
    """Let libraries keep their own caches below `cache_dir`, unless the environment says where."""
    for variable, name in LIBRARIES.items():
        os.environ.setdefault(variable, str((cache_dir / name).absolute()))


def cached(folder: Path, build: Callable[[Path], object]) -> Path:
    """Return `folder`, after `build` has filled it where it was missing or damaged."""
    if not is_intact(folder):
        publish(folder, build)
    return folder


def publish(folder: Path, build: Callable[[Path], object]) -> None:
    """Let `build` fill a temporary folder, seal it with hashes, and rename it to `folder`.

    Where another process was faster, its folder stays and this one is dropped: both hold the same,
    because the name of a cache entry is the key of its content.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary_beside(folder)
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


def is_intact(folder: Path) -> bool:
    """Tell whether `folder` exists as it was built; a damaged one is removed."""
    if not folder.is_dir():
        return False
    if _matches_seal(folder):
        return True
    # Under a lock, so that nobody removes what another process has just rebuilt.
    with FileLock(folder.parent / ".lock"):
        if folder.is_dir() and not _matches_seal(folder):
            log.warning("%s: damaged, so it is built again", folder)
            aside = _temporary_beside(folder)
            folder.rename(aside)  # at once: nobody finds half of it
            shutil.rmtree(aside)
    return False


def _temporary_beside(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))


def _matches_seal(folder: Path) -> bool:
    try:
        hashes = json.loads((folder / SEAL).read_text())
        stamps = [(name, (folder / name).stat()) for name in hashes]
        found = tuple((name, s.st_size, s.st_mtime_ns, s.st_ino) for name, s in stamps)
        return _hashes_of(folder, found) == tuple(hashes.values())
    except (OSError, ValueError, TypeError, AttributeError):
        return False  # damaged, or another process has just renamed it


@functools.lru_cache
def _hashes_of(folder: Path, stamps: tuple[Stamp, ...]) -> tuple[str, ...]:
    """Return the hash of each file, read once in a process while size and time stay the same."""
    return tuple(sha256_of(folder / name) for name, *_ in stamps)
