from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest

from conftest import TINY_CLS, error_line
from elmo.commands import tune
from elmo.runs.finished import finished_runs
from elmo.runs.latest import latest_run

SPACE = """\
script: {script}
fixed: {{{fixed}}}
choices: {{head: [pool, attention]}}
ranges: {{optimizer.lr: {{low: 1.0e-3, high: 1.0e-2, log: true}}}}
"""


@pytest.fixture
def space(tmp_path: Path) -> Path:
    return a_space(tmp_path)


def a_space(folder: Path, script: str = "train_cls.py", fixed: str = "") -> Path:
    file = folder / "space.yaml"
    file.write_text(SPACE.format(script=script, fixed=fixed))
    return file


def test_what_cannot_be_tuned_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def error(*more: str, script: str = "train_cls.py", fixed: str = "", trials: int = 2) -> str:
        space = a_space(tmp_path, script, fixed)
        arguments = [str(space), *more, "--trials", str(trials), "-o", str(tmp_path / "out")]
        return error_line(lambda: tune.main(arguments), capsys)

    assert "--trials is 0; expected 1 or more" in error(trials=0)
    assert "script is 'run.py'; expected one of train_lm.py" in error(script="run.py")
    assert "evaluate_test=true: tune names" in error("evaluate_test=true")
    assert "hydra.run.dir='x': tune names" in error(fixed="hydra.run.dir: x")
    assert "resume=x: tune names" in error("resume=x")
    assert "heads" in error("heads=pool")
    assert "unheard_of" in error(fixed="unheard_of: 3")
    assert "no such file" in error_line(
        lambda: tune.main(["nowhere.yaml", "--trials", "1", "-o", "out"]), capsys
    )
    assert not (tmp_path / "out").exists()


def test_it_judges_by_what_chooses_the_best_epoch(tmp_path: Path) -> None:
    from elmo.runs.trials import read_space

    def objective(script: str, *overrides: str) -> tuple[str, str]:
        space = read_space(a_space(tmp_path, script))._replace(choices={}, ranges={})
        return tune.objective(space, overrides)

    assert objective("train_lm.py") == ("val/perplexity", "min")
    assert objective("train_cls.py") == ("val/accuracy", "max")
    assert objective("train_tfidf.py") == ("val/accuracy", "max")
    assert objective("train_cls.py", "monitor=val/loss", "mode=min") == ("val/loss", "min")


def test_without_optuna_it_says_how_to_install_it(
    space: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    for name in ("elmo.training.tuning", "elmo.training.tuning_plan"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    line = error_line(lambda: tune.main([str(space), "--trials", "1", "-o", "out"]), capsys)
    assert line == (
        "error: tune needs optuna, which is not installed: pip install -r requirements-tune.txt "
        "-c constraints.txt"
    )


@pytest.mark.slow
def test_trials_are_runs(
    space: Path,
    tmp_path: Path,
    pretrained: Path,
    cache_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = (f"output_dir={tmp_path}/outputs", f"cache_dir={cache_dir}")
    bilm = f"bilm_path={latest_run(pretrained, 'toy')}"
    arguments = [str(space), *TINY_CLS, *places, bilm, "threads=1", "-o", str(tmp_path / "out")]
    tune.main([*arguments, "--trials", "1"])
    tune.main([*arguments, "--trials", "2"])
    with (tmp_path / "out/trials.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert sorted(row["trial"] for row in rows) == ["0", "1"]
    assert rows[0]["val/accuracy"] >= rows[1]["val/accuracy"]
    found = {run.folder.name: run.record for run in finished_runs([tmp_path / "out"])}
    for row in rows:
        record = found[f"{int(row['trial']):03}"]
        assert f"{record['metrics']['val/accuracy']:.4f}" == row["val/accuracy"]
        assert record["choices"]["head"] == row["head"]
        assert f"{record['settings']['optimizer']['lr']:.3g}" == row["optimizer.lr"]
        assert not any(name.startswith("test/") for name in record["metrics"])
    assert f"best: python train_cls.py head={rows[0]['head']}" in capsys.readouterr().out
