"""What the package shows of itself: the public API, the command `elmo`, the older commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import elmo
from conftest import ROOT
from elmo.__main__ import COMMANDS, help_text


def call(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_every_public_name_is_listed_and_resolves() -> None:
    assert dir(elmo) == sorted(elmo.__all__)
    for name in elmo.__all__:
        assert getattr(elmo, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        elmo.nothing  # noqa: B018


def test_loaded_models_are_in_eval_mode_on_the_device_asked_for(
    pretrained: Path, classified: Path
) -> None:
    (bilm,) = pretrained.glob("train_lm/*/bilstm.pt")
    for model in (
        elmo.load_bilm(bilm, device="cpu"),
        elmo.load_language_model(bilm, device="cpu"),
        elmo.load_classifier(classified, device="cpu"),
    ):
        assert not any(module.training for module in model.modules())
    assert {p.device.type for p in elmo.load_bilm(bilm, device="meta").parameters()} == {"meta"}


def test_every_command_has_a_line_in_the_help_and_a_module() -> None:
    listed = [line.split()[0] for line in help_text().splitlines() if line.startswith("  ")]
    assert len(listed) == len(set(listed)) == len(COMMANDS)
    assert set(listed) == COMMANDS
    modules = {file.stem for file in (ROOT / "elmo" / "commands").glob("*.py")}
    scripts = {file.stem.replace("_", "-") for file in ROOT.glob("train_*.py")}
    assert modules - {"__init__", "base"} | scripts == COMMANDS
    assert max(map(len, help_text().splitlines())) <= 80


def test_what_is_no_command_is_one_line_with_a_hint() -> None:
    done = call("elmo", "predcit")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "did you mean predict?" in done.stderr


@pytest.mark.parametrize(
    "name",
    [
        *("compare", "embed", "evaluate", "generate", "neighbours", "predict"),
        *("release", "report", "search", "senses"),
    ],
)
def test_the_older_command_is_forwarded_with_a_note(name: str) -> None:
    done = call(f"elmo.{name}", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: elmo {name}")
    assert f"is now `elmo {name}`" in done.stderr


def test_a_training_command_is_its_script() -> None:
    settings = call("elmo", "train-lm", "data=toy", "seed=3", "--cfg", "job")
    script = subprocess.run(
        [sys.executable, "train_lm.py", "data=toy", "seed=3", "--cfg", "job"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert settings.stdout == script.stdout
    assert "seed: 3" in settings.stdout


def test_the_scripts_are_short() -> None:
    for file in ROOT.glob("train_*.py"):
        assert len(file.read_text().splitlines()) <= 60, file
