"""What a finished run shows in TensorBoard; its files are tested with the whole job."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import parse_session_start_info_plugin_data

from conftest import MIXERS, job, scalars
from elmo.data.corpora.toy import ToyNews
from elmo.data.text import UNK
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from elmo.training.classification_task import ClassificationTask
from elmo.training.language_model_task import LanguageModelTask


def test_gradient_norms_of_the_parts_make_up_the_total(pretrained: Path) -> None:
    curves = scalars(latest_run(pretrained, "toy"))
    parts = [curves[f"grad_norm/{name}"] for name in ("embedding", "softmax")]
    parts += [curves[f"grad_norm/{name}_lstm"] for name in ("forward", "backward")]
    assert len(parts[0]) == 4  # of 12 steps every third
    for total, *squares in zip(curves["grad_norm/total"], *parts, strict=True):
        assert total == pytest.approx(math.hypot(*squares), rel=1e-4)


def test_what_can_be_monitored_is_what_validation_measures(
    pretrained: Path, sweep: tuple[Path, str]
) -> None:
    for run_dir, task in (
        (latest_run(pretrained, "toy"), LanguageModelTask),
        (job(sweep[0], "frozen"), ClassificationTask),
    ):
        found = {name for name in scalars(run_dir) if name.startswith("val/")}
        assert found == task.VALIDATED.keys()


def test_the_hparams_tab_has_settings_and_final_figures(sweep: tuple[Path, str]) -> None:
    for mixer in MIXERS:
        folder = job(sweep[0], mixer)
        events = EventAccumulator(str(folder / "final"))
        events.Reload()
        metadata = events.summary_metadata["_hparams_/session_start_info"]
        settings = parse_session_start_info_plugin_data(metadata.plugin_data.content).hparams
        assert settings["mixer"].string_value == mixer
        assert settings["seed"].number_value == 3
        assert not any("cache_dir" in key or "_target_" in key for key in settings)
        metrics = read_record(folder)["metrics"]
        columns = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
        assert columns == pytest.approx(
            {
                f"{tag}/{name}": metrics[f"{split}/{name}"]
                for split, tag in (("val", "val_best"), ("test", "test"))
                for name in ("loss", "accuracy", "f1", "ece")
            }
        )


@pytest.mark.parametrize("mixer", MIXERS)
def test_calibration_error_against_a_count_by_hand(sweep: tuple[Path, str], mixer: str) -> None:
    folder = job(sweep[0], mixer)
    table = pq.read_table(folder / "predictions/test.parquet").to_pandas()
    chances = table[[f"p({name})" for name in ToyNews.class_names]].max(axis=1)
    right = table["label"] == table["predicted"]
    bins = (chances * 15).apply(math.ceil)
    error = sum(
        abs(right[bins == b].mean() - chances[bins == b].mean()) * (bins == b).mean()
        for b in bins.unique()
    )
    assert read_record(folder)["metrics"]["test/ece"] == pytest.approx(error, abs=1e-5)


def test_the_curves_in_a_file_are_those_in_tensorboard(sweep: tuple[Path, str]) -> None:
    folder = job(sweep[0], "trainable")
    table: dict[str, list[float]] = {}
    with (folder / "tables/curves.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            table.setdefault(row["tag"], []).append(float(row["value"]))
    expected = scalars(folder)
    del expected["epoch"]
    assert table.keys() == expected.keys()
    assert {"lambda/0", "lambda/2", "train/loss", "val/accuracy"} <= table.keys()
    for tag, values in expected.items():
        assert table[tag] == pytest.approx(values, rel=1e-5)


def test_predictions_count_the_words_of_their_rows(sweep: tuple[Path, str], toy: ToyNews) -> None:
    for split in ("train", "test"):
        rows = toy.splits[split]
        texts = dict(zip(rows["row"], rows["text"], strict=True))
        table = pq.read_table(job(sweep[0], "frozen") / f"predictions/{split}.parquet").to_pylist()
        for row in table[:50]:
            (document,) = toy.tokenizer.encode([texts[row["row"]]])
            assert row["words"] == len(document.words)
            assert row["unknown"] == (document.ids == UNK).sum()
        assert any(row["unknown"] for row in table)


def test_the_sizes_of_the_parts_are_recorded(sweep: tuple[Path, str]) -> None:
    for mixer, size in (("trainable", 4), ("learned", 3 * 32 * 64 + 64 + 64 * 3 + 3 + 1)):
        found = read_record(job(sweep[0], mixer))["parameters"]
        assert found["mixer"] == size
        assert found["encoder"] > found["head"] > 0
