"""Texts that hold nothing, nothing known, or very much."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import elmo
from elmo.runs.latest import latest_run

TEXTS = {
    "empty": "",
    "white space": " \t\n\u00a0\u200b",
    "a tag": "<b></b>",
    "unknown words": "zzqx qqzv " * 30,
    "names of special tokens": "<pad> <unk> <s> </s>",
    "other scripts": "\u0645\u0631\u062d\u0628\u0627 \u4f60\u597d e\u0301",
    "emoji": "\U0001f600\u200d\U0001f525",
    "one letter": "a",
    "a hundred thousand words": "the bank zzqx " * 33_334,
}


@pytest.mark.parametrize("name", TEXTS)
def test_embedding(name: str, pretrained: Path) -> None:
    encoder = elmo.load_bilm(latest_run(pretrained, "toy"))
    (alone,) = encoder.embed([TEXTS[name]])
    assert alone.vectors.shape == (3, len(alone.tokens), encoder.dim)
    assert np.isfinite(alone.vectors.numpy()).all()
    between = encoder.embed(["the bank", TEXTS[name], "the river"])[1]
    assert between.tokens == alone.tokens


@pytest.mark.parametrize("name", TEXTS)
def test_predicting(name: str, classified: Path) -> None:
    classifier = elmo.load_classifier(classified)
    (found,) = classifier.predict([TEXTS[name]])
    assert found.label in classifier.class_names
    assert sum(found.probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_no_text_at_all(pretrained: Path, classified: Path) -> None:
    assert elmo.load_bilm(latest_run(pretrained, "toy")).embed([]) == []
    assert elmo.load_classifier(classified).predict([]) == []
