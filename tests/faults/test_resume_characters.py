"""A model that reads characters, interrupted and resumed, ends as the undisturbed one."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from conftest import TINY, TINY_CLS
from faults.runner import AtStep
from faults.test_resume import Job
from jobs.test_characters import SPELLED, WITHOUT_SAMPLES
from models.published_reference import DEV

slow = pytest.mark.slow
FEW = ("data.rows=300", "data.test_rows=40", "data.validation_size=60")
SMALL = (*SPELLED, WITHOUT_SAMPLES, "evaluate_test=false", "bilm.word_dropout=0.1")


@pytest.fixture(scope="module")
def pretraining(cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Job:
    folder = tmp_path_factory.mktemp("spelling")
    places = (f"output_dir={folder}/outputs", f"cache_dir={cache_dir}")
    settings = (*TINY, *FEW, *SMALL, *places, "datamodule.token_budget=512")
    return Job("train_lm", "bilstm.pt", settings, folder)


@pytest.mark.parametrize("step", [9, *(pytest.param(n, marks=slow) for n in (1, 11, 12, 20))])
def test_killed_pretraining(step: int, pretraining: Job, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert pretraining.begin(run_dir, AtStep(step)) == -signal.SIGKILL
    assert not (run_dir / "metrics.json").exists()
    assert pretraining.resume(run_dir) == 0, pretraining.log.read_text()
    assert pretraining.result(run_dir) == pretraining.result(pretraining.undisturbed)


@slow
def test_an_interrupt_ends_the_step_and_saves(pretraining: Job, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    assert pretraining.begin(run_dir, AtStep(10, signal.SIGINT)) == 130
    assert pretraining.resume(run_dir) == 0, pretraining.log.read_text()
    assert pretraining.result(run_dir) == pretraining.result(pretraining.undisturbed)


@slow
@pytest.mark.parametrize("softmax", ["full", "sampled"])
def test_killed_with_another_softmax(softmax: str, cache_dir: Path, tmp_path: Path) -> None:
    places = (f"output_dir={tmp_path}/outputs", f"cache_dir={cache_dir}")
    chosen = [f"softmax={softmax}", *(["softmax.samples=64"] if softmax == "sampled" else [])]
    settings = (*TINY, *FEW, *SMALL, *places, *chosen)
    job = Job("train_lm", "bilstm.pt", settings, tmp_path)
    run_dir = tmp_path / "run"
    assert job.begin(run_dir, AtStep(5)) == -signal.SIGKILL
    assert job.resume(run_dir) == 0, job.log.read_text()
    assert job.result(run_dir) == job.result(job.undisturbed)


@slow
@pytest.mark.parametrize("workers", [0, 2])
def test_killed_pretraining_from_a_stream(workers: int, cache_dir: Path, tmp_path: Path) -> None:
    file = tmp_path / "news.txt"
    file.write_text("".join(f"word{n % 90} {'X é ' * (n % 7)}\n" for n in range(700)))
    small = [item for item in TINY if not item.startswith("data")]
    data = ["data=text", f"data.files={file}", "data.min_count=1", "data.streaming=true"]
    data += ["data.sample_documents=300", "datamodule.buffer_documents=100"]
    data += ["datamodule.epoch_batches=15", "datamodule.token_budget=64", "softmax=full"]
    data.append(f"datamodule.num_workers={workers}")
    places = (f"output_dir={tmp_path}/outputs", f"cache_dir={cache_dir}")
    job = Job("train_lm", "bilstm.pt", (*small, *SMALL, *data, *places), tmp_path)
    run_dir = tmp_path / "run"
    assert job.begin(run_dir, AtStep(26)) == -signal.SIGKILL  # in the second epoch and buffer
    assert job.resume(run_dir) == 0, job.log.read_text()
    assert job.result(run_dir) == job.result(job.undisturbed)


@slow
@pytest.mark.parametrize("finetune", [False, True])
def test_killed_classifier_on_a_published_model(
    finetune: bool, cache_dir: Path, tmp_path: Path
) -> None:
    """With its layers in the store, or trained itself."""
    places = (f"output_dir={tmp_path}/outputs", f"cache_dir={cache_dir}")
    chosen = (f"bilm_path={DEV / 'released_shape'}", f"encoder.finetune={str(finetune).lower()}")
    settings = (*TINY_CLS, *chosen, *places, "datamodule.token_budget=1024")
    job = Job("train_cls", "classifier.pt", (*settings, "datamodule.label_share=0.3"), tmp_path)
    run_dir = tmp_path / "run"
    assert job.begin(run_dir, AtStep(12)) == -signal.SIGKILL
    assert job.resume(run_dir) == 0, job.log.read_text()
    assert job.result(run_dir) == job.result(job.undisturbed)
