"""A run writes into its output and cache folders and nowhere else, and calls nobody."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT, TINY_CLS, TINY_LM, tree
from faults.runner import run

# Folders of the checkout that other tests change meanwhile.
CHANGING = {".git", ".venv", "__pycache__", ".pytest_cache", ".hypothesis", "outputs"}


class Elsewhere:
    """Other folders for the home and for temporary files; a network that records who calls."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self) -> None:
        os.environ["HOME"] = str(self.folder / "home")
        os.environ["TMPDIR"] = str(self.folder / "temporary")
        tempfile.tempdir = None
        calls = self.folder / "calls"

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            connects = event in ("socket.connect", "socket.sendto")
            # An address that is a file is that of a process of the same machine.
            if event == "socket.getaddrinfo" or (connects and not isinstance(arguments[-1], str)):
                with calls.open("a") as file:
                    file.write(f"{event} {arguments[-1]}\n")

        sys.addaudithook(hook)


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short path: sockets of worker processes lie below it, whose names take 107 bytes."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def checkout() -> dict[str, tuple[int, bytes]]:
    return {
        name: content
        for name, content in tree(ROOT).items()
        if not CHANGING & set(Path(name).parts)
    }


@pytest.mark.slow
def test_nothing_is_left_outside_and_nobody_is_called(folder: Path) -> None:
    elsewhere = Elsewhere(folder)
    for name in ("home", "temporary"):
        (folder / name).mkdir()
    places = (f"output_dir={folder}/outputs", f"cache_dir={folder}/cache")
    log, before = folder / "log.txt", checkout()
    word2vec = ("embedding=word2vec", "embedding.dim=16", "embedding.epochs=1")
    tiny_lm = [item for item in TINY_LM if "embedding.dim" not in item]
    for job, settings in (
        ("train_lm", (*tiny_lm, *word2vec, "datamodule.num_workers=1")),
        ("train_cls", (*TINY_CLS, "mixer=frozen,learned", "-m")),
    ):
        code = run(job, *places, *settings, output=log, fault=elsewhere)
        assert code == 0, log.read_text()
    assert sorted(path.name for path in folder.iterdir()) == [
        "cache", "home", "log.txt", "outputs", "temporary",
    ]  # fmt: skip
    for name in ("home", "temporary"):
        assert list((folder / name).rglob("*")) == []
    assert checkout() == before


def test_the_network_that_records_does(tmp_path: Path) -> None:
    """What the test above relies on."""
    code = (
        "import socket, sys; from pathlib import Path; sys.path[:0] = [{!r}, {!r}]\n"
        "from faults.test_outside import Elsewhere; Elsewhere(Path({!r}))()\n"
        "socket.socket().connect_ex(('127.0.0.1', 9))"
    ).format(str(ROOT), str(ROOT / "tests"), str(tmp_path))
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "calls").read_text() == "socket.connect ('127.0.0.1', 9)\n"


@pytest.mark.parametrize(
    ("variable", "off"),
    [("HF_HUB_DISABLE_TELEMETRY", "1"), ("RAY_USAGE_STATS_ENABLED", "0"), ("DO_NOT_TRACK", "1")],
)
def test_telemetry_is_off(variable: str, off: str) -> None:
    """Also where the environment says otherwise: Hugging Face reads it when it is imported."""
    code = f"import os, elmo; print(os.environ['{variable}'])"
    environment = {**os.environ, variable: "maybe"}
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert result.stdout == f"{off}\n"
