"""How Sphinx builds the site from what `tools/docs.py` has put together."""

import ast
import builtins
import contextlib
import inspect
import re
from pathlib import Path

from reference import modules, plain
from sphinx import addnodes
from sphinx.util.nodes import find_pending_xref_condition

import domostats

HERE = Path(__file__).parent

project = "domostats"
author = "the domostats authors"
copyright = "the domostats authors, Apache License 2.0"
version = release = domostats.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx_design",
    "sphinx_copybutton",
]
exclude_patterns = ["jupyter_execute"]
default_role = "code"
nitpicky = False

# Notebooks show the outputs that are stored in them; nothing is run, and nothing is fetched.
nb_execution_mode = "off"
nb_merge_streams = True
nb_ipywidgets_js = {}
mathjax_path = "mathjax.js"  # no page has a formula; without this line one would call a server
myst_enable_extensions = ["colon_fence", "attrs_inline"]
myst_heading_anchors = 3
suppress_warnings = [
    "myst-nb.lexer",  # `!` and `%` lines are no Python
    "ref.python",  # two classes are called `Auth`: of a connection, and that of the published SDK
]
smartquotes = False

autodoc_mock_imports = ["airflow"]  # it has an environment of its own
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "undoc-members": True, "show-inheritance": True}
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
toc_object_entries_show_parents = "hide"
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_title = "domostats"
html_favicon = str(HERE / "pictures" / "favicon.svg")
html_logo = html_favicon
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "domostats", "alt_text": "domostats, the start page"},
    "navbar_align": "left",
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "show_nav_level": 1,
    "navigation_depth": 4,
    "collapse_navigation": True,  # a page lists its own room; all rooms would be most of it
    "footer_start": ["copyright"],
    "footer_end": [],
    "search_bar_text": "Search",
}
html_sidebars = {"index": []}


def literal_blocks(lines):
    "The lines of a docstring, where what is indented after an empty line stands as it is."
    made, inside = [], False
    for before, line in zip(["", *lines], lines, strict=False):
        is_indented = line.startswith("    ")
        if is_indented and not inside and not before.strip():
            made += ["::", ""]
            inside = True
        elif line.strip() and not is_indented:
            inside = False
        made.append(line)
    return made


def read_docstring(app, what, name, object, options, lines):
    "Docstrings are texts with code in backticks; no other sign means anything."
    of_its_type = inspect.getdoc(object) == inspect.getdoc(type(object))
    if what == "data" or (what == "attribute" and of_its_type):
        lines.clear()  # what `dict` says of itself says nothing of this one
    made, block = [], []
    for line in [*literal_blocks(lines), None]:
        if line is not None and line.strip() and not line.startswith("    "):
            block.append(line)
            continue
        if block:
            text = "\n".join(block)
            made += [text] if text == "::" else plain(text).split("\n")
            block = []
        if line is not None:
            made.append(line)
    lines[:] = made


def keep_types(app, doctree):
    "No link for a built-in type, and none that is only guessed from the end of a name."
    for node in [*doctree.findall(addnodes.pending_xref)]:
        if node.get("refdomain") == "py":
            node.attributes.pop("refspecific", None)  # there at all, it is a wish to guess
            if hasattr(builtins, node["reftarget"]):
                shown = find_pending_xref_condition(node, "resolved")
                node.replace_self(shown.children if shown else node.children)


def hide_paths(app, what, name, object, options, signature, returns):
    "A default that is a path is one of the machine that builds the site."
    return re.sub(r"\w*Path\('[^']*'\)", "...", signature) if signature else signature, returns


def load_types():
    "Import what the modules import for type checkers only, so that each type is known."
    found = modules()
    spaces = [vars(module.loaded) for module in found]  # all of them first: no import in circles
    for module, names in zip(found, spaces, strict=True):
        for node in ast.parse(module.path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                for line in node.body:
                    with contextlib.suppress(ImportError):
                        exec(ast.unparse(line), names)


def setup(app):
    load_types()
    app.connect("autodoc-process-signature", hide_paths)
    app.connect("doctree-read", keep_types)
    app.connect("autodoc-process-docstring", read_docstring)
