"""The directive of the configuration page, which `conf_tables` writes."""

from __future__ import annotations

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from docs._ext.conf_tables import CONF, page


class Configuration(SphinxDirective):
    """Inserts the reference of all settings."""

    def run(self) -> list[nodes.Node]:
        for path in CONF.rglob("*.yaml"):
            self.env.note_dependency(str(path))
        return self.parse_text_to_nodes(page(), allow_section_headings=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the directive to Sphinx."""
    app.add_directive("configuration", Configuration)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
