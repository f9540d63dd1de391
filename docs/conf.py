"""Sphinx: the docstrings are the reference, and every example is run."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import sage

project = "sage"
author = "The sage authors"
copyright = "2026, The sage authors"
version = release = sage.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "generated_tables",
]
exclude_patterns = ["_build", "_ext", "**/_generated"]
nitpicky = False

# A name in single back-ticks is code, in docstrings as in Markdown.
default_role = "code"
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Wire"]

# Examples say what they need; a doctest inside a docstring is the tests' business.
doctest_test_doctest_blocks = ""
trim_doctest_flags = True

html_theme = "furo"
html_title = f"sage {release}"
html_copy_source = False
html_show_sphinx = False
