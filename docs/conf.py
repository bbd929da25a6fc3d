"""Settings of the documentation site: `make docs` builds docs/_build/html.

Sphinx, because it is well kept (MkDocs has had no release since 2024, Material for MkDocs ended in
November 2026) and because it checks what it builds: dead links between pages, missing pages and
references to code that is gone are errors. It is what PyTorch, Lightning and torchmetrics use, too.
MyST reads Markdown, so the pages are readable in the repository as they are.
"""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
# For the kernel that executes the notebook: it imports this checkout, from the folder of the page.
os.environ["PYTHONPATH"] = str(ROOT)

from elmo import __version__  # noqa: E402 (its place is known from here on)

project = "elmo"
version = release = __version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "docs._ext.api",
    "docs._ext.command_help",
    "docs._ext.configuration",
    "docs._ext.repository",
]
# The results are read by the report; the discussion is part of it.
exclude_patterns = ["_build", "best", "results", "discussion.md"]

highlight_language = "none"  # most blocks are commands and what they print

html_theme = "furo"
html_title = f"elmo {version}"
html_static_path = ["_static"]
html_css_files = ["elmo.css"]
html_copy_source = False
html_show_copyright = False

myst_enable_extensions = ["attrs_block", "colon_fence", "deflist"]
myst_heading_anchors = 4  # a page can be linked at its headings, as on the repository's web page

nb_execution_mode = "force"
nb_execution_show_tb = True
nb_execution_timeout = 120
nb_merge_streams = True
nb_output_stderr = "remove"  # which model was loaded, from a path of this machine

autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # the base documents what its subclasses override
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_param = False  # one line may describe several arguments
napoleon_use_ivar = True
python_maximum_signature_line_length = 88

# Types of other packages: their documentation is not fetched. Everything of elmo has to resolve.
nitpick_ignore_regex = [
    ("py:.*", r"(?!elmo\b).*"),
    ("py:.*", r"elmo\.[\w.]+\.[A-Z]"),  # a type variable
]

copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
copybutton_line_continuation_character = "\\"
