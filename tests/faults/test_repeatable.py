"""The same seed, settings and threads give the same bits, whatever goes on around the run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from conftest import TINY_CLS, TINY_LM
from elmo.runs.latest import latest_run
from elmo.runs.record import read_record
from elmo.utils.cache import is_intact
from faults.runner import run, start


def result(run_dir: Path) -> dict[str, Any]:
    """Figures, weights and predictions."""
    files = [*run_dir.glob("*.pt"), *sorted(run_dir.glob("predictions/*"))]
    return {
        "metrics": read_record(run_dir)["metrics"],
        "files": {file.name: file.read_bytes() for file in files},
    }


@pytest.mark.slow
def test_pretraining_repeats(pretrained: Path, tmp_path: Path) -> None:
    """With loading processes, and an empty cache."""
    log, again = tmp_path / "log.txt", tmp_path / "again"
    places = (f"output_dir={tmp_path}", f"cache_dir={tmp_path}/cache", f"hydra.run.dir={again}")
    assert run("train_lm", *TINY_LM, *places, "datamodule.num_workers=2", output=log) == 0
    assert result(again) == result(latest_run(pretrained, "toy"))


@pytest.mark.slow
def test_another_seed_differs(pretrained: Path, cache_dir: Path, tmp_path: Path) -> None:
    log, other = tmp_path / "log.txt", tmp_path / "other"
    places = (f"output_dir={tmp_path}", f"cache_dir={cache_dir}", f"hydra.run.dir={other}")
    assert run("train_lm", *TINY_LM, *places, "seed=1", output=log) == 0
    assert result(other)["metrics"] != result(latest_run(pretrained, "toy"))["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "circumstance",
    [
        pytest.param(("datamodule.num_workers=2",), id="workers, store warm"),
        pytest.param(("datamodule.num_workers=1", "store.folder={}/cold"), id="worker, store cold"),
    ],
)
def test_a_classifier_repeats(
    circumstance: tuple[str, ...], classified: Path, cache_dir: Path, tmp_path: Path
) -> None:
    log, again = tmp_path / "log.txt", tmp_path / "again"
    outputs = classified.parent
    changes = [change.format(tmp_path) for change in circumstance]
    places = (f"output_dir={outputs}", f"cache_dir={cache_dir}", f"hydra.run.dir={again}")
    assert run("train_cls", *TINY_CLS, "mixer=learned", *places, *changes, output=log) == 0
    assert result(again) == result(classified)


@pytest.mark.slow
@pytest.mark.parametrize("job", ["train_lm", "train_cls"])
def test_four_at_once_share_an_empty_cache(
    job: str, pretrained: Path, classified: Path, tmp_path: Path
) -> None:
    """Each entry of the cache is there once and whole, and no run shows that others were there."""
    settings = {"train_lm": TINY_LM, "train_cls": (*TINY_CLS, "mixer=learned")}[job]
    expected = {"train_lm": latest_run(pretrained, "toy"), "train_cls": classified}[job]
    cache, log = tmp_path / "cache", tmp_path / "log.txt"
    outputs = Path(shutil.copytree(pretrained, tmp_path / "outputs"))
    places = (f"output_dir={outputs}", f"cache_dir={cache}")
    folders = [tmp_path / str(number) for number in range(4)]
    runs = [
        start(job, *settings, *places, f"hydra.run.dir={folder}", output=log) for folder in folders
    ]
    for process in runs:
        process.join(timeout=240)
    assert [process.exitcode for process in runs] == [0, 0, 0, 0], log.read_text()
    for folder in folders:
        assert result(folder) == result(expected)
    kinds = {"corpora": 1, "tokens": 3, "tokenizers": 1 if job == "train_lm" else 0}
    kinds |= {"layers": 3} if job == "train_cls" else {}
    for kind, count in kinds.items():
        entries = [entry for entry in cache.glob(f"{kind}/*") if entry.is_dir()]
        assert len(entries) == count
        assert all(is_intact(entry) for entry in entries)
