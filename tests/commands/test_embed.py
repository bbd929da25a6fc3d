from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import elmo.inference.hdf5
import elmo.inference.vector_parts
import elmo.inference.vectors
from data.test_readers import write_table
from elmo.commands import embed
from elmo.errors import ArtifactError, ConfigError, DataError, MissingModelError
from elmo.inference.vector_reduction import to_half
from elmo.inference.vectors import write_vectors
from elmo.models.classifier import load_classifier
from elmo.models.encoders import ElmoEncoder, Embedding
from elmo.models.loading import load_encoder
from elmo.models.static import StaticEncoder
from elmo.runs.latest import latest_of_all

LINES = [
    "The central bank raised its rates.",
    "",
    'A "quoted" word, \\ and \u00fcmlauts \U0001f600 unheard of',
    "The river left its bank, and the bank of the river was steep and wide and green.",
    "The central bank raised its rates.",
    " \t ",
    "Shares fell.",
]


@pytest.fixture(scope="module")
def models(pretrained: Path, classified: Path) -> Path:
    """An output folder whose latest models are a biLM and a classifier on it."""
    return pretrained


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "news.txt"
    path.write_text("".join(f"{line}\n" for line in LINES))
    return path


def run(models: Path, source: Path, *options: str) -> Path:
    """Embed `source`, and return the file that the command writes."""
    out = source.parent / "out.h5"
    embed.main([str(source), "-o", str(out), f"--output-dir={models}", "--device=cpu", *options])
    return out


def content(file: Path) -> dict[str, Any]:
    with h5py.File(file) as handle:
        return {name: handle[name][:] for name in handle}


def embedded(models: Path, lines: list[str] = LINES) -> list[Embedding]:
    return load_encoder(latest_of_all(models, "bilm")).embed(lines)


def assert_close(found: np.ndarray, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=tolerance)


def test_layout(models: Path, source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = run(models, source)
    found = content(out)
    numbers = [str(row) for row in range(len(LINES))]
    assert found.keys() == {*numbers, "tokens", "sentence_to_index"}
    for row, (tokens, layers) in enumerate(embedded(models)):
        assert found[str(row)].dtype == np.float32
        assert_close(found[str(row)], layers)
        assert found["tokens"][row].decode().split() == tokens
        assert layers.shape[1] == len(tokens)
    assert found["1"].shape == found["5"].shape == (3, 0, 32)
    with h5py.File(out) as file:
        assert file["sentence_to_index"].shape == (1,)
        index = json.loads(file["sentence_to_index"][0])
    assert index == {line: str(row) for row, line in enumerate(LINES)}
    assert index[LINES[0]] == "4"
    printed = capsys.readouterr()
    assert printed.out == ""
    assert f"model: {latest_of_all(models, 'bilm')} (toy, validation perplexity " in printed.err
    assert f"wrote {out}: 7 documents" in printed.err
    assert sorted(file.name for file in source.parent.iterdir()) == ["news.txt", "out.h5"]


def mixed(models: Path, layers: torch.Tensor) -> torch.Tensor:
    mixer = load_classifier(latest_of_all(models, "classifier")).mixer
    mask = torch.ones(1, layers.shape[1], dtype=torch.bool)
    return mixer(layers.unsqueeze(1), mask)[0].detach()


@pytest.mark.parametrize("pool", [None, "mean", "max"])
@pytest.mark.parametrize("layer", ["all", "0", "1", "2", "mean", "mixed"])
def test_layers_and_pools(
    layer: str,
    pool: str | None,
    models: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = {None: [], "mean": ["--pool"], "max": ["--pool", "max"]}[pool]
    found = content(run(models, source, "--layer", layer, *options))
    model = latest_of_all(models, "classifier" if layer == "mixed" else "bilm")
    assert f"model: {model} (toy, " in capsys.readouterr().err
    for row, (tokens, layers) in enumerate(embedded(models)):
        if layer == "mean":
            vectors = (layers[0] + layers[1] + layers[2]) / 3
        elif layer == "mixed":
            vectors = mixed(models, layers)
        else:
            vectors = layers if layer == "all" else layers[int(layer)]
        if pool and not tokens:
            vectors = torch.zeros(found["0"].shape)
        elif pool:
            by_token = vectors.unbind(-2)
            total = torch.stack(by_token)
            vectors = total.max(0).values if pool == "max" else total.sum(0) / len(tokens)
        assert_close(found[str(row)], vectors)


def test_the_mixer_has_gamma_and_layer_norm(models: Path, source: Path) -> None:
    """Mix by hand, with a gamma that is far from one."""
    model = load_classifier(latest_of_all(models, "classifier"))
    with torch.no_grad():
        model.mixer.get_parameter("gamma").fill_(3.0)
    path = source.parent / "classifier.pt"
    model.save(path, {})
    found = content(run(models, source, "--layer=mixed", f"--model={path}"))
    layers = model.encoder.embed(LINES[:1])[0].vectors
    normal = torch.nn.functional.layer_norm(layers, (32,))
    gates = model.mixer.gates(layers.unsqueeze(1))[:, 0].unsqueeze(-1)
    assert_close(found["0"], (3.0 * (gates * normal).sum(0)).detach())


def test_half_precision(models: Path, source: Path) -> None:
    single = content(run(models, source))
    (source.parent / "out.h5").unlink()
    half = content(run(models, source, "--half"))
    for row in map(str, range(len(LINES))):
        assert half[row].dtype == np.float16
        assert np.array_equal(half[row], single[row].astype(np.float16))


def test_half_precision_of_large_numbers() -> None:
    with pytest.raises(ConfigError, match=r"65,504, a vector has 1,000,000; leave out --half"):
        to_half(np.array([-1e6], np.float32))


def test_a_classifier_gives_its_encoder(models: Path, source: Path) -> None:
    model = f"--model={latest_of_all(models, 'classifier')}"
    found = content(run(models, source, model))
    assert_close(found["3"], embedded(models)[3].vectors)


def test_a_static_encoder_has_one_layer(tmp_path: Path, encoder: ElmoEncoder) -> None:
    static = StaticEncoder(encoder.tokenizer, dim=5)
    write_vectors(
        tmp_path / "out.h5", lambda: ["the bank"], static, None, layer="0", pool=None, half=False
    )
    assert_close(content(tmp_path / "out.h5")["0"], static.embed(["the bank"])[0].vectors[0])
    with pytest.raises(ConfigError, match=r"--layer is 1; .* one of 0, all, mean, mixed"):
        write_vectors(tmp_path / "2.h5", list, static, None, layer="1", pool=None, half=False)


@pytest.mark.parametrize("pool", ["mean", "max"])
def test_no_pool_sees_padding(pool: str, models: Path, tmp_path: Path) -> None:
    short = "Shares fell."
    vectors = []
    for name, lines in (("alone", [short]), ("beside", [short, "the bank raised " * 30])):
        (tmp_path / name).mkdir()
        path = tmp_path / name / "news.txt"
        path.write_text("\n".join(lines))
        vectors.append(content(run(models, path, "--pool", pool))["0"])
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_columns(suffix: str, models: Path, tmp_path: Path) -> None:
    texts = ["Shares fell,\nand rose.", "", "NA"]
    out = run(models, write_table(tmp_path / f"news{suffix}", texts), "--column=text")
    found = content(out)
    assert json.loads(found["sentence_to_index"][0]) == {t: str(i) for i, t in enumerate(texts)}
    for row, (_, layers) in enumerate(embedded(models, texts)):
        assert_close(found[str(row)], layers)


def test_no_document(models: Path, tmp_path: Path) -> None:
    (tmp_path / "news.txt").touch()
    found = content(run(models, tmp_path / "news.txt"))
    assert found["tokens"].shape == (0,)
    assert json.loads(found["sentence_to_index"][0]) == {}


def test_an_index_too_large_for_numpy_is_left_out(
    models: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    size = len(json.dumps(dict.fromkeys(LINES, "0"), ensure_ascii=False).encode())
    size += len(json.dumps({LINES[0]: "0"})) - len("{}") + len(", ")  # the line occurs twice
    for limit, there in ((size, True), (size - 1, False)):
        monkeypatch.setattr(elmo.inference.hdf5, "LARGEST_STRING", limit)
        out = run(models, source)
        found = content(out)
        assert ("sentence_to_index" in found) is there
        assert ("without sentence_to_index" in capsys.readouterr().err) is not there
        assert found["3"].shape[1] == len(found["tokens"][3].split())
        out.unlink()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer=3"], "--layer is 3; with this model it is one of 0, 1, 2, all, mean, mixed"),
        (["--layer", "-1"], "--layer is -1; "),
        (["--layer=top"], "--layer is top; "),
        (["--column=text"], "plain text has no column 'text'"),
        (["--device=cuda:99"], "--device cuda:99"),
        (["--model=nowhere.pt"], "nowhere.pt: no such file"),
        (["-o", "nowhere/out.h5"], "nowhere: no such folder; create it"),
    ],
)
def test_mistakes_end_before_any_work(
    options: list[str], message: str, models: Path, source: Path
) -> None:
    with pytest.raises((ConfigError, ArtifactError), match=message):
        run(models, source, *options)
    assert [file.name for file in source.parent.iterdir()] == ["news.txt"]


def test_a_broken_line_is_found_before_any_work(models: Path, source: Path) -> None:
    with source.open("ab") as handle:
        handle.write(b"\xff\n")
    with pytest.raises(DataError, match=r"news\.txt, line 8: not UTF-8"):
        run(models, source)
    assert [file.name for file in source.parent.iterdir()] == ["news.txt"]


def test_mixed_needs_a_classifier(models: Path, source: Path) -> None:
    bilm = latest_of_all(models, "bilm") / "bilstm.pt"
    with pytest.raises(ArtifactError, match=r"holds 'elmo\.bilm', expected 'elmo\.classifier'"):
        run(models, source, "--layer=mixed", f"--model={bilm}")
    with pytest.raises(MissingModelError, match="no classifier was trained yet"):
        run(source.parent, source, "--layer=mixed")


@pytest.mark.parametrize("origin", ["arguments", "stdin", "file"])
def test_documents_come_as_in_predict(
    origin: str,
    models: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    expected = content(run(models, source))
    (source.parent / "out.h5").unlink()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(source.read_bytes())))
    given = {"arguments": LINES, "stdin": ["-"], "file": ["--file", str(source)]}[origin]
    out = source.parent / "out.h5"
    embed.main([*given, "-o", str(out), f"--output-dir={models}", "--device=cpu"])
    found = content(out)
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert np.array_equal(found[name], values), name


def test_what_reads_like_a_file_and_is_none_is_no_text(
    models: Path, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DataError, match=r"nwes\.csv\.gz: no such file"):
        run(models, source.parent / "nwes.csv.gz")
    with pytest.raises(ConfigError, match="both are given"):
        run(models, source, "--file", str(source))
    out = ["-o", str(source.parent / "out.h5"), f"--output-dir={models}"]
    with pytest.raises(ConfigError, match="none is given"):
        embed.main(out)
    embed.main(["the bank", str(source), *out])  # two texts
    assert f"'{source}' is a file; --file {source} reads it\n" in capsys.readouterr().err
    assert content(source.parent / "out.h5")["tokens"][0] == b"the bank"


def test_a_pipe_cannot_be_read_twice(models: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "news.txt")
    with pytest.raises(ConfigError, match="a pipe, which cannot be read twice"):
        run(models, tmp_path / "news.txt")
