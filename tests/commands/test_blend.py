"""`elmo blend`: what it chooses, what it writes, and who reads it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from commands.test_compare import CLASSES, write_run
from conftest import error_line
from elmo.commands import blend, compare
from elmo.runs.finished import find_settings, read_outcome

BOTH = ("validation", "test")


def members(folder: Path) -> Path:
    """Two seeds of a good setting, and a random one."""
    for seed in range(2):
        write_run(folder / f"good-{seed}", 0.9, seed, splits=BOTH)
    write_run(folder / "random", 0.5, 7, splits=BOTH, mixer="learned")
    return folder


def weights(folder: Path) -> list[float]:
    return [member["weight"] for member in record(folder)["members"]]


def record(folder: Path) -> dict:
    return json.loads((folder / "metrics.json").read_text())


def test_the_blend_is_a_run_that_others_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs, out = members(tmp_path / "runs"), tmp_path / "blend"
    blend.main([str(runs), "-o", str(out), "--format", "markdown"])
    printed = capsys.readouterr().out
    assert "ELMo, learned, biLM 00000000, seed 7 | 0.000 |" in printed
    assert "The fitted weights are used" in printed
    found = record(out)
    assert found["choices"] == {"encoder": "blend"}
    assert weights(out)[-1] == pytest.approx(0, abs=0.01)
    assert sum(weights(out)) == pytest.approx(1)
    for split, prefix in (("validation", "val"), ("test", "test")):
        outcome = read_outcome(out, found, split)
        assert outcome.probabilities.sum(1) == pytest.approx(1)
        accuracy = found["metrics"][f"{prefix}/accuracy"]
        assert outcome.correct.mean() == pytest.approx(accuracy)
        assert np.array(found["splits"][split]["confusion"]).sum() == 400
        table = pq.read_table(out / f"predictions/{split}.parquet")
        assert set(table["predicted"].to_pylist()) <= set(CLASSES)
    compare.main([str(tmp_path), "--format", "json"])
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings[found["label"]]["mean"] == pytest.approx(found["metrics"]["test/accuracy"])
    assert len(settings) == 3


def test_the_test_split_chooses_nothing(tmp_path: Path) -> None:
    runs = members(tmp_path / "runs")
    blend.main([str(runs), "-o", str(tmp_path / "one")])
    for file in runs.rglob("test.parquet"):  # everything that was right is wrong
        table = pq.read_table(file)
        names = [f"p({name})" for name in CLASSES]
        swapped = {name: table[other] for name, other in zip(names, names[::-1], strict=True)}
        for name, values in swapped.items():
            place = table.schema.get_field_index(name)
            table = table.set_column(place, name, values)
        pq.write_table(table, file)
    blend.main([str(runs), "-o", str(tmp_path / "other")])
    one, other = record(tmp_path / "one"), record(tmp_path / "other")
    assert one["members"] == other["members"]
    assert one["metrics"]["val/loss"] == other["metrics"]["val/loss"]
    assert one["metrics"]["test/accuracy"] != other["metrics"]["test/accuracy"]


def test_copies_count_once_and_equal_members_get_equal_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(3):
        write_run(tmp_path / f"runs/{seed}", 0.8, seed, splits=BOTH)
    write_run(tmp_path / "runs/copy", 0.8, 2, splits=BOTH)
    changed = record(tmp_path / "runs/copy")
    changed["settings"]["seed"] = 9
    (tmp_path / "runs/copy/metrics.json").write_text(json.dumps(changed))
    blend.main([str(tmp_path / "runs"), "-o", str(tmp_path / "out")])
    printed = capsys.readouterr()
    assert "one run with the predictions of another" in printed.err
    assert "The uniform average is used" in " ".join(printed.out.split())
    assert weights(tmp_path / "out") == pytest.approx([1 / 3] * 3)


def test_a_blend_blends_again_as_a_setting_of_its_own(tmp_path: Path) -> None:
    runs = members(tmp_path / "runs")
    blend.main([str(runs), "-o", str(tmp_path / "runs/all")])
    blend.main([str(runs / "good-0"), str(runs / "good-1"), "-o", str(tmp_path / "runs/good")])
    names = [setting.name for setting in find_settings([runs])]
    assert sum(name.startswith("Blend of") for name in names) == 2
    blend.main([str(runs), "-o", str(tmp_path / "more")])
    assert len(weights(tmp_path / "more")) == 5


def test_mistakes_end_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = members(tmp_path / "runs")

    def line(*arguments: str) -> str:
        return error_line(lambda: blend.main(list(arguments)), capsys)

    assert "a single run; a blend needs two" in line(str(runs / "random"))
    write_run(tmp_path / "untold/run", 0.8, 3)
    assert "validation.parquet: no such file" in line(str(runs), str(tmp_path / "untold"))
    for name, change in (("rows", {"row": np.arange(1, 401)}), ("classes", {"p(Other)": None})):
        write_run(tmp_path / name, 0.8, 4, splits=BOTH)
        file = tmp_path / name / "predictions/validation.parquet"
        table = pq.read_table(file).to_pydict()
        for key, values in change.items():
            table[key] = table["p(World)"] if values is None else values
        pq.write_table(pa.table(table), file)
        assert "different rows or classes" in line(str(runs), str(tmp_path / name))
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("")
    assert "exists already" in line(str(runs), "-o", str(tmp_path / "full"))
    assert not list(tmp_path.rglob("full/metrics.json"))
