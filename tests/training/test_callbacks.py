from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import TINY_CLS, TINY_LM, Script, scalars
from elmo.errors import ConfigError
from elmo.models.artifacts import load_artifact
from elmo.models.generation import generate, join_words
from elmo.models.language_model import load_language_model
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from elmo.training.callbacks import averaged_weights, progress_bar
from elmo.training.checkpoints import read_checkpoint

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
    model = load_language_model(run)  # the second epoch's, which is the better one
    for prompt in ("the bank", "", "apple"):
        row = next(line for line in last.splitlines() if line.startswith(f"| {prompt} |"))
        for direction in ("forward", "backward"):
            (words,) = generate(
                model, prompt, direction, temperature=0.8, seed=0, count=1, max_words=6
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


@pytest.mark.parametrize("name", ["train_lm", "train_cls"])
def test_averaged_weights_are_what_is_validated_evaluated_and_kept(
    name: str, script: Script, pretrained: Path, tmp_path: Path
) -> None:
    """Where the average is far behind the weights, taking the one for the other would show."""
    folder = tmp_path / "run"
    tiny, artifact, figure = {
        "train_lm": (TINY_LM, "bilstm.pt", "val/perplexity"),
        "train_cls": (TINY_CLS, "classifier.pt", "val/accuracy"),
    }[name]
    extra = ["average_weights=0.95", f"hydra.run.dir={folder}"]
    if name == "train_cls":
        extra += [f"bilm_path={latest_run(pretrained, 'toy')}", "datamodule.token_budget=1024"]
    script(name, *tiny, *extra, output_dir=tmp_path)
    final = read_record(folder)["metrics"][figure]
    assert scalars(folder)[figure][-1] == pytest.approx(final, rel=1e-5)
    checkpoint = read_checkpoint(folder / "checkpoints/best.ckpt")
    kept = load_artifact(folder, "bilm" if name == "train_lm" else "classifier")["state"]
    assert (folder / artifact).is_file()
    for key, value in kept.items():
        assert torch.equal(value, checkpoint["state_dict"][f"model.{key}"])
    assert any(
        not torch.equal(checkpoint["state_dict"][key], value)
        for key, value in checkpoint["current_model_state"].items()
    )


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_an_average_that_cannot_be_is_refused(decay: float) -> None:
    with pytest.raises(ConfigError, match="average_weights is"):
        averaged_weights(decay)
    assert averaged_weights(None) is None
