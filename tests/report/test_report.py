"""`elmo report` as a whole: what it writes, what it leaves out, what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conftest import ROOT, error_line
from elmo.commands import blend
from elmo.commands.report import main
from elmo.report import appendix
from elmo.report.collect import collect
from elmo.report.keep import keep_material
from elmo.report.paper import write_report
from elmo.utils import drawing
from report_runs import FACTS, write_classifier, write_everything

SECTIONS = (
    "Data",
    "Model",
    "Hyperparameters of both tasks",
    "Pretraining: the language model on train and test",
    "Classification: metrics on train and test",
    "Confusion matrices on train and test",
    "ELMo against Word2Vec, SVD and TF-IDF",
    "The role of the lambdas",
    "What each layer is worth",
    "The effect of hyperparameters",
    "Learning curve",
    "Neighbours in context",
    "Errors",
    "Cost",
    "Where the figures come from",
    "What is not in this report",  # several biLMs and fine-tuned ones: see test_bilms.py
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    write_everything(root)
    return root


def report(*folders: Path, out: Path, options: tuple[str, ...] = ()) -> str:
    main([*map(str, folders), "-o", str(out), *options])
    assert out.read_bytes().startswith(b"%PDF")
    return out.with_suffix(".md").read_text()


@pytest.fixture(scope="module")
def whole(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of all runs, with the files that it keeps."""
    folder = tmp_path_factory.mktemp("whole")
    report(runs, out=folder / "deep/report.pdf", options=("--keep", str(folder / "kept")))
    return folder / "deep/report.pdf"


def undrawn(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The text of a report whose figures are not drawn."""
    monkeypatch.setattr(drawing, "svg", lambda figure: b"")
    return write_report(collect([folder]), "figures").text


def test_every_section_is_there_where_every_run_is(whole: Path) -> None:
    text = whole.with_suffix(".md").read_text()
    assert re.findall("^## (.*)$", text, re.MULTILINE) == list(SECTIONS)
    shown = re.findall(r"!\[.*\]\((.*)\)", text)
    assert len(set(shown)) == len(shown) == 9
    for file in shown:
        assert (whole.parent / file).read_bytes().startswith(b"<?xml")
    assert len(list((whole.parent / "report_figures").iterdir())) == len(shown)
    for kind, count in (("Table", text.count("**Table")), ("Figure", len(shown))):
        numbers = [int(found) for found in re.findall(rf"\*\*{kind} (\d+)\.", text)]
        assert numbers == list(range(1, count + 1))


def test_findings_are_those_of_the_runs(whole: Path) -> None:
    text = whole.with_suffix(".md").read_text()
    learned = r"\*\*ELMo, learned\*\* has the highest mean test accuracy"
    assert re.search(rf"{learned}, 0\.9200 \(95 % interval 0\.\d+ to 0\.\d+, 3 seeds\)", text)
    assert "ELMo, learned puts the most weight on layer 2" in text
    assert "layer 1 0.7500, layer 2 0.6500, layer 0 0.5000" in text
    for mode in ("trainable", "frozen", "learned"):
        assert f"2.00 points more with ELMo, {mode} (3 seeds, deviation 0.00 points)" in text
    for share in ("1 %", "10 %"):
        assert f"with {share} of the labels 10.00 points ahead of Word2Vec" in text
    assert "Between the best draw" in text
    assert "layer 2 of ELMo reaches 0.700" in text
    assert "most often confuses World and Sports" in text


def test_other_runs_give_other_findings(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(runs, changed)
    for folder in changed.glob("learned-*"):
        shutil.rmtree(folder)
    for seed in range(3):
        choices = {"encoder": "svd", "mixer": "trainable"}
        write_classifier(changed / f"better-{seed}", 0.97, seed, choices, layer_norm=False)
    text = undrawn(changed, monkeypatch)
    assert "**SVD, mixer.layer_norm=False** has the highest mean test accuracy, 0.97" in text
    assert "ELMo, learned" not in text


def test_the_test_split_chooses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choices = {"encoder": "elmo", "mixer": "trainable"}
    write_classifier(tmp_path / "a", 0.7, 0, choices, val=0.8, layer_norm=True)
    write_classifier(tmp_path / "b", 0.9, 0, choices, val=0.6, layer_norm=False)
    write_classifier(tmp_path / "c", 0.5, 0, {"classifier": "svm"})
    text = undrawn(tmp_path, monkeypatch)
    section = text.partition("## ELMo against")[2].partition("\n## ")[0]
    assert "**ELMo, trainable, mixer.layer_norm=True** has the highest" in section
    assert "layer_norm=False" not in section


MISSING = {  # the runs without which a part is missing, and how that part would begin
    "Pretraining": ("lm", "## Pretraining"),
    "The effect of hyperparameters": ("*-False-*", "## The effect of hyperparameters"),
    "What each layer is worth": ("layer-*", "## What each layer is worth"),
    "Learning curve": ("few-*", "## Learning curve"),
    "Gamma on and off": ("*-False-*", "A learned gamma gives"),
    "Accuracy against the draw of frozen lambdas": ("frozen-*", "Between the best draw"),
}


@pytest.mark.parametrize("section", MISSING)
def test_what_has_no_runs_is_left_out_and_named(
    section: str, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some = tmp_path / "some"
    shutil.copytree(runs, some)
    pattern, beginning = MISSING[section]
    for folder in some.glob(pattern):
        shutil.rmtree(folder)
    text = undrawn(some, monkeypatch)
    assert beginning not in text
    assert f"- {section}: " in text.partition("## What is not in this report")[2]


def test_one_run_alone_makes_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_classifier(tmp_path / "run", 0.7)
    text = report(tmp_path, out=tmp_path / "report.pdf")
    assert "left out: Pretraining: " in capsys.readouterr().err
    assert "**ELMo, trainable** has the highest mean test accuracy, 0.7000" in text
    assert "one seed" in text


def test_a_search_takes_nothing_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choices = {"encoder": "elmo", "mixer": "trainable"}
    write_classifier(tmp_path / "tested", 0.7, 0, choices, layer_norm=True)
    write_classifier(tmp_path / "search", 0.9, 0, choices, layer_norm=False)
    untest(tmp_path / "search")
    write_classifier(tmp_path / "svm", 0.6, 0, {"classifier": "svm"})
    text = undrawn(tmp_path, monkeypatch)
    assert "**ELMo, trainable, mixer.layer_norm=True** has the highest" in text
    assert "- ELMo, trainable, mixer.layer_norm=False, compared with others: not evaluated" in text
    assert "nan" not in text


def test_the_tested_seeds_of_a_setting_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(3):
        write_classifier(tmp_path / f"run-{seed}", 0.7, seed)
    untest(tmp_path / "run-0")
    assert "0.7000 (95 % interval" in undrawn(tmp_path, monkeypatch)
    assert collect([tmp_path]).classifiers[0].summary.runs == 2  # type: ignore[union-attr]


def test_runs_cut_short_are_not_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_classifier(tmp_path / "whole", 0.7)
    write_classifier(tmp_path / "cut", 0.9, 0, {"encoder": "svd", "mixer": "trainable"})
    file = tmp_path / "cut/predictions/test.parquet"
    pq.write_table(pq.read_table(file).slice(0, 100), file)
    text = undrawn(tmp_path, monkeypatch)
    assert "- SVD, compared with others: not evaluated on the whole test split" in text


def test_only_what_shares_head_and_training_is_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for mixer, head, accuracy in (
        ("trainable", "bilstm", 0.9),
        ("trainable", "pool", 0.8),
        ("frozen", "pool", 0.7),
    ):
        choices = {"encoder": "elmo", "mixer": mixer, "head": head}
        write_classifier(tmp_path / f"{mixer}-{head}", accuracy, 0, choices)
    text = undrawn(tmp_path, monkeypatch)
    section = text.partition("## The role of the lambdas")[2].partition("\n## ")[0]
    assert "ELMo, trainable, head=bilstm puts the most weight" in section
    assert "Paired tests" not in section
    for title in ("ELMo, trainable, head=pool", "ELMo, frozen"):
        reason = "it differs from ELMo, trainable, head=bilstm in `head`."
        assert f"- {title}, compared with others: {reason}" in text


def test_only_one_study_is_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elmo, svd = {"encoder": "elmo", "mixer": "trainable"}, {"encoder": "svd", "mixer": "trainable"}
    write_classifier(tmp_path / "elmo", 0.9, 0, elmo, study="wide")
    write_classifier(tmp_path / "svd", 0.8, 0, svd, study="wide")
    write_classifier(tmp_path / "frozen", 0.85, 0, {"encoder": "elmo", "mixer": "frozen"})
    write_classifier(tmp_path / "svm", 0.7, 0, {"classifier": "svm"})
    text = undrawn(tmp_path, monkeypatch)
    section = text.partition("## ELMo against")[2].partition("\n## ")[0]
    assert "the `study` of ELMo, trainable, the tested lambda mode of ELMo" in section
    assert "behind it are SVD by 10.00 points, TF-IDF, linear SVM by 20.00 points" in section
    reason = "it differs from ELMo, trainable in `study`."
    assert f"- ELMo, frozen, compared with others: {reason}" in text


def test_a_line_has_one_setting_at_each_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = {"classifier": "svm"}
    write_classifier(tmp_path / "few", 0.5, 0, choices, share=0.1)
    write_classifier(tmp_path / "all", 0.7, 0, choices)
    choices = {"encoder": "elmo", "mixer": "trainable"}
    write_classifier(tmp_path / "one", 0.5, 0, choices, share=0.1)
    write_classifier(tmp_path / "two", 0.6, 0, choices)
    write_classifier(tmp_path / "three", 0.8, 0, choices, val=0.55)
    record = json.loads((tmp_path / "three/metrics.json").read_text())
    record["settings"]["trainer"]["max_epochs"] = 99
    (tmp_path / "three/metrics.json").write_text(json.dumps(record))
    text = undrawn(tmp_path, monkeypatch)
    assert "with 100 % of the labels 10.00 points behind TF-IDF, linear SVM" in text
    curves = collect([tmp_path]).learning_curves.values()
    shares = [[classifier.share for classifier in curve] for curve in curves]
    assert shares == [[0.1, 1.0], [0.1, 1.0]]


def test_few_labels_alone_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_classifier(tmp_path / "run", 0.7, share=0.015)
    text = undrawn(tmp_path, monkeypatch)
    assert "- ELMo, trainable with 1.5 % of the labels: there are no runs with another" in text


def test_draws_at_one_seed_are_all_kept(tmp_path: Path) -> None:
    choices = {"encoder": "elmo", "mixer": "frozen"}
    for draw in range(3):
        write_classifier(tmp_path / f"runs/draw-{draw}", 0.7 + draw / 100, 0, choices)
        for name in ("metrics", "run"):
            file = tmp_path / f"runs/draw-{draw}/{name}.json"
            content = json.loads(file.read_text())
            if name == "metrics":
                content["settings"]["mixer"]["seed"] = draw
                content["lambdas"] = [0.2 + draw / 10, 0.3, 0.5 - draw / 10]
            else:
                spelt = "true" if draw else "True"
                content["overrides"] += [f"mixer.layer_norm={spelt}", f"mixer.seed={draw}"]
            file.write_text(json.dumps(content))
    kept = tmp_path / "kept"
    text = report(tmp_path / "runs", out=tmp_path / "report.pdf", options=("--keep", str(kept)))
    assert len(list(kept.rglob("test.parquet"))) == 3
    command = "train_cls.py encoder=elmo mixer=frozen mixer.layer_norm=true mixer.seed=0,1,2 -m"
    assert f"`python {command}`" in text
    assert "All have the same seed of the head: the standard deviation over the draws is" in text


def test_odd_figures_leave_cells_empty(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "lm", tmp_path / "runs/lm")
    record = json.loads((tmp_path / "runs/lm/metrics.json").read_text())
    record["metrics"]["train/perplexity"] = None  # infinite
    (tmp_path / "runs/lm/metrics.json").write_text(json.dumps(record))
    write_classifier(tmp_path / "runs/perfect", 1.0)
    text = report(tmp_path / "runs", out=tmp_path / "report.pdf")
    assert "ELMo, trainable makes no error." in text
    assert "nan" not in text


def untest(folder: Path) -> None:
    """Make a run look as `evaluate_test=false` leaves it."""
    shutil.rmtree(folder / "predictions")
    record = json.loads((folder / "metrics.json").read_text())
    record["metrics"] = {k: v for k, v in record["metrics"].items() if not k.startswith("test/")}
    del record["splits"]["test"]
    (folder / "metrics.json").write_text(json.dumps(record))


def test_a_run_without_the_test_split_is_shown_by_its_validation(tmp_path: Path) -> None:
    write_classifier(tmp_path / "run", 0.7)
    untest(tmp_path / "run")
    text = report(tmp_path, out=tmp_path / "report.pdf")
    assert "- Errors: no classifier was evaluated on the test split." in text
    assert "nan" not in text


def test_what_is_kept_makes_the_same_report_to_the_last_byte(whole: Path, tmp_path: Path) -> None:
    kept = whole.parent.parent / "kept"
    report(kept, out=tmp_path / "report.pdf")
    for file in whole.parent.rglob("*.*"):
        if file.is_file():
            again = tmp_path / file.relative_to(whole.parent)
            assert again.read_bytes() == file.read_bytes()
    for file in kept.rglob("*.json"):
        assert "/secret" not in file.read_text()
        assert '"output_dir": "' not in file.read_text()
    kinds = {file.suffix for file in kept.rglob("*") if file.is_file()}
    assert kinds == {".json", ".parquet", ".csv"}


def test_runs_of_other_data_are_refused_or_left_out(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {**FACTS, "fingerprint": "bbbb2222", "train_rows": 77}
    write_classifier(tmp_path / "other/run", 0.7, data=other)
    places = [str(runs), str(tmp_path / "other"), "-o", str(tmp_path / "report.pdf")]
    line = error_line(lambda: main(places), capsys)
    assert "--data aaaa1111 (toy, 1,000 train rows, " in line
    assert "--data bbbb2222 (toy, 77 train rows, 1 runs)" in line
    for wanted, message in (("toy", "there are more"), ("x", "there are none")):
        command = partial(main, [*places, "--data", wanted])
        assert f"--data {wanted}: {message}" in error_line(command, capsys)
    assert not list(tmp_path.glob("report*"))
    assert collect([runs, tmp_path / "other"], "bbbb").data["train_rows"] == 77


def test_mistakes_end_in_one_line(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    damaged = tmp_path / "damaged"
    write_classifier(damaged / "run", 0.7)
    (damaged / "run/metrics.json").write_text("{")
    curves = tmp_path / "curves"
    write_classifier(curves / "run", 0.7)
    (curves / "run/tables/curves.csv").write_text("tag,step\nlambda/0,x\n")
    out = ["-o", str(tmp_path / "report.pdf")]
    for arguments, message in (
        ([str(tmp_path / "nowhere"), *out], "no such folder"),
        ([str(empty), *out], "no finished run below it"),
        ([str(damaged), *out], "metrics.json: not readable"),
        ([str(curves), *out], "curves.csv: damaged"),
        ([str(runs), "-o", "report.html"], "expected a name that ends in .pdf"),
        ([str(runs), *out, "--keep", str(empty)], "exists already"),
        ([str(runs), *out, "--discussion", str(tmp_path / "no.md")], "no.md: not readable"),
    ):
        assert message in error_line(partial(main, arguments), capsys)
    assert not list(tmp_path.glob("report*"))


def test_a_discussion_is_included_where_it_is_of_the_same_data(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    write_classifier(runs / "run", 0.7)
    file = tmp_path / "discussion.md"
    options = ("--discussion", str(file))
    file.write_text("<!-- fingerprint: aaaa1111 -->\n## Discussion\n\nBecause *so*.\n")
    assert "Because *so*." in report(runs, out=tmp_path / "a.pdf", options=options)
    file.write_text("<!-- fingerprint: 0000 -->\n## Discussion\n\nBecause so.\n")
    text = report(runs, out=tmp_path / "b.pdf", options=options)
    assert "Because so." not in text
    assert "- Discussion: `discussion.md` was written on other data." in text


def test_a_blend_is_listed_and_validation_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(2):
        folder = tmp_path / f"runs/learned-{seed}"
        write_classifier(folder, 0.9, seed, {"encoder": "elmo", "mixer": "learned"})
        predictions = folder / "predictions"
        shutil.copy(predictions / "test.parquet", predictions / "validation.parquet")
    blend.main([str(tmp_path / "runs"), "-o", str(tmp_path / "runs/blend")])
    text = undrawn(tmp_path / "runs", monkeypatch)
    assert re.search(r"\| Blend of 2 runs, \w+ \| 1 \|", text)
    assert "compared with others: it averages runs of other settings." in text
    keep_material(collect([tmp_path / "runs"]), tmp_path / "kept")
    kept = sorted((tmp_path / "kept").rglob("validation.parquet"))
    assert len(kept) == 3
    assert undrawn(tmp_path / "kept", monkeypatch) == text


def test_a_real_sweep(pretrained: Path, sweep: tuple[Path, str], tmp_path: Path) -> None:
    text = report(pretrained / "train_lm", sweep[0], out=tmp_path / "report.pdf")
    for mode in ("trainable", "frozen", "learned"):
        accuracy = next(
            json.loads(file.read_text())["metrics"]["test/accuracy"]
            for file in sweep[0].glob(f"*mixer-{mode}*/metrics.json")
        )
        assert f"| ELMo, {mode} | 1 |" in text
        assert f"{accuracy:.4f}" in text
    assert "## Pretraining" in text
    assert re.search("`python train_cls.py .*mixer=frozen seed=3`", text)


def test_the_report_in_docs_is_that_of_the_runs_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "svg", lambda figure: b"")
    results = ROOT / "docs/results"
    discussion = ROOT / "docs/discussion.md"
    paper = write_report(collect([ROOT / "docs"]), "report_figures", discussion)
    assert paper.text == (results / "report.md").read_text()


def test_the_command_of_a_released_run_is_in_its_record(tmp_path: Path) -> None:
    record = {"settings": {"seed": 0}, "command": ["train_lm", "experiment=ag_news", "seed=0"]}
    assert appendix._command([tmp_path], [record]) == "`python train_lm.py experiment=ag_news`"
    assert appendix._command([tmp_path], [{"settings": {"seed": 0}}]) == ""
