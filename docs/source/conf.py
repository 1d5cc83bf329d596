"""Sphinx configuration. Warnings are errors: `make docs`."""

import sys
from pathlib import Path

from aiida_mlip import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "aiida-mlip-workchains"
author = "The aiida-mlip-workchains developers"
copyright = f"2026, {author}"  # noqa: A001 (Sphinx asks for this name)
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click", "mlip_reference"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["reference/generated/keys.md"]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
python_use_unqualified_type_names = True

html_theme = "furo"
html_title = f"aiida-mlip-workchains {release}"
html_static_path = ["_static"]
