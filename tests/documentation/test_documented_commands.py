"""Every command in README.md and in the pages under docs/ is one that the programs accept."""

from __future__ import annotations

import functools
import re
import shlex
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from importlib import import_module
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, cast

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf, open_dict

import elmo.runs.identity  # noqa: F401  # its resolvers
from conftest import ROOT
from elmo.runs.settings import check_settings

APART = {"results", "best", "_build"}  # reports, and what is built
PAGES = [
    ROOT / "README.md",
    *(
        page
        for page in sorted((ROOT / "docs").rglob("*.md"))
        if not APART & set(page.relative_to(ROOT / "docs").parts)
    ),
]
OF_THE_PAGE = "mixer=trainable,sigmoid"  # the mixer that docs/howto/extend.md adds


class Parsed(Exception):  # noqa: N818
    """The options are accepted; nothing else is to be done."""


class Command(NamedTuple):
    """A command of a page."""

    page: str
    words: tuple[str, ...]


def commands(page: Path) -> list[Command]:
    """Return the commands in the code blocks of a page, in words, without comments and pipes."""
    blocks = re.findall(r"^```\w*\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = []
    for line in lines:
        command = re.sub(r"^\$ |^torchrun .* (?=train_)", "", line)
        command = re.sub(r"^(?=train_\w+\.py)", "python ", command)
        if not re.match(r"python (train_\w+\.py|-m elmo )", command):
            continue
        words = shlex.split(re.sub(r"\$\(.*\)", "FOLDER", command), comments=True)
        end = next((i for i, word in enumerate(words) if word in (">", "|", "2>", "<")), None)
        found.append(Command(page.name, tuple(words[1:end])))
    return found


ALL = [command for page in PAGES for command in commands(page)]
SCRIPTS = [command for command in dict.fromkeys(ALL) if command.words[0].startswith("train_")]
OTHERS = [command for command in dict.fromkeys(ALL) if command.words[0] == "-m"]


def title(command: Command) -> str:
    return f"{command.page}: {' '.join(command.words)}"


def test_every_page_with_commands_is_read() -> None:
    pages = {command.page for command in ALL}
    assert {"README.md", "tutorial.md", "sweeps.md", "extend.md", "results.md"} <= pages


@functools.cache  # pages repeat each other's commands
def check_job(script: str, job: tuple[str, ...]) -> None:
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        extra = ["hydra.runtime.output_dir=run"]
        cfg = compose(script.removesuffix(".py"), [*job, *extra], return_hydra_config=True)
    HydraConfig.instance().set_config(cfg)
    try:
        with open_dict(cfg):
            del cfg["hydra"]
        settings = OmegaConf.to_container(cfg, resolve=True)
        check_settings(cast(dict[str, Any], settings))
    finally:
        HydraConfig.instance().cfg = None


@pytest.mark.parametrize("command", SCRIPTS, ids=title)
def test_the_settings_of_a_training_compose(command: Command) -> None:
    script, *words = command.words
    plain = [word for word in words if "=" in word and not word.startswith(("hydra", "+trial"))]
    if OF_THE_PAGE in plain:
        plain.remove(OF_THE_PAGE)
    choices = []
    for override in OverridesParser.create().parse_overrides(plain):
        key = override.get_key_element()
        if override.is_sweep_override():
            values = [f"{key}={value}" for value in override.sweep_string_iterator()]
        else:
            values = [cast(str, override.input_line)]
        choices.append(values)
    last = [values[-1] for values in choices]
    jobs = [
        [value or last[index] for index, value in enumerate(job)] for job in zip_longest(*choices)
    ]
    for job in jobs or [[]]:
        check_job(script, tuple(job))


@pytest.mark.parametrize("command", OTHERS, ids=title)
def test_the_options_of_a_command_exist(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, name, *arguments = command.words
    if name.startswith("-"):  # of `elmo` itself
        assert name in ("--help", "--version")
        return
    parse = ArgumentParser.parse_args

    def parse_only(parser: ArgumentParser, given: Sequence[str] | None = None) -> Namespace:
        parse(parser, given)
        raise Parsed

    monkeypatch.setattr(ArgumentParser, "parse_args", parse_only)
    with pytest.raises(SystemExit if "--help" in arguments else Parsed):
        import_module(f"elmo.commands.{name}").main(arguments)
