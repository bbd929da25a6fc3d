"""`elmo release --format published`: what it takes, writes, says and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import elmo
from conftest import ROOT, error_line
from elmo.commands.release import main
from elmo.models.artifacts import describe, save_artifact
from elmo.models.encoders import ElmoEncoder

MODELS = ROOT / "tests" / "published"


def release(*arguments: object) -> None:
    main([*map(str, arguments), "--format", "published"])


@pytest.fixture
def run(encoder: ElmoEncoder, tmp_path: Path) -> Path:
    """A folder with the `bilstm.pt` of an untrained biLM."""
    return saved(encoder, tmp_path)


def saved(encoder: ElmoEncoder, tmp_path: Path) -> Path:
    """Write `run/bilstm.pt`, in half precision as released ones; return its folder."""
    state = {f"bilm.{name}": tensor.half() for name, tensor in encoder.bilm.state_dict().items()}
    config = {"bilm": describe(encoder.bilm)}
    file = tmp_path / "run" / "bilstm.pt"
    save_artifact(file, "bilm", config, encoder.tokenizer.json, {}, state)
    return file.parent


@pytest.mark.parametrize("alone", [False, True])
def test_a_run_and_its_model_alone(
    alone: bool, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = run / "bilstm.pt" if alone else run, tmp_path / "new" / "published"
    release(source, "-o", out)
    names = ["options.json", "vocab.txt", "weights.hdf5"]
    assert sorted(file.name for file in out.iterdir()) == names
    assert [path.name for path in out.parent.iterdir()] == ["published"]
    printed = capsys.readouterr()
    first, *notes = printed.err.splitlines()
    assert printed.out == ""
    assert first == f"wrote {', '.join(str(out / name) for name in names)}"
    assert all(line.startswith("note: ") for line in notes)
    for part in ("AllenNLP cannot open it", "pytorch-fast-elmo cannot open it", ".lower()"):
        assert sum(part in line for line in notes) == 1, part
    document = ["the", "bank", "left", "unheard", "."]
    (expected,) = elmo.load_bilm(run).embed([document])
    (found,) = elmo.load_bilm(out).embed([document])
    torch.testing.assert_close(found.vectors, expected.vectors, rtol=0, atol=1e-6)


def test_a_published_model_with_token_vectors(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, out = tmp_path / "words.txt", tmp_path / "published"
    words.write_text("the\nbank\n")
    release(MODELS / "released_shape", "-o", out, "--vocabulary", words)
    assert "vocab_embedding.hdf5" in capsys.readouterr().err.splitlines()[0]
    assert (out / "vocab.txt").read_text() == "<S>\n</S>\n<UNK>\nthe\nbank\n"
    cached = elmo.load_bilm(out, embeddings=out / "vocab_embedding.hdf5")
    (expected,) = elmo.load_bilm(MODELS / "released_shape").embed([["the", "bank"]])
    torch.testing.assert_close(
        cached.embed([["the", "bank"]])[0].vectors, expected.vectors, rtol=0, atol=1e-5
    )


def test_what_is_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, words = tmp_path / "published", tmp_path / "words.txt"
    words.write_text("bank\nthe\nbank\n")
    spelled, missing = MODELS / "no_skip_tanh", tmp_path / "missing"

    def refused(*arguments: object) -> str:
        line = error_line(lambda: release(*arguments, "-o", out), capsys)
        assert not out.exists()
        return line

    assert "--report report.pdf does not apply" in refused(run, "--report", "report.pdf")
    assert "--data-dir data does not apply" in refused(run, "--data-dir", "data")
    assert "for models that read characters" in refused(
        run, "--vocabulary", MODELS / "word_level" / "vocab.txt"
    )
    assert f"{words}, line 3: 'bank' is there twice" in refused(spelled, "--vocabulary", words)
    assert f"{missing}: No such file" in refused(spelled, "--vocabulary", missing)
    assert f"{missing}: no such file" in refused(missing)
    out.mkdir()
    assert "exists already" in error_line(lambda: release(run, "-o", out), capsys)
    plain = error_line(lambda: main([str(run), "-o", str(out), "--vocabulary", str(words)]), capsys)
    assert "with --format published alone" in plain


def test_a_model_that_does_not_fit_is_named(
    encoder: ElmoEncoder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    next(encoder.bilm.parameters()).data[5] = float("inf")
    run, out = saved(encoder, tmp_path), tmp_path / "published"
    line = error_line(lambda: release(run, "-o", out), capsys)
    assert line.startswith(f"error: {run}: data set 'embedding' would hold numbers")
    assert not out.exists()
