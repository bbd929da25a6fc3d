"""The whole job as a user runs it: pretrain, sweep, compare, go wrong."""

from __future__ import annotations

import csv
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import elmo
from conftest import MIXERS, TINY_CLS, TINY_LM, Script, job, scalars
from elmo.data.batches import Batch
from elmo.data.corpora.toy import ToyNews
from elmo.models.artifacts import load_artifact
from elmo.models.language_model import load_language_model
from elmo.modules.mixers import ScalarMix
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from elmo.training.language_model_task import LanguageModelTask


def test_pretraining_leaves_a_whole_run(pretrained: Path) -> None:
    run = latest_run(pretrained, "toy")
    record = read_record(run)
    for split in ("train", "val", "test"):
        metrics = {name: record["metrics"][f"{split}/{name}"] for name in ("perplexity", "loss")}
        assert metrics["perplexity"] == pytest.approx(math.exp(metrics["loss"]), rel=1e-4)
        assert 0 < record["metrics"][f"{split}/accuracy"] < 1
        both = [record["metrics"][f"{split}/perplexity_{d}"] for d in ("forward", "backward")]
        assert metrics["perplexity"] == pytest.approx(math.sqrt(both[0] * both[1]), rel=1e-4)
    # Better than guessing every word alike: it learned something.
    assert record["metrics"]["val/perplexity"] < record["data"]["vocabulary_size"]  # not uniform
    assert record["settings"]["seed"] == 0
    curves, final = scalars(run), scalars(run / "final")
    assert {"train/perplexity", "val/perplexity", "train_best/f1_forward"} <= set(curves)
    assert {"grad_norm/total", "grad_norm/forward_lstm", "tokens_per_second"} <= set(curves)
    assert final["test/perplexity"] == pytest.approx([record["metrics"]["test/perplexity"]])
    assert final["val_best/accuracy"] == pytest.approx([record["metrics"]["val/accuracy"]])
    # The only epoch is the best one; the curve is no column of the HPARAMS tab.
    assert curves["val/accuracy"] == pytest.approx(final["val_best/accuracy"])
    assert "val/accuracy" not in final
    assert record["choices"]["softmax"] == "adaptive"


def test_sweep_table(sweep: tuple[Path, str]) -> None:
    folder, printed = sweep
    with (folder / "sweep.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert [row["mixer"] for row in rows] == list(MIXERS)
    for row in rows:
        record = read_record(job(folder, row["mixer"]))
        assert row["status"] == "ok"
        assert row["test accuracy"] == f"{record['metrics']['test/accuracy']:.4f}"
        assert row["test accuracy"] in printed
        assert sum(record["lambdas"]) == pytest.approx(1)
    assert (folder / "sweep.md").read_text().count("\n") == 5


def test_the_latest_classifier_is_the_best_of_the_sweep(sweep: tuple[Path, str]) -> None:
    found = {mixer: read_record(job(sweep[0], mixer))["metrics"] for mixer in MIXERS}
    best = max(MIXERS, key=lambda mixer: found[mixer]["val/accuracy"])
    chosen = read_record(latest_run(sweep[0].parent, "toy", "classifier"))["metrics"]
    assert chosen["val/accuracy"] == found[best]["val/accuracy"]


@pytest.mark.parametrize("mixer", MIXERS)
def test_the_bilm_comes_out_as_it_went_in(
    sweep: tuple[Path, str], pretrained: Path, mixer: str
) -> None:
    before = load_artifact(latest_run(pretrained, "toy"), "bilm")["state"]
    after = load_artifact(job(sweep[0], mixer), "classifier")["state"]
    names = [name for name in before if name.startswith("bilm.")]
    assert len(names) > 10
    assert all(torch.equal(before[name], after[f"encoder.{name}"]) for name in names)


def test_lambdas_of_each_mode(sweep: tuple[Path, str]) -> None:
    drawn = ScalarMix(3, 32, trainable=False, seed=3)
    states = {mixer: load_artifact(job(sweep[0], mixer), "classifier")["state"] for mixer in MIXERS}
    assert torch.equal(states["frozen"]["mixer.weights"], drawn.weights)
    assert states["frozen"]["mixer.gamma"].item() == 1
    assert states["trainable"]["mixer.weights"].abs().max() > 1e-4
    assert states["trainable"]["mixer.gamma"].item() != 1
    assert states["learned"]["mixer.gate.weight"].abs().max() > 1e-4
    for mixer in MIXERS:
        curves = scalars(job(sweep[0], mixer))
        assert {"lambda/0", "lambda/1", "lambda/2", "lambda/gamma"} <= set(curves)


@pytest.mark.parametrize("mixer", MIXERS)
def test_predictions_and_reload_give_the_logged_figures(
    sweep: tuple[Path, str], toy: ToyNews, mixer: str
) -> None:
    folder = job(sweep[0], mixer)
    record = read_record(folder)
    classifier = elmo.load_classifier(folder)
    for split, prefix in (("train", "train"), ("validation", "val"), ("test", "test")):
        table = pq.read_table(folder / "predictions" / f"{split}.parquet").to_pydict()
        rows = toy.splits[split]
        assert table["row"] == list(rows["row"])
        assert table["label"] == [toy.class_names[label] for label in rows["label"]]
        figures = {
            "accuracy": accuracy_score(table["label"], table["predicted"]),
            "f1": f1_score(table["label"], table["predicted"], average="macro"),
        }
        for name, value in figures.items():
            assert record["metrics"][f"{prefix}/{name}"] == pytest.approx(value, abs=1e-6)
        confusion = record["splits"][split]["confusion"]
        assert sum(map(sum, confusion)) == len(rows)
        if split == "test":
            again = classifier.predict(list(rows["text"]))
            assert [prediction.label for prediction in again] == table["predicted"]
            assert [p.probabilities["World"] for p in again] == pytest.approx(
                table["p(World)"], abs=1e-5
            )


def test_no_text_in_the_predictions(sweep: tuple[Path, str]) -> None:
    table = pq.read_table(job(sweep[0], "frozen") / "predictions/test.parquet")
    assert table.column_names[:3] == ["row", "label", "predicted"]
    assert all(name.startswith("p(") for name in table.column_names[3:-2])
    assert table.column_names[-2:] == ["words", "unknown"]
    assert all(str(table.schema.field(name).type) == "int64" for name in ("words", "unknown"))


@pytest.mark.parametrize("mixer", ["learned"])
def test_a_job_alone_gives_the_same_bits_as_in_the_sweep(
    script: Script, sweep: tuple[Path, str], pretrained: Path, mixer: str
) -> None:
    alone = pretrained / "alone"
    script(
        "train_cls", *TINY_CLS, f"mixer={mixer}", "seed=3", f"hydra.run.dir={alone}",
        output_dir=pretrained, apart=True,
    )  # fmt: skip
    together = job(sweep[0], mixer)
    assert read_record(alone)["metrics"] == read_record(together)["metrics"]
    one = load_artifact(alone, "classifier")
    other = load_artifact(together, "classifier")
    assert one["state"].keys() == other["state"].keys()
    assert all(torch.equal(one["state"][name], other["state"][name]) for name in one["state"])


def test_word2vec_encoder_and_bilstm_head_without_the_test_split(
    script: Script, pretrained: Path
) -> None:
    folder = pretrained / "static"
    overrides = ["encoder=word2vec", "encoder.dim=16", "encoder.epochs=1", "head=bilstm"]
    overrides += ["evaluate_test=false", f"hydra.run.dir={folder}"]
    script("train_cls", *TINY_CLS, *overrides, output_dir=pretrained)
    record = read_record(folder)
    assert record["lambdas"] == [1.0]
    assert not any(name.startswith("test/") for name in record["metrics"])
    assert not (folder / "predictions/test.parquet").exists()


def test_final_figures_and_artifact_are_of_the_chosen_epoch(
    script: Script, tmp_path: Path, toy_validation: list[Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the choice turned round the first epoch is "best", and the last weights are not it."""
    monkeypatch.setitem(LanguageModelTask.VALIDATED, "val/perplexity", "max")
    tiny = [item for item in TINY_LM if "max_epochs" not in item]
    turned = ["mode=max", "trainer.max_epochs=3", f"hydra.run.dir={tmp_path / 'run'}"]
    script("train_lm", *tiny, *turned, output_dir=tmp_path)
    curve = scalars(tmp_path / "run")["val/perplexity"]
    assert curve[0] > 1.1 * curve[-1]
    logged = read_record(tmp_path / "run")["metrics"]["val/perplexity"]
    assert logged == pytest.approx(curve[0], rel=1e-4)
    events = EventAccumulator(str(tmp_path / "run/final"))
    events.Reload()
    (final,) = events.Scalars("val_best/perplexity")
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    assert final.step == events.Scalars("val/perplexity")[0].step + 1  # which counts from 0
    model = load_language_model(tmp_path / "run")
    with torch.no_grad():
        nll = torch.cat([model(batch.tokens, batch.lengths) for batch in toy_validation], dim=1)
    assert nll.mean().exp().item() == pytest.approx(curve[0], rel=1e-4)


def runs_in_bfloat16() -> bool:
    try:
        with torch.autocast("cpu", torch.bfloat16):
            torch.nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
    except RuntimeError:
        return False
    return True


@pytest.mark.skipif(not runs_in_bfloat16(), reason="no LSTM in bfloat16 on this processor")
def test_mixed_precision(script: Script, pretrained: Path, tmp_path: Path) -> None:
    half = "trainer.precision=bf16-mixed"
    script("train_lm", *TINY_LM, half, output_dir=tmp_path)
    single, mixed = (
        read_record(latest_run(folder, "toy"))["metrics"]["val/perplexity"]
        for folder in (pretrained, tmp_path)
    )
    assert mixed == pytest.approx(single, rel=0.05)
    folder = tmp_path / "classifier"
    script("train_cls", *TINY_CLS, half, f"hydra.run.dir={folder}", output_dir=pretrained)
    assert read_record(folder)["metrics"]["val/loss"] < 1.5


def test_a_diverged_pretraining_ends_in_one_message(script: Script, pretrained: Path) -> None:
    run = latest_run(pretrained, "toy")
    folder = pretrained / "diverged"
    diverged = ["optimizer.lr=1e8", "trainer.gradient_clip_val=null", f"hydra.run.dir={folder}"]
    often = "callbacks.last_checkpoint.minutes=0"
    result = script("train_lm", *TINY_LM, *diverged, often, output_dir=pretrained, code=1)
    place = r"step (\d+) \(epoch 1, batch \d+\): the loss is (?:nan|inf)"
    (step,) = re.findall(place, result.stderr)
    assert "Traceback" not in result.stderr
    assert latest_run(pretrained, "toy") == run
    last = torch.load(folder / "checkpoints/last.ckpt", weights_only=True)
    assert last["global_step"] < int(step)
    assert all(weights.isfinite().all() for weights in last["state_dict"].values())


def test_records_are_plain_json(sweep: tuple[Path, str]) -> None:
    def forbid(constant: str) -> Any:
        raise AssertionError(constant)

    for file in sweep[0].glob("*/metrics.json"):
        json.loads(file.read_text(), parse_constant=forbid)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("AG_NEWS_DIR"), reason="AG_NEWS_DIR is not set")
def test_the_job_runs_on_real_rows(script: Script, tmp_path: Path) -> None:
    few = [f"trainer.limit_{split}_batches=2" for split in ("train", "val", "test")]
    few += ["trainer.max_epochs=1", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"]
    script("train_lm", *few, "embedding.dim=16", "bilm.hidden_dim=16", output_dir=tmp_path)
    (run,) = (tmp_path / "train_lm").iterdir()
    assert not (tmp_path / "latest").exists()  # a run that was cut
    data = read_record(run)["data"]
    assert data["test_rows"] == 7600
    assert data["validation_rows"] == 5000
    assert all(0 < rate < 0.05 for rate in data["unknown_rate"].values())
    mixers = f"mixer={','.join(MIXERS)}"
    result = script("train_cls", *few, f"bilm_path={run}", mixers, "-m", output_dir=tmp_path)
    assert result.stdout.count(" ok ") == 3
