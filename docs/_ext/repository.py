"""Links from a page to a file of the repository that is no page of the site.

On the repository's web page they work as they are. On the site a file is copied into it, the PDF
in the place of a Markdown file that has one beside it, and a link to a folder is plain text.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform


class RepositoryLinks(SphinxTransform):
    """Turns such links into downloads; one to a file that does not exist stays as it is."""

    default_priority = 10

    def apply(self, **kwargs: Any) -> None:
        for link in list(self.document.findall(addnodes.pending_xref)):
            if link["reftype"] != "myst" or link["reftarget"] in self.env.found_docs:
                continue
            place = Path(self.env.srcdir, Path(self.env.docname).parent, link["reftarget"])
            # The name of a page has no suffix, and is relative to the root of the site.
            page = Path(self.env.srcdir, f"{link['reftarget']}.md")
            target = page if link["refdomain"] == "doc" else place
            if target.is_dir():
                link.replace_self(link.children)
            elif target.is_file():
                pdf = target.with_suffix(".pdf")
                file = pdf if pdf.is_file() else target
                name = f"/{os.path.relpath(file, self.env.srcdir)}"
                download = addnodes.download_reference("", "", *link.children, reftarget=name)
                link.replace_self(download)


def setup(app: Sphinx) -> dict[str, Any]:
    """Add the transform to Sphinx."""
    app.add_transform(RepositoryLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
