"""The artifacts `bilstm.pt` and `classifier.pt`: plain data, checked on both ends.

A file holds a format version, plain-dict configs, tensors, the tokenizer's JSON and a checksum of
all of them. It is read with `weights_only=True`, which runs no code of the file; a class is named
in it by its bare name, looked up in the module of the base it must derive from.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import pickle
import pickletools
import re
import sys
import zipfile
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from elmo.errors import ArtifactError, ElmoError
from elmo.runs.latest import KINDS
from elmo.utils.files import atomic_writer

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
MAX_VALUES = 100_000  # in config and facts: a few lists that hold each other can mean billions


def describe(module: nn.Module) -> dict[str, Any]:
    """The class of `module` and the arguments that would build it anew.

    The arguments are read from the attributes that bear their names: every BiLM, softmax, mixer
    and head keeps them.
    """
    names = list(inspect.signature(type(module)).parameters)
    return {
        "class": type(module).__name__,
        "arguments": {name: getattr(module, name) for name in names},
    }


def look_up(description: dict[str, Any], base: type[T]) -> type[T]:
    """The class that a description names: `base` or a subclass, defined beside it.

    Raises:
        ArtifactError: the name is of anything else.
    """
    name = description.get("class") if isinstance(description, dict) else None
    found = getattr(sys.modules[base.__module__], name, None) if isinstance(name, str) else None
    if not (
        isinstance(found, type)
        and issubclass(found, base)
        and found.__module__ == base.__module__
        and not inspect.isabstract(found)
    ):
        raise ArtifactError(f"names the class {name!r}, which is no {base.__name__} of elmo's own")
    return found


def build(description: dict[str, Any], base: type[T]) -> T:
    """The inverse of `describe`, with fresh weights.

    Raises:
        ArtifactError: the class is not a `base` of elmo's own, or does not take the arguments.
    """
    found = look_up(description, base)
    try:
        return found(**description["arguments"])
    except (TypeError, ValueError, KeyError, RuntimeError, OverflowError, ElmoError) as error:
        raise ArtifactError(f"its {found.__name__} cannot be built: {error}") from error


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
        kind: what it is, `bilm` or `classifier`.
        config: from which the model is built again.
        tokenizer: its JSON.
        facts: of the data it was trained on, and what else a user of it should know.
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


def write_plain(path: Path, content: dict[str, Any]) -> None:
    """Write tensors and plain data with `torch.save`, atomically.

    Raises:
        OSError: such as for a full disk.
    """
    with atomic_writer(path) as handle:
        try:
            torch.save(content, handle)
        except RuntimeError as error:
            # PyTorch goes on to close its archive, and raises what it found wrong with that.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from error
            raise


def load_artifact(path: str | Path, *kinds: str) -> dict[str, Any]:
    """Read and check an artifact.

    Args:
        path: the file, or the run folder it lies in.
        kinds: which ones will do, `bilm` or `classifier` or both.

    Raises:
        ArtifactError: it is missing, no artifact, of another kind, of a newer format, or damaged.
    """
    file = Path(path)
    if file.is_dir():
        candidates = [file / KINDS[kind].file for kind in kinds]
        file = next((one for one in candidates if one.is_file()), candidates[0])
    if not file.is_file():
        raise ArtifactError(_missing(Path(path), file, kinds))
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
            found = type(content[name]).__name__
            raise ArtifactError(f"{file}: {name} is of type {found}, expected {kind.__name__}")
    _check_plain(file, [content["config"], content["facts"]])
    for name, tensor in content["state"].items():
        if not (isinstance(name, str) and name.isascii() and _is_plain_tensor(tensor)):
            raise ArtifactError(f"{file}: state holds {name!r:.60}, which is no tensor of weights")
    if sum(tensor.nbytes for tensor in content["state"].values()) > file.stat().st_size:
        raise ArtifactError(f"{file}: smaller than its weights, which repeat each other")
    if content["checksum"] != _checksum(content):
        raise ArtifactError(f"{file}: its checksum does not fit its content; copy the file again")
    return content


def _missing(path: Path, file: Path, kinds: tuple[str, ...]) -> str:
    """What to say where there is no artifact: what lies there instead, if anything does."""
    files = " or ".join(KINDS[kind].file for kind in kinds)
    if path.is_dir():
        for other in KINDS.values():
            if (path / other.file).is_file():
                return f"{path}: holds {other.file}, expected {files}; name another run folder"
        for job in sorted(path.iterdir()):
            if any((job / KINDS[kind].file).is_file() for kind in kinds):
                return f"{path}: a sweep; name one of its jobs, such as {job}"
    scripts = " or ".join(f"`python {KINDS[kind].script}`" for kind in kinds)
    return f"{file}: no such file; {scripts} writes one"


def read_plain(file: Path) -> Any:
    """What `torch.save` wrote, tensors and plain data alone: no code of the file is run.

    Every record of the file is checked against its CRC-32, which `torch.load` does not do.

    Raises:
        ArtifactError: it is no such file, cut short, damaged, or holds anything else.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            # PyTorch compresses nothing; a small file that grows when it is read is a trap.
            packed = any(member.compress_type != zipfile.ZIP_STORED for member in members)
            damaged = (
                "it is packed"
                if packed or size > file.stat().st_size
                else f"record {name!r} does not fit its checksum"
                if (name := archive.testzip())
                else None
            )
    except Exception as error:  # zipfile has no common base for what a bad file can cause
        raise ArtifactError(
            f"{file}: not a file of PyTorch's, or one cut short ({type(error).__name__}); copy the "
            "file again, or train again"
        ) from error
    if damaged:
        raise ArtifactError(f"{file}: damaged ({damaged}); copy the file again, or train again")
    try:
        _check_names(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ArtifactError(
            f"{file}: holds more than tensors and plain data, which could run code when it is "
            "read; it was not, and it is no file of elmo's"
        ) from error
    except Exception as error:  # nor has torch
        raise ArtifactError(
            f"{file}: damaged ({type(error).__name__}); copy the file again, or train again"
        ) from error


# What `torch.save` names in the pickle of tensors. `weights_only` knows more, such as a `bytearray`
# of any size.
NAMES = re.compile(r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch \w+Storage")


def _check_names(file: Path) -> None:
    """
    Raises:
        UnpicklingError: the pickle inside names something else.
    """
    with zipfile.ZipFile(file) as archive:
        for member in archive.namelist():
            if member.endswith(".pkl"):
                for operation, name, _ in pickletools.genops(archive.read(member)):
                    names = operation.name in ("GLOBAL", "INST", "STACK_GLOBAL")
                    if names and not NAMES.fullmatch(str(name)):
                        raise pickle.UnpicklingError(f"it names {name}")


def _check_plain(file: Path, value: Any) -> None:
    """
    Raises:
        ArtifactError: something in `value` is not of JSON's types, or there is too much of it.
    """
    waiting, seen = [value], 0
    while waiting:
        one = waiting.pop()
        seen += 1
        if isinstance(one, dict):
            if not all(isinstance(key, str) for key in one):
                raise ArtifactError(f"{file}: config or facts have a key that is no text")
            waiting += [*one, *one.values()]
        elif isinstance(one, list | tuple):
            waiting += one
        elif not (one is None or isinstance(one, str | bool | float)) and not (
            isinstance(one, int) and one.bit_length() < 64
        ):
            raise ArtifactError(f"{file}: config or facts hold a {type(one).__name__}: {one!r:.60}")
        if seen + len(waiting) > MAX_VALUES:
            raise ArtifactError(f"{file}: config and facts hold more than {MAX_VALUES:,} values")


def _is_plain_tensor(value: object) -> bool:
    """Numbers that stand in the file: others can claim any size, by repeating one number."""
    return (
        isinstance(value, Tensor)
        and value.is_floating_point()
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.numel() * value.element_size() <= value.untyped_storage().nbytes()
    )


def fill(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Load weights, all of them and no other, into a module that may be on the meta device.

    Built there, a module takes no memory before its shapes are known to be those of the weights.

    Raises:
        ArtifactError: names or shapes do not fit.
    """
    numbers = {name: tensor.float() for name, tensor in state.items()}
    try:
        module.load_state_dict(numbers, assign=True)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise ArtifactError(f"its weights do not fit its config: {reason}") from error
    for part in module.modules():
        for name, buffer in part.named_buffers(recurse=False):
            if buffer.is_meta:  # sums that are no part of an artifact
                part.register_buffer(name, torch.zeros_like(buffer, device="cpu"), persistent=False)


def _checksum(content: dict[str, Any]) -> str:
    plain = {name: content[name] for name in sorted(set(FIELDS) - {"state", "checksum"})}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    return state_checksum(content["state"], digest)


def state_checksum(state: dict[str, Tensor], digest: Any = None) -> str:
    """sha256 over the names, types, shapes and bytes of some tensors."""
    digest = digest or hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
