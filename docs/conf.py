"""Settings of the site: `make site` builds it into build/docs."""

from __future__ import annotations

import zlib
from pathlib import Path

from mpidirect import __version__

HERE = Path(__file__).parent
INVENTORIES = HERE.parent / "build" / "inventories"

project = "mpidirect"
author = "the mpidirect developers"
release = version = __version__
root_doc = "index"
smartquotes = False  # two hyphens begin an option

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_click",
    "sphinx_copybutton",
]

# Pages are Markdown that is also read on a code host.
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
myst_heading_anchors = 3

# The reference: types are in the docstrings, where numpydoc has them.
default_role = "py:obj"
autodoc_typehints = "none"
autodoc_member_order = "groupwise"
autodoc_default_options = {"members": True, "inherited-members": "Future,KeyError,dict,str,tuple"}
numpydoc_show_class_members = False
add_module_names = False
toc_object_entries_show_parents = "hide"
python_display_short_literal_types = True
# Names in single backquotes are links where there is such a name; parameters have none.
nitpick_ignore_regex = [("py:obj", ".*"), ("py:class", "_pickle.PicklingError")]
suppress_warnings = ["misc.highlighting_failure"]  # transcripts of a debugger have "…" for what is left out

html_theme = "pydata_sphinx_theme"
html_title = "mpidirect"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": False,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "navigation_with_keys": False,
    "footer_start": [],
    "footer_end": [],
}
copybutton_prompt_text = r">>> |\.\.\. |\$ |In \[\d*\]: | {2,5}\.\.\.: "
copybutton_prompt_is_regexp = True

# Names of other projects that the pages refer to. The inventories of these projects have all names; the lists
# here are used without a network.
SITES = {
    "python": ("https://docs.python.org/3", "python.txt"),
    "numpy": ("https://numpy.org/doc/stable", "numpy.txt"),
    "mpi4py": ("https://mpi4py.readthedocs.io/en/stable", "mpi4py.txt"),
    "ipyparallel": ("https://ipyparallel.readthedocs.io/en/latest", "ipyparallel.txt"),
}
intersphinx_timeout = 5


def inventory(name: str, lines: str) -> str:
    """Write an inventory of the names in `lines`; return its path."""
    head = f"# Sphinx inventory version 2\n# Project: {name}\n# Version: \n# compressed with zlib\n"
    INVENTORIES.mkdir(parents=True, exist_ok=True)
    file = INVENTORIES / f"{name}.inv"
    file.write_bytes(head.encode() + zlib.compress(lines.encode()))
    return str(file)


intersphinx_mapping = {
    name: (address, (None, inventory(name, (HERE / "inventories" / file).read_text())))
    for name, (address, file) in SITES.items()
}


def link_short_name(app, env, node, content):
    """Return the link of a name that a docstring writes without its module; None if there is no such name."""
    for module in ("mpidirect", "mpidirect.errors", "mpidirect.client.results.outputs"):
        name = f"{module}.{node['reftarget']}"
        link = env.domains["py"].resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, content)
        if link is not None:
            return link
    return None


def setup(app):
    app.connect("missing-reference", link_short_name)
