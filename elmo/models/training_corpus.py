"""The corpus of a finished run, built again from the settings that its `metrics.json` keeps."""

from __future__ import annotations

import inspect
import json
import os
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any

from elmo.data import corpora
from elmo.data.corpus import Corpus
from elmo.errors import ArtifactError, ConfigError
from elmo.runs.record import read_record

WAY_OUT = "name the texts to read instead with --file FILE"


def training_corpus(
    run_dir: Path, cache_dir: str, overrides: dict[str, Any] | None = None
) -> Corpus:
    """The corpus that a run was trained on; its splits are not built before they are asked for.

    Args:
        run_dir: the run folder, or the model file that lies in it.
        cache_dir: where prepared data lies now, in place of the recorded one.
        overrides: settings of the corpus by name, such as `dir`, in place of the recorded ones.

    Raises:
        ArtifactError: there is no readable record, or it names no corpus of elmo's own, or one
            that does not take the recorded settings.
        ConfigError: `overrides` names a setting that the corpus does not have, or gives it a value
            that cannot work.
    """
    file = (run_dir if run_dir.is_dir() else run_dir.parent) / "metrics.json"
    data = _data_settings(file)
    target = data.pop("_target_", None)
    corpus_class = _corpus_class(target, file)
    known = sorted(set(data) - {"cache_dir"})
    if unknown := sorted(set(overrides or {}) - set(known)):
        raise ConfigError(
            f"{', '.join(unknown)}: {target} has no such setting; expected {', '.join(known)}"
        )
    for name, value in (overrides or {}).items():
        recorded = data[name]
        if None not in (value, recorded) and not isinstance(value, type(recorded)):
            raise ConfigError(
                f"{name} is {value!r}; expected a value like the recorded one, {recorded!r}"
            )
    settings = {**data, **(overrides or {}), "cache_dir": cache_dir}
    if "dir" in settings and settings["dir"] is None:  # as conf/data/ag_news.yaml has it
        settings["dir"] = os.environ.get("AG_NEWS_DIR")
    try:
        return corpus_class(**settings)
    except (TypeError, ValueError) as error:  # what a constructor makes of foreign settings
        kind = ConfigError if overrides else ArtifactError
        changed = f" with {overrides}" if overrides else ""
        raise kind(f"{file}: its {target} cannot be built{changed} ({error}); {WAY_OUT}") from error


def _data_settings(file: Path) -> dict[str, Any]:
    """The `settings.data` of a record."""
    if not file.is_file():
        raise ArtifactError(
            f"{file}: no such file, so the corpus that the model was trained on is not known; "
            f"put the run's metrics.json back beside the model, or {WAY_OUT}"
        )
    try:
        return dict(read_record(file.parent)["settings"]["data"])
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{file}: not readable ({error}); {WAY_OUT}") from error
    except (LookupError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{file}: no settings of a corpus under settings.data, where a run of this project "
            f"records them; {WAY_OUT}"
        ) from error


def _corpus_class(target: object, file: Path) -> type[Corpus]:
    """Return the class of the project's own corpora that a `_target_` names.

    Only its bare name counts: records from before a class moved to another module stay readable.
    """
    name = target.rpartition(".")[2] if isinstance(target, str) else ""
    for module in pkgutil.iter_modules(corpora.__path__, f"{corpora.__name__}."):
        found = getattr(import_module(module.name), name, None) if name else None
        if isinstance(found, type) and issubclass(found, Corpus) and not inspect.isabstract(found):
            return found
    raise ArtifactError(
        f"{file}: settings.data._target_ is {target!r}, which is no corpus of this project; "
        f"{WAY_OUT}"
    )
