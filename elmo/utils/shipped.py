"""The files that are shipped beside the package: scripts, configs, released models.

In a checkout they lie at its top level, in an installed package in its folder `shipped`.
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parent.parent
INSTALLED = (_PACKAGE / "shipped").is_dir()
SHIPPED = _PACKAGE / "shipped" if INSTALLED else _PACKAGE.parent
CONF = SHIPPED / "conf"


def command_of(script: str) -> str:
    """Return how to call a script, such as `train_lm`: as a file, or installed as a command."""
    return f"elmo {script.replace('_', '-')}" if INSTALLED else f"python {script}.py"
