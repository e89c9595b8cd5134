"""How the site is made (`make docs`).

The sources are those of the repository, where they lie: pages in `docs/`, notebooks, and the texts
at the top. So links between them hold on the site as they do in a checkout.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "extensions")]

from planner import __version__  # noqa: E402

project = "planner"
release = __version__
language = "en"
smartquotes = False
"""They would turn `--option` into a dash, and quoted words of the API into others."""
extensions = ["myst_nb", "sphinx.ext.autodoc", "reference_pages", "command_pages"]

root_doc = "docs/index"
include_patterns = ["docs/**.md", "notebooks/*.ipynb", *(f"{name}.md" for name in (
    "CALIBRATION", "CHANGELOG", "CONTRIBUTING", "DECISIONS", "LICENCES", "NOMENCLATURE", "SECURITY",
))]  # fmt: skip
exclude_patterns = [
    ".*",
    "build",
    "dist",
    "docs/_build",
    "planner",
    "tests",
    "**/.ipynb_checkpoints",
]

myst_enable_extensions = ["attrs_block", "colon_fence"]
myst_heading_anchors = 4
nb_execution_mode = "off"
"""Notebooks are shown as they were run: the tests run each of them anew."""
nb_ipywidgets_js = {}
nb_merge_streams = True

autodoc_member_order = "bysource"
python_maximum_signature_line_length = 88
add_module_names = False

html_theme = "furo"
html_title = f"planner {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "to_the_first_page.html"}
templates_path = ["templates"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
