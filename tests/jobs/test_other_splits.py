"""Runs on other splits of a corpus: what they record, and that they stay apart."""

from __future__ import annotations

import shutil
from pathlib import Path

from conftest import TINY_CLS, Script
from elmo.runs.finished import finished_runs
from elmo.runs.latest import latest_pointer, latest_run
from elmo.runs.record import read_record

BLOCKS = "data.validation_blocks=3"


def test_runs_on_other_splits_say_so_and_stay_apart(
    script: Script, pretrained: Path, tmp_path: Path
) -> None:
    bilm = latest_run(pretrained, "toy")
    output = tmp_path / "outputs"
    (output / "latest").mkdir(parents=True)
    shutil.copy(pretrained / "latest" / "toy", output / "latest")
    run_dir = output / "elmo"
    options = (*TINY_CLS, BLOCKS, f"bilm_path={bilm}", f"hydra.run.dir={run_dir}")
    result = script("train_cls", *options, output_dir=output)
    record = read_record(run_dir)
    assert record["data"]["variant"] == "validation rows in 3 blocks"
    read = record["bilm_has_read"]
    assert 0 < read["validation"] <= record["data"]["validation_rows"]
    assert read["test"] == 0
    assert f"has read {read['validation']:,} of the " in result.stderr + result.stdout
    assert not latest_pointer(output, "toy", "classifier").exists()
    for name, change in (("blocks", BLOCKS), ("single", "data.validation_blocks=null")):
        data = [item for item in TINY_CLS if item.startswith("data")]
        place = f"hydra.run.dir={output / name}"
        script("train_tfidf", *data, change, place, output_dir=output)
    runs = finished_runs([output])
    prints = {run.folder.name: run.record["data"]["fingerprint"] for run in runs}
    assert prints["elmo"] == prints["blocks"] != prints["single"]
    assert "bilm_has_read" not in read_record(output / "single")
