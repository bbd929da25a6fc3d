"""A run that goes on on another kind of machine keeps the precision in which it was started."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch

from conftest import TINY_LM
from elmo.models.artifacts import load_artifact
from elmo.runs.record import read_record
from faults.runner import AtStep, run

AUTO = tuple(item for item in TINY_LM if not item.startswith("trainer.precision"))


class OnMachine:
    """Pretends what a machine computes natively; kills the process in a step if one is named."""

    def __init__(self, native: str, step: int | None = None) -> None:
        self.native = native
        self.kill = None if step is None else AtStep(step)

    def __call__(self) -> None:
        import elmo.runs.folder

        elmo.runs.folder.native_precision = lambda accelerator: self.native
        if self.kill:
            self.kill()


def runs_in_bfloat16() -> bool:
    try:
        with torch.autocast("cpu", torch.bfloat16):
            torch.nn.LSTM(1, 1)(torch.zeros(1, 1, 1))
    except RuntimeError:
        return False
    return True


@pytest.mark.slow
@pytest.mark.skipif(not runs_in_bfloat16(), reason="no LSTM in bfloat16 on this processor")
@pytest.mark.parametrize(
    ("here", "elsewhere"), [("bf16-mixed", "32-true"), ("32-true", "bf16-mixed")]
)
def test_bit_for_bit(here: str, elsewhere: str, cache_dir: Path, tmp_path: Path) -> None:
    log, undisturbed, moved = (tmp_path / name for name in ("log.txt", "undisturbed", "moved"))
    places = (f"output_dir={tmp_path}/outputs", f"cache_dir={cache_dir}")
    command = ("train_lm", *AUTO, *places, "callbacks.last_checkpoint.minutes=0")
    at = f"hydra.run.dir={undisturbed}"
    assert run(*command, at, output=log, fault=OnMachine(here)) == 0, log.read_text()
    at, killed = f"hydra.run.dir={moved}", OnMachine(here, step=7)
    assert run(*command, at, output=log, fault=killed) == -signal.SIGKILL
    again = ("train_lm", f"resume={moved}")
    assert run(*again, output=log, fault=OnMachine(elsewhere)) == 0, log.read_text()
    one, other = (load_artifact(folder, "bilm")["state"] for folder in (undisturbed, moved))
    assert all(torch.equal(one[name], other[name]) for name in one)
    records = [read_record(folder) for folder in (undisturbed, moved)]
    assert records[0]["metrics"] == records[1]["metrics"]
    assert all(record["precision"] == {"asked": "auto", "used": here} for record in records)
