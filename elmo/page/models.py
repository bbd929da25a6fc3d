"""The models that the page offers: found once for each visit, loaded once, used one at a time."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import RLock
from typing import Any, NamedTuple, TypeVar

import torch

from elmo.errors import ElmoError, MissingModelError
from elmo.inference.context_index import ContextIndex
from elmo.models.artifacts import load_artifact
from elmo.models.classifier import TextClassifier, load_classifier
from elmo.models.encoders import Encoder
from elmo.models.language_model import LanguageModel, load_language_model
from elmo.models.loading import load_encoder
from elmo.models.published import find_published, is_published
from elmo.page.found_runs import find_runs
from elmo.page.texts import SearchedTexts
from elmo.runs.finished import FinishedRun
from elmo.runs.labels import label_of
from elmo.runs.latest import KINDS, NAMES, choose_model, shown
from elmo.runs.record import read_record

T = TypeVar("T")

MOST_LOADED = 12  # models of one kind in memory; the one that was not used for longest goes
MOST_INDEXES = 2  # encoders whose vectors of a corpus are in memory
INDEXED_WORDS = 40_000  # at L = 3 and D = 512 they take 250 MB


class Offer(NamedTuple):
    """A model that a visitor can choose."""

    title: str
    path: Path
    record: Mapping[str, Any]  # of its run; empty where there is none

    @property
    def key(self) -> str:
        """What names it in the page."""
        return str(self.path)


class Models:
    """The models of a folder of runs, and those that the user named.

    Args:
        named: what the user names as models: `released`, `latest` or paths.
        output_dir: the folder of runs.
        device: where models compute.
        texts: the documents that are searched for words in context.

    Attributes:
        lines: what to tell the user of the models that are shown first.
        lock: held while a model computes. Mixers count the gates that they see, and two cores
            answer no faster to two callers at once.

    Raises:
        MissingModelError: there is no model at all, or not the named one.
        ArtifactError: a named file is not a model.
    """

    def __init__(
        self,
        named: Iterable[str],
        output_dir: Path,
        device: torch.device,
        texts: SearchedTexts,
    ) -> None:
        self.output_dir = output_dir
        self.device = device
        self.texts = texts
        self.lock = RLock()
        self._index_lock = RLock()
        self.lines: list[str] = []
        self._first: dict[str, list[Offer]] = {"bilm": [], "classifier": [], "published": []}
        names: list[str | None] = [*named]
        for name in names or [None]:
            self._add_first(name)
        self._classifiers: OrderedDict[str, TextClassifier] = OrderedDict()
        self._language_models: OrderedDict[str, LanguageModel] = OrderedDict()
        self._encoders: OrderedDict[str, Encoder] = OrderedDict()
        self._indexes: OrderedDict[str, ContextIndex] = OrderedDict()

    def _add_first(self, name: str | None) -> None:
        """Find the models that one `--model` names, or those that serve where there is none."""
        if name is not None and name not in NAMES:
            path = find_published(Path(name))
            kind = _kind_of(path)
            self._first[kind].append(offer_of(path))
            self.lines.append(f"model: {shown(path)}")
            return
        missing = []
        for kind in KINDS:
            try:
                path, lines = choose_model(
                    name, self.output_dir, kind, "--model released|latest|PATH", "--model latest"
                )
            except MissingModelError as error:
                missing.append(error)
                continue
            self._first[kind].append(offer_of(path))
            self.lines += lines
        if len(missing) == len(KINDS):
            raise missing[-1]
        self.lines += [f"note: {error}" for error in missing]

    def classifiers(self, runs: Iterable[FinishedRun]) -> list[Offer]:
        """Return the classifiers to choose from, the one that is shown first at the front."""
        return self._offers("classifier", runs)

    def bilms(self, runs: Iterable[FinishedRun]) -> list[Offer]:
        """Return the language models to choose from, the one that is shown first at the front."""
        return self._offers("bilm", runs)

    def encoders(self, runs: Iterable[FinishedRun]) -> list[Offer]:
        """Return the encoders to choose from: biLMs, published models, those of classifiers."""
        runs = list(runs)
        named = [offer for kind in ("published", "bilm") for offer in self._first[kind]]
        static = [
            offer
            for offer in self.classifiers(runs)
            if offer.record.get("choices", {}).get("encoder", "elmo") != "elmo"
        ]
        return _distinct([*named, *self.bilms(runs), *static])

    def _offers(self, kind: str, runs: Iterable[FinishedRun]) -> list[Offer]:
        file = KINDS[kind].file
        found = [offer_of(run.folder) for run in runs if (run.folder / file).is_file()]
        found.sort(key=lambda offer: _rank(offer, kind))
        return _distinct([*self._first[kind], *found])

    def classifier(self, key: str) -> TextClassifier:
        """Return a classifier, which shares its encoder with those that have the same weights.

        Raises:
            ElmoError: it cannot be loaded.
        """

        def load() -> TextClassifier:
            model = load_classifier(key, self.device)
            for other in self._classifiers.values():
                if _same(model.encoder, other.encoder):
                    model.encoder = other.encoder
            return model

        return self._kept(self._classifiers, key, load)

    def language_model(self, key: str) -> LanguageModel:
        """Return a language model; raises `ElmoError` where it cannot be loaded."""
        return self._kept(self._language_models, key, lambda: load_language_model(key, self.device))

    def encoder(self, key: str) -> Encoder:
        """Return an encoder; raises `ElmoError` where it cannot be loaded."""
        return self._kept(self._encoders, key, lambda: load_encoder(key, self.device))

    def index(self, key: str) -> ContextIndex:
        """Return the index of the searched texts by an encoder; the first call takes seconds.

        Raises:
            ElmoError: the encoder cannot be loaded, or the texts cannot be read.
        """

        def build() -> ContextIndex:
            return ContextIndex(self.encoder(key), self.texts.read(), INDEXED_WORDS)

        # Not under `lock`: the other tabs answer while an index is built.
        return self._kept(self._indexes, key, build, MOST_INDEXES, self._index_lock)

    def warm_up(self) -> None:
        """Load what the page shows first; what cannot be loaded is said where it is asked for."""
        runs = find_runs(self.output_dir).runs
        with contextlib.suppress(ElmoError):
            for offer in side_by_side(self.classifiers(runs)):
                self.classifier(offer.key)
        with contextlib.suppress(ElmoError):
            for offer in self.bilms(runs)[:1]:
                self.language_model(offer.key)
        with contextlib.suppress(ElmoError):
            for offer in self.encoders(runs)[:1]:
                self.index(offer.key)

    def _kept(
        self,
        kept: OrderedDict[str, T],
        key: str,
        load: Callable[[], T],
        most: int = MOST_LOADED,
        lock: RLock | None = None,
    ) -> T:
        with lock or self.lock:
            if key not in kept:
                kept[key] = load()
            kept.move_to_end(key)
            while len(kept) > most:
                kept.popitem(last=False)
            return kept[key]


def side_by_side(offers: list[Offer], most: int = 6) -> list[Offer]:
    """Return the first classifier and the best of each other setting on the same corpus.

    Args:
        offers: the first one at the front, then the best of each corpus first.
        most: classifiers in all.
    """
    if not offers:
        return []
    first = offers[0]
    chosen = {name_of(first): first}
    for offer in offers[1:]:
        if _corpus(offer) is not None and _corpus(offer) == _corpus(first):
            chosen.setdefault(name_of(offer), offer)
    return list(chosen.values())[:most]


def name_of(offer: Offer) -> str:
    """Return what a model is called: the label of its setting, or its path."""
    with contextlib.suppress(KeyError, TypeError):
        return label_of(offer.record)
    return str(shown(offer.path))


def _corpus(offer: Offer) -> Any:
    return offer.record.get("data", {}).get("fingerprint")


def _distinct(offers: Iterable[Offer]) -> list[Offer]:
    found: dict[Path, Offer] = {}
    for offer in offers:
        found.setdefault(offer.path.resolve(), offer)
    return list(found.values())


def _rank(offer: Offer, kind: str) -> float:
    """Return a number that is smaller for a model that did better on validation."""
    value = offer.record.get("metrics", {}).get(KINDS[kind].metric)
    if value is None:
        return float("inf")
    return -value if KINDS[kind].higher_is_better else value


def _kind_of(path: Path) -> str:
    """Return "bilm", "classifier" or "published".

    Raises:
        ArtifactError: it is none of them.
    """
    if is_published(path):
        return "published"
    for kind in KINDS:
        if (path / KINDS[kind].file).is_file():
            return kind
    return load_artifact(path, *KINDS)["format"].removeprefix("elmo.")


def offer_of(path: Path) -> Offer:
    """Return the model of a run folder, or of a file in one, with its title."""
    folder = path if path.is_dir() else path.parent
    record: dict[str, Any] = {}
    # A model may lie alone, or beside a damaged record: loading it says what is wrong.
    with contextlib.suppress(OSError, ValueError):
        record = read_record(folder)
    offer = Offer("", path, record)
    facts = [name_of(offer)]
    with contextlib.suppress(KeyError, TypeError, ValueError):
        facts.append(str(record["data"]["name"]))
        figures = record["metrics"]  # a biLM has accuracies as well, those of its words
        name = "perplexity" if "val/perplexity" in figures else "accuracy"
        facts.append(f"validation {name} {figures[f'val/{name}']:.4g}")
    if name_of(offer) != str(shown(path)):
        facts.append(str(shown(path)))
    return Offer(" · ".join(facts), path, record)


def _same(one: Encoder, other: Encoder) -> bool:
    """Tell whether two encoders are equal: their settings, words and weights."""
    if one.config() != other.config() or one.tokenizer.json != other.tokenizer.json:
        return False
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(*pair) for pair in pairs)
