"""Files of vectors: blocks, what a stopped run leaves, and who may write."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import elmo.inference.hdf5
import elmo.inference.vector_parts
import elmo.inference.vectors
from commands.test_embed import LINES, assert_close, content, embedded, run
from conftest import ROOT
from elmo.errors import ConfigError, DataError
from elmo.inference.vector_parts import Parts
from elmo.inference.vectors import fingerprint, write_vectors
from elmo.models.encoders import ElmoEncoder
from elmo.models.language_model import load_language_model
from elmo.modules.mixers import ScalarMix
from elmo.runs.latest import latest_of_all


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


@pytest.mark.parametrize(("documents", "characters"), [(1, 1000), (2, 1000), (1000, 40)])
def test_blocks_change_nothing(
    documents: int,
    characters: int,
    pretrained: Path,
    source: Path,
    written: list[range],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = content(run(pretrained, source))
    (source.parent / "out.h5").unlink()
    monkeypatch.setattr(elmo.inference.vectors, "BLOCK_DOCUMENTS", documents)
    monkeypatch.setattr(elmo.inference.vectors, "BLOCK_CHARACTERS", characters)
    written.clear()
    in_blocks = content(run(pretrained, source))
    assert len(written) > 2
    assert [row for numbers in written for row in numbers] == list(range(len(LINES)))
    assert in_blocks.keys() == whole.keys()
    for row in map(str, range(len(LINES))):
        np.testing.assert_allclose(in_blocks[row], whole[row], rtol=0, atol=1e-5)
    for name in ("tokens", "sentence_to_index"):
        assert in_blocks[name].tolist() == whole[name].tolist()


KILLED = """
import os, signal, sys
import elmo.inference.vectors
from elmo.commands import embed
elmo.inference.vectors.BLOCK_DOCUMENTS = 10
embed_block = elmo.inference.vectors.embed_block
calls = 0
def killing(*arguments):
    global calls
    calls += 1
    for row, vectors in enumerate(embed_block(*arguments)):
        if calls == 3 and row == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        yield vectors
elmo.inference.vectors.embed_block = killing
embed.main(sys.argv[1:])
"""


def test_a_killed_run_goes_on_where_it_was(
    pretrained: Path,
    tmp_path: Path,
    written: list[range],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "news.txt"
    source.write_text("".join(f"{line} {number}\n" for number in range(8) for line in LINES))
    monkeypatch.setattr(elmo.inference.vectors, "BLOCK_DOCUMENTS", 10)
    undisturbed = content(run(pretrained, source).rename(tmp_path / "undisturbed.h5"))
    assert "continuing" not in capsys.readouterr().err

    arguments = [str(source), "-o", str(tmp_path / "out.h5"), f"--output-dir={pretrained}"]
    command = [sys.executable, "-c", KILLED, *arguments, "--device=cpu"]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "out.h5").exists()
    assert len(list((tmp_path / "out.h5.parts").glob("*.json"))) == 3  # with the settings

    written.clear()
    resumed = content(run(pretrained, source))
    assert written[0] == range(20, 30)
    assert written[-1] == range(50, 56)
    assert resumed.keys() == undisturbed.keys()
    for name, value in undisturbed.items():
        assert resumed[name].dtype == value.dtype
        assert resumed[name].tolist() == value.tolist()
    assert "20 of 56 documents are done, continuing" in capsys.readouterr().err
    assert not (tmp_path / "out.h5.parts").exists()


def stopped(pretrained: Path, source: Path) -> Path:
    """The folder of the parts of a run that was stopped before the file was made of them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            elmo.inference.hdf5, "add_dataset", lambda *_: (_ for _ in ()).throw(SystemExit)
        )
        with pytest.raises(SystemExit):
            run(pretrained, source)
    return source.parent / "out.h5.parts"


def test_a_run_stopped_at_the_end_embeds_nothing_again(
    pretrained: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = stopped(pretrained, source)
    assert folder.is_dir()
    assert not (source.parent / "out.h5").exists()
    monkeypatch.setattr(elmo.inference.vectors, "embed_block", None)
    assert_close(content(run(pretrained, source))["3"], embedded(pretrained)[3].vectors)
    assert not folder.exists()


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        (["--layer=0"], "layer was all, is 0"),
        (["--pool"], "pool was None, is mean"),
        (["--half", "--layer=mean"], "layer was all, is mean; half was False, is True"),
        (["--model=changed.pt"], r"model was \w{16}, is \w{16}"),
    ],
)
def test_other_settings_do_not_go_on(
    options: list[str],
    difference: str,
    pretrained: Path,
    source: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = stopped(pretrained, source)
    before = sorted(folder.iterdir())
    monkeypatch.chdir(source.parent)
    model = load_language_model(latest_of_all(pretrained, "bilm"))
    with torch.no_grad():
        next(model.bilm.parameters()).mul_(1.001)
    model.save(Path("changed.pt"), {})
    with pytest.raises(ConfigError, match=rf"other settings \({difference}\).* or delete that"):
        run(pretrained, source, *options)
    assert sorted(folder.iterdir()) == before


def test_the_mixer_is_a_part_of_the_model(encoder: ElmoEncoder) -> None:
    mixers = [None, ScalarMix(3, 16), ScalarMix(3, 16, layer_norm=False), ScalarMix(3, 16)]
    with torch.no_grad():
        mixers[-1].get_parameter("gamma").fill_(2.0)  # type: ignore[union-attr]
    assert len({fingerprint(encoder, mixer) for mixer in mixers}) == 4
    assert fingerprint(encoder, ScalarMix(3, 16)) == fingerprint(encoder, mixers[1])


def test_another_input_does_not_go_on(pretrained: Path, source: Path) -> None:
    stopped(pretrained, source)
    source.write_text(source.read_text().replace("bank", "tank"))
    with pytest.raises(ConfigError, match=r"\(fingerprint of the documents was \w+, is \w+\)"):
        run(pretrained, source)


def test_a_folder_of_other_files_is_left_alone(pretrained: Path, source: Path) -> None:
    other = source.parent / "out.h5.parts" / "notes.txt"
    other.parent.mkdir()
    other.touch()
    with pytest.raises(ConfigError, match="holds other files than parts"):
        run(pretrained, source)
    assert other.exists()


def test_an_existing_file_is_not_overwritten(pretrained: Path, source: Path) -> None:
    out = source.parent / "out.h5"
    out.write_text("precious")
    with pytest.raises(ConfigError, match=r"out\.h5: exists already; choose another name with -o"):
        run(pretrained, source)
    assert out.read_text() == "precious"
    assert not (source.parent / "out.h5.parts").exists()


def test_a_file_that_came_up_meanwhile_is_not_overwritten(
    pretrained: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = source.parent / "out.h5"
    index = elmo.inference.hdf5.index

    def slow(parts: Parts) -> Iterator[bytes]:
        out.write_text("precious")
        yield from index(parts)

    monkeypatch.setattr(elmo.inference.hdf5, "index", slow)
    with pytest.raises(ConfigError, match="exists already"):
        run(pretrained, source)
    assert out.read_text() == "precious"
    assert (source.parent / "out.h5.parts").is_dir()


def test_one_process_at_a_time(pretrained: Path, source: Path) -> None:
    out = source.parent / "out.h5"
    with Parts(out, {}), pytest.raises(ConfigError, match=r"another process is writing .*out\.h5"):
        run(pretrained, source)
    with pytest.raises(ConfigError, match="other settings"):
        run(pretrained, source)


def test_a_full_disk(pretrained: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(elmo.inference.vector_parts.os, "fsync", full)
        with pytest.raises(ConfigError, match="No space left on device"):
            run(pretrained, source)

    usage = shutil.disk_usage(source)._replace(free=1)
    with monkeypatch.context() as patch:
        patch.setattr(elmo.inference.hdf5.shutil, "disk_usage", lambda _: usage)
        with pytest.raises(ConfigError, match="free some space and repeat the command"):
            run(pretrained, source)
    assert_close(content(run(pretrained, source))["3"], embedded(pretrained)[3].vectors)


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


@pytest.mark.slow
def test_memory_does_not_grow_with_the_documents(pretrained: Path, tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom elmo import embed\nembed.main(sys.argv[1:])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    peaks = []
    for count in (5_000, 50_000):
        source = tmp_path / f"{count}.txt"
        source.write_text("".join(f"the bank raised its rates by {i}\n" for i in range(count)))
        options = ["-o", f"{source}.h5", f"--output-dir={pretrained}", "--layer=0", "--pool"]
        command = [sys.executable, "-c", code, str(source), *options, "--device=cpu"]
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks.append(int(result.stdout))
    # HDF5's cache fills up to 32 MB; the documents alone would take 100 MB.
    assert peaks[1] - peaks[0] < 50_000
