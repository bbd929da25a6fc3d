"""Around a job under Hydra: its record, its cores, signals, errors as one message."""

from __future__ import annotations

import json
import logging
import math
import os
import shlex
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from elmo.cores import hold_cores, usable_cores
from elmo.errors import ConfigError
from elmo.identity import FINISHED, identity
from elmo.interrupts import Interrupted, interrupts
from elmo.memory import keep_freed_memory
from elmo.mistakes import fills_the_disk, mistake_of, report_of_a_thread
from elmo.ranks import is_launched_apart, rank
from elmo.resume import CHANGEABLE, RUN_FILE, quoted

if TYPE_CHECKING:
    from elmo.runs import Run

# conf/hydra/launcher/ has files of the plugins' names on purpose: that these stay a schema is fine.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore")

log = logging.getLogger(__name__)

FAILURE = "failure.json"


def run_job(job: Callable[[DictConfig, Run], float], cfg: DictConfig, artifact: str) -> float:
    """Run one job in its folder; a user's mistake ends in one message instead of a traceback.

    In a multirun a failing job must not take the others down: its reason goes to `failure.json`
    in its folder, and it returns NaN. A job that an earlier start of the sweep finished is passed
    by. A job that gets a signal ends the program, and says how to go on.

    Args:
        artifact: the file that the job leaves, `bilstm.pt` or `classifier.pt`.
    """
    if _processes(cfg) > 1:  # the reducer's hint that all parameters of one batch were used
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    keep_freed_memory()
    threading.excepthook = report_of_a_thread
    hydra = HydraConfig.get()
    run_dir = Path(hydra.runtime.output_dir)
    if FINISHED in run_dir.parts:
        log.info("job %s finished before", hydra.job.num)
        return math.nan
    from elmo.cache import cache_libraries
    from elmo.runs import Run, write_json
    from elmo.settings import check_settings

    cache_libraries(Path(cfg.cache_dir))
    processes = _processes(cfg)
    if rank():
        logging.getLogger().setLevel(logging.ERROR)  # the first says all for all
    else:
        (run_dir / FAILURE).unlink(missing_ok=True)
    try:
        check_settings(settings_of(cfg))
        may_continue = in_multirun() or cfg.resume is not None
        _check_processes(cfg)
        threads = threads_of_a_job(hydra.launcher) if in_multirun() else None
        start = _start(cfg)
        with interrupts, Run(run_dir, artifact, start, may_continue, processes, threads) as run:
            held = run.threads * processes if _on_cpu(cfg) and run.leads else 0
            with hold_cores(Path(cfg.cache_dir), held):
                run.begins()
                return job(cfg, run)
    except Interrupted as signal:
        if rank():
            raise SystemExit(0) from None
        log.warning("%s; go on with: %s", signal, _command_to_go_on(run_dir))
        raise SystemExit(signal.code) from None
    except Exception as error:
        if interrupts.pending is not None:  # whatever came of it, the program was told to end
            told = Interrupted(interrupts.pending)
            log.warning("%s, then: %s; go on with: %s", told, error, _command_to_go_on(run_dir))
            raise SystemExit(told.code) from None
        mistake = mistake_of(error)
        if mistake is None and not in_multirun():
            raise
        # On a disk that is full, every other job of the sweep would fail as well.
        if mistake is not None and (not in_multirun() or fills_the_disk(error)):
            raise CompactHydraException(mistake) from error
        if mistake is None:
            log.exception("job %s failed", hydra.job.num)
        else:
            log.error("job %s failed: %s", hydra.job.num, mistake)
        reason = (mistake or f"{type(error).__name__}: {error}").splitlines()[0]
        write_json(run_dir / FAILURE, {"reason": reason})
        return math.nan


def _check_processes(cfg: DictConfig) -> None:
    """
    Raises:
        ConfigError: several processes that would not train together, or in different folders.
    """
    if _processes(cfg) > 1 and not cfg.trainer.get("strategy"):
        raise ConfigError(
            f"trainer.devices is {cfg.trainer.devices}: for several processes that train together "
            "say trainer=ddp, too"
        )
    named = any(item.startswith("hydra.run.dir=") for item in HydraConfig.get().overrides.hydra)
    if is_launched_apart() and not in_multirun() and not named:
        raise ConfigError(
            "torchrun or Slurm starts several processes, each of which would name the run "
            "folder by its own clock; name one for all with hydra.run.dir=FOLDER"
        )


def _processes(cfg: DictConfig) -> int:
    """That train on this machine."""
    devices = cfg.trainer.devices if "trainer" in cfg else 1
    return devices if isinstance(devices, int) and devices > 1 else 1


def threads_of_a_job(launcher: DictConfig) -> int | None:
    """What a launcher that runs jobs side by side leaves to each; None: all that there are."""
    if "n_jobs" in launcher:  # joblib's; -1 is one for each core, -2 one less
        cores = len(usable_cores())
        jobs = launcher.n_jobs if launcher.n_jobs > 0 else cores + 1 + launcher.n_jobs
        return max(1, cores // max(1, jobs))
    cores = launcher.get("cpus_per_task") or OmegaConf.select(launcher, "ray.remote.num_cpus")
    return int(cores) if cores else None


def _on_cpu(cfg: DictConfig) -> bool:
    import torch

    anywhere = "trainer" in cfg and cfg.trainer.accelerator != "cpu"
    return not (anywhere and torch.accelerator.is_available())


def _command_to_go_on(run_dir: Path) -> str:
    script, *arguments = os.path.relpath(sys.argv[0]), *sys.argv[1:]
    if not in_multirun():
        return shlex.join(["python", script, f"resume={run_dir}", *_changes(run_dir)])
    place = f"hydra.sweep.dir={HydraConfig.get().sweep.dir}"
    return shlex.join(["python", script, *dict.fromkeys([place, *arguments])])  # flags come last


def _changes(run_dir: Path) -> list[str]:
    """What was typed beside `resume=` and is not part of how the run was started."""
    file = run_dir / RUN_FILE
    before = json.loads(file.read_text())["overrides"] if file.is_file() else []
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
