"""The section on other splits of the corpus, from invented runs with known figures."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from elmo.errors import ConfigError
from elmo.report import figures
from elmo.report.collect import collect
from elmo.report.keep import keep_material
from elmo.report.paper import write_report
from elmo.report.shift import at_shares_of_test
from elmo.runs.finished import find_settings
from elmo.utils import drawing
from report_runs import FACTS, ROWS, write_classifier

ELMO = {"encoder": "elmo", "mixer": "trainable"}
SVM = {"classifier": "svm"}


def write_run(
    folder: Path,
    accuracy: float,
    choices: dict[str, str],
    variant: str = "",
    first_row: int = 0,
    **settings: Any,
) -> None:
    """Write a run on a variant of the corpus, with settings of its splits.

    Its rows are numbered from `first_row`; its validation predictions are those of test.
    """
    data: dict[str, Any] = dict(FACTS)
    if variant:
        fingerprint = f"{sum(map(ord, variant)):x}bbbb"
        data |= {"fingerprint": fingerprint, "variant": variant, "validation_rows": ROWS}
    write_classifier(folder, accuracy, 0, choices, data=data)
    file = folder / "metrics.json"
    record = json.loads(file.read_text())
    record["settings"]["data"] = settings
    if variant and "encoder" in choices:
        record["bilm_has_read"] = {"validation": 250, "test": 390}
    file.write_text(json.dumps(record))
    predictions = folder / "predictions"
    table = pq.read_table(predictions / "test.parquet")
    rows = pa.array(np.arange(ROWS) + first_row)
    table = table.set_column(table.column_names.index("row"), "row", rows)
    pq.write_table(table, predictions / "test.parquet")
    shutil.copy(predictions / "test.parquet", predictions / "validation.parquet")


def write_shift(root: Path) -> None:
    """Write the default splits, a hold-out and blocks; ELMo is 10, 20 and 5 points ahead."""
    write_run(root / "elmo", 0.9, ELMO)
    write_run(root / "svm", 0.8, SVM)
    # Half of its test rows are those of the test file, which is of 400 rows.
    held_out: dict[str, Any] = {"variant": "AP held out", "first_row": 200, "hold_out": "AP"}
    write_run(root / "ap-elmo", 0.7, ELMO, **held_out)
    write_run(root / "ap-svm", 0.5, SVM, **held_out)
    blocks: dict[str, Any] = {"variant": "validation rows in 10 blocks", "validation_blocks": 10}
    write_run(root / "blocks-elmo", 0.85, ELMO, **blocks)
    write_run(root / "blocks-svm", 0.8, SVM, **blocks)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_shift(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def section(runs: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The text of the section."""
    monkeypatch.setattr(drawing, "svg", lambda figure: b"")
    text = write_report(collect([runs]), "figures").text
    return text.partition("## Under shift\n")[2].partition("\n## ")[0]


def rows_of(section: str, header: str) -> list[list[str]]:
    """Return the cells below a header."""
    lines = section.partition(header)[2].splitlines()[2:]
    table = lines[: lines.index("")] if "" in lines else lines
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_each_split_has_its_accuracies_and_its_lead(section: str) -> None:
    leads = rows_of(section, "| split | on ")
    assert [(row[0], row[1], row[3]) for row in leads] == [
        ("default", "validation", "+10.00"),
        ("default", "test", "+10.00"),
        ("AP held out", "validation", "+20.00"),
        ("AP held out", "test", "+20.00"),
        ("AP held out", "test file alone", leads[4][3]),
        ("validation rows in 10 blocks", "validation", "+5.00"),
        ("validation rows in 10 blocks", "test", "+5.00"),
    ]
    assert [row[2] for row in leads[2:5]] == ["400", "400", "200"]
    for *_, lead, interval, _, _ in leads:
        low, high = map(float, interval.split(" to "))
        assert low < float(lead) < high
    accuracies = rows_of(section, "| split | setting ")
    assert [row[0] for row in accuracies] == [
        *("default", "", "AP held out", "", "validation rows in 10 blocks", "")
    ]
    assert [row[5] for row in accuracies[2:4]] == ["0.7000", "0.5000"]
    finding = "Split `AP held out`, ELMo, trainable against TF-IDF, linear SVM: 20.00 points ahead "
    assert f"{finding}on validation (95 % interval +" in section
    assert "20.00 points ahead on test (95 % interval +" in section
    assert "the biLM has read 250 of the 400 validation texts and 390 of the 400 test texts" in (
        section
    )


def test_the_same_rows_are_compared_with_and_without_the_agency(section: str, runs: Path) -> None:
    controls = rows_of(section, "| split | rows | setting ")
    assert [row[:3] for row in controls] == [
        ["AP held out", "200", "ELMo, trainable"],
        ["AP held out", "200", "TF-IDF, linear SVM"],
    ]
    for row, name in zip(controls, ("elmo", "svm"), strict=True):
        tables = [
            pq.read_table(runs / folder / "predictions/test.parquet")
            for folder in (name, f"ap-{name}")
        ]
        right = [
            {
                number: label == predicted
                for number, label, predicted in zip(
                    *(table[key].to_pylist() for key in ("row", "label", "predicted")), strict=True
                )
            }
            for table in tables
        ]
        means = [np.mean([found[number] for number in range(200, 400)]) for found in right]
        assert row[3:5] == [f"{mean:.4f}" for mean in means]
        assert float(row[5]) == pytest.approx(100 * (means[0] - means[1]), abs=0.01)


def test_variants_are_no_part_of_other_sections(runs: Path) -> None:
    material = collect([runs])
    assert material.data["fingerprint"] == FACTS["fingerprint"]
    assert len(material.classifiers) == 2
    names = ["AP held out", "validation rows in 10 blocks"]
    assert [variant.name for variant in material.variants] == names
    chosen = material.variants[0].data["fingerprint"]
    other = collect([runs], data=chosen)
    assert other.data["variant"] == "AP held out"
    with pytest.raises(ConfigError, match=r"\(toy, AP held out, 1,000 train rows, 2 runs\)"):
        find_settings([runs])


def test_without_other_splits_there_is_no_section(tmp_path: Path) -> None:
    write_run(tmp_path / "elmo", 0.9, ELMO)
    text = write_report(collect([tmp_path]), "figures").text
    assert "## Under shift" not in text
    assert "Under shift: there are no tested runs with `data.hold_out`" in text


def test_what_is_kept_gives_the_same_section(runs: Path, tmp_path: Path) -> None:
    keep_material(collect([runs]), tmp_path / "kept")
    texts, drawn = zip(
        *(
            (paper.text.partition("## Under shift")[2].partition("\n## ")[0], paper.figures)
            for paper in (write_report(collect([f]), "figures") for f in (runs, tmp_path / "kept"))
        ),
        strict=True,
    )
    assert texts[0] == texts[1]
    assert len(texts[0]) > 1000
    assert drawn[0]["shift.svg"] == drawn[1]["shift.svg"]


def test_accuracy_at_the_class_shares_of_test() -> None:
    validation = np.array([[9, 1], [4, 6]])  # recall 0.9 and 0.6
    test = np.array([[0, 10], [45, 45]])  # a tenth and nine tenths
    assert at_shares_of_test(validation, test) == pytest.approx(0.1 * 0.9 + 0.9 * 0.6)
    assert at_shares_of_test(np.eye(2), np.array([[0, 0], [1, 3]])) == 1


def test_every_split_and_setting_is_drawn() -> None:
    splits = {
        "default": {"ELMo": (0.9, 0.91, 0.9, 0.92)},
        "AP held out": {"ELMo": (0.9, 0.8, 0.7, 0.9), "TF-IDF": (0.8, 0.7, 0.6, 0.8)},
    }
    svg = figures.shifts(splits)
    assert svg.startswith(b"<?xml")
    for name in (*splits, "ELMo", "TF-IDF"):
        assert re.search(rf"<!-- {name} -->".encode(), svg)
