"""The latest models: which run a command or script takes where none is named."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

from elmo.errors import MissingModelError
from elmo.runs.record import METRICS_FILE, read_record
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
    naming: str  # how to name a model instead; {} stands for the model


KINDS = {
    "bilm": Kind(
        title="biLM",
        file="bilstm.pt",
        script="train_lm.py",
        metric="val/perplexity",
        higher_is_better=False,
        pointer="",
        naming="bilm_path={0} (scripts) or --model {0} (commands)",
    ),
    "classifier": Kind(
        title="classifier",
        file="classifier.pt",
        script="train_cls.py",
        metric="val/accuracy",
        higher_is_better=True,
        pointer="-classifier",
        naming="--model {0}",
    ),
}

# The released run is shipped with the project: it serves where nothing was trained yet.
RELEASED = SHIPPED / "outputs" / "reference"
OUTPUT_DIR = Path("outputs")  # the default; with another output_dir the released run stays out
NAMES = ("released", "latest")  # of models, in the place of a path
TOY = "toy"  # the corpus whose models never hide a model of real text
# Corpora on which a classifier may take the released biLM unasked: texts of the same source.
RELATED = ("ag_news", "ag_news_57k", "ag_news_titles")


def released_run(kind: str) -> Path:
    """Return the folder of the released model of `kind`, "bilm" or "classifier"."""
    return RELEASED / KINDS[kind].script.removesuffix(".py")


def is_released(path: Path) -> bool:
    """Tell whether a model or its folder is the released one."""
    return path.resolve().is_relative_to(RELEASED.resolve())


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
    title, file, script, *_ = KINDS[kind]
    pointer = latest_pointer(output_dir, data_name, kind)
    command = f"python {script} data={data_name}"
    if not pointer.is_file():
        if _has_released(output_dir, kind):
            released = released_run(kind)
            if read_record(released)["data"]["name"] == data_name:
                return released
        raise MissingModelError(
            f"{pointer}: no {title} was trained on data={data_name} yet; run `{command}` first, "
            f"or name a model: {_ways_to_name(kind)}"
        )
    run = output_dir / pointer.read_text(errors="replace").strip()
    if not (run / file).is_file():
        raise MissingModelError(
            f"{pointer} names {run}, which no longer holds {file}; run `{command}` again, "
            f"or name a model: {_ways_to_name(kind)}"
        )
    return run


def latest_of_all(output_dir: Path, kind: str) -> Path:
    """Return the folder of the model of `kind` that serves where none is named.

    It is the latest on any corpus but the toy one; otherwise the released one; and only where that
    stays out, because of another `output_dir`, the latest on the toy corpus.

    Raises:
        MissingModelError: there is none, or the latest run was deleted.
    """
    corpora = _corpora(output_dir, kind)
    real = [name for name in corpora if name != TOY]
    if not real and _has_released(output_dir, kind):
        return released_run(kind)
    return _newest(output_dir, kind, real or corpora)


def named_run(name: str, output_dir: Path, kind: str) -> Path:
    """Return what a user names as a model: `released`, `latest`, or a path.

    `latest` is the one that was trained last, the toy corpus included, and never the released one.

    Raises:
        MissingModelError: there is no such model.
    """
    if name == "latest":
        return _newest(output_dir, kind, _corpora(output_dir, kind))
    if name != "released":
        return Path(name)
    file = released_run(kind) / KINDS[kind].file
    if not file.is_file():
        raise MissingModelError(
            f"{file}: no such file; it comes with the project: restore it, or name another model: "
            f"{KINDS[kind].naming.format('RUN')}"
        )
    return released_run(kind)


def bilm_for(named: str | None, output_dir: Path, data_name: str) -> Path:
    """Return the biLM of a classifier: the named one, or the latest on its corpus.

    Where none was trained on a corpus of AG News, it is the released one.

    Raises:
        MissingModelError: there is none.
    """
    if named:
        return named_run(named, output_dir, "bilm")
    try:
        return latest_run(output_dir, data_name)
    except MissingModelError:
        deleted = latest_pointer(output_dir, data_name).is_file()
        if deleted or data_name not in RELATED or not _has_released(output_dir, "bilm"):
            raise
        return released_run("bilm")


def choose_model(
    named: str | Path | None, output_dir: Path, kind: str, any_model: str, latest: str
) -> tuple[Path, list[str]]:
    """Return the path of the model to use, and the lines that tell the user which it is.

    A named path that does not exist has no line: loading it says so.

    Args:
        named: `released`, `latest` or a path; None takes `latest_of_all`.
        any_model, latest: how to name any model, and the one that was trained last.

    Raises:
        MissingModelError: there is none.
    """
    if named is not None:
        path = named_run(str(named), output_dir, kind)
        return path, [f"model: {describe(path)}"] if path.exists() else []
    path = latest_of_all(output_dir, kind)
    lines = [f"model: {describe(path)}; {any_model} chooses another"]
    if is_released(path):
        with contextlib.suppress(MissingModelError):  # there is no other, or it was deleted
            toy = _newest(output_dir, kind, _corpora(output_dir, kind))
            lines.append(f"note: {toy} was trained on the toy corpus; {latest} takes it")
    return path, lines


def model_path(named: str | Path | None, kind: str) -> Path:
    """Return the path of the model that a function of the package takes, and log which it is.

    Args:
        named: a path, which is not logged; `released` or `latest`; None takes `latest_of_all`.

    Raises:
        MissingModelError: there is none.
    """
    any_model = 'path="released", "latest" or a folder'
    path, lines = choose_model(named, OUTPUT_DIR, kind, any_model, 'path="latest"')
    if named is None or str(named) in NAMES:
        for line in lines:
            log.warning("%s", line)
    return path


def title_of(path: Path) -> str:
    """Return the path of a model, followed by "the released one" where it is.

    The path is a short one: see `shown`.
    """
    return f"{shown(path)}{', the released one' if is_released(path) else ''}"


def shown(path: Path) -> Path:
    """Return a path relative to the current folder where it lies below it, otherwise as it is."""
    with contextlib.suppress(ValueError, OSError):  # it lies elsewhere; the folder was deleted
        return path.relative_to(Path.cwd())
    return path


def describe(path: Path) -> str:
    """Return the title of a model with its corpus, its score and its date, where they are known."""
    folder = path if path.is_dir() else path.parent
    facts: list[str] = []
    # A model may lie alone, or beside a damaged record: loading it says what is wrong.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IndexError):
        if path.exists():
            record = read_record(folder)
            facts.append(str(record["data"]["name"]))
            figures = record["metrics"]
            figure = "perplexity" if "val/perplexity" in figures else "accuracy"
            facts.append(f"validation {figure} {figures[f'val/{figure}']:.4g}")
            facts.append(_day_of(folder).isoformat())
    return f"{title_of(path)} ({', '.join(facts)})" if facts else title_of(path)


def update_latest(output_dir: Path, data_name: str, run_dir: Path, kind: str = "bilm") -> None:
    """Let the pointer to the latest model name `run_dir`, or log why it does not.

    It does not where training diverged, where `trainer.limit_*_batches` cut the run, where the
    splits of the corpus are not its default ones, and where the model in place, on the same data,
    is better on validation. The model in place may be the released one. This is also how the best
    job of a sweep becomes the latest.
    """
    new = read_record(run_dir)
    if reason := _why_not_latest(output_dir, data_name, new, kind):
        usage = KINDS[kind].naming.format(os.path.relpath(run_dir))
        log.info(
            "not the latest %s of data=%s, because %s; to use it anyway: %s",
            *(KINDS[kind].title, data_name, reason, usage),
        )
        return
    run_dir = run_dir.resolve()
    with contextlib.suppress(ValueError):  # outside of output_dir the pointer holds the full path
        run_dir = run_dir.relative_to(output_dir.resolve())
    write_text(latest_pointer(output_dir, data_name, kind), f"{run_dir}\n")


def _why_not_latest(
    output_dir: Path, data_name: str, new: Mapping[str, Any], kind: str
) -> str | None:
    metric = KINDS[kind].metric
    found = new["metrics"][metric]
    if found is None:
        return f"{metric} is not finite"
    if limits := _limits(new):
        return f"{limits} cut it"
    if variant := new["data"].get("variant"):
        return f"its splits are other ones ({variant})"
    # A run that is gone or not readable is no rival, and neither is one that was cut.
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, MissingModelError):
        path = latest_run(output_dir, data_name, kind)
        current = read_record(path)
        rival = current["metrics"][metric]
        same_data = current["data"]["fingerprint"] == new["data"]["fingerprint"]
        worse = found < rival if KINDS[kind].higher_is_better else found > rival
        if same_data and worse and not _limits(current):
            return f"its {metric} is {found:.4g}, that of {title_of(path)} {rival:.4g}"
    return None


def _limits(record: Mapping[str, Any]) -> str:
    """Return the settings that cut a run; the whole number 1 is one batch, and 1.0 all of them."""
    trainer = record.get("settings", {}).get("trainer", {})
    found = {key: trainer.get(f"limit_{key}_batches") for key in ("train", "val", "test")}
    return ", ".join(
        f"trainer.limit_{key}_batches={value}"
        for key, value in found.items()
        if value is not None and not (isinstance(value, float) and value == 1)
    )


def _corpora(output_dir: Path, kind: str) -> list[str]:
    """Return the names of the corpora of which there is a latest model."""
    suffix = KINDS["classifier"].pointer
    return [
        pointer.name.removesuffix(suffix)
        for pointer in output_dir.glob("latest/[!.]*")
        if pointer.name.endswith(suffix) == (kind == "classifier")
    ]


def _newest(output_dir: Path, kind: str, corpora: list[str]) -> Path:
    if not corpora:
        raise MissingModelError(
            f"{output_dir / 'latest'}: no {KINDS[kind].title} was trained yet; run "
            f"`python {KINDS[kind].script}` first, or name a model: {_ways_to_name(kind)}"
        )
    pointers = {name: latest_pointer(output_dir, name, kind) for name in corpora}
    newest = max(corpora, key=lambda name: pointers[name].stat().st_mtime_ns)
    return latest_run(output_dir, newest, kind)


def _ways_to_name(kind: str) -> str:
    return KINDS[kind].naming.format("released|RUN")


def _day_of(folder: Path) -> date:
    """Return the day on which a run ended.

    TensorBoard writes the time into the name of its files, which a copy keeps.
    """
    names = [file.name for file in folder.glob("events.out.tfevents.*")]
    ends = [int(name.split(".")[3]) for name in names]
    return date.fromtimestamp(max(ends) if ends else (folder / METRICS_FILE).stat().st_mtime)
