"""Sphinx configuration; the pages under ``reference/generated`` are written from code at each build."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent))

import generate  # noqa: E402

import chainp2p  # noqa: E402

project = "chainp2p"
author = "The chainp2p authors"
copyright = "2026, the chainp2p authors"
release = version = chainp2p.__version__
extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"chainp2p {release}"
autodoc_typehints = "description"
autodoc_member_order = "bysource"
nitpicky = False

generate.write_all(HERE / "reference" / "generated")
