"""The API pages: all modules of a package, with links and shapes in their docstrings.

Docstrings of this project name code in single backticks, as Markdown does. Here such a name becomes
a link where it is a class or function of `elmo`, and otherwise plain code. A name that looks like
one of `elmo` and is none is a warning, which fails the build.
"""

from __future__ import annotations

import inspect
import re
from functools import cache
from importlib import import_module
from pkgutil import iter_modules, resolve_name
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

log = logging.getLogger(__name__)

CODE = re.compile(r"(?<![`:])`([^`]+)`(?!`)")
# Words for a thing of another package that has the look of one of this project.
FOREIGN = {"Exception", "Experiment", "IterableDataset", "KeyedVectors", "True"}
CLASS_LIKE = re.compile(r"[A-Z]+[a-z]+\w*")
SIZE = r"(?:(?:[A-Z]'?(?:[ /]?[A-Z2])?|2 H|\d+|\w+_dim|\.\.\.))"
SHAPE = re.compile(rf"(?<![\w`(])\({SIZE}(?:, {SIZE})*,?\)(?![\w`])")
FIELD = re.compile(r"^    (\w+): [^#]*  # (.*)$")


class Modules(SphinxDirective):
    """Documents every module of a package: `.. modules:: elmo.modules`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        text = ""
        for name in modules_of(self.arguments[0]):
            text += f"{name}\n{'-' * len(name)}\n\n.. automodule:: {name}\n\n"
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def modules_of(package: str) -> list[str]:
    """Return the modules of a package in the order of their names, without its packages."""
    found = iter_modules(import_module(package).__path__)
    names = [module.name for module in found if not module.ispkg]
    return [f"{package}.{name}" for name in names if name != "__main__"]


@cache
def public_names() -> dict[str, set[str]]:
    """Return the full names of all public classes and functions, by their short names."""
    import elmo

    packages = ["elmo.data.corpora"]
    packages += [f"elmo.{m.name}" for m in iter_modules(elmo.__path__) if m.ispkg]
    names: dict[str, set[str]] = {}
    for module in ["elmo.errors", *(m for package in packages for m in modules_of(package))]:
        for name, value in vars(import_module(module)).items():
            if getattr(value, "__module__", None) == module and not name.startswith("_"):
                names.setdefault(name, set()).add(f"{module}.{name}")
    return names


def process_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Turn the names in a docstring into links and code, and shapes into code."""
    if not _home(obj).startswith("elmo"):  # imported from another package, and not shown
        return
    if inspect.isclass(obj) and hasattr(obj, "_fields"):
        lines += _fields(obj)
    for index, line in enumerate(lines):
        parts = CODE.split(line)  # text and code in turn
        for place, part in enumerate(parts):
            if place % 2:
                parts[place] = _linked(part, name, obj)
            else:
                parts[place] = SHAPE.sub(lambda match: f"``{match[0]}``", part)
        lines[index] = "".join(parts)


def _home(obj: Any) -> str:
    """Return the module of what is documented; an attribute has none and is one of `elmo`."""
    return obj.__name__ if inspect.ismodule(obj) else getattr(obj, "__module__", None) or "elmo"


def _linked(code: str, where: str, obj: Any) -> str:
    target = _target(code, where, obj)
    if target:
        return f":py:obj:`{code} <{target}>`"
    if CLASS_LIKE.fullmatch(code.split(".")[0]) and code.split(".")[0] not in FOREIGN:
        log.warning("%s names `%s`, which is no class of elmo", where, code)
    return f"``{code}``"


def _target(code: str, where: str, obj: Any) -> str | None:
    """Return the full name of what `code` means in the docstring of `where`."""
    if not re.fullmatch(r"[\w.]+", code) or code.startswith("_") or code in _parameters(obj):
        return None
    if code.startswith("elmo."):
        value = _resolved(code)
        # What is gone is linked as well: the link is reported as broken.
        return code if value is None or inspect.ismodule(value) or _is_public(value) else None
    scope = where
    while scope:  # the class of a method, its module
        value = _resolved(f"{scope}.{code}")
        if value is not None and _is_public(value):
            return f"{value.__module__}.{value.__qualname__}"
        scope = scope.rpartition(".")[0]
    owner, _, member = code.partition(".")
    homes = public_names().get(owner, set()) if not member or CLASS_LIKE.fullmatch(owner) else ()
    if len(homes) != 1:
        return None
    (home,) = homes
    method = _resolved(f"{home}.{member}") if member else None
    return f"{home}.{member}" if inspect.isfunction(method) else home  # a field has no entry


def _parameters(obj: Any) -> set[str]:
    try:
        return set(inspect.signature(obj).parameters)
    except (TypeError, ValueError):
        return set()


def _resolved(name: str) -> Any:
    try:
        return resolve_name(name)
    except (ImportError, AttributeError, ValueError):
        return None


def _is_public(value: Any) -> bool:
    documented = (inspect.isclass(value) or inspect.isfunction(value)) and value.__doc__
    return bool(documented) and value.__module__.startswith("elmo.") and value.__name__[0] != "_"


def _fields(named_tuple: type) -> list[str]:
    """Return the fields of a NamedTuple, with the comments behind them."""
    found = map(FIELD.match, inspect.getsource(named_tuple).splitlines())
    comments = {match[1]: match[2] for match in found if match}
    lines = [f":ivar {field}: {comments[field]}" for field in comments]
    return ["", *lines, ""] if lines else []


def skip_member(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool:
    """Leave out the fields of a NamedTuple, which `process_docstring` lists with their meaning."""
    return skip or type(obj).__name__ == "_tuplegetter"


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect to Sphinx; the docstrings are processed after napoleon."""
    app.add_directive("modules", Modules)
    app.connect("autodoc-process-docstring", process_docstring, priority=600)
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
