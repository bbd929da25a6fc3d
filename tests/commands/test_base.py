"""The properties that all commands share; what each command does is tested in its own file."""

from __future__ import annotations

import re
import runpy
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

from conftest import ROOT, error_line
from elmo.__main__ import COMMANDS as EVERY

COMMANDS = sorted(name for name in EVERY if not name.startswith("train-"))
WITHOUT_A_MODEL = ("blend", "compare", "noise", "release", "report", "search", "tune")
NEWER = {"blend", "noise", "page", "probe", "tune"}  # than the commands of their own modules
WITH_A_MODEL = [name for name in COMMANDS if name not in WITHOUT_A_MODEL]


def elmo(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "elmo", *arguments]


def finished(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_commands_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    named = re.findall(r"^(?:\$ )?python -m elmo ([a-z]+)", readme, re.MULTILINE)
    assert set(COMMANDS) <= set(named)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        import_module(f"elmo.commands.{name}").main(["--help"])
    assert not exit_.value.code
    printed = capsys.readouterr().out
    assert printed.startswith(f"usage: elmo {name} ")
    assert re.search(rf"^examples?:\n  elmo {name} ", printed, re.MULTILINE)
    assert ("--model" in printed) == (name in WITH_A_MODEL)


def test_no_help_waits_for_torch() -> None:
    code = (
        "import sys\n"
        "from importlib import import_module\n"
        "for name in sys.argv[1:]:\n"
        "    try: import_module(f'elmo.commands.{name}').main(['--help'])\n"
        "    except SystemExit: pass\n"
        "    heavy = {'torch', 'lightning', 'datasets', 'hydra'} & set(sys.modules)\n"
        "    assert not heavy, (name, heavy)"
    )
    result = finished([sys.executable, "-c", code, *COMMANDS])
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("usage: ") == len(COMMANDS)


@pytest.mark.parametrize("name", sorted(set(COMMANDS) - NEWER))
def test_the_older_module_forwards(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [f"elmo/{name}.py", "--help"])
    monkeypatch.delitem(sys.modules, f"elmo.{name}", raising=False)
    with pytest.raises(SystemExit) as exit_:
        runpy.run_module(f"elmo.{name}", run_name="__main__", alter_sys=True)
    assert not exit_.value.code
    printed = capsys.readouterr()
    assert printed.out.startswith(f"usage: elmo {name} ")
    assert f"`python -m elmo.{name}` is now `elmo {name}`" in printed.err


@pytest.mark.parametrize("name", WITH_A_MODEL)
def test_without_a_model_one_line_says_what_to_do(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "news.txt").write_text("the bank\n")
    arguments = {
        "embed": [str(tmp_path / "news.txt"), "-o", str(tmp_path / "out.h5")],
        "evaluate": [],
        "generate": ["the bank"],
        "neighbours": ["the [bank]"],
        "page": [],
        "predict": ["the bank"],
        "probe": ["--task", "topic", "-o", str(tmp_path / "probe.json")],
        "senses": [],
    }
    command = import_module(f"elmo.commands.{name}").main
    given = [*arguments[name], "--output-dir", str(tmp_path)]
    line = error_line(lambda: command(given), capsys)
    assert re.match(r"error: .*latest: no \w+ was trained yet; run `python train_\w+\.py`", line)


@pytest.mark.parametrize(
    "arguments", [["--format", "csv"], pytest.param(["--format", "table"], marks=pytest.mark.slow)]
)
def test_a_full_disk_is_one_line(classified: Path, arguments: list[str]) -> None:
    command = elmo("predict", "the bank", "--model", str(classified), *arguments)
    with open("/dev/full", "w") as full:
        result = subprocess.run(command, cwd=ROOT, stdout=full, stderr=subprocess.PIPE, check=False)
    assert result.returncode == 1
    *_, line = result.stderr.decode().splitlines()
    assert line == "error: [Errno 28] No space left on device"
    assert b"Traceback" not in result.stderr


def test_an_interrupt_ends_without_a_traceback(classified: Path) -> None:
    process = subprocess.Popen(
        elmo("predict", "-", "--model", str(classified)),
        cwd=ROOT, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # A shell that runs the tests in its background lets its children ignore SIGINT.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stderr
    assert process.stderr.readline().startswith("model: ")
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    # A shell shows 130 for both. CPython ends by the signal where the interrupt struck a string
    # that `exec` was running, as the imports of dataclasses do, even though it was caught.
    assert process.returncode in (130, -signal.SIGINT)
    assert errors.strip() == "interrupted"


def test_a_closed_pipe_ends_without_a_traceback(classified: Path) -> None:
    command = elmo("predict", "--format", "csv", "--model", str(classified))
    process = subprocess.Popen(
        [*command, *["the bank"] * 3000],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline().startswith("text,label,")
    process.stdout.close()
    assert process.stderr
    assert "Traceback" not in process.stderr.read()
    process.wait(timeout=60)
