from __future__ import annotations

import json
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from elmo.runs.identity import run_name
from elmo.runs.sweep import SweepTable, read_jobs, tabulate


@pytest.fixture
def sweep_dir(tmp_path: Path) -> Path:
    """Eleven jobs: number 3 failed, number 10 ended without a word.

    Number 4 was refused to a second sweep while it ran, and then ended well.
    """
    for number in range(11):
        job = tmp_path / "a/b" / f"{number}_job"
        (job / ".hydra").mkdir(parents=True)
        overrides = [
            f"seed={number}",
            f"data.dir=a:{number}",
            "trainer.max_epochs=2",
            "mixer=frozen",
        ]
        OmegaConf.save(OmegaConf.create(overrides), job / ".hydra/overrides.yaml")
        hydra = OmegaConf.create({"hydra": {"job": {"num": number}}})
        OmegaConf.save(hydra, job / ".hydra/hydra.yaml")
        if number in (3, 4):
            (job / "failure.json").write_text(json.dumps({"reason": "no | [/model]"}))
        if number not in (3, 10):
            metrics = {"val/accuracy": 0.5 + number / 100, "test/accuracy": 0.25, "test/f1": 0.125}
            record = {"metrics": metrics, "lambdas": [0.2, 0.8], "seconds": 7.4}
            (job / "metrics.json").write_text(json.dumps(record))
    return tmp_path


def test_one_row_a_job_in_order(sweep_dir: Path) -> None:
    header, cells = tabulate(read_jobs(sweep_dir))
    assert header == [
        "seed", "data.dir", "val accuracy", "test accuracy", "test macro F1",
        "lambdas", "seconds", "status",
    ]  # fmt: skip
    assert [row[0] for row in cells] == [str(number) for number in range(11)]
    assert cells[2] == ["2", "a:2", "0.5200", "0.2500", "0.1250", "0.20 0.80", "7", "ok"]
    assert cells[4][-1] == "ok"
    assert cells[3][-1] == "failed: no | [/model]"
    assert cells[10][-1] == "failed: ended without metrics.json"


def test_a_failed_job_ends_the_sweep_with_exit_code_1(
    sweep_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep_dir)}}})
    with pytest.raises(SystemExit) as exit_:
        SweepTable().on_multirun_end(config)
    assert exit_.value.code == 1
    printed = capsys.readouterr().out
    assert "0.5900" in printed
    assert "a:9" in printed
    lines = (sweep_dir / "sweep.md").read_text().splitlines()
    assert len(lines) == 13
    assert {line.count("|") for line in lines} == {9}
    assert (sweep_dir / "sweep.csv").read_text().splitlines()[
        4
    ] == "3,a:3,,,,,,failed: no | [/model]"


def test_a_sweep_that_went_well_does_not_exit(sweep_dir: Path) -> None:
    for number in (3, 10):
        (sweep_dir / f"a/b/{number}_job/.hydra/overrides.yaml").unlink()
    SweepTable().on_multirun_end(OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep_dir)}}}))
    assert len((sweep_dir / "sweep.csv").read_text().splitlines()) == 10


def test_perplexities_stand_beside_v_and_unknown_rate(tmp_path: Path) -> None:
    data = {"vocabulary_size": 22296, "unknown_rate": {"validation": 0.0217}}
    record = {
        "metrics": {"val/perplexity": 65.621, "val/accuracy": 0.3},
        "data": data,
        "seconds": 1.0,
    }
    rows = [{"number": 0, "overrides": {}, "record": record, "status": "ok"}]
    header, cells = tabulate(rows)
    assert header == ["job", "val perplexity", "V", "val unknown", "seconds", "status"]
    assert cells == [["0", "65.62", "22,296", "2.17%", "1", "ok"]]


def test_a_table_that_cannot_be_made_is_no_success(sweep_dir: Path) -> None:
    (sweep_dir / "a/b/0_job/metrics.json").write_text("{")
    with pytest.raises(SystemExit):
        SweepTable().on_multirun_end(
            OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep_dir)}}})
        )


def test_runs_are_named_by_their_settings() -> None:
    assert run_name("2026-01-01", "bilm-tiny+seed-3") == "2026-01-01_bilm-tiny+seed-3"
    assert run_name("0", "") == "0"


@pytest.mark.parametrize("text", ["a-[1, 2]", "path-x/y/z", "a-'b c'", "a-é~b", "x" * 500, "a\n"])
def test_a_name_needs_no_quotes_and_fits_a_file_system(text: str) -> None:
    name = run_name("2026-01-01_00-00-00-000000", text)
    assert OverridesParser.create().parse_override(f"bilm_path={name}").value() == name
    assert "/" not in name
    assert len(name) < 200


def test_long_settings_that_differ_at_the_end_have_names_that_differ() -> None:
    assert run_name("0", "x" * 300 + "1") != run_name("0", "x" * 300 + "2")
