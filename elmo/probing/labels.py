"""The labels of a task as numbers, its control task, and the baselines without an encoder."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np

from elmo.errors import DataError
from elmo.probing.words import SPLITS, Splits

UNSEEN = -1  # a label that train does not have: no probe can find it


class Labels(NamedTuple):
    """The labels of the words of a split that a task labels.

    Attributes:
        places: their numbers among all words of the split (n,).
        forms: their word types (n,).
        classes: the number of the class of each, `UNSEEN` where train lacks it (n,).
    """

    places: np.ndarray
    forms: np.ndarray
    classes: np.ndarray


class ProbingTask(NamedTuple):
    """A task: its classes, by frequency in train, and the labels of each split."""

    name: str
    names: list[str]
    splits: dict[str, Labels]

    @property
    def has_types(self) -> bool:
        """Whether words are labelled, and not documents as a whole."""
        return any(self.splits["train"].forms)


class Baselines(NamedTuple):
    """Accuracies on the test split of guesses that see no vector.

    Attributes:
        majority: the most frequent class of train.
        word_type: the most frequent class of the word in train; the majority for a new word. None
            where documents are labelled, and not words.
        ambiguous: the same for the words that have several labels in train; None without any.
    """

    majority: float
    word_type: float | None
    ambiguous: float | None


def task_of(name: str, splits: Splits) -> ProbingTask:
    """Collect the labels of a task.

    Raises:
        DataError: a split has none, or train has a single class.
    """
    raw = {}
    for split in SPLITS:
        words = [word for document in splits[split] for word in document.words]
        places = [number for number, word in enumerate(words) if name in word.labels]
        if not places:
            raise DataError(f"task {name}: no labelled word in the {split} split")
        chosen = [words[place] for place in places]
        raw[split] = (places, [w.form for w in chosen], [w.labels[name] for w in chosen])
    names = [label for label, _ in Counter(raw["train"][2]).most_common()]
    if len(names) < 2:
        raise DataError(
            f"task {name}: every word of the train split has the label {names[0]!r}; a probe needs "
            "two labels or more"
        )
    numbers = {label: number for number, label in enumerate(names)}
    return ProbingTask(
        name,
        names,
        {
            split: Labels(
                np.array(places),
                np.array(forms),
                np.array([numbers.get(label, UNSEEN) for label in labels]),
            )
            for split, (places, forms, labels) in raw.items()
        },
    )


def control_task(task: ProbingTask, seed: int) -> ProbingTask:
    """Return the control task: each word type has a random class, the same wherever it occurs.

    The classes are drawn from the distribution of the task's labels in train (Hewitt and Liang
    2019, section 2), so that only a probe that memorises word types can be good at it.
    """
    generator = np.random.default_rng(seed)
    train = task.splits["train"].classes
    forms = sorted({form for labels in task.splits.values() for form in labels.forms})
    drawn = dict(zip(forms, generator.choice(train, len(forms)), strict=True))
    return task._replace(
        splits={
            split: labels._replace(classes=np.array([drawn[form] for form in labels.forms]))
            for split, labels in task.splits.items()
        }
    )


def ambiguous(task: ProbingTask) -> np.ndarray:
    """Tell which test words are of a type that has several labels in train (n,)."""
    if not task.has_types:
        return np.zeros(len(task.splits["test"].forms), dtype=bool)
    seen = _counts(task)
    return np.array([len(seen.get(form, ())) > 1 for form in task.splits["test"].forms])


def baselines(task: ProbingTask) -> Baselines:
    """Return the accuracies of the guesses that see no vector."""
    seen, test = _counts(task), task.splits["test"]
    majority = float((test.classes == 0).mean())
    if not task.has_types:
        return Baselines(majority, None, None)
    best = {form: counts.most_common(1)[0][0] for form, counts in seen.items()}
    guesses = np.array([best.get(form, 0) for form in test.forms])  # 0 is the most frequent class
    right, several = test.classes == guesses, ambiguous(task)
    return Baselines(
        majority, float(right.mean()), float(right[several].mean()) if several.any() else None
    )


def _counts(task: ProbingTask) -> dict[str, Counter[int]]:
    """Return how often each word type has each class in train."""
    train = task.splits["train"]
    counts: dict[str, Counter[int]] = defaultdict(Counter)
    for form, number in zip(train.forms.tolist(), train.classes.tolist(), strict=True):
        counts[form][number] += 1
    return counts
