"""The sections on what changes with the biLM: its seed, and fine-tuning."""

from __future__ import annotations

import json

import numpy as np

from elmo.report.findings import points, seed_count
from elmo.report.material import Classifier, Material
from elmo.report.pairs import HEADER, paired_tests
from elmo.report.writing import Manuscript, number, with_deviation
from elmo.runs.keys import relevant_choices
from elmo.runs.labels import CONTEXTUAL


def several_bilms(material: Material, paper: Manuscript) -> None:
    """Write the section on settings that were trained on more than one biLM."""
    groups: dict[str, list[Classifier]] = {}
    for classifier in material.comparable:
        if classifier.kind in CONTEXTUAL:
            # BiLMs without a record may be of one recipe, so they stand together.
            recipe = material.recipes.get(classifier.plain.get("bilm", ""))
            plain = classifier.plain | {"bilm": recipe}
            key = json.dumps([relevant_choices(classifier.choices), plain], sort_keys=True)
            groups.setdefault(key, []).append(classifier)
    several = [group for group in groups.values() if len(group) > 1]
    if not several:
        paper.leave_out("Several biLMs", "no setting was trained on more than one")
        return
    paper.heading("Several biLMs")
    for group in several:
        title = min((c.title_without_bilm for c in group), key=len)
        means = np.array([c.mean("test/accuracy") for c in group])
        within = float(np.mean([c.deviation("test/accuracy") for c in group]))
        paper.paragraph(
            f"{title} on {len(group)} {group[0].on_what}: {means.mean():.4f} on test, their mean; "
            f"their deviation is {points(float(means.std(ddof=1)))}, that of the seeds of the "
            f"classifier within one of them {points(within)}."
        )
        group.sort(key=lambda c: -c.mean("val/accuracy"))
        rows = [
            [
                material.bilm_names.get(c.plain.get("bilm", ""), ""),
                str(len(c.setting.records)),
                *(
                    with_deviation(c.mean(metric), c.deviation(metric))
                    for metric in ("val/accuracy", "test/accuracy", "test/f1")
                ),
                f"{number(c.summary.low)} to {number(c.summary.high)}" if c.summary else "",
            ]
            for c in group
        ]
        paper.table(
            f"{title}, by the biLM, mean and deviation over the seeds of the classifier; the "
            "interval is that of the mean, over seeds and test rows.",
            ["biLM", "seeds", "validation acc.", "test acc.", "test macro F1", "95 % interval"],
            rows,
        )


def fine_tuning(material: Material, paper: Manuscript) -> None:
    """Write the section that compares fine-tuned biLMs with frozen ones."""
    tuned = material.fine_tuned
    frozen = material.best(material.best_of_modes())
    if not tuned or frozen is None:
        paper.leave_out("Fine-tuning", "it needs tested runs with and without `encoder.finetune`")
        return
    paper.heading("Fine-tuning")
    shown = [frozen, *tuned]
    paper.paragraph(
        "A fine-tuned biLM is trained together with the classifier, its lower layers with lower "
        "learning rates (`encoder.finetune=true`). It belongs to no lambda mode and is compared "
        "here only.",
        *(
            f"{c.title} reaches {c.mean('test/accuracy'):.4f} on test "
            f"({seed_count(len(c.setting.records))}), {frozen.title} with the frozen biLM "
            f"{frozen.mean('test/accuracy'):.4f}."
            for c in tuned
        ),
    )
    rows = [
        [
            c.title,
            str(len(c.setting.records)),
            *(
                with_deviation(c.mean(metric), c.deviation(metric))
                for metric in ("train/accuracy", "val/accuracy", "test/accuracy")
            ),
        ]
        for c in shown
    ]
    paper.table(
        "Fine-tuned and frozen.", ["setting", "seeds", "train acc.", "validation", "test"], rows
    )
    # Those that differ in the biLM alone are one pool, which is tested once, at its best biLM.
    tested = [frozen]
    for classifier in tuned:
        if classifier.title not in {c.title for t in tested for c in material.on_all_bilms(t)}:
            tested.append(classifier)
    tests = paired_tests(material, tested, first=True)
    paper.paragraph(tests.against(0))
    paper.table(
        "Frozen against fine-tuned: means of single models, averaged models.", HEADER, tests.rows()
    )
