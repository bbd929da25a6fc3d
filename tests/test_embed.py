from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

import elmo.parts
import elmo.vectors
import elmo.vectors_file
from conftest import ROOT, TINY_CLS, Script
from elmo import embed
from elmo.classifier import load_classifier
from elmo.encoders import ElmoEncoder, Embedding, StaticEncoder, load_encoder
from elmo.errors import ArtifactError, ConfigError, DataError, MissingModelError
from elmo.latest import latest_of_all
from elmo.parts import Parts
from elmo.reduction import halved
from elmo.vectors import write_vectors
from test_documents import write_table

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
def models(script: Script, pretrained: Path) -> Path:
    """An output folder whose latest models are a biLM and a classifier on it."""
    folder = pretrained / "classifier_to_embed"
    few = ["trainer.limit_train_batches=5", f"hydra.run.dir={folder}"]
    script("train_cls", *TINY_CLS, *few, "mixer=learned", output_dir=pretrained)
    return pretrained


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "news.txt"
    path.write_text("".join(f"{line}\n" for line in LINES))
    return path


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[range]:
    """The parts that are written from now on."""
    parts: list[range] = []
    write = Parts.write

    def note(self: Parts, documents: range, *arguments: Any) -> None:
        parts.append(documents)
        write(self, documents, *arguments)

    monkeypatch.setattr(Parts, "write", note)
    return parts


def run(models: Path, source: Path, *options: str) -> Path:
    """The file that the command makes of `source`."""
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
    assert f"model: {latest_of_all(models, 'bilm')}\n" in printed.err
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
    assert f"model: {model}\n" in capsys.readouterr().err
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
    """The same again by hand, for a mixer whose gamma is far from one."""
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
    with pytest.raises(ConfigError, match=r"up to 65,504, a vector has 1,000,000; leave --half"):
        halved(np.array([-1e6], np.float32))


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


@pytest.mark.parametrize(("documents", "characters"), [(1, 1000), (2, 1000), (1000, 40)])
def test_blocks_change_nothing(
    documents: int,
    characters: int,
    models: Path,
    source: Path,
    written: list[range],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = content(run(models, source))
    (source.parent / "out.h5").unlink()
    monkeypatch.setattr(elmo.vectors, "BLOCK_DOCUMENTS", documents)
    monkeypatch.setattr(elmo.vectors, "BLOCK_CHARACTERS", characters)
    written.clear()
    in_blocks = content(run(models, source))
    assert len(written) > 2
    assert [row for numbers in written for row in numbers] == list(range(len(LINES)))
    assert in_blocks.keys() == whole.keys()
    for row in map(str, range(len(LINES))):
        np.testing.assert_allclose(in_blocks[row], whole[row], rtol=0, atol=1e-5)
    for name in ("tokens", "sentence_to_index"):
        assert in_blocks[name].tolist() == whole[name].tolist()


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


# Kills itself while it writes the third of its blocks.
KILLED = """
import os, signal, sys
import elmo.vectors
from elmo import embed
elmo.vectors.BLOCK_DOCUMENTS = 10
embed_block = elmo.vectors.embed_block
calls = 0
def killing(*arguments):
    global calls
    calls += 1
    for row, vectors in enumerate(embed_block(*arguments)):
        if calls == 3 and row == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        yield vectors
elmo.vectors.embed_block = killing
embed.main(sys.argv[1:])
"""


def test_a_killed_run_goes_on_where_it_was(
    models: Path,
    tmp_path: Path,
    written: list[range],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "news.txt"
    source.write_text("".join(f"{line} {number}\n" for number in range(8) for line in LINES))
    monkeypatch.setattr(elmo.vectors, "BLOCK_DOCUMENTS", 10)
    undisturbed = content(run(models, source).rename(tmp_path / "undisturbed.h5"))
    assert "going on" not in capsys.readouterr().err

    arguments = [str(source), "-o", str(tmp_path / "out.h5"), f"--output-dir={models}"]
    command = [sys.executable, "-c", KILLED, *arguments, "--device=cpu"]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "out.h5").exists()
    assert len(list((tmp_path / "out.h5.parts").glob("*.json"))) == 3  # with the settings

    written.clear()
    resumed = content(run(models, source))
    assert written[0] == range(20, 30)
    assert written[-1] == range(50, 56)
    assert resumed.keys() == undisturbed.keys()
    for name, value in undisturbed.items():
        assert resumed[name].dtype == value.dtype
        assert resumed[name].tolist() == value.tolist()
    assert "20 of 56 documents are done, going on" in capsys.readouterr().err
    assert not (tmp_path / "out.h5.parts").exists()


def stopped(models: Path, source: Path) -> Path:
    """The folder of the parts of a run that was stopped before the file was made of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(elmo.vectors_file, "put", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            run(models, source)
    return source.parent / "out.h5.parts"


def test_a_run_stopped_at_the_end_embeds_nothing_again(
    models: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stopped(models, source)
    assert folder.is_dir()
    assert not (source.parent / "out.h5").exists()
    monkeypatch.setattr(elmo.vectors, "embed_block", None)
    assert_close(content(run(models, source))["3"], embedded(models)[3].vectors)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (["--layer=0"], "layer was all, is 0"),
        (["--pool"], "pool was None, is mean"),
        (["--half"], "half was False, is True"),
        (["--model"], r"model was \w{16}, is \w{16}"),
        (["--layer=mixed"], r"model was \w{16}, is \w{16}; layer was all, is mixed"),
    ],
)
def test_other_settings_do_not_go_on(
    options: list[str], difference: str, models: Path, source: Path, encoder: ElmoEncoder
) -> None:
    folder = stopped(models, source)
    before = sorted(folder.iterdir())
    if options == ["--model"]:
        model = load_classifier(latest_of_all(models, "classifier"))
        with torch.no_grad():
            next(model.encoder.parameters()).mul_(1.001)
        model.save(source.parent / "other.pt", {})
        options = [f"--model={source.parent / 'other.pt'}"]
    with pytest.raises(ConfigError, match=rf"other settings \({difference}\).* or delete that"):
        run(models, source, *options)
    assert sorted(folder.iterdir()) == before


def test_another_input_does_not_go_on(models: Path, source: Path) -> None:
    stopped(models, source)
    source.write_text(source.read_text().replace("bank", "tank"))
    with pytest.raises(ConfigError, match=r"\(fingerprint of the documents was \w+, is \w+\)"):
        run(models, source)


def test_a_folder_of_other_files_is_left_alone(models: Path, source: Path) -> None:
    other = source.parent / "out.h5.parts" / "notes.txt"
    other.parent.mkdir()
    other.touch()
    with pytest.raises(ConfigError, match="holds other files than parts"):
        run(models, source)
    assert other.exists()


def test_an_existing_file_is_not_overwritten(models: Path, source: Path) -> None:
    out = source.parent / "out.h5"
    out.write_text("precious")
    with pytest.raises(ConfigError, match=r"out\.h5: exists already; say -o with another name"):
        run(models, source)
    assert out.read_text() == "precious"
    assert not (source.parent / "out.h5.parts").exists()


def test_a_file_that_came_up_meanwhile_is_not_overwritten(
    models: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = source.parent / "out.h5"
    index = elmo.vectors_file.index

    def slow(parts: Parts) -> Iterator[bytes]:
        out.write_text("precious")
        yield from index(parts)

    monkeypatch.setattr(elmo.vectors_file, "index", slow)
    with pytest.raises(ConfigError, match="exists already"):
        run(models, source)
    assert out.read_text() == "precious"
    assert (source.parent / "out.h5.parts").is_dir()


def test_one_process_at_a_time(models: Path, source: Path) -> None:
    out = source.parent / "out.h5"
    with Parts(out, {}), pytest.raises(ConfigError, match=r"another process works on .*out\.h5"):
        run(models, source)
    with pytest.raises(ConfigError, match="other settings"):
        run(models, source)


def test_a_full_disk(models: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(elmo.parts.os, "fsync", full)
        with pytest.raises(ConfigError, match="No space left on device"):
            run(models, source)

    usage = shutil.disk_usage(source)._replace(free=1)
    with monkeypatch.context() as patch:
        patch.setattr(elmo.vectors_file.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(ConfigError, match="make room and give the same command again"):
            run(models, source)
    assert_close(content(run(models, source))["3"], embedded(models)[3].vectors)


def test_an_index_too_large_for_numpy_is_left_out(
    models: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    size = len(json.dumps(dict.fromkeys(LINES, "0"), ensure_ascii=False).encode())
    size += len(json.dumps({LINES[0]: "0"})) - len("{}") + len(", ")  # it stands there twice
    for limit, there in ((size, True), (size - 1, False)):
        monkeypatch.setattr(elmo.vectors_file, "LARGEST_STRING", limit)
        out = run(models, source)
        found = content(out)
        assert ("sentence_to_index" in found) is there
        assert ("without sentence_to_index" in capsys.readouterr().err) is not there
        assert found["3"].shape[1] == len(found["tokens"][3].split())
        out.unlink()


def test_documents_that_change_meanwhile(tmp_path: Path, encoder: ElmoEncoder) -> None:
    readings = iter([["the bank", "left"], ["the bank", "left", "its river"]])
    with pytest.raises(DataError, match=r"changed while they were read; delete .*out\.h5\.parts"):
        write_vectors(
            tmp_path / "out.h5",
            lambda: next(readings),
            encoder,
            None,
            layer="all",
            pool=None,
            half=False,
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layer=3"], "--layer is 3; with this model it is one of 0, 1, 2, all, mean, mixed"),
        (["--layer", "-1"], "--layer is -1; "),
        (["--layer=top"], "--layer is top; "),
        (["--column=text"], "plain text has no column 'text'"),
        (["--device=cuda:99"], "--device cuda:99"),
        (["--model=nowhere.pt"], "nowhere.pt: no such file"),
        (["-o", "nowhere/out.h5"], "nowhere: no such folder; make it"),
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


def test_a_pipe_cannot_be_read_twice(models: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "news.txt")
    with pytest.raises(ConfigError, match="a pipe; the documents are read twice"):
        run(models, tmp_path / "news.txt")


@pytest.mark.slow
def test_memory_does_not_grow_with_the_documents(models: Path, tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom elmo import embed\nembed.main(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for count in (5_000, 50_000):
        source = tmp_path / f"{count}.txt"
        source.write_text("".join(f"the bank raised its rates by {i}\n" for i in range(count)))
        options = ["-o", f"{source}.h5", f"--output-dir={models}", "--layer=0", "--pool"]
        command = [sys.executable, "-c", code, str(source), *options, "--device=cpu"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks.append(int(result.stdout))
    # HDF5's cache fills up to 32 MB; the documents alone would take 100 MB.
    assert peaks[1] - peaks[0] < 50_000
