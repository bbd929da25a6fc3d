"""The latest models: which run a command or script takes where none is named."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path
from typing import NamedTuple

from elmo.errors import MissingModelError
from elmo.runs.record import read_record
from elmo.utils.files import write_text
from elmo.utils.shipped import SHIPPED

log = logging.getLogger(__name__)


class Kind(NamedTuple):
    """One of the two kinds of models that a run leaves."""

    title: str
    file: str
    script: str  # that trains it
    metric: str  # that selects it
    higher_is_better: bool
    pointer: str  # what follows the name of the corpus in the name of the pointer file
    naming: str  # how to name a model instead


KINDS = {
    "bilm": Kind(
        title="biLM",
        file="bilstm.pt",
        script="train_lm.py",
        metric="val/perplexity",
        higher_is_better=False,
        pointer="",
        naming="bilm_path=PATH/bilstm.pt (scripts) or --model PATH/bilstm.pt (commands)",
    ),
    "classifier": Kind(
        title="classifier",
        file="classifier.pt",
        script="train_cls.py",
        metric="val/accuracy",
        higher_is_better=True,
        pointer="-classifier",
        naming="--model PATH/classifier.pt",
    ),
}

# The released run is shipped with the project: it serves where nothing was trained yet.
RELEASED = SHIPPED / "outputs" / "reference"
OUTPUT_DIR = Path("outputs")  # the default; with another output_dir the released run stays out


def released_run(kind: str) -> Path:
    """Return the folder of the released model of `kind`, "bilm" or "classifier"."""
    return RELEASED / KINDS[kind].script.removesuffix(".py")


def _has_released(output_dir: Path, kind: str) -> bool:
    return output_dir == OUTPUT_DIR and (released_run(kind) / KINDS[kind].file).is_file()


def latest_pointer(output_dir: Path, data_name: str, kind: str = "bilm") -> Path:
    """Return the small file that names the latest run of `kind` on a corpus."""
    return output_dir / "latest" / f"{data_name}{KINDS[kind].pointer}"


def latest_run(output_dir: Path, data_name: str, kind: str = "bilm") -> Path:
    """Return the folder of the latest run on a corpus that left a model of `kind`.

    Where there is none, it is the released run, if that was trained on this corpus.

    Raises:
        MissingModelError: there is neither, or the latest run was deleted.
    """
    title, file, script, *_, naming = KINDS[kind]
    pointer = latest_pointer(output_dir, data_name, kind)
    command = f"python {script} data={data_name}"
    if not pointer.is_file():
        if _has_released(output_dir, kind):
            released = released_run(kind)
            if read_record(released)["data"]["name"] == data_name:
                return released
        raise MissingModelError(
            f"{pointer}: no {title} was trained on data={data_name} yet; run `{command}` first, "
            f"or name a model: {naming}"
        )
    run = output_dir / pointer.read_text(errors="replace").strip()
    if not (run / file).is_file():
        raise MissingModelError(
            f"{pointer} names {run}, which no longer holds {file}; run `{command}` again, "
            f"or name a model: {naming}"
        )
    return run


def latest_of_all(output_dir: Path, kind: str) -> Path:
    """Return the folder of the latest run that left a model of `kind`, on any corpus.

    Where there is none, it is the released run.

    Raises:
        MissingModelError: there is neither, or the latest run was deleted.
    """
    suffix = KINDS["classifier"].pointer
    pointers = [
        pointer
        for pointer in output_dir.glob("latest/[!.]*")
        if pointer.name.endswith(suffix) == (kind == "classifier")
    ]
    if not pointers and _has_released(output_dir, kind):
        return released_run(kind)
    if not pointers:
        title, _, script, *_, naming = KINDS[kind]
        raise MissingModelError(
            f"{output_dir / 'latest'}: no {title} was trained yet; run `python {script}` first, "
            f"or name a model: {naming}"
        )
    newest = max(pointers, key=lambda pointer: pointer.stat().st_mtime_ns)
    return latest_run(output_dir, newest.name.removesuffix(suffix), kind)


def latest_or_released(kind: str) -> Path:
    """Return the latest model of `kind` in `outputs`, or else the released one, and log which.

    Raises:
        MissingModelError: there is neither.
    """
    path = latest_of_all(OUTPUT_DIR, kind)
    log.warning("model: %s", title_of(path))
    return path


def title_of(path: Path) -> str:
    """Return the path of a model, followed by "the released one" where it is."""
    return f"{path}{', the released one' if path.is_relative_to(RELEASED) else ''}"


def update_latest(
    output_dir: Path, data_name: str, run_dir: Path, only_if_better: bool, kind: str = "bilm"
) -> None:
    """Let the pointer to the latest model name `run_dir`, unless its training diverged.

    Args:
        only_if_better: keep the pointer where it names a run on the same data that is at least as
            good on validation; this is how the best job of a sweep becomes the latest.
    """
    metric = KINDS[kind].metric
    pointer = latest_pointer(output_dir, data_name, kind)
    new = read_record(run_dir)
    found = new["metrics"][metric]
    if found is None:
        log.warning("%s is not finite: %s stays as it is", metric, pointer)
        return
    if only_if_better and pointer.is_file():
        # A run that is gone or not readable is no rival.
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, MissingModelError):
            current = read_record(latest_run(output_dir, data_name, kind))
            same_data = current["data"]["fingerprint"] == new["data"]["fingerprint"]
            rival = current["metrics"][metric]
            if same_data and (rival >= found if KINDS[kind].higher_is_better else rival <= found):
                return
    run_dir = run_dir.resolve()
    with contextlib.suppress(ValueError):  # outside of output_dir the pointer holds the full path
        run_dir = run_dir.relative_to(output_dir.resolve())
    write_text(pointer, f"{run_dir}\n")
