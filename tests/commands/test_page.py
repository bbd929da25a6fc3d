"""The command `elmo page`; what the page answers is tested in tests/page."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from commands.test_base import elmo
from conftest import ROOT, error_line
from elmo.commands import page


def test_it_serves_this_machine_until_it_is_interrupted(tmp_path: Path) -> None:
    process = subprocess.Popen(
        elmo("page", "--port", "0", "--no-browser", "--model", "released"),
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr
    lines = [process.stderr.readline() for _ in range(3)]
    assert [line.split()[1] for line in lines[:2]] == [
        "outputs/reference/train_lm,", "outputs/reference/train_cls,",
    ]  # fmt: skip
    address = lines[2].split()[0]
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address) as response:
        body = response.read().decode()
    style = body[body.index("assets/page.css") :].partition('"')[0]
    with urllib.request.urlopen(f"{address}{style}") as response:
        assert "color-scheme" in response.read().decode()
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate(timeout=60)
    assert (out, errors) == ("", "")
    assert process.returncode == 0  # though models are still being loaded


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--port", "70000"], "--port is 70000; expected 0 or more and at most 65535"),
        (["--runs", "nowhere"], "--runs nowhere: no such folder"),
        (["--model", "nothing.pt"], "nothing.pt"),
        (["--corpus", "missing.txt"], "missing.txt: no such file"),
        (["--column", "text"], "--column and --label-column name columns of --corpus"),
        (["--device", "tpu9"], "--device tpu9 is not available"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert line in error_line(lambda: page.main([*arguments, "--no-browser"]), capsys)


def test_a_port_that_is_taken_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        # Which model is chosen, and a note on others, would be more lines where the demo has run.
        options = ["--port", port, "--no-browser", "--model", "released"]
        line = error_line(lambda: page.main(options), capsys)
    assert line.startswith(f"error: --port {port}: Address already in use; name another one")


def test_without_its_packages_it_says_how_to_install_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "waitress", None)
    monkeypatch.delitem(sys.modules, "elmo.page.app", raising=False)
    line = error_line(lambda: page.main(["--no-browser"]), capsys)
    assert line == (
        "error: the page needs waitress, which is not installed: pip install -r "
        "requirements-page.txt -c constraints.txt"
    )


@pytest.mark.parametrize(
    ("platform", "variables", "opens"),
    [("linux", {}, False), ("linux", {"DISPLAY": ":0"}, True), ("darwin", {}, True)],
)
def test_a_browser_opens_only_where_there_is_a_screen(
    platform: str, variables: dict[str, str], opens: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert page._has_screen() == opens
