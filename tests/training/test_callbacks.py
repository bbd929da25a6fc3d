from __future__ import annotations

import contextlib
import logging
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.utils.data import DataLoader

from conftest import ROOT, TINY_CLS, TINY_LM, Finished, Script, scalars
from elmo.errors import ConfigError
from elmo.models.artifacts import load_artifact
from elmo.models.generation import generate, join_words
from elmo.models.language_model import load_language_model
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from elmo.training.callbacks import EpochLines, averaged_weights, progress_bar
from elmo.training.checkpoints import read_checkpoint

SAMPLES = [
    "trainer.max_epochs=2",
    "callbacks.samples.prompts=['the bank','',apple]",
    "callbacks.samples.max_words=6",
]


BAR = "it/s"  # in every state of a progress bar


class Trained(NamedTuple):
    """A run folder and what the script printed."""

    folder: Path
    printed: Finished


@pytest.fixture(scope="module")
def trained(script: Script, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Two epochs as the settings are by default, but with standard output to a file."""
    output_dir = tmp_path_factory.mktemp("outputs")
    tiny = [item for item in TINY_LM if "progress_bar" not in item and "max_epochs" not in item]
    printed = script("train_lm", *tiny, *SAMPLES, output_dir=output_dir)
    return Trained(latest_run(output_dir, "toy"), printed)


@pytest.fixture(scope="module")
def run(trained: Trained) -> Path:
    return trained.folder


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


def epoch_lines(log: str) -> list[str]:
    """The lines of epochs in a log, without its prefix; the log may stand beside a bar."""
    return re.findall(r"^\[[^\n]*\]\[INFO\] - (epoch [^\r\n]*)", log, re.MULTILINE)


def test_a_line_for_each_epoch_and_no_bar_where_there_is_no_terminal(trained: Trained) -> None:
    printed = trained.printed.stdout + trained.printed.stderr
    lines = epoch_lines(trained.printed.stdout)
    assert len(lines) == 2
    assert BAR not in printed
    assert epoch_lines((trained.folder / "train_lm.log").read_text()) == lines
    curves = scalars(trained.folder)
    for number, line in enumerate(lines, 1):
        losses, figures = (
            [curves[tag][number - 1] for tag in tags]
            for tags in (("train/loss", "val/loss"), ("val/perplexity", "val/accuracy"))
        )
        best = min(curves["val/perplexity"][:number])
        assert re.fullmatch(
            rf"epoch {number}/2: train loss {losses[0]:.4f}, validation loss {losses[1]:.4f}, "
            rf"perplexity {figures[0]:.2f}, accuracy {figures[1]:.4f}, [\d,]+ tokens/s, "
            rf"0:\d\d:\d\d left, best perplexity so far {best:.2f}",
            line,
        )
    assert "0:00:00 left" in lines[-1]


def test_the_log_holds_nothing_of_other_libraries(trained: Trained) -> None:
    log = (trained.folder / "train_lm.log").read_text()
    names = set(re.findall(r"^\[[\d :,-]+\]\[([^\]]*)\]", log, re.MULTILINE))
    assert names
    assert all(name.startswith("elmo.") for name in names)
    assert "Warning" not in trained.printed.stderr


def test_a_library_is_heard_from_a_warning_on(trained: Trained) -> None:
    """The script has set the levels in this process."""
    other, own = logging.getLogger("matplotlib.font_manager"), logging.getLogger("elmo.any")
    assert not other.isEnabledFor(logging.INFO)
    assert other.isEnabledFor(logging.WARNING)
    assert own.isEnabledFor(logging.INFO)


def test_the_lines_of_a_classifier_are_in_its_log(classified: Path) -> None:
    (line,) = epoch_lines((classified / "train_cls.log").read_text())
    accuracy = f"{scalars(classified)['val/accuracy'][0]:.4f}"
    assert f", accuracy {accuracy}, " in line
    assert line.endswith(f"best accuracy so far {accuracy}")
    assert "perplexity" not in line


def test_the_lines_can_be_left_out(script: Script, tmp_path: Path) -> None:
    without = script("train_lm", *TINY_LM, "~callbacks.epoch_lines", output_dir=tmp_path)
    assert epoch_lines(without.stdout) == []
    assert "wrote" in without.stdout


def test_in_a_terminal_the_bar_stays_below_the_lines(cache_dir: Path, tmp_path: Path) -> None:
    tiny = [item for item in TINY_LM if "progress_bar" not in item]
    folders = [f"output_dir={tmp_path}", f"cache_dir={cache_dir}"]
    printed = in_terminal([str(ROOT / "train_lm.py"), *tiny, *folders])
    assert re.search(r"tokens/s=\d", printed)
    assert re.search(r"left=0:0\d:\d\d", printed)
    (line,) = epoch_lines(printed.replace("\r", "\n"))
    before, after = printed.split(line)
    assert BAR in before
    assert before.rpartition("\r")[2].startswith("[")  # from the first column on
    assert after.startswith("\r\n")
    (log,) = tmp_path.glob("train_lm/*/train_lm.log")
    assert epoch_lines(log.read_text()) == [line]


def in_terminal(command: Sequence[str]) -> str:
    """What a script prints where its standard output is a terminal."""
    master, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 200))
    with subprocess.Popen(
        [sys.executable, *command], stdin=terminal, stdout=terminal, stderr=terminal
    ) as process:
        os.close(terminal)
        printed = b""
        with contextlib.suppress(OSError):  # how a terminal ends
            while block := os.read(master, 65536):
                printed += block
    os.close(master)
    assert process.returncode == 0, printed.decode()
    return printed.decode()


class Row(NamedTuple):
    """As much of a batch as the lines read."""

    lengths: Tensor


class Scripted(lightning.LightningModule):
    """Learns nothing; its perplexity on validation in each epoch is given."""

    def __init__(self, perplexities: Sequence[float]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.perplexities = perplexities

    def training_step(self, batch: Row, index: int) -> Tensor:
        return self.weight * 0

    def on_train_epoch_end(self) -> None:
        self.log("train/loss", 0.5 + self.current_epoch)

    def validation_step(self, batch: Row, index: int) -> None:
        self.log("val/perplexity", self.perplexities[self.current_epoch])

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(
    folder: Path,
    perplexities: Sequence[float],
    caplog: pytest.LogCaptureFixture,
    checkpoint: Path | None = None,
    **settings: Any,
) -> list[str]:
    """The lines of a training, which ends with `last.ckpt` in `folder`."""
    caplog.clear()
    best = ModelCheckpoint(folder, "best", monitor="val/perplexity")
    stopping = EarlyStopping("val/perplexity", patience=2)
    trainer = lightning.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[EpochLines(), best, stopping],
        **{"max_epochs": len(perplexities), **settings},
    )
    rows: Any = [Row(torch.tensor([7, 9]))] * 3  # a list is a data set, too
    batches = DataLoader(rows, batch_size=None)
    with caplog.at_level(logging.INFO, logger="elmo.training.callbacks"):
        trainer.fit(
            Scripted(perplexities), batches, batches, ckpt_path=checkpoint, weights_only=True
        )
    trainer.save_checkpoint(folder / "last.ckpt")
    return [re.sub(r"[\d,]+ tokens/s, ", "", record.message) for record in caplog.records]


def test_the_best_figure_survives_a_resume(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = fit(tmp_path, [3, 1.5, 2, 1.2], caplog, max_epochs=2)
    assert [line.rpartition(" ")[2] for line in first] == ["3.00", "1.50"]
    lines = fit(tmp_path, [3, 1.5, 2, 1.2], caplog, tmp_path / "last.ckpt")
    assert lines == [
        "epoch 3/4: train loss 2.5000, perplexity 2.00, 0:00:00 left, best perplexity so far 1.50",
        "epoch 4/4: train loss 3.5000, perplexity 1.20, 0:00:00 left, best perplexity so far 1.20",
    ]


def test_the_last_line_says_where_the_training_stops_early(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = fit(tmp_path, [3, 1.5, 2, 1.7, 1.6, 1.5], caplog)
    assert len(lines) == 4
    assert lines[-1] == (
        "epoch 4/6: train loss 3.5000, perplexity 1.70, stops early, best perplexity so far 1.50"
    )
    assert not any("stops early" in line for line in lines[:-1])


def test_a_figure_is_of_its_epoch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where only every second epoch is validated, the others have no figure."""
    lines = fit(tmp_path, [3, 2, 1, 0.5], caplog, check_val_every_n_epoch=2)
    assert ["perplexity 2.00," in lines[1], "perplexity 0.50," in lines[3]] == [True, True]
    assert ", perplexity" not in lines[0] + lines[2]
    assert "best perplexity so far 2.00" in lines[2]


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
