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
    """Write a run as `train_cls.py` leaves it, with a share of 400 rows right."""
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
        "ELMo, frozen, mixer.layer_norm=True": 3,
        "ELMo, frozen, mixer.layer_norm=False": 1,
        "ELMo, learned": 3,
    }
    assert [outcome.seed for outcome in settings["ELMo, learned"].outcomes()] == [0, 1, 2]


def test_each_kind_of_classifier_has_its_label(runs: Path) -> None:
    write_run(runs / "svm", 0.7, 0)
    record = json.loads((runs / "svm/metrics.json").read_text())
    record["choices"] = {"classifier": "svm"}
    (runs / "svm/metrics.json").write_text(json.dumps(record))
    names = [setting.name for setting in find_settings([runs / "svm", runs / "sweep"])]
    assert sorted(names) == ["ELMo, frozen", "ELMo, learned", "TF-IDF, linear SVM"]


def test_a_recorded_label_names_the_setting(runs: Path) -> None:
    record = json.loads((runs / "wide/frozen/metrics.json").read_text())
    record |= {"label": "without layer norm", "study": "norms"}
    (runs / "wide/frozen/metrics.json").write_text(json.dumps(record))
    assert [setting.name for setting in find_settings([runs / "wide"])] == ["without layer norm"]


def test_a_folder_named_twice_counts_once(runs: Path) -> None:
    (setting,) = find_settings([runs / "wide", runs / "wide/frozen"])
    assert len(setting.folders) == 1
    assert setting.name == "ELMo, frozen"


def test_classifiers_on_another_bilm_are_another_setting(runs: Path) -> None:
    write_run(runs / "wide/other", 0.6, 1, bilm="ff", layer_norm=False)
    names = {setting.name for setting in find_settings([runs / "wide"])}
    assert names == {"ELMo, frozen, bilm=00000000", "ELMo, frozen, bilm=ffffffff"}


@pytest.mark.parametrize("finetune", [False, True])
def test_rates_of_fine_tuning_distinguish_only_fine_tuned_settings(
    tmp_path: Path, finetune: bool
) -> None:
    for seed, rate in enumerate([0.1, 0.3]):
        folder = tmp_path / f"run-{seed}"
        write_run(folder, 0.6, seed)
        record = json.loads((folder / "metrics.json").read_text())
        record["settings"] |= {"encoder": {"finetune": finetune}, "finetune_lr": rate}
        (folder / "metrics.json").write_text(json.dumps(record))
    names = {setting.name for setting in find_settings([tmp_path])}
    tuned = {f"ELMo, frozen, fine-tuned, finetune_lr={rate}" for rate in (0.1, 0.3)}
    assert names == (tuned if finetune else {"ELMo, frozen"})


def test_a_name_contains_only_settings_that_a_run_has(runs: Path) -> None:
    write_run(runs / "wide/other", 0.6, 1, layer_norm=False, dropout=0.5)
    names = {setting.name for setting in find_settings([runs / "wide"])}
    assert names == {"ELMo, frozen", "ELMo, frozen, mixer.dropout=0.5"}


def test_json_is_strict(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main([str(runs / "wide"), "--format", "json"])

    def refuse(word: str) -> None:
        raise ValueError(word)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert found["settings"]["ELMo, frozen"]["deviation"] is None


def test_the_command_names_the_better_one(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main([str(runs / "sweep"), "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert list(found["settings"]) == ["ELMo, learned", "ELMo, frozen"]
    (pair,) = found["comparisons"]
    assert (pair["one"], pair["other"]) == ("ELMo, learned", "ELMo, frozen")
    assert pair["difference"] > 0.2
    assert pair["corrected"] < 0.001
    for form in ("table", "markdown"):
        compare.main([str(runs / "sweep"), "--format", form])
        printed = capsys.readouterr().out
        assert "400 rows of test" in printed
        assert "< 0.001" in printed
        assert f"{found['settings']['ELMo, learned']['mean']:.4f}" in printed


def test_one_setting_alone_is_summarised(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main([str(runs / "wide")])
    printed = capsys.readouterr().out
    assert "ELMo, frozen" in printed
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
