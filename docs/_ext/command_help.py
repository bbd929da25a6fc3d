"""What a command says of itself: `{help} predict` shows `python -m elmo predict --help`, folded."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs._ext.conf_tables import CONF


class Help(SphinxDirective):
    """Shows the `--help` of a command of `elmo`, or of a script."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        words = [name] if name.endswith(".py") else ["-m", "elmo", name]
        command = [sys.executable, *words, "--help"]
        environment = {**os.environ, "COLUMNS": "88"}
        done = subprocess.run(
            command, cwd=CONF.parent, env=environment, capture_output=True, text=True, check=True
        )
        text = done.stdout.strip()
        title = f"<details><summary>{' '.join(['python', *words])} --help</summary>"
        block = nodes.literal_block(text, text, language="none")
        return [
            nodes.raw("", title, format="html"),
            block,
            nodes.raw("", "</details>", format="html"),
        ]


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive to Sphinx."""
    app.add_directive("help", Help)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
