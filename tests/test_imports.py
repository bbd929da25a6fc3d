"""The house: which package may import which, read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT

# errors < utils < {data | modules | runs} < models < {evaluation | inference | probing} < training
# < report < page < commands < scripts. Packages on one floor never import one another.
FLOORS = [
    {"errors"},
    {"utils"},
    {"data", "modules", "runs"},
    {"models"},
    {"evaluation", "inference", "probing"},
    {"training"},
    {"report"},
    {"page"},
    {"commands"},
    {"scripts"},
]
FLOOR = {package: floor for floor, packages in enumerate(FLOORS) for package in packages}
FACE = {"__init__", "__main__"}  # they hand names on, and run commands
SOURCES = [*sorted((ROOT / "elmo").rglob("*.py")), *sorted(ROOT.glob("train_*.py"))]


def package_of(file: Path) -> str:
    parts = file.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "elmo" else "scripts"


def imported(file: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import of `elmo`, those inside functions included."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "elmo")


def violations(file: Path) -> list[str]:
    own = package_of(file)
    found = []
    for line, name in imported(file):
        other = name.split(".")[1] if "." in name else "__init__"
        allowed = other == own or (other in FLOOR and FLOOR[other] < FLOOR[own])
        if own == "modules":
            allowed = other in ("modules", "errors")
        if not allowed:
            found.append(f"{file.relative_to(ROOT)}:{line} imports {name}")
    return found


def test_imports_go_down() -> None:
    files = [f for f in SOURCES if package_of(f) in FLOOR and f.stem != "__main__"]
    assert len(files) > 80
    assert [problem for file in files for problem in violations(file)] == []


def test_nothing_lies_outside_of_the_packages() -> None:
    """At the top are the errors, the face, and modules that forward older commands."""
    for file in (ROOT / "elmo").glob("*.py"):
        if package_of(file) not in FACE | set(FLOOR):
            assert "forward(__name__" in file.read_text(), file


@pytest.mark.parametrize("line", ["from elmo.training.task import Task", "import elmo.runs.job"])
def test_an_import_that_goes_up_is_seen(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ROOT / "elmo" / "data" / "upwards.py"
    monkeypatch.setattr(Path, "read_text", lambda self: line)
    assert len(violations(file)) == 1


@pytest.mark.parametrize("package", sorted((ROOT / "elmo").rglob("*/__init__.py")), ids=str)
def test_a_package_file_holds_a_docstring_only(package: Path) -> None:
    body = ast.parse(package.read_text()).body
    assert len(body) == 1
    assert ast.get_docstring(ast.parse(package.read_text()))


def test_the_commands_start_without_torch() -> None:
    """What `--help` shows must not wait for it; every command is imported once."""
    code = (
        "import sys\n"
        "from importlib import import_module\n"
        "from elmo.__main__ import COMMANDS\n"
        "for name in COMMANDS:\n"
        "    if not name.startswith('train-'):\n"
        "        import_module(f'elmo.commands.{name}')\n"
        "print({'torch', 'lightning', 'matplotlib', 'datasets'} & set(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
