"""How Sphinx makes the documentation site: `tools/docs`. What is generated is in `_ext/`, and goes to `generated/`."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import kflare  # noqa: E402 - found by the line above
from kflare.commands.command_line import quiet_tensorflow  # noqa: E402

quiet_tensorflow()

project = "kflare"
copyright = "The kflare developers"  # noqa: A001 - Sphinx's name
version = release = kflare.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "generated_pages",
    "native_math",
    "no_outside_request",
]
exclude_patterns = ["_build", "_ext", "gallery", "generated/parts", "generated/gallery/*.ipynb"]

# Existing pages are Markdown as GitHub shows it: anchors of headings are those of GitHub.
myst_heading_anchors = 4
myst_enable_extensions = ["dollarmath"]
# Docstrings put names into single backticks.
default_role = "literal"
# --option stays --option.
smartquotes = False

autosummary_generate = False
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "none"
autodoc_class_signature = "mixed"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r".*\.py",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_signature": False,
    "remove_config_comments": True,
    "abort_on_example_error": True,
    "image_scrapers": ("matplotlib",),
    "reset_modules": ("matplotlib",),
    "nested_sections": False,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "kflare"
html_static_path = ["_static"]
html_css_files = ["kflare.css"]
html_js_files = ["kflare.js"]
html_show_sourcelink = False
html_copy_source = False
html_sidebars = {"index": [], "start": [], "faq": []}
html_theme_options = {
    "show_prev_next": False,
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
