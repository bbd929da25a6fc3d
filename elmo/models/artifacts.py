"""The artifacts `bilstm.pt` and `classifier.pt`: how they are written, read and checked.

A file holds a format version, plain-dict configs, tensors, the tokenizer's JSON and a checksum of
all of them. It is read with `weights_only=True`, which runs no code from the file. It names a class
by its bare name, which is looked up in the module that defines the base class; that of an encoder
also in the module of the static ones.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from elmo.errors import ArtifactError, ElmoError
from elmo.models.published import is_published
from elmo.runs.latest import KINDS
from elmo.utils.tensor_files import read_plain, state_checksum, write_plain

T = TypeVar("T")

FORMAT_VERSION = 1
FIELDS = {
    "format": str,
    "version": int,
    "config": dict,
    "tokenizer": str,
    "facts": dict,
    "state": dict,
    "checksum": str,
}
MAX_VALUES = 100_000  # in config and facts: a few lists that contain each other can mean billions


def describe(module: nn.Module) -> dict[str, Any]:
    """Return the class name of `module` and the arguments that would build it again.

    Every BiLM, softmax, mixer and head keeps its arguments as attributes of the same names. One
    that is None, as by default, is left out, so that versions without it can read the rest.
    """
    parameters = inspect.signature(type(module)).parameters
    values = {name: getattr(module, name) for name in parameters}
    return {
        "class": type(module).__name__,
        "arguments": {
            name: value
            for name, value in values.items()
            if not (value is None and parameters[name].default is None)
        },
    }


def find_class(description: dict[str, Any], base: type[T], *others: ModuleType) -> type[T]:
    """Return the class that a description names: `base` or a subclass from the same module.

    Args:
        others: modules that define more subclasses.

    Raises:
        ArtifactError: the name is that of anything else.
    """
    name = description.get("class") if isinstance(description, dict) else None
    modules = (sys.modules[base.__module__], *others)
    for module in modules:
        named = getattr(module, name, None) if isinstance(name, str) else None
        if (
            isinstance(named, type)
            and issubclass(named, base)
            and named.__module__ == module.__name__
            and not inspect.isabstract(named)
        ):
            return named
    places = " or ".join(module.__name__ for module in modules)
    expected = f"{base.__name__} or a subclass in {places}"
    raise ArtifactError(f"names the class {name!r}; expected {expected}")


def build(description: dict[str, Any], base: type[T]) -> T:
    """Build what `describe` described, with new weights.

    Raises:
        ArtifactError: the class is not a `base` of elmo, or does not take the arguments.
    """
    described = find_class(description, base)
    try:
        return described(**description["arguments"])
    except (TypeError, ValueError, KeyError, RuntimeError, OverflowError, ElmoError) as error:
        raise ArtifactError(f"its {described.__name__} cannot be built: {error}") from error


def save_artifact(
    path: Path,
    kind: str,
    config: dict[str, Any],
    tokenizer: str,
    facts: dict[str, Any],
    state: dict[str, Tensor],
) -> None:
    """Write an artifact atomically.

    Args:
        kind: `bilm` or `classifier`.
        config: the descriptions that the model is built from.
        tokenizer: the tokenizer's JSON.
        facts: about the training data, and whatever else a user of the model should know.
        state: the weights.
    """
    content = {
        "format": f"elmo.{kind}",
        "version": FORMAT_VERSION,
        "config": config,
        "tokenizer": tokenizer,
        "facts": facts,
        "state": {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()},
    }
    content["checksum"] = _checksum(content)
    write_plain(path, content)


def load_artifact(path: str | Path, *kinds: str) -> dict[str, Any]:
    """Read and check an artifact.

    Args:
        path: the file, or the run folder that holds it.
        kinds: accepted kinds, `bilm` or `classifier` or both.

    Returns:
        The fields of the file, see `FIELDS`.

    Raises:
        ArtifactError: the file is missing, not an artifact, of another kind, of another format
            version, or damaged.
    """
    file = Path(path)
    if file.is_dir():
        candidates = [file / KINDS[kind].file for kind in kinds]
        file = next((candidate for candidate in candidates if candidate.is_file()), candidates[0])
    if is_published(Path(path)):
        raise ArtifactError(
            f"{path}: a published ELMo model, which has neither a softmax nor a classifier; its "
            "vectors are for `elmo embed`, `neighbours` and `senses`, and for `python train_cls.py "
            f"bilm_path={path}`"
        )
    if not file.is_file():
        raise ArtifactError(_missing_message(Path(path), file, kinds))
    content = read_plain(file)
    if not isinstance(content, dict) or not isinstance(content.get("format"), str):
        raise ArtifactError(f"{file}: a PyTorch file, but not an artifact of this project")
    if content["format"] not in [f"elmo.{kind}" for kind in kinds]:
        expected = " or ".join(f"'elmo.{kind}'" for kind in kinds)
        raise ArtifactError(
            f"{file}: holds {content['format']!r}, expected {expected}; bilstm.pt comes from "
            "train_lm.py, classifier.pt from train_cls.py"
        )
    if content.get("version") != FORMAT_VERSION:
        raise ArtifactError(
            f"{file}: format version {content.get('version')!r}, this code reads {FORMAT_VERSION}; "
            "use the version of elmo that wrote it, or train again"
        )
    if set(content) != set(FIELDS):
        odd = sorted(map(str, set(content) ^ set(FIELDS)))
        raise ArtifactError(f"{file}: missing or unknown fields {odd}; copy the file again")
    for name, kind in FIELDS.items():
        if not isinstance(content[name], kind):
            actual = type(content[name]).__name__
            raise ArtifactError(f"{file}: {name} is of type {actual}, expected {kind.__name__}")
    _check_plain(file, [content["config"], content["facts"]])
    for name, tensor in content["state"].items():
        if not (isinstance(name, str) and name.isascii() and _is_plain_tensor(tensor)):
            raise ArtifactError(f"{file}: state holds {name!r:.60}, which is not a weight tensor")
    if sum(tensor.nbytes for tensor in content["state"].values()) > file.stat().st_size:
        raise ArtifactError(f"{file}: smaller than its weights, which share their memory")
    if content["checksum"] != _checksum(content):
        raise ArtifactError(f"{file}: its checksum does not match; copy the file again")
    return content


def _missing_message(path: Path, file: Path, kinds: tuple[str, ...]) -> str:
    """Return the message for a missing artifact, which names what the folder holds instead."""
    files = " or ".join(KINDS[kind].file for kind in kinds)
    if path.is_dir():
        for other in KINDS.values():
            if (path / other.file).is_file():
                return f"{path}: holds {other.file}, expected {files}; name another run folder"
        for job in sorted(path.iterdir()):
            if any((job / KINDS[kind].file).is_file() for kind in kinds):
                return f"{path}: a sweep; name one of its jobs, such as {job}"
    scripts = " or ".join(f"`python {KINDS[kind].script}`" for kind in kinds)
    return f"{file}: no such file; {scripts} writes one, `released` names the released one"


def _check_plain(file: Path, value: Any) -> None:
    """Check that `value` consists of at most `MAX_VALUES` values of the types of JSON.

    Raises:
        ArtifactError: it contains another type, or more values.
    """
    waiting, seen = [value], 0
    while waiting:
        item = waiting.pop()
        seen += 1
        if isinstance(item, dict):
            if not all(isinstance(key, str) for key in item):
                raise ArtifactError(f"{file}: config or facts have a key that is not a string")
            waiting += [*item, *item.values()]
        elif isinstance(item, list | tuple):
            waiting += item
        elif not (item is None or isinstance(item, str | bool | float)) and not (
            isinstance(item, int) and item.bit_length() < 64
        ):
            kind = type(item).__name__
            raise ArtifactError(
                f"{file}: config or facts hold a value of type {kind}: {item!r:.60}"
            )
        if seen + len(waiting) > MAX_VALUES:
            raise ArtifactError(f"{file}: config and facts hold more than {MAX_VALUES:,} values")


def _is_plain_tensor(value: object) -> bool:
    """Tell whether `value` is a dense tensor of floats, with each number stored in the file.

    A tensor that repeats one stored number can claim any size.
    """
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def load_weights(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Load weights into a module, which may be on the meta device; the names have to be the same.

    A module on the meta device takes no memory before its shapes are known to match the weights.

    Raises:
        ArtifactError: names or shapes do not match.
    """
    weights = {name: tensor.float() for name, tensor in state.items()}
    try:
        module.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ArtifactError(f"its weights do not fit its config: {reason}") from error
    for part in module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            if buffer.is_meta:  # such as a running sum, which is not saved: it starts at zero
                part.register_buffer(name, torch.zeros_like(buffer, device="cpu"), persistent=False)


def _checksum(content: dict[str, Any]) -> str:
    plain = {name: content[name] for name in sorted(set(FIELDS) - {"state", "checksum"})}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    return state_checksum(content["state"], digest)
