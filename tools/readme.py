"""Write README.md from nbs/index.ipynb; with --check, exit 1 if README.md is not what it would
write."""

import re
import sys
from pathlib import Path

import nbformat
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parent.parent


def readme():
    notebook = nbformat.read(ROOT / "nbs" / "index.ipynb", as_version=4)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.cells = [
        cell for cell in notebook.cells if not re.search(r"^#\|\s*hide", cell.source, re.M)
    ]
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        output.get("data", {}).pop("text/html", None)  # a table of text reads well everywhere
    body, _ = MarkdownExporter().from_notebook_node(notebook)
    body = body.replace("](../", "](")  # the notebook lies one folder below
    return (
        "<!-- Made from nbs/index.ipynb by tools/readme.py -->\n\n"
        + re.sub(r"\n{3,}", "\n\n", body).strip()
        + "\n"
    )


if __name__ == "__main__":
    target = ROOT / "README.md"
    if "--check" not in sys.argv:
        target.write_text(readme())
    elif target.read_text() != readme():
        sys.exit("README.md is stale: run python tools/readme.py")
