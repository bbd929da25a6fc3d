"""Checks of settings against the signatures of the classes that they configure."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from pkgutil import resolve_name
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from elmo.errors import ConfigError, check_range

# Settings that belong to no `_target_`.
TOP_LEVEL: dict[str, Any] = {
    "seed": int,
    "threads": int | None,
    "evaluate_test": bool,
    "output_dir": str,
    "cache_dir": str,
    "bilm_path": str | None,
    "warmup": float,
    "label_share": float,
    "robust_exponent": float | None,
    "finetune_lr": float,
    "layer_decay": float,
    "unfreeze_epochs": float | None,
    "language_model_weight": float | None,
    "monitor": str,
    "mode": Literal["min", "max"],
    "study": str | None,
    "label": str | None,
}
# What a setting takes beside what its constructor takes; the job turns it into one of those.
ALSO = {"trainer.precision": Literal["auto"]}
SEEDS = 2**32  # numpy takes no more
# Arguments that a job fills in: a value set by hand would be ignored silently.
GIVEN = {
    "bilm": ("vocab_size", "embedding_dim", "characters"),
    "softmax": ("dim", "vocab_size"),
    "mixer": ("num_layers", "dim"),
    "head": ("dim", "num_classes"),
    "features": ("linear",),
    "encoder": ("corpus",),
    "teacher": ("data",),
    "label_weights": ("data",),
    "augmentation": ("data", "encoder", "device"),
    "datamodule": ("corpus", "tokenizer", "max_characters"),
    "optimizer": ("params",),
    "trainer": ("callbacks", "logger", "plugins"),
}


def check_settings(settings: Mapping[str, Any]) -> None:
    """Check the types of all settings, the range of seeds, and that nothing fixed is set.

    Args:
        settings: the resolved config as plain, nested data.

    Raises:
        ConfigError: a value does not have the type that its constructor declares, a seed is out of
            range, or an argument is set that follows from others.
    """
    for group, names in GIVEN.items():
        for name in names:
            if name in (settings.get(group) or {}):
                raise ConfigError(
                    f"{group}.{name} follows from the data and from the other parts; leave it out"
                )
    for key, value, hint in [*_values(settings, TOP_LEVEL), *_arguments(settings, "")]:
        if not _fits(value, hint):
            raise ConfigError(f"{key} is {value!r}; expected {type_name(hint)}")
        if key.rpartition(".")[2] == "seed":
            check_range({key: value}, at_least=0, below=SEEDS)


Value = tuple[str, Any, Any]  # key, value, type


def _values(node: Mapping[str, Any], hints: Mapping[str, Any], prefix: str = "") -> Iterator[Value]:
    for key, value in node.items():
        if key in hints:
            hint, name = hints[key], f"{prefix}{key}"
            yield name, value, hint | ALSO[name] if name in ALSO else hint


def _arguments(node: Mapping[str, Any], prefix: str) -> Iterator[Value]:
    """Yield the settings of every node with a `_target_`, with their types."""
    if "_target_" in node:
        yield from _values(
            node, argument_types(_found(node["_target_"], f"{prefix}_target_")), prefix
        )
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _arguments(value, f"{prefix}{key}.")


def _found(name: Any, key: str) -> Any:
    try:
        return resolve_name(name)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise ConfigError(f"{key} is {name!r}, which does not exist: {error}") from error


def argument_types(target: Any) -> dict[str, Any]:
    """Return the type of each argument; `**arguments` of a class are those of its bases."""
    functions: list[Callable[..., Any]] = [target]
    if inspect.isclass(target):
        own = [vars(base).get("__init__") for base in reversed(target.__mro__)]
        functions = [function for function in own if inspect.isfunction(function)]
    found: dict[str, Any] = {}
    for function in functions:
        try:
            found |= get_type_hints(function)
        except NameError:  # a type that is imported for type checkers alone
            continue
    return found


def _fits(value: Any, hint: Any) -> bool:
    """Compare plain values with plain types; other types are left to the constructor."""
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return any(_fits(value, one) for one in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    if isinstance(value, bool) and hint in (int, float):
        return False
    if hint is float:
        return isinstance(value, int | float)
    if hint in (int, bool, str, NoneType):
        return isinstance(value, hint)
    return hint is Any or not (value is None or isinstance(value, str | int | float))


def type_name(hint: Any) -> str:
    """Return how a message names a type; None is the `null` of YAML."""
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(type_name(one) for one in get_args(hint))
    if get_origin(hint) is Literal:
        return ", ".join(map(repr, get_args(hint)))
    return "null" if hint is NoneType else getattr(hint, "__name__", str(hint))
