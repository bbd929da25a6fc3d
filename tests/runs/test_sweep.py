from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from elmo.runs.identity import run_name
from elmo.runs.sweep import SweepTable, fit, print_fitting, read_jobs, tabulate


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


REASON = (
    "datamodule.token_budget is 20, but document 20 of train has 32 tokens; expected at least as "
    "many, or a smaller datamodule.max_tokens, which truncates long documents"
)


def test_the_reason_of_a_failed_job_is_printed_in_full(
    sweep_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sweep_dir / "a/b/3_job/failure.json").write_text(json.dumps({"reason": REASON}))
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(sweep_dir)}}})
    with pytest.raises(SystemExit):
        SweepTable().on_multirun_end(config)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2:] == [
        f"job 3 failed: {REASON}",
        "job 10 failed: ended without metrics.json",
    ]


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("job", ["classifier", "language model"])
@pytest.mark.parametrize("varying", [["mixer"], ["seed", "bilm_path", "a.lr", "b.lr"]])
@pytest.mark.parametrize(
    "reason", [REASON, "label_share is 7; expected above 0, at most 1", "x" * 99]
)
def test_the_table_fits_and_breaks_nothing(
    width: int,
    job: str,
    varying: list[str],
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    figures = ["0.8540", "0.8693", "0.8691", "0.25 0.38 0.37"]
    names = ["val accuracy", "test accuracy", "test macro F1", "lambdas"]
    if job == "language model":
        names = ["val perplexity", "test perplexity", "V", "val unknown"]
        figures = ["165.62", "166.01", "22,296", "2.17%"]
    settings = {"mixer": "trainable", "seed": "1", "a.lr": "0.001", "b.lr": "0.002"}
    settings["bilm_path"] = "outputs/train_lm/2026-11-27_16-31-28-093291_bilm-tiny"
    header = [*varying, *names, "seconds", "status"]
    well = [*(settings[name] for name in varying), *figures, "1200", "ok"]
    failed = [*(settings[name] for name in varying), *[""] * 5, f"failed: {reason}"]
    print_fitting([0, 1], header, [well, failed])
    table = [line for line in capsys.readouterr().out.splitlines() if line[0] in "┏┃┡│├└"]
    assert max(map(len, table)) <= width
    words = {word for line in table for word in re.split("[┃│ ]+", line)}
    known = {"job", "0", "1", "lr", "failed", *" ".join([*header, *well, *failed]).split()}
    shown = {word for word in words if word and word[0] not in "┏┡├└"}
    # What is not a whole word ends or starts in an ellipsis.
    assert {word.strip(".") for word in shown - known if "..." not in word} == set()
    assert {"job", "status", "ok", "0", "1"} <= shown
    if width == 200:
        assert set(" ".join([*names, *figures]).split()) <= shown
    if width == 80:
        assert {*figures[:2]} <= shown or len(varying) > 1


def test_lambdas_stand_below_each_other_before_a_column_goes() -> None:
    columns = {"job": ["0"], "mixer": ["learned"], "lambdas": ["0.25 0.38 0.37"]}
    columns |= {"seconds": ["7"], "status": ["ok"]}
    for width, lambdas, left_out in (
        (53, "0.25 0.38 0.37", []),
        (46, "0.25\n0.38\n0.37", []),
        (45, "0.25\n0.38\n0.37", ["seconds"]),
    ):
        narrow = dict(columns)
        assert fit(narrow, width) == left_out
        assert narrow["lambdas"] == [lambdas]


def test_columns_without_room_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = ["seed", "test accuracy", "seconds", "status"], [["1", "0.9321", "12", "ok"]]
    for width, named in ((80, False), (40, True)):
        monkeypatch.setenv("COLUMNS", str(width))
        print_fitting([0], *table)
        assert ("no room for: seconds; sweep.csv" in capsys.readouterr().out) == named


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


def test_what_tells_most_comes_first() -> None:
    typed = "data-toy+head-bilstm+mixer-layer+mixer.layer-1+seed-3"
    assert run_name("0", typed) == "0_mixer-layer+head-bilstm+data-toy+seed-3+mixer.layer-1"


@pytest.mark.parametrize("items", [1, 2, 9, 40])
def test_names_are_short_and_distinct(items: int) -> None:
    typed = [f"group_{number}.some_key-{'x' * number}" for number in range(items)]
    names = {run_name("0", "+".join([*typed, f"seed-{seed}"])) for seed in range(3)}
    assert len(names) == 3
    assert all(len(name) <= len("0_") + 60 for name in names)


@pytest.mark.parametrize("text", ["a-[1, 2]", "path-x/y/z", "a-'b c'", "a-é~b", "x" * 500, "a\n"])
def test_a_name_needs_no_quotes_and_fits_a_file_system(text: str) -> None:
    name = run_name("2026-01-01_00-00-00-000000", text)
    assert OverridesParser.create().parse_override(f"bilm_path={name}").value() == name
    assert "/" not in name
    assert len(name) < 200


def test_long_settings_that_differ_at_the_end_have_names_that_differ() -> None:
    assert run_name("0", "x" * 300 + "1") != run_name("0", "x" * 300 + "2")
