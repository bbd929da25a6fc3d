"""Train rows whose label is probably wrong, found by confident learning, and the file of them."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elmo.data.corpus import Corpus, column
from elmo.errors import ConfigError, DataError
from elmo.utils.files import write_text

COLUMNS = ("corpus", "row", "label", "suggested", "probability")


class Issues(NamedTuple):
    """The M suspected rows among N."""

    position: np.ndarray  # (M,) among the N rows
    label: np.ndarray  # (M,) the class that each has
    suggested: np.ndarray  # (M,) the class that the classifier takes it for
    probability: np.ndarray  # (M,) of that class

    def pairs(self) -> list[tuple[int, int, int]]:
        """Return label, suggested class and number of rows of each pair, the largest first."""
        found, counts = np.unique(
            np.stack([self.label, self.suggested], axis=1), axis=0, return_counts=True
        )
        order = np.argsort(-counts, kind="stable")
        return [(int(found[i, 0]), int(found[i, 1]), int(counts[i])) for i in order]


def label_issues(probabilities: np.ndarray, labels: np.ndarray) -> Issues:
    """Return the rows off the diagonal of the confident joint (Northcutt et al. 2021, section 3.1).

    The threshold of a class is its mean self-confidence: the mean probability of the class over the
    rows that are labelled with it. A row belongs to the class of highest probability among those
    whose threshold it reaches; where that is not its label, it is suspected.

    Args:
        probabilities: of classifiers that were not trained on the row that they judge (N, C).
        labels: (N,), every class at least once.
    """
    own = probabilities[np.arange(len(labels)), labels]  # (N,)
    thresholds = np.bincount(labels, own) / np.bincount(labels)  # (C,)
    confident = np.where(probabilities >= thresholds, probabilities, -1.0)  # (N, C)
    suggested = confident.argmax(1)  # (N,)
    probability = confident.max(1)  # (N,), negative where no threshold is reached
    position = np.flatnonzero((probability >= 0) & (suggested != labels))
    return Issues(position, labels[position], suggested[position], probability[position])


def write_issues(file: Path, corpus: Corpus, issues: Issues) -> None:
    """Write suspected train rows as CSV: numbers of rows in the source and of classes, no text."""
    rows = column(corpus.splits["train"], "row")[issues.position]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row, label, suggested, probability in zip(rows, *issues[1:], strict=True):
        writer.writerow([corpus.fingerprint, row, label, suggested, f"{probability:.4f}"])
    write_text(file, text.getvalue())


def read_issues(file: Path, corpus: Corpus) -> np.ndarray:
    """Return the positions in the train split of the rows that a file of `write_issues` names (M,).

    Raises:
        DataError: it cannot be read, or is no such file.
        ConfigError: it is of other data, or names rows that are not in the train split.
    """
    made_by = "expected a file that `elmo noise --cross-validate 5 --suspects FILE` wrote"
    try:
        with file.open(newline="") as handle:
            reader = csv.DictReader(handle)
            lines = [(line["corpus"], int(line["row"])) for line in reader]
    except KeyError as error:
        raise DataError(f"{file}: has no column {error}; {made_by}") from error
    except (OSError, UnicodeDecodeError, ValueError, TypeError, csv.Error) as error:
        raise DataError(f"{file}: not readable ({error}); {made_by}") from error
    if not lines:
        raise DataError(f"{file}: names no rows; {made_by}")
    if others := {fingerprint for fingerprint, _ in lines} - {corpus.fingerprint}:
        raise ConfigError(
            f"{file} is of the data {', '.join(sorted(others))}, this is data={corpus.name} "
            f"({corpus.fingerprint}); {made_by} for a run on this data"
        )
    in_train = column(corpus.splits["train"], "row")
    rows = np.array([row for _, row in lines])
    if len(outside := rows[~np.isin(rows, in_train)]):
        raise ConfigError(
            f"{file}: row {outside[0]} is not in the train split of data={corpus.name}; {made_by}"
        )
    return np.flatnonzero(np.isin(in_train, rows))
