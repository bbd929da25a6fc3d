"""The reference pages name what there is: commands, modules, files of a run."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatch
from pathlib import Path

import pytest

import elmo
from conftest import ROOT, Script
from elmo.__main__ import COMMANDS

REFERENCE = ROOT / "docs" / "reference"


def test_every_command_has_a_section() -> None:
    headings = re.findall(r"^## (?:python )?(\S+)", (REFERENCE / "commands.md").read_text(), re.M)
    expected = {f"{name.replace('-', '_')}.py" if "train" in name else name for name in COMMANDS}
    assert expected <= set(headings)


def test_every_package_has_a_page_that_is_listed() -> None:
    packages = {
        ".".join(file.parent.relative_to(ROOT).parts)
        for file in (ROOT / "elmo").rglob("__init__.py")
        if file.parent.name != "elmo"
    }
    pages = {file.stem: file.read_text() for file in (REFERENCE / "api").glob("*.rst")}
    documented = {name for text in pages.values() for name in re.findall(r":: (elmo\.\S+)", text)}
    assert documented == packages | {"elmo.errors"}
    listed = (REFERENCE / "api" / "packages.md").read_text()
    assert set(re.findall(r"^(\w+)$", listed, re.M)) == set(pages)


def test_every_public_name_is_documented_first() -> None:
    page = (REFERENCE / "api" / "public.md").read_text()
    documented = set(re.findall(r"auto\w+:: elmo\.(\w+)", page))
    assert documented | {"__version__"} == set(elmo.__all__)


@pytest.fixture(scope="module")
def page() -> str:
    return (REFERENCE / "run_folder.md").read_text()


def patterns(page: str) -> list[str]:
    """The names of files and folders in the first cells of its tables."""
    cells = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    names = [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]
    split = [name.replace("SPLIT", "*").replace("N_...", "*") for name in names]
    return [f"{name}*" if name.endswith("/") else name for name in split]


@pytest.mark.parametrize("kind", ["train_lm", "train_cls", "sweep", "train_tfidf", "train_ngram"])
def test_every_file_of_a_run_is_named(
    kind: str, page: str, script: Script, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind in ("train_tfidf", "train_ngram"):
        small = ["data=toy", "data.rows=400", "data.test_rows=100", "data.validation_size=100"]
        if kind == "train_tfidf":
            small.append("classifier.C=[0.3,1]")
        script(kind, *small, output_dir=tmp_path)
        folder = next((tmp_path / kind).iterdir())
    elif kind == "train_lm":
        (folder,) = (request.getfixturevalue("pretrained") / "train_lm").iterdir()
    elif kind == "train_cls":
        folder = request.getfixturevalue("classified")
    else:
        folder, _ = request.getfixturevalue("sweep")
    files = [str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()]
    assert len(files) > (10 if kind == "train_ngram" else 20)
    unnamed = [f for f in files if not any(fnmatch(f, pattern) for pattern in patterns(page))]
    assert unnamed == []
    for name in ("metrics.json", "run.json"):
        for file in folder.rglob(name):
            keys = json.loads(file.read_text()).keys()
            assert [key for key in keys if f"`{key}`" not in page] == []
