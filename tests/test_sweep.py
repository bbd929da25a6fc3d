from __future__ import annotations

import json
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from elmo.sweep import SweepTable, collect, tabulate


@pytest.fixture
def sweep_dir(tmp_path: Path) -> Path:
    """Eleven jobs: number 3 failed, number 10 ended without a word."""
    for number in range(11):
        job = tmp_path / f"{number}_job"
        (job / ".hydra").mkdir(parents=True)
        overrides = [f"seed={number}", "trainer.max_epochs=2", "mixer=frozen"]
        OmegaConf.save(OmegaConf.create(overrides), job / ".hydra/overrides.yaml")
        if number == 3:
            (job / "failure.json").write_text(json.dumps({"reason": "no | model"}))
        elif number < 10:
            metrics = {"val/accuracy": 0.5 + number / 100, "test/accuracy": 0.25, "test/f1": 0.125}
            record = {"metrics": metrics, "lambdas": [0.2, 0.8], "seconds": 7.4}
            (job / "metrics.json").write_text(json.dumps(record))
    return tmp_path


def test_one_row_a_job_in_order(sweep_dir: Path) -> None:
    header, cells = tabulate(collect(sweep_dir))
    assert header == [
        "seed", "val accuracy", "test accuracy", "test macro F1", "lambdas", "seconds", "status",
    ]  # fmt: skip
    assert [row[0] for row in cells] == [str(number) for number in range(11)]
    assert cells[2] == ["2", "0.5200", "0.2500", "0.1250", "0.20 0.80", "7", "ok"]
    assert cells[3][-1] == "failed: no | model"
    assert cells[10][-1] == "failed: ended without metrics.json"


def test_a_failed_job_ends_the_sweep_with_exit_code_1(
    sweep_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep_dir)}}})
    with pytest.raises(SystemExit) as exit_:
        SweepTable().on_multirun_end(config)
    assert exit_.value.code == 1
    assert "0.5900" in capsys.readouterr().out
    lines = (sweep_dir / "sweep.md").read_text().splitlines()
    assert len(lines) == 13
    assert {line.count("|") for line in lines} == {8}
    assert (sweep_dir / "sweep.csv").read_text().splitlines()[4] == "3,,,,,,failed: no | model"


def test_a_sweep_that_went_well_does_not_exit(sweep_dir: Path) -> None:
    for number in (3, 10):
        (sweep_dir / f"{number}_job/.hydra/overrides.yaml").unlink()
    SweepTable().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep_dir)}}}))
    assert len((sweep_dir / "sweep.csv").read_text().splitlines()) == 10
