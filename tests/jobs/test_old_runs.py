"""Runs that were written before the code was cut into packages still load, report and resume.

`tests/old_runs` holds what they left: a finished run of each script, an interrupted pretraining,
and a sweep of three mixers of which one is finished, one was killed, and one was never started.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import elmo
from conftest import MIXERS, ROOT, Finished, run_here, tree
from elmo.commands import compare, report
from elmo.data.corpora.toy import ToyNews
from elmo.models.loading import load_encoder
from elmo.models.training_corpus import training_corpus
from elmo.runs.latest import named_run
from elmo.runs.record import read_record

OLD = Path(__file__).parent.parent / "old_runs"
EXPECTED = json.loads((OLD / "expected.json").read_text())
TINY = ("data=toy", "data.rows=500", "data.test_rows=100", "data.validation_size=100")
SWEEP = (
    *(*TINY, "data.min_count=3", "trainer.accelerator=cpu", "trainer.enable_progress_bar=false"),
    *("trainer.log_every_n_steps=3", "output_dir=outputs", "cache_dir=cache", "threads=1"),
    *("head.hidden_dim=8", "datamodule.token_budget=1024", "trainer.max_epochs=2"),
    *("callbacks.last_checkpoint.minutes=0", f"mixer={','.join(MIXERS)}", "seed=3"),
    *("bilm_path=outputs/train_lm/finished", "hydra.sweep.dir=outputs/train_cls/half_sweep", "-m"),
)


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the old runs, in the working directory as they were written."""
    shutil.copytree(OLD / "outputs", tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return Path("outputs")


def run(name: str, *arguments: str) -> Finished:
    finished = run_here([str(ROOT / f"{name}.py"), *arguments])
    assert finished.code == 0, finished.stdout + finished.stderr
    return finished


def processor() -> str:
    """A hash of what decides which instructions and block sizes the kernels use."""
    names = ("vendor_id", "cpu family", "model", "stepping", "cache size", "flags")
    file = Path("/proc/cpuinfo")
    first = file.read_text().split("\n\n")[0] if file.is_file() else ""
    pairs = (line.partition(":") for line in first.splitlines())
    found = {name.strip(): value.strip() for name, _, value in pairs}
    content = " ".join(found.get(name, "") for name in names)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def same_machine() -> bool:
    """Whether this machine computes as the one that wrote the runs."""
    return processor() == EXPECTED["processor"] and torch.__version__ == EXPECTED["torch"]


def assert_same_figures(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Up to rounding, which differs more on another machine: the runs were of other kernels."""
    tolerance = 0.001 if same_machine() else 0.02
    assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)


def test_models_load(outputs: Path) -> None:
    language_model = elmo.load_language_model(outputs / "train_lm" / "finished")
    assert len(elmo.generate(language_model, "the bank", count=2)) == 2
    classifier = elmo.load_classifier(outputs / "train_cls" / "finished")
    (prediction,) = classifier.predict(["The bank raised its rates."])
    assert prediction.label in classifier.class_names
    assert load_encoder(outputs / "train_cls" / "finished").num_layers == 3
    assert named_run("latest", outputs, "bilm") == outputs / "train_lm" / "finished"


def test_the_corpus_of_a_run_is_built_again(outputs: Path) -> None:
    folder = outputs / "train_lm" / "finished"
    corpus = training_corpus(folder, "cache")
    assert isinstance(corpus, ToyNews)
    assert corpus.fingerprint == read_record(folder)["data"]["fingerprint"]


def test_an_interrupted_pretraining_ends_as_the_undisturbed_one(outputs: Path) -> None:
    folder, undisturbed = outputs / "train_lm" / "interrupted", outputs / "train_lm" / "finished"
    assert not (folder / "metrics.json").exists()
    run("train_lm", f"resume={folder}")
    # It was started before there were these lines, so its settings lack them.
    assert "callbacks.epoch_lines" not in (folder / "run.json").read_text()
    assert "best perplexity so far" in (folder / "train_lm.log").read_text()
    found, expected = read_record(folder), read_record(undisturbed)
    assert_same_figures(found["metrics"], expected["metrics"])
    ours, theirs = (elmo.load_language_model(path) for path in (folder, undisturbed))
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0.001 if same_machine() else 0.02)


def test_a_sweep_skips_finished_jobs_and_resumes_begun_ones(outputs: Path) -> None:
    sweep = outputs / "train_cls" / "half_sweep"
    (finished,) = (file.parent for file in sweep.glob("*/metrics.json"))
    (begun,) = (file.parent.parent for file in sweep.glob("*/checkpoints/last.ckpt"))
    before, started = tree(finished), (begun / "run.json").read_bytes()
    run("train_cls", *SWEEP)
    assert tree(finished) == before
    assert (begun / "run.json").read_bytes() == started
    records = {
        record["choices"]["mixer"]: record
        for record in (read_record(file.parent) for file in sweep.glob("*/metrics.json"))
    }
    assert set(records) == set(MIXERS)
    for mixer, expected in EXPECTED["sweep"].items():
        found = records[mixer]
        assert_same_figures(found["metrics"], expected["metrics"])
        assert found["lambdas"] == pytest.approx(expected["lambdas"], abs=0.02)


def test_old_records_compare_and_report(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compare.main([str(outputs), "--format", "json"])
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert "TF-IDF, linear SVM" in settings
    assert {name.split(", seed")[0] for name in settings} >= {"ELMo, learned", "ELMo, trainable"}
    report.main([str(outputs), "-o", "report.pdf"])
    assert Path("report.pdf").read_bytes().startswith(b"%PDF")
    text = Path("report.md").read_text()
    assert "ELMo, learned" in text
    assert "ELMo, trainable" in text
