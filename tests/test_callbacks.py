from __future__ import annotations

import re
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import TINY_LM, Script
from elmo.callbacks import progress_bar
from elmo.generation import generate, join_words
from elmo.language_model import load_language_model
from elmo.latest import latest_run

SAMPLES = [
    "trainer.max_epochs=2",
    "callbacks.samples.prompts=['the bank','',apple]",
    "callbacks.samples.max_words=6",
]


@pytest.fixture(scope="module")
def run(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs with a progress bar."""
    output_dir = tmp_path_factory.mktemp("outputs")
    tiny = [item for item in TINY_LM if "progress_bar" not in item and "max_epochs" not in item]
    script("train_lm", *tiny, *SAMPLES, output_dir=output_dir)
    return latest_run(output_dir, "toy")


def texts(run: Path) -> list[str]:
    events = EventAccumulator(str(run), size_guidance={"tensors": 0})
    events.Reload()
    return [e.tensor_proto.string_val[0].decode() for e in events.Tensors("samples/text_summary")]


def test_samples_after_each_epoch_are_what_the_model_writes(run: Path) -> None:
    first, last = texts(run)
    assert first != last
    model, tokenizer = load_language_model(run)  # the second epoch's, which is the better one
    for prompt in ("the bank", "", "apple"):
        row = next(line for line in last.splitlines() if line.startswith(f"| {prompt} |"))
        for direction in ("forward", "backward"):
            (words,) = generate(
                model, tokenizer, prompt, direction, temperature=0.8, seed=0, count=1, max_words=6
            )
            assert f"| {join_words(words).replace('|', '/')} |" in row


def test_the_bar_shows_speed_and_time_left(
    script: Script, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tiny = [item for item in TINY_LM if "progress_bar" not in item]
    result = script("train_lm", *tiny, output_dir=tmp_path)
    shown = result.stdout + result.stderr + "".join(capfd.readouterr())
    assert re.search(r"tokens/s=\d", shown)
    assert re.search(r"left=0:0\d:\d\d", shown)


def test_no_bar_where_it_is_turned_off() -> None:
    assert progress_bar(enabled=False) is None
    assert progress_bar(enabled=True) is not None
