"""`experiment=lambda_study` and `experiment=learning_curve` are sweeps without `-m`."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import ROOT, TINY_CLS, Script, run_here
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record


@pytest.mark.slow
@pytest.mark.parametrize(
    ("study", "some", "jobs"),
    [
        ("lambda_study", ("mixer=frozen", "mixer.learn_gamma=true,false", "seed=4"), 2),
        ("learning_curve", ("encoder=elmo", "labels=percent_10,all", "seed=4"), 2),
    ],
)
def test_a_study_is_a_sweep_whose_jobs_can_be_resumed(
    study: str, some: tuple[str, ...], jobs: int, script: Script, pretrained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    bilm = f"bilm_path={latest_run(pretrained, 'toy')}"
    place = f"hydra.sweep.dir={folder}"
    options = (*TINY_CLS, bilm, f"experiment={study}", "study=mine", *some, place)
    script("train_cls", *options, output_dir=tmp_path)
    runs = sorted(file.parent for file in folder.glob("*/metrics.json"))
    assert len(runs) == jobs
    assert (folder / "sweep.md").read_text().count("| ok |") == jobs
    varying = "learn_gamma" if study == "lambda_study" else "label_share"
    settings = [read_record(run)["settings"] for run in runs]
    values = {str({**one, **one["mixer"]}[varying]) for one in settings}
    assert len(values) == jobs
    assert {read_record(run)["study"] for run in runs} == {"mine"}
    # One job can be resumed alone, although its command line names the study, which is a sweep.
    (runs[0] / "metrics.json").unlink()
    resumed = run_here([str(ROOT / "train_cls.py"), f"resume={runs[0]}"])
    assert resumed.code == 0, resumed.stderr
    assert read_record(runs[0])["settings"]["seed"] == 4
    assert sorted(file.parent for file in folder.glob("*/metrics.json")) == runs
