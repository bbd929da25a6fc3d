"""Mistakes of a user of the two scripts, and what they must not cost."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conftest import ROOT, TINY_CLS, TINY_LM, Script, tree
from elmo.runs.latest import latest_run
from elmo.runs.preflight import Start


def test_a_failing_job_does_not_take_the_sweep_down(script: Script, pretrained: Path) -> None:
    folder = pretrained / "failing"
    result = script(
        "train_cls", *TINY_CLS, "head.dropout=1.5,0.1", "trainer.limit_train_batches=2",
        f"hydra.sweep.dir={folder}", "-m", output_dir=pretrained, code=1,
    )  # fmt: skip
    assert "Traceback" not in result.stdout + result.stderr
    with (folder / "sweep.csv").open() as handle:
        failed, fine = list(csv.DictReader(handle))
    assert failed["status"].startswith("failed: head.dropout is 1.5")
    assert fine["status"] == "ok"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.split_seed=1"], "another corpus, split or cleaning"),
        (["data.validation_blocks=3"], "data settings and name its folder with bilm_path, or set"),
        (["data.validation_blocks=0"], "data.validation_blocks is 0"),
        (["bilm_path=nowhere.pt"], "nowhere.pt: no such file"),
        (["encoder=word2vec", "data.validation_size=1200"], "data.validation_size is 1200"),
        (["datamodule.token_budget=0"], "datamodule.token_budget is 0"),
        (["trainer.max_epochs=-1"], "trainer.max_epochs is -1"),
        (["trainer.max_epochs=0"], "trainer.max_epochs is 0"),
        (["trainer.limit_val_batches=0.0001"], "trainer: "),
        (["data.validation_size=many"], "data.validation_size is 'many'; expected float"),
        (["+mixer.num_layers=5"], "mixer.num_layers follows from the data"),
        (["head.hidden_dim=-1"], "head.hidden_dim is -1"),
        (["trainer.devices=7"], "trainer.devices is 7: several processes"),
        (["trainer.gradient_clip_val=-1"], "trainer.gradient_clip_val is -1"),
        (["monitor=val/unheard_of"], "monitor is 'val/unheard_of', which no validation measures"),
        (["monitor=val/loss"], "mode is max with monitor=val/loss, of which a lower value is"),
        (["trainer.limit_val_batches=0"], "trainer.limit_val_batches is 0; expected more than 0"),
        (["+mixer.unheard_of=1"], "unexpected keyword argument 'unheard_of'"),
        (["mixer.seed=1"], "Key 'seed' is not in struct"),
        (["mixer=unheard_of"], "Could not find 'mixer/unheard_of'"),
    ],
)
def test_mistakes_of_the_classifier_end_in_one_message(
    script: Script, pretrained: Path, tmp_path: Path, overrides: list[str], message: str
) -> None:
    run_dir = f"hydra.run.dir={tmp_path / 'run'}"
    result = script("train_cls", *TINY_CLS, *overrides, run_dir, output_dir=pretrained, code=1)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    # Lightning finds this one once it has begun.
    begun = overrides == ["trainer.limit_val_batches=0.0001"]
    assert (tmp_path / "run").exists() is begun


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("train_cls", ["data=toy"], "no biLM was trained on data=toy yet; run `python train_lm"),
        ("train_lm", ["data=ag_news", "data.dir=nowhere"], "nowhere/train.csv: no such file"),
        (
            "train_lm",
            ["data=toy", "embedding=word2vec", "embedding.path=no.bin"],
            "no.bin: no such",
        ),
        ("train_lm", ["data=toy", "bilm.dropout=1.5"], "bilm.dropout is 1.5"),
        (
            "train_lm",
            ["data=toy", "bilm.hidden_dim=-1"],
            "bilm.hidden_dim is -1; expected 1 or more",
        ),
        ("train_lm", ["data=toy", "datamodule.token_budget=9"], "token_budget is 9, but document"),
        ("train_lm", ["data=toy", "optimizer.lr=fast"], "optimizer.lr is 'fast'; expected float"),
        ("train_lm", ["data=toy", "seed=-1"], "seed is -1; expected 0 or more"),
        ("train_lm", ["data=toy", "threads=0"], "threads is 0"),
        ("train_lm", ["data=toy", "monitor=val/f1"], "monitor is 'val/f1', which no validation"),
        ("train_lm", ["data=toy", "mode=max"], "mode is max with monitor=val/perplexity"),
    ],
)
def test_mistakes_before_any_work_end_in_one_message(
    script: Script, tmp_path: Path, name: str, overrides: list[str], message: str
) -> None:
    result = script(name, *overrides, output_dir=tmp_path / "new" / "outputs", code=1)
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.accelerator.is_available(), reason="this machine has a GPU")
@pytest.mark.parametrize("name", ["train_lm", "train_cls"])
@pytest.mark.parametrize("choice", ["trainer=gpu", "experiment=gpu", "trainer.accelerator=cuda"])
def test_without_a_gpu_one_line_says_what_to_set(
    script: Script, tmp_path: Path, name: str, choice: str
) -> None:
    result = script(name, "data=toy", choice, output_dir=tmp_path, code=1)
    (line,) = [line for line in result.stderr.splitlines() if "no such GPU" in line]
    assert "trainer.accelerator=cpu" in line
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("kind", ["empty", "used", "new"])
def test_a_named_folder_is_left_as_it_was(kind: str, script: Script, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    if kind != "new":
        folder.mkdir()
    if kind == "used":
        (folder / "train_lm.log").write_text("kept\n")
    name = f"hydra.run.dir={folder}"
    result = script("train_lm", "data=toy", "seed=-1", name, output_dir=tmp_path, code=1)
    assert "seed is -1" in result.stderr
    assert folder.exists() is (kind != "new")
    if kind == "empty":
        assert list(folder.iterdir()) == []
    if kind == "used":
        assert (folder / "train_lm.log").read_text().startswith("kept\n")


def test_what_a_run_wrote_is_kept(tmp_path: Path) -> None:
    start = Start(tmp_path / "new" / "run", {"run.json"}, ".hydra")
    (tmp_path / "new" / "run" / ".hydra").mkdir(parents=True)
    for file in ("run.json", ".hydra/config.yaml", "bilstm.pt"):
        (tmp_path / "new" / "run" / file).touch()
    start.undo()
    assert len(list((tmp_path / "new" / "run").rglob("*"))) == 4
    (tmp_path / "new" / "run" / "bilstm.pt").unlink()
    (tmp_path / "new" / "run" / ".hydra" / "notes").touch()
    start.undo()
    assert len(list((tmp_path / "new" / "run").rglob("*"))) == 4
    (tmp_path / "new" / "run" / ".hydra" / "notes").unlink()
    start.undo()
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_does_not_compose_leaves_no_folder(script: Script, tmp_path: Path) -> None:
    mixers = "mixer=frozen,unheard_of"
    result = script("train_cls", mixers, "-m", output_dir=tmp_path, code=1, apart=True)
    assert "Could not find 'mixer/unheard_of'" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_is_not_overwritten(script: Script, pretrained: Path) -> None:
    run = latest_run(pretrained, "toy")
    before = tree(run)
    result = script("train_lm", *TINY_LM, f"hydra.run.dir={run}", output_dir=pretrained, code=1)
    assert "no run overwrites another" in result.stderr
    assert f"resume={run}" in result.stderr
    assert tree(run) == before  # .hydra/ and the log, too


@pytest.mark.parametrize("name", ["train_lm", "train_cls"])
def test_help_waits_for_neither_torch_nor_lightning(name: str) -> None:
    code = (
        f"import runpy, sys; sys.argv = ['{name}.py', '--help']\n"
        f"try: runpy.run_path('{name}.py', run_name='__main__')\n"
        "except SystemExit: pass\n"
        "assert not {'torch', 'lightning', 'datasets', 'gensim', 'matplotlib'} & set(sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "mixer" in result.stdout or "softmax" in result.stdout


def test_a_precision_that_the_device_lacks_is_refused(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(*_: object, **__: object) -> None:
        raise RuntimeError("could not create a primitive descriptor")

    monkeypatch.setattr("elmo.training.task.LSTM", lacking)
    half = "trainer.precision=bf16-mixed"
    result = script("train_lm", *TINY_LM, half, output_dir=tmp_path, code=1)
    assert "trainer.precision=bf16-mixed does not run on this cpu" in result.stderr
    assert "Traceback" not in result.stderr


def test_processes_that_differ_in_precision_are_refused(
    script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_two(value: str) -> list[str]:
        return [value, "bf16-mixed"]

    monkeypatch.setattr("elmo.training.task.gather_from_ranks", of_two)
    result = script("train_lm", *TINY_LM, output_dir=tmp_path, code=1)
    assert "not the same for all processes: ['32-true', 'bf16-mixed']" in result.stderr
    assert "Traceback" not in result.stderr
