"""The sections on what changes with the biLM: its seed, and training it on with the classifier."""

from __future__ import annotations

import json
import re

import numpy as np

from elmo.report.findings import points, seeds
from elmo.report.material import Classifier, Material, paired
from elmo.report.sections import PAIR_HEADER, pair_rows
from elmo.report.writing import Manuscript, number, with_deviation


def seeds_of_the_bilm(material: Material, paper: Manuscript) -> None:
    groups: dict[str, list[Classifier]] = {}
    for one in material.comparable:
        if one.is_elmo:
            plain = {key: value for key, value in one.plain.items() if key != "bilm"}
            groups.setdefault(json.dumps([one.choices["mixer"], plain], sort_keys=True), []).append(
                one
            )
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        paper.without("Several biLMs", "no setting was trained on more than one")
        return
    paper.heading("Several biLMs")
    for group in several:
        title = re.sub(r",? bilm=\w+", "", min((one.title for one in group), key=len))
        means = np.array([one.mean("test/accuracy") for one in group])
        within = float(np.mean([one.deviation("test/accuracy") for one in group]))
        paper.paragraph(
            f"{title} on {len(group)} biLMs: {means.mean():.4f} on test, the mean of the biLMs; "
            f"their deviation is {points(float(means.std(ddof=1)))}, that of the seeds of the "
            f"classifier on one biLM {points(within)}."
        )
        group.sort(key=lambda one: -one.mean("val/accuracy"))
        rows = [
            [
                str(one.plain.get("bilm", "")),
                str(len(one.setting.records)),
                *(
                    with_deviation(one.mean(figure), one.deviation(figure))
                    for figure in ("val/accuracy", "test/accuracy", "test/f1")
                ),
                f"{number(one.summary.low)} to {number(one.summary.high)}" if one.summary else "",
            ]
            for one in group
        ]
        paper.table(
            f"{title}, by the biLM (the beginning of the hash of its file), mean and deviation "
            "over the seeds of the classifier; the interval is of the mean, over the test rows.",
            ["biLM", "seeds", "validation acc.", "test acc.", "test macro F1", "95 % interval"],
            rows,
        )


def fine_tuning(material: Material, paper: Manuscript) -> None:
    tuned = [one for one in material.tested if one.is_elmo and one.is_finetuned]
    chosen = material.representations()
    if not tuned or not chosen:
        paper.without("Fine-tuning", "no tested runs with `encoder.finetune=true`, and without")
        return
    paper.heading("Fine-tuning")
    shown = [chosen[0], *tuned]
    paper.paragraph(
        "The biLM trained on with the classifier, its lower layers with lower learning rates "
        "(`encoder.finetune=true`), is no lambda mode and stands apart.",
        *(
            f"{one.title} reaches {one.mean('test/accuracy'):.4f} on test "
            f"({seeds(len(one.setting.records))}), {chosen[0].title} with the frozen biLM "
            f"{chosen[0].mean('test/accuracy'):.4f}."
            for one in tuned
        ),
    )
    rows = [
        [
            one.title,
            str(len(one.setting.records)),
            *(
                with_deviation(one.mean(figure), one.deviation(figure))
                for figure in ("train/accuracy", "val/accuracy", "test/accuracy")
            ),
        ]
        for one in shown
    ]
    paper.table(
        "Fine-tuned and frozen.", ["setting", "seeds", "train acc.", "validation", "test"], rows
    )
    paper.table(
        "Paired tests of frozen against fine-tuned.",
        PAIR_HEADER,
        pair_rows(shown, paired(shown, first=True)),
    )
