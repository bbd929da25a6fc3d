"""What the tests share: a small toy corpus, a tiny biLM, and scripts run as a user runs them."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import runpy
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

# Tiny tensors gain nothing from threads, and waiting for each other on a busy machine costs much.
# Before anything imports torch, which reads it once: the processes that tests start inherit it, and
# another number of threads gives other last bits.
os.environ["OMP_NUM_THREADS"] = "1"
gc.disable()  # until all tests are imported: see elmo.utils.memory.exempt_from_collection

import h5py
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from elmo.commands import base
from elmo.data.batches import Batch
from elmo.data.corpora.toy import ToyNews
from elmo.data.language_model_data import LanguageModelData
from elmo.data.text import WordTokenizer
from elmo.models.encoders import ElmoEncoder
from elmo.modules.bilm import BiLM
from elmo.runs.latest import latest_run
from small_corpora import TEST_CSV, csv_of, news, toy_news

assert torch.get_num_threads() == 1

ROOT = Path(__file__).parent.parent

# The smallest job that still learns: for the scripts, on the toy corpus.
TINY = (
    "data=toy",
    "data.rows=1200",
    "data.test_rows=200",
    "data.validation_size=200",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.precision=32-true",  # figures are compared, and `auto` is another by machine
    "trainer.enable_progress_bar=false",
    "trainer.log_every_n_steps=3",
)
TINY_LM = (*TINY, "embedding.dim=16", "bilm.hidden_dim=16", "datamodule.evaluation_rows=100")
TINY_CLS = (*TINY, "head.hidden_dim=16")
MIXERS = ("trainable", "frozen", "learned")


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def toy(cache_dir: Path) -> ToyNews:
    return toy_news(cache_dir)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder in the format of AG News: 60 train rows, 7,600 test rows."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "train.csv").write_bytes(csv_of(news(60)))
    (folder / "test.csv").write_bytes(TEST_CSV)
    return folder


@pytest.fixture
def bilm() -> BiLM:
    torch.manual_seed(0)
    return BiLM(vocab_size=40, embedding_dim=6, hidden_dim=8, num_layers=2, dropout=0.0).eval()


@pytest.fixture
def encoder() -> ElmoEncoder:
    """An untrained biLM with the vocabulary of two sentences."""
    torch.manual_seed(0)
    texts = ["the bank raised its rates .", "the river left its bank !"]
    tokenizer = WordTokenizer.train(texts, min_count=1, max_size=None)
    return ElmoEncoder(tokenizer, BiLM(len(tokenizer), embedding_dim=6, hidden_dim=8))


class Finished(NamedTuple):
    """What a script left: exit code and output."""

    code: int
    stdout: str
    stderr: str


Script = Callable[..., Finished]


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session")
def script(cache_dir: Path) -> Script:
    """Runs a script as `python NAME.py OVERRIDES` would; a wrong exit code fails the test.

    In this process, because most of a tiny job is the import of torch and lightning; with
    `apart=True` in one of its own. Flags such as `-m` come last.
    """

    def run(
        name: str, *overrides: str, output_dir: Path, code: int = 0, apart: bool = False
    ) -> Finished:
        folders = [f"output_dir={output_dir}", f"cache_dir={cache_dir}"]
        command = [str(ROOT / f"{name}.py"), *folders, *overrides]
        finished = run_apart(command) if apart else run_here(command)
        assert finished.code == code, finished.stdout + finished.stderr
        return finished

    return run


def run_apart(command: list[str]) -> Finished:
    result = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=280, check=False
    )
    return Finished(result.returncode, result.stdout, result.stderr)


def run_here(command: list[str]) -> Finished:
    stdout, stderr = io.StringIO(), io.StringIO()
    code: object = 0
    with (
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "argv", command)
        try:
            runpy.run_path(command[0], run_name="__main__")
        except SystemExit as exit_:
            code = exit_.code
            if isinstance(code, str):  # as the interpreter does
                print(code, file=sys.stderr)
    return Finished(code if isinstance(code, int) else 1, stdout.getvalue(), stderr.getvalue())


@pytest.fixture(scope="session")
def pretrained(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder in which a tiny biLM was pretrained on the toy corpus."""
    output_dir = tmp_path_factory.mktemp("outputs")
    script("train_lm", *TINY_LM, output_dir=output_dir)
    return output_dir


def job(sweep_dir: Path, mixer: str) -> Path:
    (folder,) = sweep_dir.glob(f"*mixer-{mixer}*")
    return folder


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Time and content of every file."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file): (file.stat().st_mtime_ns, file.read_bytes()) for file in files}


def scalars(run_dir: Path) -> dict[str, list[float]]:
    events = EventAccumulator(str(run_dir))
    events.Reload()
    return {tag: [e.value for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


@pytest.fixture(scope="session")
def sweep(
    script: Script, pretrained: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """The folder of the three-mixer sweep, alone in its output folder, and what it printed."""
    output_dir = tmp_path_factory.mktemp("swept")
    folder = output_dir / "three_mixers"
    bilm = f"bilm_path={latest_run(pretrained, 'toy') / 'bilstm.pt'}"
    overrides = [*TINY_CLS, bilm, f"mixer={','.join(MIXERS)}", "seed=3"]
    result = script(
        "train_cls", *overrides, f"hydra.sweep.dir={folder}", "-m", output_dir=output_dir
    )
    return folder, result.stdout


@pytest.fixture(scope="session")
def classified(script: Script, pretrained: Path) -> Path:
    """The run folder of a tiny classifier on that biLM, whose mixer is learned."""
    folder = pretrained / "classified"
    overrides = [*TINY_CLS, "mixer=learned", f"hydra.run.dir={folder}"]
    script("train_cls", *overrides, output_dir=pretrained)
    return folder


@pytest.fixture(scope="session")
def toy_validation(toy: ToyNews) -> list[Batch]:
    """Every validation row of the corpus that `pretrained` was pretrained on, in batches."""
    data = LanguageModelData(
        corpus=toy,
        tokenizer=toy.tokenizer,
        token_budget=2048,
        num_workers=0,
        seed=0,
        evaluation_rows=100,
    )
    return list(data.val_dataloader())


def error_line(command: Callable[[], None], capsys: pytest.CaptureFixture[str]) -> str:
    """The one line in which a command ends; anything else that it printed fails the test."""
    with pytest.raises(SystemExit) as exit_:
        base.run(command)
    printed = capsys.readouterr()
    assert exit_.value.code == 1
    assert printed.out == ""
    (error,) = [line for line in printed.err.splitlines() if not line.startswith("model: ")]
    assert error.startswith("error: ")
    return error


@pytest.fixture
def frugal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No number of an HDF5 file is read, little memory is taken, and the test is soon over."""
    from faults.test_hostile_files import memory

    def read(*_: Any) -> None:
        raise AssertionError("a data set was read")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", read)
    began = time.monotonic()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from now on
    before = memory("VmRSS")
    yield
    assert memory("VmHWM") - before < 50
    assert time.monotonic() - began < 10
