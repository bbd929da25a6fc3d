"""Artifacts and checkpoints from a stranger: each is refused with its own error, none runs code."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from elmo.errors import ArtifactError
from elmo.models.classifier import load_classifier
from elmo.models.language_model import load_language_model
from elmo.models.loading import load_bilm, load_encoder
from elmo.runs.latest import latest_run
from elmo.training.checkpoints import LastCheckpoint, read_checkpoint
from faults.hostile import ARTIFACTS, FILES, changed

Loader = Callable[[Path], object]
Attack = Callable[[Path], None]


@pytest.fixture
def bilm_file(pretrained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(latest_run(pretrained, "toy") / "bilstm.pt", tmp_path))


@pytest.fixture
def classifier_file(classified: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(classified / "classifier.pt", tmp_path))


@pytest.fixture
def checkpoint(pretrained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(latest_run(pretrained, "toy") / "checkpoints/last.ckpt", tmp_path))


@pytest.fixture(autouse=True)
def harmless(tmp_path: Path) -> Iterator[None]:
    """Nothing ran, soon over, and in little memory."""
    began = time.monotonic()
    Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from now on
    before = memory("VmRSS")
    yield
    assert not (tmp_path / "sprung").exists()
    assert memory("VmHWM") - before < 100
    assert time.monotonic() - began < 60  # not forever


def memory(name: str) -> float:
    """MiB of this process, as Linux has it."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if name in line]
    return int(line.split()[1]) / 1024


def refuses(load: Loader, file: Path, message: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        load(file)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("attack", [*FILES, *ARTIFACTS])
def test_a_hostile_bilm(attack: str, bilm_file: Path) -> None:
    act, message = {**FILES, **ARTIFACTS}[attack]
    act(bilm_file)
    for load in (load_bilm, load_encoder, load_language_model):
        refuses(load, bilm_file, message)


@pytest.mark.parametrize("attack", FILES)
def test_a_hostile_classifier(attack: str, classifier_file: Path) -> None:
    act, message = FILES[attack]
    act(classifier_file)
    for load in (load_classifier, load_encoder):
        refuses(load, classifier_file, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda config: config["mixer"]["arguments"].update(num_layers=5), "do not agree"),
        (lambda config: config["mixer"].update({"class": "PoolHead"}), "expected Mixer or a"),
        (lambda config: config["mixer"].update({"class": "Mixer"}), "expected Mixer or a"),
        (lambda config: config["head"]["arguments"].update(dropout=1.5), "head.dropout is 1.5"),
        (lambda config: config["class_names"].append("Weather"), "do not agree"),
        (lambda config: config.update(class_names=[1, 2, 3, 4]), "not a list of strings"),
        (lambda config: config["encoder"].update({"class": "Encoder"}), "expected Encoder or a"),
        (lambda config: config["encoder"].update(arguments={}), "cannot be built"),
        (lambda config: config.pop("encoder"), "expected Encoder or a"),
    ],
)
def test_a_classifier_whose_parts_do_not_fit(
    change: Callable[[dict], object], message: str, classifier_file: Path
) -> None:
    changed(lambda content: change(content["config"]))(classifier_file)
    refuses(load_classifier, classifier_file, message)


@pytest.mark.parametrize("attack", FILES)
def test_a_hostile_checkpoint(attack: str, checkpoint: Path) -> None:
    act, message = FILES[attack]
    act(checkpoint)
    refuses(read_checkpoint, checkpoint, message)
    refuses(read_checkpoint, checkpoint, "the run starts from the beginning")


def test_a_checkpoint_names_no_file_elsewhere(tmp_path: Path) -> None:
    """Lightning removes, with all below it, what a checkpoint names as the best one before."""
    outside = "X/../../documents"
    state: dict[str, Any] = {
        "dirpath": "X",
        "best_model_path": outside,
        "kth_best_model_path": outside,
        "last_model_path": "",
        "best_k_models": {outside: torch.tensor(0.0)},
    }
    content = {"callbacks": {"ModelCheckpoint": state}, "loops": {"fit_loop": {"state_dict": {}}}}
    folder = tmp_path / "run/checkpoints"
    LastCheckpoint(str(folder / "last.ckpt"), 5).on_load_checkpoint(
        SimpleNamespace(), None, content
    )
    here = str(folder / "documents")
    assert [state["dirpath"], *state["best_k_models"]] == [str(folder), here]
    assert [state["best_model_path"], state["kth_best_model_path"]] == [here, here]
    assert state["last_model_path"] == ""


def test_a_checkpoint_of_a_newer_format(checkpoint: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    torch.save({**content, "elmo_version": 99}, checkpoint)
    refuses(read_checkpoint, checkpoint, "format version 99, this code reads")
