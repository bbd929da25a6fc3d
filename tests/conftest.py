"""What the tests share: a small toy corpus, a tiny biLM, and scripts run as a user runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from elmo.bilm import BiLM
from elmo.corpora import ToyNews
from elmo.encoders import ElmoEncoder
from elmo.text import WordTokenizer

ROOT = Path(__file__).parent.parent

# The smallest job that still learns: for the scripts, on the toy corpus.
TINY = (
    "data=toy",
    "data.rows=1200",
    "data.test_rows=200",
    "data.validation_size=200",
    "trainer.max_epochs=1",
    "trainer.accelerator=cpu",
    "trainer.enable_progress_bar=false",
)
TINY_LM = (*TINY, "embedding.dim=16", "bilm.hidden_dim=16", "datamodule.evaluation_rows=100")
TINY_CLS = (*TINY, "head.hidden_dim=16")


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def toy(cache_dir: Path) -> ToyNews:
    return ToyNews(
        rows=1200,
        test_rows=200,
        seed=0,
        split_seed=0,
        validation_size=200,
        min_count=2,
        max_vocabulary=None,
        cache_dir=str(cache_dir),
    )


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


Script = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def script(cache_dir: Path) -> Script:
    """Runs `python NAME.py OVERRIDES` in the checkout; a wrong exit code fails the test."""

    def run(
        name: str, *overrides: str, output_dir: Path, code: int = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, f"{name}.py", *overrides]
        command += [f"output_dir={output_dir}", f"cache_dir={cache_dir}"]
        result = subprocess.run(
            command,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "2", **environment},
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert result.returncode == code, result.stdout + result.stderr
        return result

    return run


@pytest.fixture(scope="session")
def pretrained(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder in which a tiny biLM was pretrained on the toy corpus."""
    output_dir = tmp_path_factory.mktemp("outputs")
    script("train_lm", *TINY_LM, output_dir=output_dir)
    return output_dir
