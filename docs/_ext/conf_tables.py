"""The settings of conf/ as Markdown: defaults, types and meanings.

Nothing is written by hand but a sentence on each group. A default is what the file says, a type is
that of the constructor, and a meaning is the entry of the constructor's docstring; for a key of a
script, and for a class of another package, it is the comment in the file.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, NamedTuple

import yaml

from elmo.runs.settings import TOP_LEVEL, argument_types, type_name

CONF = Path(__file__).parent.parent.parent / "conf"
GROUPS = {
    "data": "The corpus.",
    "embedding": "What the token vectors start from in pretraining.",
    "bilm": "Size and dropout of the language model.",
    "softmax": "The output layer of the language model.",
    "encoder": "What turns tokens into layers: a pretrained biLM, or one vector for each word.",
    "mixer": "How the layers of a token become one vector: the lambda modes.",
    "head": "What classifies a document.",
    "store": "Whether frozen layers are kept on disk for the next job.",
    "labels": "How many labels to train on; few of them get smaller batches and more epochs.",
    "teacher": "Classifiers whose averaged predictions are part of the targets.",
    "label_weights": "How much each train row counts in the loss.",
    "augmentation": "Documents that are trained on beside the train rows.",
    "optimizer": "The optimizer of both trainings.",
    "trainer": "Lightning's trainer: how long, on which device.",
    "callbacks": "What is done beside the training; `~callbacks.NAME` leaves one out.",
    "classifier": "The linear classifier on TF-IDF.",
    "experiment": "Several settings under one name.",
    "hydra/launcher": "Where the jobs of a sweep run.",
}
SCRIPTS = ("train_lm", "train_cls", "train_tfidf", "train_ngram")
# The files of a group that hold what its options share, with the class that takes it.
SHARED = {"data": "elmo.data.corpus.Corpus"}
NO_SETTINGS = {"defaults", "_target_", "_partial_"}


class Key(NamedTuple):
    """A setting in a file."""

    name: str  # as it is typed: mixer.learn_gamma
    default: str
    type: str  # empty where no constructor of elmo says it
    meaning: str  # empty where nothing describes it


class File(NamedTuple):
    """A file of conf/."""

    path: Path  # below conf/
    group: str  # empty for the files of the scripts
    commands: list[str]  # of its head
    notes: str  # the rest of its head
    defaults: list[Any]
    target: str  # what it builds; empty for nothing
    sets_any: bool  # its keys belong anywhere, not to its group (`@package _global_`)
    body: str  # its text below the head
    keys: list[Key]


@cache
def all_files() -> dict[str, list[File]]:
    """Return the files of every group in the order of `GROUPS`; those of the scripts under ""."""
    paths = [path for path in CONF.rglob("*.yaml") if not path.name.startswith("search_")]
    paths.sort(key=lambda path: (path.parent.name != "shared", path))  # what is shared comes first
    files: dict[str, list[File]] = {"": [], **{group: [] for group in GROUPS}}
    for path in paths:
        files[_group(path)].append(read(path))
    homes = [file for group in files.values() for file in group if not file.sets_any]
    others = [file for group in files.values() for file in group if file.sets_any]
    described = {k.name: k for file in [*others, *homes] for k in file.keys if k.meaning}
    return {
        group: [
            file._replace(keys=[_filled(key, described) for key in file.keys]) for file in found
        ]
        for group, found in files.items()
    }


def _filled(key: Key, described: dict[str, Key]) -> Key:
    """Return a key that a file only changes with the meaning that it has at home."""
    home = described.get(key.name, key)
    return key if key.meaning else home._replace(default=key.default)


def _group(path: Path) -> str:
    parts = path.relative_to(CONF).parent.parts
    return "/".join(part for part in parts if part != "shared" and not part.startswith("only_"))


def read(path: Path) -> File:
    """Read a file of conf/."""
    text = path.read_text()
    lines = text.splitlines()
    length = next((i for i, line in enumerate(lines) if not line.startswith("#")), len(lines))
    head = [line.lstrip("# ") for line in lines[:length]]
    sets_any = "@package _global_" in head
    content = yaml.safe_load(text) or {}
    defaults = content.get("defaults", [])
    group = _group(path)
    target = SHARED[group] if path.parent.name == "shared" else content.get("_target_", "")
    for base in _bases(group, defaults):
        target = target or read(path.parent / f"{base}.yaml").target
    prefix = f"{group.replace('/', '.')}." if group and not sets_any else ""
    return File(
        path.relative_to(CONF),
        group,
        [line for line in head if line.startswith("python ")],
        " ".join(line for line in head if not line.startswith(("python ", "@package"))),
        defaults,
        target,
        sets_any,
        "\n".join(lines[length:]),
        list(_keys(yaml.compose(text), lines, prefix, target)),
    )


def _bases(group: str, defaults: list[Any]) -> list[str]:
    """Return the options of the same group on which a file builds."""
    names = [name for name in defaults if isinstance(name, str)] if group else []
    return [name for name in names if "/" not in name]


def _keys(node: Any, lines: list[str], prefix: str, target: str) -> Iterator[Key]:
    """Yield the settings of a mapping, and of the mappings in it."""
    for key, value in node.value:
        if key.value in NO_SETTINGS or (key.value == "hydra" and not prefix):
            continue
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode) and value.value:
            built = {inner.value: built.value for inner, built in value.value}.get("_target_", "")
            yield from _keys(value, lines, f"{name}.", built)
            continue
        meaning = meaning_of(key.value, target) or _comment(key, value, lines)
        type_ = _type(key.value, target) if prefix else _name(TOP_LEVEL.get(key.value))
        default = lines[value.start_mark.line][value.start_mark.column : value.end_mark.column]
        yield Key(name, default or "null", type_, meaning.replace("None", "`null`"))


def _comment(key: Any, value: Any, lines: list[str]) -> str:
    """Return the comment behind a setting, otherwise the comment above it."""
    line = key.start_mark.line
    behind = re.search(r"\s#\s(.*)$", lines[line][value.end_mark.column :])
    if behind:
        return behind[1]
    above: list[str] = []
    while line and lines[line - 1].startswith("#"):
        line -= 1
        above.insert(0, lines[line].lstrip("# "))
    return " ".join(above) if line else ""  # the head is about the file


def _type(name: str, target: str) -> str:
    if not target.startswith("elmo."):
        return ""
    return _name(argument_types(resolve_name(target)).get(name))


def _name(hint: Any) -> str:
    name = "" if hint is None else type_name(hint)
    return name.replace("Sequence", "list").replace("bool", "true or false")


def meaning_of(name: str, target: str) -> str:
    """Return what the docstrings say of an argument of a class or function of `elmo`.

    What a class does not describe, its bases do; `see X` is what X says.
    """
    if not target.startswith("elmo."):
        return ""
    built = resolve_name(target)
    for described in built.__mro__ if inspect.isclass(built) else (built,):
        text = _arguments(described).get(name, "")
        pointer = re.match(r"see `([\w.]+)`[;.,]? ?(.*)$", text)
        if pointer:
            home = sys.modules[described.__module__]
            other = getattr(home, pointer[1], None) or resolve_name(pointer[1])
            meaning = meaning_of(name, f"{other.__module__}.{other.__qualname__}")
            return f"{meaning.rstrip('.')}; {pointer[2]}" if pointer[2] else meaning
        if text:
            return text
    return ""


@cache
def _arguments(described: Any) -> dict[str, str]:
    """Return the entries of the Args section of a docstring of `elmo`."""
    if not described.__module__.startswith("elmo."):
        return {}
    found: dict[str, str] = {}
    names: list[str] = []
    inside = False
    for line in inspect.cleandoc(described.__doc__ or "").splitlines():
        if line and not line.startswith(" "):
            inside = line == "Args:"
        elif inside and (entry := re.match(r"    (\w[\w, ]*): (.*)$", line)):
            names = entry[1].split(", ")
            found |= dict.fromkeys(names, entry[2])
        elif inside and line.strip():
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def page() -> str:
    """Return the reference of all settings, in Markdown."""
    files = all_files()
    scripts = {file.path.stem: file for file in files[""]}
    parts = ["## All scripts", *_table(scripts["base"].keys)]
    for name in SCRIPTS:
        script = scripts[name]
        parts += [f"## {name}.py", *_code(script.commands), _options(script), *_table(script.keys)]
    for group, text in GROUPS.items():
        parts += [f"## {group}=...", text]
        for file in files[group]:
            parts += _section(file)
    return "\n\n".join(parts)


def _options(script: File) -> str:
    """Return the sentence that names the option of each group that a script takes."""
    chosen = {k: v for item in script.defaults if isinstance(item, dict) for k, v in item.items()}
    options = ", ".join(f"`{group}={option}`" for group, option in chosen.items() if option)
    return f"Options that are taken where none is named: {options}."


def _section(file: File) -> list[str]:
    title = f"### {file.group}={file.path.stem}"
    if file.path.parts[0].startswith("only_"):
        title += f" of {file.path.parts[0].removeprefix('only_')}.py"
    if file.path.parts[1:2] == ("shared",):
        title = f"### Every {file.group}=..."
    parts = [title, *_code(file.commands)]
    if file.target:
        parts.insert(1, _summary(file.target))
    if file.notes:
        parts.insert(1, file.notes)
    if file.sets_any:
        return [*parts, f"```yaml\n{file.body}\n```"]
    if bases := _bases(file.group, file.defaults):
        parts.append(f"Settings that are not listed are those of `{file.group}={bases[0]}`.")
    return parts + _table(file.keys)


def _summary(target: str) -> str:
    """Return what is built, and the first paragraph of its docstring."""
    if not target.startswith("elmo."):
        return f"Builds `{target}`."
    first = inspect.cleandoc(resolve_name(target).__doc__).split("\n\n")[0]
    return f"{{py:obj}}`{target}`\n: {' '.join(first.split())}"


def _code(commands: list[str]) -> list[str]:
    return ["\n".join(["```", *commands, "```"])] if commands else []


def _table(keys: list[Key]) -> list[str]:
    rows = []
    for key in keys:
        meaning = re.sub(r"(?<!\.)\.$", "", key.meaning) + (f" *({key.type})*" if key.type else "")
        rows.append(f"| `{key.name}` | `{key.default}` | {meaning} |")
    header = ["{.settings}", "| setting | default | meaning |", "|---|---|---|"]
    return ["\n".join([*header, *rows])] if rows else []
