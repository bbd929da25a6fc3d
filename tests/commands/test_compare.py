from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import error_line
from elmo.commands import compare
from elmo.errors import ArtifactError, ConfigError
from elmo.runs.finished import find_settings

CLASSES = ["World", "Sports"]


def write_run(
    folder: Path, share: float, seed: int, data: str = "a", bilm: str = "00", **changes: Any
) -> None:
    """A run that has `share` of 400 rows right, as `train_cls.py` leaves it."""
    random = np.random.default_rng(seed)
    labels = random.integers(0, 2, 400)
    labels[:] = np.arange(400) % 2
    right = np.random.default_rng(100 + seed).random(400) < share
    predicted = np.where(right, labels, 1 - labels)
    probabilities = np.where(predicted[:, None] == np.arange(2), 0.8, 0.2)
    table = {
        "row": np.arange(400),
        "label": [CLASSES[label] for label in labels],
        "predicted": [CLASSES[label] for label in predicted],
        **{f"p({name})": probabilities[:, index] for index, name in enumerate(CLASSES)},
    }
    (folder / "predictions").mkdir(parents=True)
    pq.write_table(pa.table(table), folder / "predictions/test.parquet")
    choices = {"mixer": changes.pop("mixer", "frozen"), "encoder": "elmo"}
    settings = {
        "seed": seed,
        "output_dir": str(folder),
        "mixer": {"layer_norm": True, "seed": seed, **changes},
        "trainer": {"max_epochs": 4, "accelerator": "cpu"},
    }
    facts = {"fingerprint": data, "name": "toy", "train_rows": 1000}
    record = {"choices": choices, "settings": settings, "data": facts, "metrics": {}}
    (folder / "metrics.json").write_text(json.dumps(record))
    start = {"settings": {"bilm_sha256": bilm * 32}}
    (folder / "run.json").write_text(json.dumps(start))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed in range(3):
        write_run(tmp_path / f"sweep/frozen-{seed}", 0.6, seed)
        write_run(tmp_path / f"sweep/learned-{seed}", 0.9, seed, mixer="learned")
    write_run(tmp_path / "wide/frozen", 0.62, 0, layer_norm=False)
    lm = tmp_path / "lm"
    lm.mkdir()
    (lm / "metrics.json").write_text(json.dumps({"choices": {}, "metrics": {}}))
    return tmp_path


def test_runs_that_differ_in_their_seed_are_one_setting(runs: Path) -> None:
    settings = {setting.name: setting for setting in find_settings([runs])}
    assert {name: len(setting.folders) for name, setting in settings.items()} == {
        "frozen mixer.layer_norm=True": 3,
        "frozen mixer.layer_norm=False": 1,
        "learned": 3,
    }
    assert [outcome.seed for outcome in settings["learned"].outcomes()] == [0, 1, 2]


def test_another_kind_of_job_is_named_by_what_it_alone_chose(runs: Path) -> None:
    write_run(runs / "svm", 0.7, 0)
    record = json.loads((runs / "svm/metrics.json").read_text())
    record["choices"] = {"classifier": "svm"}
    (runs / "svm/metrics.json").write_text(json.dumps(record))
    names = [setting.name for setting in find_settings([runs / "svm", runs / "sweep"])]
    assert sorted(names) == ["frozen", "learned", "svm"]


def test_a_folder_named_twice_counts_once(runs: Path) -> None:
    (setting,) = find_settings([runs / "wide", runs / "wide/frozen"])
    assert len(setting.folders) == 1
    assert setting.name == "all"


def test_classifiers_on_another_bilm_are_another_setting(runs: Path) -> None:
    write_run(runs / "wide/other", 0.6, 1, bilm="ff", layer_norm=False)
    names = {setting.name for setting in find_settings([runs / "wide"])}
    assert names == {"bilm=00000000", "bilm=ffffffff"}


@pytest.mark.parametrize("finetune", [False, True])
def test_rates_of_fine_tuning_tell_apart_what_is_fine_tuned_alone(
    tmp_path: Path, finetune: bool
) -> None:
    for seed, rate in enumerate([0.1, 0.3]):
        folder = tmp_path / f"run-{seed}"
        write_run(folder, 0.6, seed)
        record = json.loads((folder / "metrics.json").read_text())
        record["settings"] |= {"encoder": {"finetune": finetune}, "finetune_lr": rate}
        (folder / "metrics.json").write_text(json.dumps(record))
    names = {setting.name for setting in find_settings([tmp_path])}
    assert names == ({"finetune_lr=0.1", "finetune_lr=0.3"} if finetune else {"all"})


def test_a_name_tells_no_setting_that_a_run_has_not(runs: Path) -> None:
    write_run(runs / "wide/other", 0.6, 1, layer_norm=False, projection_dim=8)
    names = {setting.name for setting in find_settings([runs / "wide"])}
    assert names == {"all", "mixer.projection_dim=8"}


def test_json_is_strict(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main([str(runs / "wide"), "--format", "json"])

    def refuse(word: str) -> None:
        raise ValueError(word)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert found["settings"]["all"]["deviation"] is None


def test_the_command_names_the_better_one(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main([str(runs / "sweep"), "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert list(found["settings"]) == ["learned", "frozen"]
    (pair,) = found["comparisons"]
    assert (pair["one"], pair["other"]) == ("learned", "frozen")
    assert pair["difference"] > 0.2
    assert pair["corrected"] < 0.001
    for form in ("table", "markdown"):
        compare.main([str(runs / "sweep"), "--format", form])
        printed = capsys.readouterr().out
        assert "400 rows of test" in printed
        assert "< 0.001" in printed
        assert f"{found['settings']['learned']['mean']:.4f}" in printed


def test_one_setting_alone_is_summarised(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main([str(runs / "wide")])
    printed = capsys.readouterr().out
    assert "all" in printed
    assert "McNemar" not in printed


def test_runs_of_different_data_are_refused(runs: Path) -> None:
    write_run(runs / "other", 0.7, 0, data="b")
    with pytest.raises(ConfigError, match="different data do not compare"):
        find_settings([runs])


def test_mistakes_end_in_one_line(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ArtifactError, match="no finished classifier"):
        find_settings([runs / "lm"])
    nowhere = str(runs / "nowhere")
    assert "no such folder" in error_line(lambda: compare.main([nowhere]), capsys)
    wide = str(runs / "wide")
    line = error_line(lambda: compare.main([wide, "--split", "validation"]), capsys)
    assert "validation.parquet: no such file" in line
