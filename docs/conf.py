"""Settings of Sphinx for the site: uv run --group docs sphinx-build -W docs site."""

import re

from sphinx.application import Sphinx

project = "multiview-pose"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]

exclude_patterns = ["figures"]
html_theme = "furo"
html_title = "multiview-pose"
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False

myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False


def keep_links_inside(app: Sphinx, page: str, source: list[str]) -> None:
    """Links out of docs/: those to the folders of packages lead to the packages' pages, others become plain text."""
    if "/" not in page:
        linked = re.sub(r"\]\(\.\./packages/(\w+)\)", r"](api/\1.md)", source[0])
        source[0] = re.sub(r"\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", linked)


def setup(app: Sphinx) -> None:
    """Register the page filter; Sphinx calls this."""
    app.connect("source-read", keep_links_inside)
