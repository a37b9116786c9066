"""Settings of the manual."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(Path(__file__).resolve().parent))
import generate  # noqa: E402 - it lies beside this file

generate.write_all()
_core = tomllib.loads((ROOT / "packages/triggers-core/pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "Triggers"
author = "The Triggers maintainers"
copyright = f"2026, {author}"
version = release = _core["version"]

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build", "_generated", "benchmarks", "conftest.py"]
nitpicky = True
# Annotations name private things and other people's, which have no page here; all other references must lead somewhere.
nitpick_ignore_regex = [("py:.*", ".*")]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist", "attrs_inline"]
myst_heading_anchors = 3
autodoc_typehints = "description"
autodoc_member_order = "bysource"
napoleon_google_docstring = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"Triggers {version}"
html_static_path: list[str] = []
