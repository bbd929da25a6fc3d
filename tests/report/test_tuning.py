"""The effect of tuning, from tables of trials with known figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from elmo.errors import DataError
from elmo.report.collect import collect
from elmo.report.keep import keep_material
from elmo.report.tuning import read_searches
from report.test_report import undrawn
from report_runs import write_classifier

TABLE = """trial,val/accuracy,epochs,head.dropout,optimizer.lr,status
2,0.9200,6,0.3,1e-3,ok
0,0.9100,6,0.3,2e-3,ok
1,0.9000,6,0.5,2e-3,ok
3,0.9900,2,0.5,1e-3,pruned
4,,,0.5,1e-3,failed: diverged
"""


def write_search(folder: Path, table: str = TABLE) -> None:
    folder.mkdir(parents=True)
    (folder / "trials.csv").write_text(table)


def test_what_a_search_gained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_classifier(tmp_path / "runs/run", 0.8)
    write_search(tmp_path / "runs/tune_cls")
    perplexity = TABLE.replace("val/accuracy", "val/perplexity").replace("0.9", "9")
    write_search(tmp_path / "runs/tune_lm", perplexity)
    text = undrawn(tmp_path / "runs", monkeypatch)
    values = "0.9200 | 0.9100 | 0.9000 | +1.00 points |"
    assert f"| tune_cls | val/accuracy | 3 of 5 | {values}" in text
    assert "| `head.dropout` | 0.3 | 2 | 0.9150 | 0.9200 |" in text
    # Of a perplexity the lowest is the best; a trial that was pruned does not count.
    assert "| tune_lm | val/perplexity | 3 of 5 | 9,000.00 | 9,100.00 | 9,200.00 | -1.1 % |" in text
    keep_material(collect([tmp_path / "runs"]), tmp_path / "kept")
    assert undrawn(tmp_path / "kept", monkeypatch) == text


@pytest.mark.parametrize("table", ["", "trial,status\n1,ok\n", "trial,val/x,status\n1,abc,ok\n"])
def test_another_table_is_refused(tmp_path: Path, table: str) -> None:
    write_search(tmp_path / "tune", table)
    with pytest.raises(DataError, match=r"trials\.csv: no table of trials"):
        read_searches([tmp_path])
