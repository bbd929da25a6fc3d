"""What tells runs apart: the names of their folders, and the settings that make each what it is."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from elmo.errors import MissingModelError
from elmo.places import check_places
from elmo.resume import RUN_FILE

FINISHED = ".finished"  # where the jobs that an earlier start of a sweep finished are passed by
PLACES = ("output_dir", "cache_dir", "resume")
LONGEST = 120  # of a name made of settings; file systems take 255 bytes


def run_name(start: str, overrides: str) -> str:
    """The name of a run's folder, and so of the run in TensorBoard: its start, and its settings.

    Of characters that need no quotes where the folder is typed, as in `bilm_path=FOLDER`. A long
    list of settings is cut, with a hash of all of it in the place of the rest.
    """
    settings = re.sub(r"[^a-zA-Z0-9_.+-]+", "_", overrides)
    if len(settings) > LONGEST:
        digest = hashlib.sha256(overrides.encode()).hexdigest()[:8]
        settings = f"{settings[:LONGEST]}-{digest}"
    return f"{start}_{settings}".rstrip("_")


OmegaConf.register_new_resolver("run_name", run_name, replace=True)


def identity(cfg: DictConfig, chosen: dict[str, str]) -> dict[str, Any]:
    """The settings that make a run what it is: resolved, with dotted keys, without the places.

    The biLM that a classifier takes where none is named is one of them, because another may follow
    it; and what its file holds, because a resumed pretraining writes the same file anew.

    Args:
        chosen: which file of each config group it took, such as `mixer: trainable`.
    """
    from elmo.latest import latest_run  # which imports torch

    raw = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=False))
    raw.pop("hydra", None)
    raw |= dict.fromkeys(PLACES)
    if chosen.get("encoder") == "elmo" and raw["bilm_path"] is None:
        with contextlib.suppress(MissingModelError):  # whoever reads it says so
            raw["bilm_path"] = str(latest_run(Path(cfg.output_dir), chosen["data"]))
    plain = OmegaConf.create(_without_run_dir(raw))
    settings = dict(_leaves(OmegaConf.to_container(plain, resolve=True), ""))
    if chosen.get("encoder") == "elmo" and settings["bilm_path"]:
        settings["bilm_sha256"] = _sha256_of_bilm(Path(settings["bilm_path"]))
    return {key: value for key, value in settings.items() if key not in PLACES}


def _sha256_of_bilm(path: Path) -> str | None:
    from elmo.latest import KINDS

    file = path / KINDS["bilm"].file if path.is_dir() else path
    if not file.is_file():
        return None  # whoever reads it says so
    state = file.stat()
    return _sha256(file, state.st_mtime_ns, state.st_size)


@functools.lru_cache
def _sha256(file: Path, changed: int, size: int) -> str:
    """Of a file that stays as it is as long as its time and size do."""
    from elmo.runs import sha256_of

    return sha256_of(file)


def _without_run_dir(node: Any) -> Any:
    if isinstance(node, dict):
        return {key: _without_run_dir(value) for key, value in node.items()}
    return None if isinstance(node, str) and "${hydra:" in node else node


def _leaves(node: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def job_folder(name: str, *, _root_: DictConfig) -> str:
    """Where a job of a sweep runs, below the folder of the sweep.

    Hydra writes into a job's folder before the job can say no. So a job that an earlier start of
    the sweep finished gets a folder that is thrown away; one that was begun gets its own again.

    Args:
        name: of a new folder.
    """
    check_places(_root_.hydra.sweep.dir, _root_.cache_dir)  # the job before may have filled it
    folders = _folders_before(Path(_root_.hydra.sweep.dir))
    chosen = {group: file for group, file in _root_.hydra.runtime.choices.items() if file}
    key = _key(identity(_root_, chosen))
    if key not in folders:
        taken = any(name == folder for folder, _ in folders.values())
        return f"{name}_{key[:8]}" if taken else name
    folder, finished = folders[key]
    return f"{FINISHED}/{folder}" if finished else folder


@functools.cache
def _folders_before(sweep_dir: Path) -> dict[str, tuple[str, bool]]:
    """Of each job that lies in a sweep's folder when it starts: its folder, whether it finished."""
    found = {}
    for file in sorted(sweep_dir.rglob(RUN_FILE)):
        folder = file.parent
        key = _key(json.loads(file.read_text())["settings"])
        found[key] = (str(folder.relative_to(sweep_dir)), (folder / "metrics.json").is_file())
    return found


def _key(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)

# Where the configs lie, for what has to name their folder.
OmegaConf.register_new_resolver(
    "conf", lambda: str(Path(__file__).parent.parent / "conf"), replace=True
)
