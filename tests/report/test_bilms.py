"""The sections of a report on several biLMs and on fine-tuned biLMs."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from elmo.report.collect import collect
from elmo.report.keep import keep_material
from elmo.report.paper import write_report
from elmo.utils import drawing
from report.test_report import undrawn
from report_runs import write_bilm, write_classifier

LEARNED = {"encoder": "elmo", "mixer": "learned"}


def section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two seeds on each of three biLMs, and two fine-tuned ones, the best of all."""
    for bilm, accuracy in (("aa", 0.80), ("bb", 0.84), ("cc", 0.88)):
        for seed in range(2):
            folder = tmp_path / f"{bilm}-{seed}"
            write_classifier(folder, accuracy, seed, LEARNED, bilm=bilm)
    for seed in range(2):
        write_classifier(tmp_path / f"tuned-{seed}", 0.95, seed, LEARNED, bilm="cc", finetune=True)
    return tmp_path


def test_several_bilms(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = section(undrawn(runs, monkeypatch), "Several biLMs")
    assert "ELMo, learned on 3 biLMs: 0.8400 on test" in found
    assert "their deviation is 4.00 points, that of the seeds" in found
    rows = re.findall(r"^\| (biLM \w) \| 2 \| (0\.\d+)", found, re.MULTILINE)
    assert rows == [("biLM 3", "0.8800"), ("biLM 2", "0.8400"), ("biLM 1", "0.8000")]
    assert np.isclose(np.std([0.80, 0.84, 0.88], ddof=1), 0.04)


def test_numbers_stand_for_bilms_and_a_table_says_for_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = [write_bilm(tmp_path / f"runs/lm-{n}", 30.0 - n, seed=n) for n in range(2)]
    for name, digest in (("worse", hashes[0]), ("better", hashes[1]), ("other", "cd")):
        write_classifier(tmp_path / f"runs/{name}", 0.8, 0, LEARNED, bilm=digest)
    trainable = {"encoder": "elmo", "mixer": "trainable"}
    write_classifier(tmp_path / "runs/trainable", 0.7, 0, trainable, bilm=hashes[1])
    text = undrawn(tmp_path / "runs", monkeypatch)
    found = section(text, "Where the figures come from")
    # The best on validation first, and last the one whose run is not there.
    assert f"| biLM 1 | {hashes[1][:8]} | 1 | `bilm.dropout=0.1` | `0123456` | 29.00 |" in found
    assert f"| biLM 2 | {hashes[0][:8]} | 0 | `bilm.dropout=0` | `0123456` | 30.00 |" in found
    assert "| biLM 3 | cdcdcdcd |  |  |  |  |  |" in found
    assert "Settings that name no biLM are on biLM 1." in found
    assert "| ELMo, learned, biLM 2 | 1 |" in text
    assert "bilm=" not in text
    # What is kept has no files of models, and makes the same report.
    material = collect([tmp_path / "runs"])
    keep_material(material, tmp_path / "kept")
    assert not list((tmp_path / "kept").rglob("*.pt"))
    assert undrawn(tmp_path / "kept", monkeypatch) == text


def test_findings_are_of_all_bilms_of_a_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the recipe of the biLMs is known, the means are of all of them together."""
    hashes = [write_bilm(tmp_path / f"lm-{n}", 30.0 - n, seed=n) for n in range(2)]
    for file in tmp_path.glob("lm-*/metrics.json"):
        record = json.loads(file.read_text())
        record["settings"]["bilm"]["dropout"] = 0.1
        file.write_text(json.dumps(record))
    for bilm, accuracy in zip(hashes, (0.80, 0.84), strict=True):
        for seed in range(2):
            folder = tmp_path / f"{bilm[:4]}-{seed}"
            write_classifier(folder, accuracy, seed, LEARNED, bilm=bilm)
    write_classifier(tmp_path / "svm", 0.6, 0, {"classifier": "svm"})
    text = undrawn(tmp_path, monkeypatch)
    assert re.search(
        r"ELMo, learned \(2 biLMs\) beats TF-IDF, linear SVM by 22\.00 points \(95 % interval", text
    )
    # Not of one recipe: the setting stands for itself.
    record["settings"]["bilm"]["dropout"] = 0.2
    file.write_text(json.dumps(record))
    assert re.search(
        r"ELMo, learned, biLM \w beats TF-IDF, linear SVM by 2[04]\.00 points",
        undrawn(tmp_path, monkeypatch),
    )


def test_bilms_side_by_side_have_the_names_of_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = [write_bilm(tmp_path / f"lm-{n}", 30.0 - n, seed=n) for n in range(3)]
    for file in tmp_path.glob("lm-*/metrics.json"):  # of one recipe
        record = json.loads(file.read_text())
        record["settings"]["bilm"]["dropout"] = 0.1
        file.write_text(json.dumps(record))
    both = {"encoder": "side_by_side", "mixer": "learned"}
    for (one, other), accuracy in (((0, 1), 0.80), ((0, 2), 0.84)):
        for seed in range(2):
            folder = tmp_path / f"pair-{other}-{seed}"
            write_classifier(folder, accuracy, seed, both, bilm=f"{hashes[one]}/{hashes[other]}")
    write_classifier(tmp_path / "alone", 0.7, 0, LEARNED, bilm=hashes[0])
    write_classifier(tmp_path / "svm", 0.6, 0, {"classifier": "svm"}, bilm=hashes[0])
    text = undrawn(tmp_path, monkeypatch)
    found = section(text, "Several biLMs")  # the best is number 1, which was written last
    rows = re.findall(r"^\| (biLMs \d\+\d) \| 2 \| (0\.\d+)", found, re.MULTILINE)
    assert rows == [("biLMs 3+1", "0.8400"), ("biLMs 3+2", "0.8000")]
    assert re.search(
        r"ELMo side by side, learned \(2 sets of biLMs\) beats ELMo, learned by 12", text
    )
    assert "bilm=" not in text
    which = section(text, "Where the figures come from")
    assert re.findall(r"^\| (biLMs? [\d+]+) \| \w+ \|", which, re.MULTILINE) == [
        f"biLM {number}" for number in (1, 2, 3)
    ]


def test_page_1_mentions_the_fine_tuned_model_apart(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = undrawn(runs, monkeypatch).partition("\n## ")[0]
    assert "**ELMo, learned, biLM 3** has the highest mean test accuracy, 0.8800" in summary
    apart = r"- Apart from these, because its biLM is fine-tuned: \*\*ELMo, learned, fine-tuned\*\*"
    assert re.search(apart + r" reaches a mean test accuracy of 0\.9500 \(95 % interval", summary)


def test_gates_with_matrices_have_a_label_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_classifier(tmp_path / "plain", 0.8, 0, LEARNED)
    write_classifier(tmp_path / "turned", 0.9, 0, LEARNED, projection_dim=8)
    titles: list[str] = []

    def draw(figure: Figure) -> bytes:
        titles.extend(axes.get_title() for axes in figure.axes)
        return b""

    monkeypatch.setattr(drawing, "svg", draw)
    text = write_report(collect([tmp_path]), "figures").text
    assert "| ELMo, learned | 1 |" in text
    assert "| ELMo, learned with matrices | 1 |" in text
    assert "ELMo, learned with matrices: test" in titles  # the panel of the confusion matrix
    assert not {"learned", "ELMo, learned", "ELMo, learned with matrices"} & {*titles}
    assert "`learned`" not in text


def test_fine_tuned_settings_are_compared_in_their_own_section(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = undrawn(runs, monkeypatch)
    found = section(text, "Fine-tuning")
    assert "ELMo, learned, fine-tuned reaches 0.9500 on test (2 seeds)" in found
    assert "ELMo, learned, fine-tuned beats ELMo, learned, biLM 3 by 7.00 points (95 %" in found
    row = r"\| -7\.00 \| -\d+\.\d\d to -\d\.\d\d \| -8\.\d\d \| 2 / 2 \| \d+ / \d+ \| < 0\.001 \|"
    assert re.search(row, found)
    for other in (
        "ELMo against Word2Vec, SVD and TF-IDF",
        "The role of the lambdas",
        "Several biLMs",
    ):
        assert "fine-tuned" not in section(text, other)


def test_one_frozen_bilm_leaves_both_sections_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_classifier(tmp_path / "one", 0.8, 0, LEARNED)
    text = undrawn(tmp_path, monkeypatch)
    missing = section(text, "What is not in this report")
    assert "Several biLMs: no setting was trained on more than one" in missing
    assert "Fine-tuning: it needs tested runs with and without" in missing


def test_an_n_gram_model_is_no_bilm(tmp_path: Path) -> None:
    for name in ("lm", "ngram"):
        write_bilm(tmp_path / name)
    file = tmp_path / "ngram/metrics.json"
    record = json.loads(file.read_text())
    file.write_text(json.dumps({**record, "settings": {"seed": 0, "ngram": {"order": 4}}}))
    (tmp_path / "ngram/bilstm.pt").unlink()
    assert [bilm.run.folder.name for bilm in collect([tmp_path]).bilms] == ["lm"]


def test_fine_tuned_bilms_of_a_recipe_are_tested_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashes = [write_bilm(tmp_path / f"lm-{n}", 30.0 - n, seed=n) for n in range(2)]
    for file in tmp_path.glob("lm-*/metrics.json"):
        record = json.loads(file.read_text())
        record["settings"]["bilm"]["dropout"] = 0.1
        file.write_text(json.dumps(record))
    for place, (bilm, accuracy) in enumerate(zip(hashes, (0.90, 0.94), strict=True)):
        write_classifier(tmp_path / f"frozen-{place}", accuracy - 0.12, 0, LEARNED, bilm=bilm)
        folder = tmp_path / f"tuned-{place}"
        write_classifier(folder, accuracy, 0, LEARNED, bilm=bilm, finetune=True)
    found = section(undrawn(tmp_path, monkeypatch), "Fine-tuning")
    tests = found.partition("Frozen against fine-tuned")[2]
    assert tests.count("| ELMo, learned, fine-tuned") == 1
    assert "ELMo, learned, fine-tuned (2 biLMs) beats ELMo, learned (2 biLMs) by 12.00" in found
