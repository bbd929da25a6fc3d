"""The identity of a run: its settings, the name of its folder, its place in a sweep."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from elmo.errors import MissingModelError
from elmo.runs.keys import NEUTRAL, OWN, SHOWING
from elmo.runs.latest import KINDS, NAMES, bilm_for
from elmo.runs.precision import as_asked, is_typed
from elmo.runs.preflight import check_folders
from elmo.runs.record import METRICS_FILE, RUN_FILE
from elmo.utils.files import sha256_of
from elmo.utils.precision import AUTO
from elmo.utils.shipped import CONF, command_of

FINISHED = ".finished"  # where jobs run that an earlier start of the sweep finished
LONGEST = 60  # characters of a name made of settings
# Config groups by what they tell of a run; they come first in its name.
TELLING = ("mixer", "encoder", "head", "bilm", "embedding", "softmax", "optimizer", "data")


def run_name(start: str, overrides: str) -> str:
    """Return the name of a run's folder, and so of the run in TensorBoard.

    It is made of characters that need no quotes where the folder is typed, as in
    `bilm_path=FOLDER`. What tells most comes first; a long list of settings is cut and ends with a
    hash of all of it. `run.json` has them all.

    Args:
        start: the time, or the number of the job.
        overrides: what was typed, as `key-value+key-value`.
    """
    items = sorted(filter(None, overrides.split("+")), key=_place)
    plain = [re.sub(r"[^a-zA-Z0-9_.-]+", "_", item) for item in items]
    settings = "+".join(plain)
    if len(settings) > LONGEST:
        digest = f"-{hashlib.sha256(overrides.encode()).hexdigest()[:8]}"
        room = LONGEST - len(digest)
        while len(plain) > 1 and len("+".join(plain)) > room:
            plain.pop()
        settings = "+".join(plain)[:room] + digest
    return f"{start}_{settings}".rstrip("_")


def _place(item: str) -> tuple[bool, int, str]:
    """Return the place of `key-value` in a name: groups, then keys at the top, then the rest."""
    key = item.partition("-")[0]
    group = key.partition(".")[0]
    place = TELLING.index(group) if group in TELLING else len(TELLING)
    return "." in key, place, item


def identity(cfg: DictConfig, choices: Mapping[str, str]) -> dict[str, Any]:
    """Return the settings that make a run what it is: resolved, with dotted keys.

    The path of a classifier's biLM is one of them even where it was not typed, because a later
    pretraining may become the latest; and so is the hash of its file, because a resumed pretraining
    writes the same file again.

    Args:
        choices: the config groups, with the file that each took, such as `mixer: trainable`.
    """
    raw = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=False))
    raw = {key: None if key in OWN else value for key, value in raw.items() if key != "hydra"}
    if choices.get("encoder") == "elmo" and raw["bilm_path"] in (None, *NAMES):
        # With titles the corpus has another name.
        titles = choices["data"] == "ag_news" and cfg.data.get("title")
        corpus = "ag_news_titles" if titles else choices["data"]
        with contextlib.suppress(MissingModelError):  # reported where the model is read
            raw["bilm_path"] = str(bilm_for(raw["bilm_path"], Path(cfg.output_dir), corpus))
    plain = OmegaConf.create(_without_run_dir(raw))
    settings = dict(_leaves(OmegaConf.to_container(plain, resolve=True), ""))
    if choices.get("encoder") == "elmo" and settings["bilm_path"]:
        settings["bilm_sha256"] = _hash_of_bilm(Path(settings["bilm_path"]))
    if paths := settings.get("encoder.bilm_paths"):
        settings["bilm_sha256"] = [_hash_of_bilm(Path(path)) or "" for path in _as_list(paths)]
    if settings.get("teacher.runs"):
        settings["teacher_sha256"] = _hash_of_predictions(settings["teacher.runs"])
    if (suspects := settings.get("label_weights.suspects")) and Path(suspects).is_file():
        settings["suspects_sha256"] = sha256_of(Path(suspects))
    if proposer := settings.get("augmentation.bilm_path"):
        settings["augmentation_sha256"] = _hash_of_bilm(Path(proposer))
    return {
        key: value
        for key, value in settings.items()
        if key not in OWN and not key.startswith(SHOWING)
    }


def same_setting(key: str, one: Any, other: Any) -> bool:
    """Tell whether two values of a setting are the same; of a class only its name counts.

    Classes may move to another module, and runs that were started before must still resume.
    """
    return _comparable(key, one) == _comparable(key, other)


def _comparable(key: str, value: Any) -> Any:
    is_class = key.rpartition(".")[2] == "_target_" and isinstance(value, str)
    return value.rpartition(".")[2] if is_class else value


def _hash_of_bilm(path: Path) -> str | None:
    """Return the hash of a biLM's file, or of the weights of a published model in a folder."""
    file = path
    if path.is_dir():
        file = path / KINDS["bilm"].file
        weights = sorted(path.glob("*weights.hdf5")) or sorted(path.glob("*.hdf5"))
        if not file.is_file() and weights:
            file = weights[0]
    if not file.is_file():
        return None  # reported where the model is read
    state = file.stat()
    return _hash_of_file(file, state.st_mtime_ns, state.st_size)


def _as_list(paths: str | list[str]) -> list[str]:
    return [paths] if isinstance(paths, str) else paths


def _hash_of_predictions(folders: str | list[str]) -> str:
    """Return a hash of all predictions for train rows below some folders."""
    digest = hashlib.sha256()
    for folder in _as_list(folders):
        for file in sorted(Path(folder).rglob("predictions/train.parquet")):
            digest.update(sha256_of(file).encode())
    return digest.hexdigest()


@functools.lru_cache
def _hash_of_file(file: Path, changed: int, size: int) -> str:
    """Return the sha256 of a file, read once as long as its time and size stay the same."""
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
    """Return where a job of a sweep runs, relative to the folder of the sweep.

    Hydra writes into the folder of a job before the job can refuse. So a job that an earlier start
    of the sweep finished gets a folder that is deleted; an unfinished one gets its own again.

    Args:
        name: of a new folder.
    """
    check_folders(_root_.hydra.sweep.dir, _root_.cache_dir)  # an earlier job may have filled it
    folders = _earlier_jobs(Path(_root_.hydra.sweep.dir))
    choices = {group: file for group, file in _root_.hydra.runtime.choices.items() if file}
    key = _key(identity(_root_, choices))
    if key not in folders:
        taken = any(name == folder for folder, _ in folders.values())
        return f"{name}_{key[:8]}" if taken else name
    folder, finished = folders[key]
    return f"{FINISHED}/{folder}" if finished else folder


@functools.cache
def _earlier_jobs(sweep_dir: Path) -> dict[str, tuple[str, bool]]:
    """Return folder and "is it finished" of each job that a sweep's folder holds at its start."""
    found = {}
    for file in sorted(sweep_dir.rglob(RUN_FILE)):
        folder = file.parent
        record = json.loads(file.read_text())
        job = (str(folder.relative_to(sweep_dir)), (folder / METRICS_FILE).is_file())
        for precision in (None,) if is_typed(record) else (None, AUTO):
            found[_key(as_asked(record, precision))] = job
    return found


def _key(settings: Mapping[str, Any]) -> str:
    """Return a hash of settings; a setting that is None does not count, as if it did not exist."""
    content = {key: _comparable(key, value) for key, value in settings.items() if value is not None}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


OmegaConf.register_new_resolver("run_name", run_name, replace=True)
OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
# Keys that are left out of folder names, and the folder of the configs.
OmegaConf.register_new_resolver("neutral_keys", lambda: sorted(NEUTRAL), replace=True)
OmegaConf.register_new_resolver("conf", lambda: str(CONF), replace=True)
OmegaConf.register_new_resolver("script", command_of, replace=True)  # in the help of each
