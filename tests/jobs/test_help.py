"""What `python SCRIPT --help` prints."""

from __future__ import annotations

import functools
import re
from typing import Any

import pytest
from omegaconf import OmegaConf

from conftest import ROOT, Finished, run_here

CONF = ROOT / "conf"
SCRIPTS = ("train_lm", "train_cls", "train_tfidf", "train_ngram")


@functools.cache  # Hydra takes more than a second for it
def help_of(script: str) -> str:
    finished: Finished = run_here([str(ROOT / f"{script}.py"), "--help"])
    assert finished.code == 0, finished.stderr
    return finished.stdout


def defaults(script: str) -> dict[str, str | None]:
    """The groups of a script, with the file that it takes of each."""
    content: Any = OmegaConf.load(CONF / f"{script}.yaml").defaults
    return {
        group: name for item in content if not isinstance(item, str) for group, name in item.items()
    }


def options(script: str, group: str) -> set[str]:
    """The files of a group; of experiments, those that name the script in their first lines."""
    files = [*CONF.glob(f"{group}/*.yaml"), *CONF.glob(f"only_{script}/{group}/*.yaml")]
    if group == "experiment":
        return {file.stem for file in files if f"# python {script}.py" in file.read_text()}
    return {file.stem for file in files}


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_groups_are_those_of_the_script(script: str) -> None:
    block = help_of(script).partition("Groups, ")[2].partition("\n\n")[0]
    listed = {}
    for line in re.sub(r",\n +", ", ", block).splitlines()[1:]:
        group, names = line.split(maxsplit=1)
        listed[group] = names.split(", ")
    expected = defaults(script)
    assert list(listed) == list(expected)
    for group, (first, *others) in listed.items():
        assert first == (expected[group] or "null")
        assert {first, *others} - {"null"} == options(script, group)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_purpose_three_examples_and_how_to_see_all_settings(script: str) -> None:
    text = help_of(script)
    purpose, _, rest = text.partition("\n\nExamples:\n")
    assert purpose.startswith("Train " if script != "train_lm" else "Pretrain ")
    examples = rest.partition("\n\n")[0]
    assert examples.count("  # ") == examples.count(f"  python {script}.py ") == 3
    assert f"python {script}.py --cfg job" in rest
    assert "Hydra" not in text
    assert "_target_" not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_examples_compose(script: str) -> None:
    examples = help_of(script).partition("Examples:\n")[2].partition("\n\n")[0]
    commands = examples.replace("\\\n", " ").splitlines()
    for command in commands:
        words = command.split()
        if words[0] == "python" and not words[2].startswith("resume="):
            choices = [word for word in words[2:] if word != "-m" and "," not in word]
            finished = run_here([str(ROOT / f"{script}.py"), *choices, "--cfg", "job"])
            assert finished.code == 0, finished.stderr
