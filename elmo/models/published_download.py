"""The published English models by name: downloaded once into a folder, and checked."""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import httpx2
from filelock import FileLock, Timeout

from elmo.errors import ArtifactError, ConfigError
from elmo.models.published_options import (
    OPTIONS,
    WEIGHTS,
    expected_bytes,
    expected_datasets,
    parse_options,
)
from elmo.models.published_weights import Datasets
from elmo.utils.download import download
from elmo.utils.terminal import say

HOST = "https://allennlp.s3.amazonaws.com/models/elmo"
MOST_OPTIONS = 2**16  # bytes; the published ones have about 340
SIGNATURE = b"\x89HDF\r\n\x1a\n"  # the first bytes of an HDF5 file
FILTERS = ((1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024))


@dataclass(frozen=True)
class PublishedModel:
    """A published model: where its two files are, and what they must hold.

    Args:
        name: of the model, and of its folder in the cache.
        path: of both files below the address of the host, up to `_options.json` and
            `_weights.hdf5`.
        dim: width of an LSTM's cells.
        projection_dim: width of an LSTM's output.
        n_highway: highway layers behind the character CNN.
        char_dim: width of a character's vector.
        filters: width and number of each convolution.
    """

    name: str
    path: str
    dim: int
    projection_dim: int
    n_highway: int
    char_dim: int = 16
    filters: tuple[tuple[int, int], ...] = FILTERS

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """What `options.json` must say."""
        return {
            "lstm": {
                "dim": self.dim,
                "projection_dim": self.projection_dim,
                "n_layers": 2,
                "cell_clip": 3,
                "proj_clip": 3,
                "use_skip_connections": True,
            },
            "char_cnn": {
                "embedding": {"dim": self.char_dim},
                "filters": [list(each) for each in self.filters],
                "n_highway": self.n_highway,
                "activation": "relu",
                "max_characters_per_token": 50,
            },
        }

    @property
    def numbers(self) -> int:
        """How many numbers the weights are."""
        return expected_bytes(parse_options(self.options), words=0) // 4

    def url(self, file: str, base_url: str | None = None) -> str:
        """Return the address of `options.json` or `weights.hdf5`."""
        return f"{(base_url or HOST).rstrip('/')}/{self.path}_{file}"


SMALL = "2x1024_128_2048cnn_1xhighway"
MEDIUM = "2x2048_256_2048cnn_1xhighway"
ORIGINAL = "2x4096_512_2048cnn_2xhighway"
PUBLISHED: dict[str, PublishedModel] = {
    model.name: model
    for model in (
        PublishedModel("small", f"{SMALL}/elmo_{SMALL}", 1024, 128, 1),
        PublishedModel("medium", f"{MEDIUM}/elmo_{MEDIUM}", 2048, 256, 1),
        PublishedModel("original", f"{ORIGINAL}/elmo_{ORIGINAL}", 4096, 512, 2),
        PublishedModel("5.5B", f"{ORIGINAL}_5.5B/elmo_{ORIGINAL}_5.5B", 4096, 512, 2),
    )
}


def fetch(
    name: str | PublishedModel, folder: Path | None = None, base_url: str | None = None
) -> Path:
    """Return a folder with `options.json` and `weights.hdf5` of a published model.

    What is missing is downloaded, and a broken download continued; what is there is checked and
    never replaced, so that files which were copied there by hand need no network.

    Args:
        name: a name of `PUBLISHED`, or a model.
        folder: None is the one of `cache_folder`.
        base_url: the address of a copy of the host, with the same folders; http is allowed here.

    Raises:
        ConfigError: there is no such model, or the folder cannot be written.
        ArtifactError: the download failed, or a file is cut or not that of the model.
    """
    model = name if isinstance(name, PublishedModel) else _model_of(name)
    _check_base_url(base_url)
    target = Path(folder).expanduser() if folder else cache_folder(model.name)
    files = [target / OPTIONS, target / WEIGHTS]
    try:
        if not all(file.exists() for file in files):
            target.mkdir(parents=True, exist_ok=True)
            with _locked(target):
                for file in files:
                    if file.exists():
                        _check_present(model, file)
                    else:
                        _download(model, file, base_url)
    except OSError as error:
        raise ConfigError(
            f"{target}: cannot hold the model, which takes {4e-6 * model.numbers:,.0f} MB "
            f"({error}); choose another folder, or one for all models with ELMO_CACHE"
        ) from error
    for file in files:
        _check_present(model, file)
    return target


def cache_folder(name: str) -> Path:
    """Return the folder of a model: `$ELMO_CACHE/NAME`, else `elmo/NAME` in the user's cache.

    The user's cache is `$XDG_CACHE_HOME`, else `~/.cache`.
    """
    if own := os.environ.get("ELMO_CACHE"):
        return Path(own).expanduser() / name
    # The specification of XDG has a relative path ignored.
    users = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (users if users.is_absolute() else Path.home() / ".cache") / "elmo" / name


def _model_of(name: str) -> PublishedModel:
    if name not in PUBLISHED:
        raise ConfigError(f"{name}: no published model; expected one of {', '.join(PUBLISHED)}")
    return PUBLISHED[name]


def _check_base_url(base_url: str | None) -> None:
    try:
        url = httpx2.URL(base_url or HOST)
        fits = url.scheme in ("http", "https") and bool(url.host)
    except httpx2.InvalidURL:
        fits = False
    if not fits:
        raise ConfigError(f"base_url is {base_url}; expected an address like {HOST}")


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder, and wait for one that is in there."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"{folder}: another process downloads this model; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _download(model: PublishedModel, file: Path, base_url: str | None) -> None:
    url, size = model.url(file.name, base_url), 4 * model.numbers
    if file.name == WEIGHTS:
        say(f"{url}: downloading {size / 1e6:,.0f} MB to {file.parent}")
    download(
        url,
        file,
        at_least=size if file.name == WEIGHTS else 1,
        at_most=2 * size if file.name == WEIGHTS else MOST_OPTIONS,
        check=functools.partial(_check, model, kind=file.name),
        way_out=f"{_by_hand(model, file.parent, base_url)}: everything works from files",
    )


def _by_hand(model: PublishedModel, folder: Path, base_url: str | None) -> str:
    missing = [name for name in (OPTIONS, WEIGHTS) if not (folder / name).exists()]
    return " and ".join(
        f"save {model.url(name, base_url)} by hand as {folder / name}" for name in missing
    )


def _check_present(model: PublishedModel, file: Path) -> None:
    try:
        _check(model, file, file.name)
    except ValueError as error:
        raise ArtifactError(
            f"{file}: {error}; delete it to have it downloaded again, or replace it by "
            f"{model.url(file.name)}"
        ) from error


def _check(model: PublishedModel, file: Path, kind: str) -> None:
    """Check one of the two files; raises ValueError with a finding."""
    try:
        if kind == OPTIONS:
            _check_options(model, file)
        else:
            _check_weights(model, file)
    except ArtifactError as error:
        raise ValueError(str(error).removeprefix(f"{file}: ")) from error
    except (OSError, RuntimeError, KeyError) as error:  # h5py raises these for a damaged file
        raise ValueError(f"not readable ({str(error) or type(error).__name__})") from error


def _check_options(model: PublishedModel, file: Path) -> None:
    with file.open("rb") as handle:
        content = handle.read(MOST_OPTIONS)
    try:
        found = json.loads(content)
    except ValueError as error:
        raise ValueError(f"not JSON, it begins with {content[:20]!r}") from error
    for section, settings in model.options.items():
        for key, expected in settings.items():
            inner = found.get(section) if isinstance(found, dict) else None
            value = inner.get(key) if isinstance(inner, dict) else None
            if value != expected:
                raise ValueError(f"{section}.{key} is {value!r:.60}; expected {expected}")


def _check_weights(model: PublishedModel, file: Path) -> None:
    with file.open("rb") as handle:
        begin = handle.read(len(SIGNATURE))
    if begin != SIGNATURE:
        raise ValueError(f"not an HDF5 file, it begins with {begin!r}")
    with h5py.File(file, "r") as handle:
        Datasets(handle, expected_datasets(parse_options(model.options)))
