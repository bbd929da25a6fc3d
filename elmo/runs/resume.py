"""`python SCRIPT resume=RUN_DIR`: repeat the command line of a run that was interrupted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from elmo.errors import ArtifactError, ConfigError, ElmoError
from elmo.runs.keys import CHANGEABLE
from elmo.runs.record import RUN_FILE
from elmo.utils.ranks import is_child


def refuse_used(run_dir: Path) -> None:
    """Refuse a folder in which a run was started: no run overwrites another.

    Raises:
        ConfigError: a run was started in it.
    """
    if (run_dir / RUN_FILE).is_file():
        raise ConfigError(
            f"{run_dir} already holds a run, and no run overwrites another; continue it with "
            f"resume={run_dir}, or leave out hydra.run.dir to get a new folder"
        )


def quoted(path: str | Path) -> str:
    """Return a path as a value on Hydra's command line, whatever characters it has."""
    return "'" + str(path).replace("'", r"\'") + "'"


def expand_resume() -> None:
    """Replace `resume=RUN_DIR` on the command line by what that run was started with.

    A user's mistake ends the program with one line.
    """
    if is_child():  # its command line is the expanded one of the first process
        return
    try:
        sys.argv[1:] = command_line(Path(sys.argv[0]).stem, sys.argv[1:])
    except ElmoError as error:
        raise SystemExit(f"error: {error}") from error


def command_line(script: str, arguments: list[str]) -> list[str]:
    """Return the arguments that continue the run that `resume=` names; others stay as they are.

    Raises:
        ConfigError: an argument that a resumed run does not take.
        ArtifactError: the folder holds no run of this script.
    """
    named = [argument for argument in arguments if argument.startswith("resume=")]
    if not named or named == ["resume=null"]:
        return arguments
    run_dir = Path(named[-1].removeprefix("resume=").strip("'\""))
    changes = [argument for argument in arguments if argument not in named]
    for change in changes:
        if change.partition("=")[0] not in CHANGEABLE:
            raise ConfigError(
                f"{change}: a resumed run keeps its settings; beside resume= it takes "
                f"{', '.join(CHANGEABLE)}; for other settings start a new run"
            )
    overrides = _overrides(run_dir, script)
    changed = {change.partition("=")[0] for change in changes}
    kept = [override for override in overrides if override.partition("=")[0] not in changed]
    # Hydra would overwrite .hydra/, the record of how the run was started.
    path = quoted(run_dir)
    place = [f"hydra.run.dir={path}", "hydra.output_subdir=null", f"resume={path}"]
    place.append("hydra.mode=RUN")  # an experiment may be a sweep by itself, one job of it is not
    return [*kept, *changes, *place]


def _overrides(run_dir: Path, script: str) -> list[str]:
    """Return what the run in `run_dir` was started with, as recorded in its `run.json`."""
    file = run_dir / RUN_FILE
    if (run_dir / "multirun.yaml").is_file():
        raise ConfigError(
            f"resume={run_dir}: a sweep; type its command again with hydra.sweep.dir={run_dir}, "
            "and finished jobs are skipped"
        )
    if not file.is_file():
        raise ArtifactError(
            f"resume={run_dir}: no {RUN_FILE} in it; expected the folder of a run that "
            f"{script}.py started"
        )
    try:
        record = json.loads(file.read_text())
        started_by, overrides = record["script"], record["overrides"]
        if not isinstance(overrides, list) or not all(isinstance(item, str) for item in overrides):
            raise TypeError("overrides")
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{file}: damaged ({error}); the run cannot be resumed, start a new one"
        ) from error
    if started_by != script:
        raise ConfigError(f"resume={run_dir}: a run of {started_by}.py, not of {script}.py")
    return overrides
