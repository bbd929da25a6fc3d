"""A job under Hydra: its record, its cores, signals, and errors as one message."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shlex
import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from elmo.errors import ConfigError, check_range
from elmo.runs.failures import is_full_disk, report_thread_error, user_message
from elmo.runs.folder import Run
from elmo.runs.identity import FINISHED, identity
from elmo.runs.interrupts import Interrupted, interrupts
from elmo.runs.keys import CHANGEABLE
from elmo.runs.latest import NAMES
from elmo.runs.precision import precision_of_sweep
from elmo.runs.record import FAILURE_FILE, read_start
from elmo.runs.resume import quoted
from elmo.utils.cores import hold_cores, usable_cores
from elmo.utils.files import write_json
from elmo.utils.memory import exempt_from_collection, keep_freed_memory
from elmo.utils.ranks import is_launched_apart, rank
from elmo.utils.shipped import INSTALLED

# conf/hydra/launcher/ has files with the names of the plugins' own on purpose.
warnings.filterwarnings("ignore", r"\s*'hydra/launcher/\w+' is validated against ConfigStore")

log = logging.getLogger(__name__)

make = partial(instantiate, _convert_="all")  # builds what a config names, from plain lists


def run_job(job: Callable[[DictConfig, Run], float], cfg: DictConfig, artifact: str) -> float:
    """Run one job in its folder; a user's mistake ends in one message instead of a traceback.

    In a multirun a failing job must not end the others: its reason goes to `failure.json` in its
    folder, and it returns NaN. A job that an earlier start of the sweep finished is skipped. A job
    that gets a signal ends the program, and says how to continue.

    Args:
        artifact: the name of the file that the job leaves, such as `bilstm.pt`.
    """
    processes = _processes(cfg)
    if processes > 1:  # silences the hint that all parameters of one batch were used
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    keep_freed_memory()
    threading.excepthook = report_thread_error
    hydra = HydraConfig.get()
    run_dir = Path(hydra.runtime.output_dir)
    if FINISHED in run_dir.parts:
        log.info("job %s was finished before: skipped", hydra.job.num)
        return math.nan
    from elmo.utils.cache import redirect_library_caches

    redirect_library_caches(Path(cfg.cache_dir))
    if rank():
        logging.disable(logging.WARNING)  # the first process reports for all
    else:
        (run_dir / FAILURE_FILE).unlink(missing_ok=True)
    try:
        settings = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))
        _check_settings(settings)
        may_continue = in_multirun() or cfg.resume is not None
        _check_processes(cfg)
        _check_accelerator(cfg)
        shared: dict[str, Any] = {}  # with the other jobs of a sweep
        if in_multirun():
            shared["threads"] = threads_of_a_job(hydra.launcher)
            shared["sweep_precision"] = precision_of_sweep(Path(hydra.sweep.dir))
        start = _start(cfg)
        run = Run(run_dir, artifact, start, settings, may_continue, processes, **shared)
        with interrupts, run:
            held = run.threads * processes if _on_cpu(cfg) and run.leads else 0
            with hold_cores(Path(cfg.cache_dir), held):
                run.start_clock()
                return job(cfg, run)
    except Interrupted as signal:
        if rank():
            raise SystemExit(0) from None
        log.warning("%s; continue with: %s", signal, _command_to_continue(run_dir))
        raise SystemExit(signal.code) from None
    except Exception as error:
        if interrupts.pending is not None:  # whatever came of it, the program was told to end
            told = Interrupted(interrupts.pending)
            command = _command_to_continue(run_dir)
            log.warning("%s, then: %s; continue with: %s", told, error, command)
            raise SystemExit(told.code) from None
        message = user_message(error)
        if message is None and not in_multirun():
            raise
        # On a full disk every other job of the sweep would fail as well.
        if message is not None and (not in_multirun() or is_full_disk(error)):
            raise CompactHydraException(message) from error
        if message is None:
            log.exception("job %s failed", hydra.job.num)
        else:
            log.error("job %s failed: %s", hydra.job.num, message)
        reason = (message or f"{type(error).__name__}: {error}").splitlines()[0]
        write_json(run_dir / FAILURE_FILE, {"reason": reason})
        return math.nan


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Check the settings, which imports the classes that they name and so nearly everything."""
    from elmo.runs.settings import check_settings

    first = "torch" not in sys.modules  # of the jobs in this process
    with exempt_from_collection() if first else contextlib.nullcontext():
        check_settings(settings)


def in_multirun() -> bool:
    """Tell whether this job is one of a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def threads_of_a_job(launcher: DictConfig) -> int | None:
    """Return the threads that a launcher of parallel jobs leaves to each; None for all."""
    if "n_jobs" in launcher:  # joblib's; -1 is one for each core, -2 one less
        cores = len(usable_cores())
        jobs = launcher.n_jobs if launcher.n_jobs > 0 else cores + 1 + launcher.n_jobs
        return max(1, cores // max(1, jobs))
    cores = launcher.get("cpus_per_task") or OmegaConf.select(launcher, "ray.remote.num_cpus")
    return int(cores) if cores else None


def _check_processes(cfg: DictConfig) -> None:
    """Check that several processes would train together, and in the same folder.

    Raises:
        ConfigError: they would not.
    """
    if _processes(cfg) > 1 and not cfg.trainer.get("strategy"):
        raise ConfigError(
            f"trainer.devices is {cfg.trainer.devices}: several processes that train together "
            "also need trainer=ddp"
        )
    named = any(item.startswith("hydra.run.dir=") for item in HydraConfig.get().overrides.hydra)
    if is_launched_apart() and not in_multirun() and not named:
        raise ConfigError(
            "torchrun or Slurm starts several processes, each of which would name the run "
            "folder by its own clock; name one for all with hydra.run.dir=FOLDER"
        )


def _check_accelerator(cfg: DictConfig) -> None:
    """Check that this machine has the GPU that the trainer asks for.

    Raises:
        ConfigError: it has none.
    """
    named = cfg.trainer.accelerator if "trainer" in cfg else "cpu"
    if named not in ("gpu", "cuda", "mps"):
        return
    import torch

    there = {
        "gpu": torch.accelerator.is_available(),
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there[named]:
        raise ConfigError(
            f"trainer.accelerator is {named}, but this machine has no such GPU that PyTorch can "
            "use; set trainer.accelerator=cpu to train on the processor"
        )


def _processes(cfg: DictConfig) -> int:
    """Return how many processes train on this machine."""
    devices = cfg.trainer.devices if "trainer" in cfg else 1
    return devices if isinstance(devices, int) and devices > 1 else 1


def _on_cpu(cfg: DictConfig) -> bool:
    import torch

    anywhere = "trainer" in cfg and cfg.trainer.accelerator != "cpu"
    return not (anywhere and torch.accelerator.is_available())


def _command_to_continue(run_dir: Path) -> str:
    script, *arguments = Path(sys.argv[0]), *sys.argv[1:]
    words = ["python", os.path.relpath(script)]
    if INSTALLED:
        words = ["elmo", script.stem.replace("_", "-")]
    if not in_multirun():
        return shlex.join([*words, f"resume={run_dir}", *_changes(run_dir)])
    place = f"hydra.sweep.dir={HydraConfig.get().sweep.dir}"
    return shlex.join([*words, *dict.fromkeys([place, *arguments])])  # flags come last


def _changes(run_dir: Path) -> list[str]:
    """Return what was typed beside `resume=` and is not part of how the run was started."""
    start = read_start(run_dir)
    before = start["overrides"] if start else []
    return [
        override
        for override in HydraConfig.get().overrides.task
        if override.partition("=")[0] in CHANGEABLE and override not in before
    ]


def _start(cfg: DictConfig) -> dict[str, Any]:
    """Return what a job is started with, for its `run.json`."""
    hydra = HydraConfig.get()
    found = hydra.runtime.choices.items()
    choices = {group: name for group, name in found if name and not group.startswith("hydra/")}
    overrides = [item for item in hydra.overrides.task if not item.startswith("resume=")]
    settings = identity(cfg, choices)
    check_range({"threads": cfg.threads}, at_least=1, otherwise="null")
    if "bilm_path" in cfg and cfg.bilm_path in (None, *NAMES) and settings["bilm_path"]:
        overrides = [item for item in overrides if not item.startswith("bilm_path=")]
        overrides.append(f"bilm_path={quoted(settings['bilm_path'])}")
    return {
        "script": hydra.job.name,
        "overrides": overrides,
        "settings": settings,
        "choices": choices,
    }
