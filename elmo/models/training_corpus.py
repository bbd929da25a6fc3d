"""The corpus of a finished run, rebuilt from the settings in its `metrics.json`."""

from __future__ import annotations

import inspect
import json
import logging
import os
import pkgutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from elmo.data import corpora
from elmo.data.corpora.ag_news import AgNews
from elmo.data.corpus import Corpus, texts_of
from elmo.data.sources import read_source
from elmo.data.splitting import text_digests
from elmo.errors import ArtifactError, ConfigError, ElmoError
from elmo.runs.record import read_record

log = logging.getLogger(__name__)

ADVICE = "name the texts to read instead with --file FILE"


def training_corpus(
    run_dir: Path, cache_dir: str, overrides: dict[str, Any] | None = None
) -> Corpus:
    """Return the corpus that a run was trained on; its splits are built when they are first used.

    Args:
        run_dir: the run folder, or a model file in it.
        cache_dir: the folder of prepared data, which replaces the recorded one.
        overrides: settings of the corpus by name, such as `dir`, which replace the recorded ones.

    Raises:
        ArtifactError: there is no readable record, or it does not name a corpus of this project,
            or the corpus does not take the recorded settings.
        ConfigError: `overrides` names a setting that the corpus does not have, or a value that
            cannot work.
    """
    file = (run_dir if run_dir.is_dir() else run_dir.parent) / "metrics.json"
    data = _data_settings(file)
    target = data.pop("_target_", None)
    corpus_class = _corpus_class(target, file)
    if issubclass(corpus_class, AgNews):
        data.setdefault("dir", None)  # a record that was kept without paths has none
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
    if "dir" in settings and settings["dir"] is None:  # the default of conf/data/ag_news.yaml
        settings["dir"] = os.environ.get("AG_NEWS_DIR")
    try:
        return corpus_class(**settings)
    except (TypeError, ValueError) as error:  # from a constructor that gets unknown settings
        kind = ConfigError if overrides else ArtifactError
        changed = f" with {overrides}" if overrides else ""
        raise kind(f"{file}: its {target} cannot be built{changed} ({error}); {ADVICE}") from error


def texts_read(run_dir: Path, corpus: Corpus) -> dict[str, int]:
    """Count the validation and test texts of a corpus that a pretraining on other splits read.

    Names of agencies at the beginning do not count, so that texts without them are found as well.

    Args:
        run_dir: the run folder of the pretraining, or a model file in it.
        corpus: another split of the rows that the pretraining had.

    Returns:
        The numbers of both splits; nothing where the rows of the pretraining cannot be read.
    """
    folder = {"dir": str(corpus.dir)} if isinstance(corpus, AgNews) and corpus.dir else None
    try:
        read = _digests(training_corpus(run_dir, str(corpus.cache_dir), folder), "train")
    except ElmoError as error:
        log.warning("which texts the biLM has read cannot be told: %s", error)
        return {}
    return {
        split: int(np.isin(_digests(corpus, split), read).sum()) for split in ("validation", "test")
    }


def _digests(corpus: Corpus, split: str) -> np.ndarray:
    return text_digests(read_source(text).text for text in texts_of(corpus.splits[split]))


def _data_settings(file: Path) -> dict[str, Any]:
    """Return the `settings.data` of a record, which name the corpus and its settings."""
    if not file.is_file():
        raise ArtifactError(
            f"{file}: no such file, so the corpus that the model was trained on is unknown; "
            f"put the run's metrics.json next to the model, or {ADVICE}"
        )
    try:
        return dict(read_record(file.parent)["settings"]["data"])
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{file}: not readable ({error}); {ADVICE}") from error
    except (LookupError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{file}: no settings of a corpus under settings.data, where a run of this project "
            f"records them; {ADVICE}"
        ) from error


def _corpus_class(target: object, file: Path) -> type[Corpus]:
    """Return the corpus class of this project that a `_target_` names.

    Only the bare name counts, so that records stay readable when a class moves to another module.
    """
    name = target.rpartition(".")[2] if isinstance(target, str) else ""
    for module in pkgutil.iter_modules(corpora.__path__, f"{corpora.__name__}."):
        named = getattr(import_module(module.name), name, None) if name else None
        if isinstance(named, type) and issubclass(named, Corpus) and not inspect.isabstract(named):
            return named
    raise ArtifactError(
        f"{file}: settings.data._target_ is {target!r}, which is not a corpus of this project; "
        f"{ADVICE}"
    )
