from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from conftest import TINY, Script
from elmo.data.corpora.toy import ToyNews
from elmo.data.language_model_data import LanguageModelData
from elmo.errors import ConfigError
from elmo.models.kneser_ney import KneserNey
from elmo.runs.finished import finished_runs
from elmo.runs.record import read_record
from elmo.training.ngram import NgramLanguageModel

CORPUS = [item for item in TINY if item.startswith("data")]


def test_the_targets_are_those_of_the_bilm(toy: ToyNews) -> None:
    """A unigram model of equal words would have perplexity V on as many targets."""
    model = NgramLanguageModel(order=2, max_tokens=1000)
    data = model.data(toy)
    model.fit(data)
    bilm_data = LanguageModelData(
        corpus=toy, token_budget=2000, num_workers=0, seed=0, evaluation_rows=10
    )
    assert data.tokenizer.json == bilm_data.tokenizer.json
    for split in ("validation", "test"):
        batches = list(bilm_data.evaluation_loader(split))
        targets = sum(int((batch.lengths - 1).sum()) for batch in batches)
        tokens = data.splits[split]
        for direction in model.directions:
            assert len(direction.nll(np.asarray(tokens.tokens), tokens.lengths)) == targets


def test_figures_of_both_directions(toy: ToyNews) -> None:
    model = NgramLanguageModel(order=3, max_tokens=1000)
    data = model.data(toy)
    model.fit(data)
    metrics = model.evaluate(data).metrics
    documents = {
        split: [tokens.ids(row) for row in range(len(tokens))]
        for split, tokens in data.splits.items()
    }
    for direction, step in (("forward", 1), ("backward", -1)):
        alone = KneserNey(3, len(data.tokenizer))
        rows = {split: [ids[::step] for ids in found] for split, found in documents.items()}
        sizes = {split: np.array([len(ids) for ids in found]) for split, found in rows.items()}
        alone.fit(np.concatenate(rows["train"]), sizes["train"])
        nll = alone.nll(np.concatenate(rows["test"]), sizes["test"])
        assert metrics[f"test/loss_{direction}"] == pytest.approx(nll.mean())
    both = (metrics["val/loss_forward"] + metrics["val/loss_backward"]) / 2
    assert metrics["val/perplexity"] == pytest.approx(math.exp(both))
    assert metrics["train/perplexity"] < metrics["val/perplexity"] < len(data.tokenizer)
    assert not any(name.startswith("test/") for name in model.evaluate(data, test=False).metrics)


def test_the_job_leaves_a_record_that_is_no_bilm(script: Script, tmp_path: Path) -> None:
    run = tmp_path / "run"
    script("train_ngram", *CORPUS, "ngram.order=2", f"hydra.run.dir={run}", output_dir=tmp_path)
    record = read_record(run)
    assert record["label"] == "2-gram, Kneser-Ney"
    assert record["data"]["vocabulary_size"] > record["ngrams"][0] > 0
    assert 1 < record["metrics"]["test/perplexity"] < record["data"]["vocabulary_size"]
    (found,) = finished_runs([run])
    assert not found.is_bilm
    assert not found.is_classifier


def test_a_wrong_order_ends_in_one_message(script: Script, tmp_path: Path) -> None:
    result = script("train_ngram", *CORPUS, "ngram.order=0", output_dir=tmp_path, code=1)
    assert "ngram.order is 0; expected" in result.stderr
    assert "Traceback" not in result.stderr
    with pytest.raises(ConfigError, match=r"ngram\.max_tokens is 2"):
        NgramLanguageModel(order=2, max_tokens=2)
