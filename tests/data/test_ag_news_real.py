from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from elmo.data.corpora.ag_news import AgNews
from small_corpora import ag_news, texts


@pytest.fixture(scope="session")
def real(cache_dir: Path) -> AgNews:
    """The original AG News."""
    return ag_news(Path(os.environ["AG_NEWS_DIR"]), cache_dir, validation_size=5000, min_count=3)


needs_ag_news = pytest.mark.skipif(not os.environ.get("AG_NEWS_DIR"), reason="AG_NEWS_DIR not set")


@needs_ag_news
def test_real_rows_add_up(real: AgNews) -> None:
    facts = real.facts
    assert facts["test_rows"] == facts["test_rows_in_source"] == 7600
    assert facts["validation_rows"] == 5000
    gone = facts["empty_train_rows"] + facts["train_rows_also_in_test"]
    assert facts["train_rows"] + 5000 + gone == facts["train_rows_in_source"]
    for split, rows in real.splits.items():
        assert facts[f"{split}_rows"] == len(rows)
    assert 0 < facts["descriptions_with_conflicting_labels"] < facts["repeated_descriptions"]
    assert 2 * facts["repeated_descriptions"] <= facts["repeated_rows"]


@needs_ag_news
def test_real_test_file_equals_the_download(real: AgNews) -> None:
    assert hashlib.sha256(real.files["test"].read_bytes()).hexdigest() == AgNews.SHA256["test"]


@needs_ag_news
def test_real_test_split_is_balanced(real: AgNews) -> None:
    assert Counter(real.splits["test"]["label"]) == dict.fromkeys(range(4), 1900)


@needs_ag_news
def test_real_rows_contain_no_residue(real: AgNews) -> None:
    residue = re.compile(r"#\d+;|&(?:lt|gt|amp|quot|nbsp);|\b(?:quot|lt|gt|amp);|\\|<\w+ [^>]*=|  ")
    for split in real.splits:
        unclean = [
            text for text in texts(real, split) if residue.search(text) or text != text.strip()
        ]
        assert not unclean


@needs_ag_news
def test_real_splits_do_not_overlap(real: AgNews) -> None:
    train, validation, test = (
        {text.lower() for text in texts(real, split)} for split in ("train", "validation", "test")
    )
    assert not train & validation
    assert not train & test
    assert not validation & test
