"""The section on the accuracy that label noise leaves, from files that `elmo noise` wrote."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from elmo.report.findings import points
from elmo.report.material import Material
from elmo.report.writing import Manuscript


def label_noise(material: Material, paper: Manuscript) -> None:
    """Write the section on the ceiling beside the best accuracy."""
    if not material.noise:
        paper.leave_out(
            "What noise in the labels leaves", "the folders contain no file of `elmo noise -o`"
        )
        return
    paper.heading("What noise in the labels leaves")
    sources = material.noise[0]["sources"]
    best = material.best(material.tested)
    beside = []
    if best is not None and best.summary:
        beside = [
            f"{best.title}, the best setting on validation, is "
            f"{points(source['ceiling'] - best.summary.mean)} "
            f"{'below' if source['ceiling'] >= best.summary.mean else 'above'} the ceiling from "
            f"texts that are {source['texts']}."
            for source in sources
        ]
    paper.paragraph(
        "Rows with the same text, or nearly the same, were labelled twice. If each label is wrong "
        "with probability e, independently, two differ with probability 2 e (1 - e), and a "
        "classifier that is always right reaches 1 - e. Texts that occur twice may be less clear "
        "than others, so it is rather a lower bound; copied labels would make it too high.",
        *beside,
    )
    rows = [
        [
            source["texts"],
            f"{source['groups']:,}",
            f"{source['conflicting']:,}",
            f"{source['disagreement']:.1%}",
            f"{source['error']:.1%}",
            f"{source['ceiling']:.1%}",
            f"{source['low']:.1%} to {source['high']:.1%}",
        ]
        for source in sources
    ]
    paper.table(
        "Labels of the same text, and the accuracy that they leave within reach.",
        ["texts", "groups", "two labels", "differ", "wrong", "ceiling", "95 % interval"],
        rows,
    )
    if found := material.noise[0].get("cross_validation"):
        _suspected(found, paper)


def _suspected(found: Mapping[str, Any], paper: Manuscript) -> None:
    """Write the table of the labels that `elmo noise --cross-validate` doubts."""
    paper.paragraph(
        f"{found['suspected']:,} train rows ({found['share']:.1%}) have a label that is doubted by "
        f"confident learning (Northcutt et al. 2021) in {found['folds']} folds: TF-IDF classifiers "
        f"that have not seen the row, and agree with {found['accuracy']:.1%} of the labels, take "
        "it for another class as surely as they take the rows of that class for it. Right labels "
        "of unclear texts are among them."
    )
    pairs = [[pair["label"], pair["suggested"], f"{pair['rows']:,}"] for pair in found["pairs"]]
    paper.table("Doubted labels.", ["label", "rather", "rows"], pairs)
