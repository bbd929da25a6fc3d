"""Around a job under Hydra: its folder, its record, signals, errors as one message."""

from __future__ import annotations

import errno
import functools
import hashlib
import json
import logging
import math
import os
import re
import shlex
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from elmo.cores import hold_cores
from elmo.errors import ConfigError, ElmoError
from elmo.interrupts import Interrupted, interrupts
from elmo.memory import keep_freed_memory
from elmo.resume import CHANGEABLE, RUN_FILE, quoted

if TYPE_CHECKING:
    from elmo.runs import Run

log = logging.getLogger(__name__)

FAILURE = "failure.json"
OUT_OF_MEMORY = ("can't allocate memory", "out of memory")  # as PyTorch says it, on any device
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
DISK_ERRORS = (*FULL, errno.EACCES, errno.EFBIG)
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


def run_job(job: Callable[[DictConfig, Run], float], cfg: DictConfig, artifact: str) -> float:
    """Run one job in its folder; a user's mistake ends in one message instead of a traceback.

    In a multirun a failing job must not take the others down: its reason goes to `failure.json`
    in its folder, and it returns NaN. A job that an earlier start of the sweep finished is passed
    by. A job that gets a signal ends the program, and says how to go on.

    Args:
        artifact: the file that the job leaves, `bilstm.pt` or `classifier.pt`.
    """
    keep_freed_memory()
    threading.excepthook = _report_of_a_thread
    hydra = HydraConfig.get()
    run_dir = Path(hydra.runtime.output_dir)
    if FINISHED in run_dir.parts:
        log.info("job %s finished before", hydra.job.num)
        return math.nan
    from elmo.cache import cache_libraries
    from elmo.runs import Run, write_json
    from elmo.settings import check_settings

    cache_libraries(Path(cfg.cache_dir))
    (run_dir / FAILURE).unlink(missing_ok=True)
    try:
        check_settings(settings_of(cfg))
        may_continue = in_multirun() or cfg.resume is not None
        with interrupts, Run(run_dir, artifact, _start(cfg), may_continue) as run:
            threads = run.threads if _on_cpu(cfg) else 0
            with hold_cores(Path(cfg.cache_dir), threads):
                run.begins()
                return job(cfg, run)
    except Interrupted as signal:
        log.warning("%s; go on with: %s", signal, _command_to_go_on(run_dir))
        raise SystemExit(signal.code) from None
    except Exception as error:
        if interrupts.pending is not None:  # whatever came of it, the program was told to end
            told = Interrupted(interrupts.pending)
            log.warning("%s, then: %s; go on with: %s", told, error, _command_to_go_on(run_dir))
            raise SystemExit(told.code) from None
        mistake = _mistake(error)
        if mistake is None and not in_multirun():
            raise
        # On a disk that is full, every other job of the sweep would fail as well.
        if mistake is not None and (not in_multirun() or _fills_the_disk(error)):
            raise CompactHydraException(mistake) from error
        if mistake is None:
            log.exception("job %s failed", hydra.job.num)
        else:
            log.error("job %s failed: %s", hydra.job.num, mistake)
        reason = (mistake or f"{type(error).__name__}: {error}").splitlines()[0]
        write_json(run_dir / FAILURE, {"reason": reason})
        return math.nan


def _report_of_a_thread(arguments: threading.ExceptHookArgs) -> None:
    """A traceback, but for a full disk: the writer of TensorBoard's events raises it here, too."""
    error = arguments.exc_value
    if not (isinstance(error, OSError) and error.errno in DISK_ERRORS):
        threading.__excepthook__(arguments)


def _on_cpu(cfg: DictConfig) -> bool:
    import torch

    return cfg.trainer.accelerator == "cpu" or not torch.accelerator.is_available()


def _command_to_go_on(run_dir: Path) -> str:
    script, *arguments = os.path.relpath(sys.argv[0]), *sys.argv[1:]
    if not in_multirun():
        return shlex.join(["python", script, f"resume={run_dir}", *_changes(run_dir)])
    place = f"hydra.sweep.dir={HydraConfig.get().sweep.dir}"
    return shlex.join(["python", script, *dict.fromkeys([place, *arguments])])  # flags come last


def _changes(run_dir: Path) -> list[str]:
    """What was typed beside `resume=` and is not part of how the run was started."""
    before = json.loads((run_dir / RUN_FILE).read_text())["overrides"]
    return [
        override
        for override in HydraConfig.get().overrides.task
        if override.partition("=")[0] in CHANGEABLE and override not in before
    ]


def _start(cfg: DictConfig) -> dict[str, Any]:
    """What a job is started with, for its `run.json`."""
    hydra = HydraConfig.get()
    overrides = [item for item in hydra.overrides.task if not item.startswith("resume=")]
    settings = identity(cfg, choices())
    if cfg.threads is not None and cfg.threads < 1:
        raise ConfigError(f"threads is {cfg.threads}; expected 1 or more, or null")
    if "bilm_path" in cfg and cfg.bilm_path is None and settings["bilm_path"]:
        overrides.append(f"bilm_path={quoted(settings['bilm_path'])}")
    return {
        "script": hydra.job.name,
        "overrides": overrides,
        "settings": settings,
        "choices": choices(),
    }


def identity(cfg: DictConfig, chosen: dict[str, str]) -> dict[str, Any]:
    """The settings that make a run what it is: resolved, with dotted keys, without the places.

    The biLM that a classifier takes where none is named is one of them, because another may follow
    it; and what its file holds, because a resumed pretraining writes the same file anew.

    Args:
        chosen: see `choices`.
    """
    raw = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=False))
    raw.pop("hydra", None)
    output_dir = Path(cfg.output_dir)
    raw |= dict.fromkeys(PLACES)
    if chosen.get("encoder") == "elmo" and raw["bilm_path"] is None:
        pointer = output_dir / "latest" / chosen["data"]
        if pointer.is_file():
            raw["bilm_path"] = str(output_dir / pointer.read_text().strip())
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


def in_multirun() -> bool:
    """Whether this job is one of a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def settings_of(cfg: DictConfig) -> dict[str, Any]:
    """The resolved config as plain data."""
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


def choices() -> dict[str, str]:
    """Which file of each config group this job took, such as `mixer: trainable`."""
    found = HydraConfig.get().runtime.choices.items()
    return {group: name for group, name in found if name and not group.startswith("hydra/")}


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and what caused it."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    return chain


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _fills_the_disk(error: BaseException) -> bool:
    return any(isinstance(link, OSError) and link.errno in FULL for link in _chain(error))


def _mistake(error: BaseException) -> str | None:
    """What to tell the user where an exception is the user's to mend; None where it is a defect.

    Besides our own errors these are what a constructor says of a config (Hydra wraps it), a key
    that the class of a config does not take, and settings that Lightning refuses.
    """
    chain = _chain(error)
    for link in chain:
        if isinstance(link, ElmoError):
            return str(link)
        if isinstance(link, TypeError) and "unexpected keyword argument" in str(link):
            return f"{link}; every key of a config is an argument of the class in its _target_"
        if isinstance(link, MemoryError) or any(sign in str(link) for sign in OUT_OF_MEMORY):
            return (
                f"out of memory ({_first_line(link)}); take a smaller "
                "datamodule.token_budget or a narrower model"
            )
        if isinstance(link, OSError) and link.errno in DISK_ERRORS:
            return (
                f"{link}; make room, or choose another output_dir or cache_dir; what was finished "
                "before is whole"
            )
        if isinstance(link, RuntimeError) and "conditioned on metric" in str(link):
            return f"monitor: {link}"
        if type(link).__name__ == "MisconfigurationException":  # importing it costs seconds
            return f"trainer: {link}"
    if isinstance(error, InstantiationException):
        return f"{chain[-1]}; check the settings, see --cfg job"
    return None
