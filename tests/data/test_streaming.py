"""Streams: no document comes twice or is left out, and a resumed stream continues."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from conftest import TINY, Script, scalars
from data.test_files import text_files
from elmo.data.batches import Batch
from elmo.data.language_model_data import LanguageModelData
from elmo.data.streaming import StreamLoader
from elmo.data.text import PAD
from elmo.errors import ConfigError
from elmo.runs.latest import latest_run

COUNT = 600


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Two files of documents that differ in length and in their first word."""
    lines = [f"w{number} " + "x " * (number % 7) for number in range(COUNT)]
    for name, part in (("a.txt", lines[:450]), ("b.txt", lines[450:])):
        (tmp_path / name).write_text("\n".join(part) + "\n")
    return [str(tmp_path / name) for name in ("a.txt", "b.txt")]


def data_of(
    files: list[str], tmp_path: Path, workers: int = 0, **changes: Any
) -> LanguageModelData:
    """Return a data module of a stream with small batches."""
    corpus = text_files(tmp_path, files=files, streaming=True, sample_documents=2 * COUNT)
    settings = {
        "token_budget": 64,
        "num_workers": workers,
        "seed": 0,
        "evaluation_rows": 10,
        "epoch_batches": 20,
        "buffer_documents": 50,
    }
    return LanguageModelData(corpus=corpus, **{**settings, **changes})


def loader_of(*arguments: Any, **changes: Any) -> StreamLoader:
    """Return the train loader of `data_of`."""
    loader = data_of(*arguments, **changes).train_dataloader()
    assert isinstance(loader, StreamLoader)
    return loader


def first_words(batches: list[Batch]) -> list[int]:
    """Return the id of the first word of each document."""
    return [row[1] for batch in batches for row in batch.tokens.tolist()]


def take(loader: StreamLoader, count: int) -> list[Batch]:
    """Return `count` batches, from as many epochs as needed, like a training."""
    batches: list[Batch] = []
    while len(batches) < count:
        for batch in loader:
            batches.append(batch)
            if len(batches) == count:
                break
    return batches


def same(one: list[Batch], other: list[Batch]) -> bool:
    """Tell whether two lists of batches have the same tokens."""
    pairs = zip(one, other, strict=True)
    return all(a.tokens.tolist() == b.tokens.tolist() for a, b in pairs)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_round_gives_each_document_once(files: list[str], tmp_path: Path, workers: int) -> None:
    data = data_of(files, tmp_path, workers)
    train = len(data.corpus.splits["train"])
    held_out = {
        int(data.splits[split].ids(row)[1])
        for split in ("validation", "test")
        for row in range(len(data.splits[split]))
    }
    loader = data.train_dataloader()
    assert isinstance(loader, StreamLoader)
    seen = Counter(first_words(take(loader, 400)))
    assert len(seen) == train
    assert not set(seen) & held_out
    assert max(seen.values()) - min(seen.values()) <= 2  # whole rounds, and the rest of two parts


def test_batches_have_similar_lengths_under_the_budget(files: list[str], tmp_path: Path) -> None:
    padding = total = 0
    for batch in loader_of(files, tmp_path):
        assert batch.tokens.numel() <= 64
        padding += int((batch.tokens == PAD).sum())
        total += batch.tokens.numel()
    assert padding < 0.1 * total


def test_epochs_continue_and_rounds_differ(files: list[str], tmp_path: Path) -> None:
    loader = loader_of(files, tmp_path)
    one, two = list(loader), list(loader)
    assert len(loader) == len(one) == len(two) == 20
    assert not set(first_words(one)) & set(first_words(two))  # 40 batches are less than a round
    rounds = take(loader_of(files, tmp_path), 400)
    assert first_words(rounds[:50]) != first_words(rounds[200:250])
    assert same(rounds[:40], [*one, *two])


# After the first batch, around the end of an epoch, late; to start workers takes long.
@pytest.mark.parametrize(
    ("workers", "count"),
    [
        *((0, count) for count in (1, 19, 20, 75)),
        (2, 20),
        *(
            pytest.param(workers, count, marks=pytest.mark.slow)
            for workers, count in ((0, 263), (2, 1), (2, 19), (2, 75), (2, 263))
        ),
    ],
)
def test_a_resumed_stream_continues(
    files: list[str], tmp_path: Path, workers: int, count: int
) -> None:
    whole = take(loader_of(files, tmp_path, workers), count + 90)
    first = loader_of(files, tmp_path, workers)
    take(first, count)
    again = loader_of(files, tmp_path, workers)
    again.load_state_dict(first.state_dict())
    rest = take(again, 90)
    assert same(rest, whole[count:])


def test_another_number_of_processes_is_refused(files: list[str], tmp_path: Path) -> None:
    state = loader_of(files, tmp_path).state_dict()
    with pytest.raises(ConfigError, match="1 loading processes for each of 1 ranks, now there are"):
        loader_of(files, tmp_path, 2).load_state_dict(state)


def test_more_workers_than_documents_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(f"w{n}" for n in range(12)))
    loader = loader_of([str(tmp_path / "a.txt")], tmp_path, 12)
    with pytest.raises(ConfigError, match="expected more documents than ranks"):
        take(loader, 40)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epoch_batches": None}, "epoch_batches is None; expected the number of batches"),
        ({"train_rows": 5}, "train_rows is 5; expected null with data.streaming"),
        ({"buffer_documents": 0}, "buffer_documents is 0"),
    ],
)
def test_settings_out_of_range(
    files: list[str], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        data_of(files, tmp_path, **changes)


def test_pretraining_from_a_stream_learns(files: list[str], script: Script, tmp_path: Path) -> None:
    small = [item for item in TINY if not item.startswith("data")]
    data = ["data=text", f"data.files=[{','.join(files)}]", "data.min_count=1"]
    data += ["data.streaming=true", "datamodule.epoch_batches=30", "datamodule.token_budget=64"]
    tiny = ["embedding.dim=16", "bilm.hidden_dim=16", "softmax=full", "trainer.max_epochs=2"]
    script("train_lm", *data, *small, *tiny, output_dir=tmp_path)
    perplexities = scalars(latest_run(tmp_path, "text"))["val/perplexity"]
    assert perplexities[1] < perplexities[0]
