"""The section with the confusion matrix of the language model, on its most frequent words."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from elmo.errors import DataError
from elmo.evaluation.language_model_scores import DIRECTIONS
from elmo.report import figures
from elmo.report.material import Material
from elmo.report.writing import Manuscript

SPLITS = ("validation", "test")
TABLES = [f"confusion_{split}_{way}.csv" for split in SPLITS for way in DIRECTIONS[:2]]
DRAWN = 15  # words of the figure
PAIRS = 8  # confusions in the table


def confused_words(material: Material, paper: Manuscript) -> None:
    """Write the section on the words that the best language model takes for one another."""
    if not material.bilms:
        return
    title = "Confusion matrix of the language model"
    best = next(
        (b for b in material.bilms if (b.run.folder / "tables" / TABLES[0]).is_file()), None
    )
    if best is None:
        paper.leave_out(title, f"the runs kept no `tables/{TABLES[0]}`")
        return
    paper.heading(title)
    matrices = {}
    names: list[str] = []
    for split in SPLITS:
        for way in DIRECTIONS[:2]:
            file = best.run.folder / "tables" / f"confusion_{split}_{way}.csv"
            if file.is_file():
                names, matrices[f"{split}, {way}"] = read_confusion(file)
    rows = []
    for place, counts in matrices.items():
        words = counts[:-1]  # true words; the last row is all others
        share = np.trace(words[:, :-1]) / max(1, words.sum())
        paper_row = [place, f"{words.sum():,}", f"{100 * share:.1f} %", _pairs(names, counts)]
        rows.append(paper_row)
    paper.paragraph(
        f"The {len(names) - 1} most frequent words as targets of {best.name}, and the word that it "
        "holds most probable in their place; all other words are one column."
    )
    paper.table(
        "How many of the targets that are frequent words are predicted, and which frequent words "
        "are predicted in their place most often (true to predicted).",
        ["on", "targets", "right", "most often confused"],
        rows,
    )
    place = next((name for name in matrices if name.startswith("test")), next(iter(matrices)))
    shown = {
        key: _smaller(counts, DRAWN)
        for key, counts in matrices.items()
        if key.partition(",")[0] == place.partition(",")[0]
    }
    paper.figure(
        "confused_words",
        f"Confusion of the {min(DRAWN, len(names) - 1)} most frequent words, {best.name}: per cent "
        "of the true word (row) by predicted word (column).",
        figures.word_confusions(shown, [*names[:-1][:DRAWN], "other"]),
    )


def read_confusion(file: Path) -> tuple[list[str], np.ndarray]:
    """Return the names and the counts (K + 1 true, K + 1 predicted) of a confusion table.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with file.open(newline="") as handle:
            header, *rows = csv.reader(handle)
        names, counts = header[1:], np.array([[int(cell) for cell in row[1:]] for row in rows])
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: damaged ({error}); remove it, or name other runs") from error
    if counts.shape != (len(names), len(names)) or len(names) < 2:
        raise DataError(f"{file}: {counts.shape} counts of {len(names)} words; remove it")
    return names, counts


def _smaller(counts: np.ndarray, most: int) -> np.ndarray:
    """Return a matrix in which the less frequent words are with the others."""
    kept = min(most, len(counts) - 1)
    groups = np.minimum(np.arange(len(counts)), kept)
    smaller = np.zeros((kept + 1, kept + 1), dtype=int)
    np.add.at(smaller, (groups[:, None], groups[None, :]), counts)
    return smaller


def _pairs(names: list[str], counts: np.ndarray) -> str:
    wrong = counts[:-1, :-1].copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:PAIRS]
    places = [np.unravel_index(place, wrong.shape) for place in order]
    return ", ".join(
        f"`{names[i]}` to `{names[j]}` {wrong[i, j]:,}" for i, j in places if wrong[i, j]
    )
