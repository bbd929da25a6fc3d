from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import error_line
from elmo.commands import compare
from elmo.errors import ArtifactError, ConfigError
from elmo.evaluation import near_duplicates
from elmo.models import training_corpus
from elmo.runs.finished import find_settings

CLASSES = ["World", "Sports"]


def write_run(
    folder: Path,
    share: float,
    seed: int,
    data: str = "a",
    bilm: str = "00",
    splits: Sequence[str] = ("test",),
    **changes: Any,
) -> None:
    """Write a run as `train_cls.py` leaves it, with a share of 400 rows right in each split."""
    labels = np.arange(400) % 2
    (folder / "predictions").mkdir(parents=True)
    for number, split in enumerate(splits):
        right = np.random.default_rng([number, 100 + seed]).random(400) < share
        predicted = np.where(right, labels, 1 - labels)
        probabilities = np.where(predicted[:, None] == np.arange(2), 0.8, 0.2)
        table = {
            "row": np.arange(400),
            "label": [CLASSES[label] for label in labels],
            "predicted": [CLASSES[label] for label in predicted],
            **{f"p({name})": probabilities[:, index] for index, name in enumerate(CLASSES)},
        }
        pq.write_table(pa.table(table), folder / "predictions" / f"{split}.parquet")
    choices = {"mixer": changes.pop("mixer", "frozen"), "encoder": "elmo"}
    settings = {
        "seed": seed,
        "output_dir": str(folder),
        "mixer": {"layer_norm": True, "seed": seed, **changes},
        "trainer": {"max_epochs": 4, "accelerator": "cpu"},
    }
    facts = {"fingerprint": data, "name": "toy", "train_rows": 1000}
    record = {"choices": choices, "settings": settings, "data": facts, "metrics": {}}
    record["metrics"] = {"test/accuracy": share, "val/accuracy": share}
    (folder / "metrics.json").write_text(json.dumps(record))
    start = {"settings": {"bilm_sha256": bilm * 32}}
    (folder / "run.json").write_text(json.dumps(start))


def write_bilm(folder: Path, seed: int, digest: str, **changes: Any) -> None:
    """Write the record of a biLM as it is kept, without its file."""
    settings = {"seed": seed, "bilm": {"dropout": 0.1}, "trainer": {"precision": "32-true"}}
    record = {
        "choices": {"bilm": "small"},
        "settings": settings | changes,
        "data": {"fingerprint": "a", "name": "toy", "train_rows": 1000},
        "metrics": {"val/perplexity": 60.0 + seed},
        "bilm_sha256": digest * 32,
    }
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(record))


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
    setting = found["settings"]["ELMo, frozen"]
    assert setting["deviation"] is setting["deviation_bilms"] is None
    assert (setting["bilms"], setting["seeds"], setting["runs"]) == (1, [1], 1)


def test_the_command_names_the_better_one(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main([str(runs / "sweep"), "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert list(found["settings"]) == ["ELMo, learned", "ELMo, frozen"]
    (test,) = found["averaged_models"]
    assert (test["one"], test["other"]) == ("ELMo, learned", "ELMo, frozen")
    assert test["models"] == [3, 3]
    assert test["difference"] > 0.2
    assert test["corrected"] < 0.001
    (pair,) = found["means_of_single_models"]
    assert pair["winner"] == "ELMo, learned"
    means = [setting["mean"] for setting in found["settings"].values()]
    assert pair["difference"] == pytest.approx(means[0] - means[1])
    assert pair["low"] <= pair["difference"] <= pair["high"]
    for form in ("table", "markdown"):
        compare.main([str(runs / "sweep"), "--format", form])
        printed = capsys.readouterr().out
        assert "400 rows of test" in printed
        assert "< 0.001" in printed
        assert "Means of single models" in printed
        assert "Averaged models" in printed
        assert "beats" in printed
        assert f"{found['settings']['ELMo, learned']['mean']:.4f}" in printed


def test_one_setting_alone_is_summarised(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main([str(runs / "wide")])
    printed = capsys.readouterr().out
    assert "ELMo, frozen" in printed
    assert "McNemar" not in printed


def test_classifiers_on_bilms_of_one_recipe_are_one_setting(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seed and precision make no other recipe; a setting of the biLM does."""
    write_bilm(runs / "bilms/a", 0, "00")
    write_bilm(runs / "bilms/b", 1, "ff", trainer={"precision": "bf16-mixed"})
    write_bilm(runs / "bilms/c", 1, "cc", bilm={"dropout": 0.5})
    for seed in range(2):
        for bilm in ("ff", "cc"):
            write_run(runs / f"more/{bilm}-{seed}", 0.7, seed, bilm=bilm)
    found = {setting.name: setting for setting in find_settings([runs / "sweep", runs / "more"])}
    assert len(found) == 4  # learned, and one setting for each biLM: their runs are not named
    folders = [runs / name for name in ("sweep", "more", "bilms")]
    found = {setting.name: setting for setting in find_settings(folders)}
    assert {name: len(setting.folders) for name, setting in found.items()} == {
        "ELMo, frozen, bilm=00000000+ffffffff": 5,
        "ELMo, frozen, bilm=cccccccc": 2,
        "ELMo, learned": 3,
    }
    compare.main([*map(str, folders), "--format", "json"])
    settings = json.loads(capsys.readouterr().out)["settings"]
    pooled = settings["ELMo, frozen, bilm=00000000+ffffffff"]
    assert (pooled["bilms"], pooled["seeds"]) == (2, [3, 2])
    compare.main([*map(str, folders), "--format", "markdown"])
    printed = capsys.readouterr().out
    assert "| ELMo, frozen, bilm=00000000+ffffffff | 2 x 2-3 |" in printed
    only = "other biLMs, for ELMo, learned; ELMo, frozen, bilm=cccccccc."
    assert f"Not covered by the intervals: {only}" in printed


def test_a_recorded_path_leads_to_the_recipe(runs: Path) -> None:
    for name, digest in (("a", "00"), ("b", "ff")):
        write_bilm(runs / f"bilms/{name}", 0, digest)
        write_run(runs / f"on/{name}", 0.7, 0, bilm=digest)
        start = {"bilm_sha256": digest * 32, "bilm_path": str(runs / f"bilms/{name}")}
        (runs / f"on/{name}/run.json").write_text(json.dumps({"settings": start}))
    (setting,) = find_settings([runs / "on"])
    assert len(setting.folders) == 2


def test_kept_runs_on_several_bilms_have_no_paths(runs: Path) -> None:
    hashes = ["00" * 32, "ff" * 32]
    for name, order in (("a", hashes), ("b", hashes[::-1])):
        write_run(runs / f"pairs/{name}", 0.7, 0)
        start = {"settings": {"bilm_sha256": order}}
        (runs / f"pairs/{name}/run.json").write_text(json.dumps(start))
    names = [setting.name for setting in find_settings([runs / "pairs"])]
    assert [name.rpartition("=")[2] for name in names] == ["00000000/ffffffff", "ffffffff/00000000"]


def test_students_of_other_teachers_are_another_setting(runs: Path) -> None:
    for seed, (path, digest) in enumerate((("here", "aa"), ("elsewhere", "aa"), ("here", "bb"))):
        folder = runs / f"students/{seed}"
        write_run(folder, 0.7, seed)
        record = json.loads((folder / "metrics.json").read_text())
        record["settings"]["teacher"] = {"runs": path, "weight": 0.5}
        (folder / "metrics.json").write_text(json.dumps(record))
        start = {"bilm_sha256": "00" * 32, "teacher_sha256": digest * 32}
        (folder / "run.json").write_text(json.dumps({"settings": start}))
    assert [len(s.folders) for s in find_settings([runs / "students"])] == [2, 1]


def test_seeds_with_the_same_predictions_are_said_to_be_one_run(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(3):
        write_run(runs / f"svm/{seed}", 0.7, 5)
        record = json.loads((runs / f"svm/{seed}/metrics.json").read_text())
        record["choices"] = {"classifier": "svm"}
        record["settings"]["seed"] = seed
        (runs / f"svm/{seed}/metrics.json").write_text(json.dumps(record))
    compare.main([str(runs / "svm"), str(runs / "sweep"), "--format", "markdown"])
    printed = capsys.readouterr().out
    said = "TF-IDF, linear SVM: 3 runs, of which 2 only repeat the predictions of another"
    assert said in printed
    assert "| ELMo, learned | TF-IDF, linear SVM | 3 / 1 |" in printed


def test_figures_without_near_duplicates_stand_beside_the_others(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = np.arange(0, 400, 4)
    monkeypatch.setattr(training_corpus, "training_corpus", lambda *_: "corpus")
    found = near_duplicates.NearDuplicates(rows, rows, rows > 0)
    monkeypatch.setattr(near_duplicates, "near_duplicates", lambda *_: found)
    arguments = [str(runs / "sweep"), "--without-near-duplicates"]
    compare.main([*arguments, "--format", "json"])
    content = json.loads(capsys.readouterr().out)
    without = content["without_near_duplicates"]
    assert (without["cosine"], without["rows"]) == (0.8, 300)
    (setting,) = [s for s in find_settings([runs / "sweep"]) if s.name == "ELMo, learned"]
    kept = np.arange(400) % 4 > 0
    expected = np.mean([run.correct[kept].mean() for run in setting.outcomes()])
    assert without["settings"]["ELMo, learned"]["mean"] == pytest.approx(expected)
    assert content["settings"]["ELMo, learned"]["mean"] != pytest.approx(expected)
    compare.main([*arguments, "0.7"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "Without the 100 rows of test that resemble a train row (TF-IDF cosine of 0.7" in printed


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
    arguments = [wide, "--split", "train", "--without-near-duplicates"]
    line = error_line(lambda: compare.main(arguments), capsys)
    assert "it needs --split validation or test" in line
