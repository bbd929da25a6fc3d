"""Files that a stranger could send in the place of an artifact or a checkpoint."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from elmo.models.artifacts import _checksum
from elmo.modules.bilm import BiLM

Change = Callable[[dict[str, Any]], object]


class Trap:
    """Creates a file when it is unpickled by a reader that runs code."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.file),)


def changed(change: Change, sealed: bool = True) -> Callable[[Path], None]:
    """Rewrites an artifact, with a checksum that fits: whoever can write one can do that."""

    def rewrite(file: Path) -> None:
        content = torch.load(file, weights_only=True)
        change(content)
        if sealed:
            content["checksum"] = _checksum(content)
        torch.save(content, file)

    return rewrite


def within(content: Any, value: Any) -> Any:
    """Puts `value` somewhere into what `torch.save` is given."""
    return {**content, "facts": value} if isinstance(content, dict) else value


def trap(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    torch.save(within(content, Trap(file.parent / "sprung")), file)


def bare_pickle(file: Path) -> None:
    file.write_bytes(pickle.dumps(Trap(file.parent / "sprung")))


def python_function(file: Path) -> None:
    torch.save(within(torch.load(file, weights_only=True), os.system), file)


def our_class(file: Path) -> None:
    torch.save(within(torch.load(file, weights_only=True), BiLM), file)


def module(file: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), file)


def other_content(file: Path) -> None:
    torch.save({"weights": torch.zeros(2)}, file)


def no_dict(file: Path) -> None:
    torch.save([1, 2], file)


def cut(share: float) -> Callable[[Path], None]:
    def shorten(file: Path) -> None:
        content = file.read_bytes()
        file.write_bytes(content[: int(len(content) * share)])

    return shorten


def flipped_weight(file: Path) -> None:
    """One bit of the largest record, which holds weights."""
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda member: member.file_size)
        weights = archive.read(largest)
    content = bytearray(file.read_bytes())
    place = content.index(weights) + len(weights) // 2
    content[place] ^= 1
    file.write_bytes(content)


def packed(file: Path) -> None:
    """The same records compressed: a few bytes could stand for gigabytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    file.write_bytes(buffer.getvalue())


def large_bytes(file: Path) -> None:
    """A few bytes that `weights_only` would make 600 million of."""
    with zipfile.ZipFile(file) as old:
        members = {member.filename: old.read(member) for member in old.infolist()}
    (name,) = [name for name in members if name.endswith("data.pkl")]
    size = struct.pack("<i", 600_000_000)
    members[name] = b"\x80\x02c__builtin__\nbytearray\nJ" + size + b"\x85R."
    with zipfile.ZipFile(file, "w") as new:
        for member, content in members.items():
            new.writestr(member, content)


def one_storage_many_names(content: dict[str, Any]) -> None:
    whole = torch.zeros(500_000)
    content["state"].update({f"more.{index}": whole for index in range(200)})


def lists_in_lists(content: dict[str, Any]) -> None:
    value: list[Any] = []
    for _ in range(40):
        value = [value, value]
    content["facts"] = {"lists": value}


def endless_list(content: dict[str, Any]) -> None:
    value: list[Any] = []
    value.append(value)
    content["facts"] = {"list": value}


def repeated_number(content: dict[str, Any]) -> None:
    content["state"]["more"] = torch.zeros(1).expand(10**12)


def set_config(part: str, **arguments: Any) -> Change:
    """Other arguments of a part of a biLM."""
    return lambda content: content["config"][part]["arguments"].update(arguments)


def set_class(name: object) -> Change:
    return lambda content: content["config"]["bilm"].update({"class": name})


def slow_pattern(content: dict[str, Any]) -> None:
    """A tokenizer whose pattern takes forever on "aaaaaaaaaaaaaaaaaaaaaaaa!"."""
    tokenizer = json.loads(content["tokenizer"])
    tokenizer["pre_tokenizer"]["pattern"]["Regex"] = "(a+)+$"
    content["tokenizer"] = json.dumps(tokenizer)


def gap_in_the_words(content: dict[str, Any]) -> None:
    tokenizer = json.loads(content["tokenizer"])
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary[max(vocabulary, key=vocabulary.__getitem__)] = 10**9
    content["tokenizer"] = json.dumps(tokenizer)


def fewer_words(content: dict[str, Any]) -> None:
    tokenizer = json.loads(content["tokenizer"])
    tokenizer["model"]["vocab"].popitem()
    content["tokenizer"] = json.dumps(tokenizer)


# Of any file that `torch.save` wrote: what is done to it, and what is said of it.
FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "code in a pickle": (trap, "could run code"),
    "a bare pickle": (bare_pickle, "not a PyTorch file"),
    "a function of Python's": (python_function, "could run code"),
    "a class of elmo's": (our_class, "could run code"),
    "a module of PyTorch's": (module, "could run code"),
    "a number of bytes": (large_bytes, "could run code"),
    "other content": (other_content, "a PyTorch file, but not a"),
    "a list": (no_dict, "a PyTorch file, but not a"),
    "empty": (cut(0), "not a PyTorch file, or a truncated one"),
    "half": (cut(0.5), "not a PyTorch file, or a truncated one"),
    "nearly whole": (cut(0.999), "not a PyTorch file, or a truncated one"),
    "a flipped bit": (flipped_weight, "does not match its checksum"),
    "packed": (packed, "it is compressed"),
}

# Of a biLM alone.
ARTIFACTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a newer format": (changed(lambda c: c.update(version=99)), "format version 99"),
    "a version of another type": (changed(lambda c: c.update(version="1")), "format version '1'"),
    "an unknown field": (changed(lambda c: c.update(extra=1)), "unknown fields"),
    "a missing field": (changed(lambda c: c.pop("facts"), sealed=False), "missing"),
    "a field of another type": (changed(lambda c: c.update(config=[])), "config is of type list"),
    "other weights": (
        changed(lambda c: next(iter(c["state"].values())).mul_(2), sealed=False),
        "its checksum does not match",
    ),
    "lists that hold each other": (changed(lists_in_lists, sealed=False), "more than 100,000"),
    "a list that holds itself": (changed(endless_list, sealed=False), "more than 100,000"),
    "a number beyond 64 bits": (
        changed(lambda c: c["facts"].update(rows=2**70), sealed=False),
        "facts hold a value of type int",
    ),
    "one number a thousand billion times": (
        changed(repeated_number, sealed=False),
        "not a weight tensor",
    ),
    "keys that are numbers": (
        changed(lambda c: c.update(facts={1: 1, "a": 2}), sealed=False),
        "a key that is not a string",
    ),
    "keys that are pairs": (
        changed(lambda c: c.update(facts={(1, 2): 3}), sealed=False),
        "a key that is not a string",
    ),
    "a name that is half a pair": (
        changed(lambda c: c["state"].update({"\ud800": torch.zeros(1)}), sealed=False),
        "not a weight tensor",
    ),
    "complex weights": (
        changed(lambda c: c["state"].update(more=torch.ones(2, dtype=torch.cfloat)), sealed=False),
        "not a weight tensor",
    ),
    "one tensor under many names": (changed(one_storage_many_names), "share their memory"),
    "a class of PyTorch's": (changed(set_class("Linear")), "expected BiLM or a subclass"),
    "a function of the system": (changed(set_class("os.system")), "expected BiLM or a subclass"),
    "a class that is no name": (changed(set_class(["BiLM"])), "expected BiLM or a subclass"),
    "a model as large as a disk": (
        changed(set_config("bilm", hidden_dim=10**6)),
        "its weights do not fit",
    ),
    "a billion layers": (changed(set_config("bilm", num_layers=10**9)), "at most 64"),
    "a width that is no number": (changed(set_config("bilm", hidden_dim="8")), "cannot be built"),
    "a width beyond counting": (changed(set_config("bilm", hidden_dim=2**62)), "cannot be built"),
    "an argument of no class": (changed(set_config("bilm", unheard_of=1)), "cannot be built"),
    "no model at all": (changed(lambda c: c.update(config={})), "expected BiLM or a subclass"),
    "a pattern that takes forever": (changed(slow_pattern), "its tokenizer is not one"),
    "a tokenizer that is no JSON": (changed(lambda c: c.update(tokenizer="{")), "its tokenizer"),
    "a gap in the words": (changed(gap_in_the_words), "its tokenizer is not one"),
    "fewer words than vectors": (changed(fewer_words), "its tokenizer knows"),
}
