"""The order of a report, its summary and its hand-written discussion."""

from __future__ import annotations

from pathlib import Path

from elmo.errors import DataError
from elmo.report import appendix, bilms, inside, sections, studies
from elmo.report.findings import (
    against,
    carrying_layer,
    favourite_layer,
    ranking,
    where_pretraining_pays,
)
from elmo.report.material import MODES, Material, paired
from elmo.report.writing import Manuscript

PARTS = (
    sections.data,
    sections.settings,
    sections.pretraining,
    sections.classification,
    sections.comparison,
    studies.lambdas,
    studies.layers,
    bilms.seeds_of_the_bilm,
    bilms.fine_tuning,
    studies.learning_curve,
    inside.neighbours,
    inside.errors,
    appendix.cost,
)
APPENDIX = (appendix.commands, appendix.matrices)


def write(
    material: Material, folder: str, discussion: str | None = None, asked_for: bool = False
) -> Manuscript:
    """The whole report.

    Args:
        folder: where the figures will lie, as the Markdown names it.
        discussion: Markdown whose first line says of which data it was written, as in
            `<!-- fingerprint: 7de22bac6cbe6d15 -->`; left out where the data is other.
        asked_for: say so.

    Raises:
        DataError: the discussion cannot be read, or does not say of which data it is.
    """
    paper = Manuscript(folder)
    paper.heading("ELMo from scratch: what pretraining, layers and lambdas are worth", level=1)
    _summary(material, paper)
    for part in PARTS:
        part(material, paper)
    if discussion is not None:
        _discuss(material, paper, Path(discussion), asked_for)
    for part in APPENDIX:
        part(material, paper)
    if paper.missing:
        paper.heading("What is not in this report")
        paper.items([f"{section}: {reason}." for section, reason in paper.missing])
    return paper


def _summary(material: Material, paper: Manuscript) -> None:
    facts = material.data
    paper.paragraph(
        f"Corpus `{facts['name']}`: {facts['train_rows']:,} train, {facts['validation_rows']:,} "
        f"validation and {facts['test_rows']:,} test rows. This report is made from the files of "
        "finished runs; every sentence that states a finding is computed from them, but for a "
        "discussion, which is written by hand where there is one."
    )
    found = []
    chosen = material.representations()
    if chosen:
        found += [ranking(chosen), against(chosen, paired(chosen), chosen[0])]
    for run in material.bilms[:1]:
        metrics = run.record["metrics"]
        if "test/perplexity" in metrics:
            found.append(
                f"The biLM reaches a test perplexity of {metrics['test/perplexity']:.2f} at V = "
                f"{run.record['data']['vocabulary_size']:,} and "
                f"{run.record['data']['unknown_rate']['test']:.1%} unknown words."
            )
    trainable = material.of_mode("trainable")
    if trainable:
        found.append(favourite_layer(trainable))
    single = [c for c in material.comparable if c.is_elmo and c.choices["mixer"] == "layer"]
    best = material.best([one for mode in MODES if (one := material.of_mode(mode))])
    if len(single) > 1:
        found.append(carrying_layer(single, best))
    for name in [name for name, line in material.lines.items() if line[0].is_elmo][:1]:
        others = [other for other in material.lines if not material.lines[other][0].is_elmo]
        found.append(where_pretraining_pays(material.lines, name, others))
    if told := [sentence for sentence in found if sentence]:
        paper.items(told)


def _discuss(material: Material, paper: Manuscript, file: Path, asked_for: bool) -> None:
    try:
        first, _, text = file.read_text().partition("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file}: not readable ({error}); name another --discussion") from error
    mark = "<!-- fingerprint: "
    if not first.startswith(mark):
        raise DataError(f"{file}, line 1: {first!r}; expected {mark}FINGERPRINT -->")
    if first.removeprefix(mark).removesuffix(" -->").strip() != material.data["fingerprint"]:
        if asked_for:
            paper.without("Discussion", f"`{file.name}` was written of other data")
        return
    paper.include(text)
