"""Put the pages of the site together, and build it.

    python tools/docs.py              into docs/_build/html; a warning is an error
    python tools/docs.py --to FOLDER  the same, into FOLDER/html

What is written by hand lies in docs/, nbs/, tutorials/ and beside this folder; the rest follows
from the package (tools/reference.py). All of it is put together in FOLDER/source, and from there
Sphinx makes the pages. No network is needed."""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import reference

ROOT = Path(__file__).resolve().parent.parent
DOCS, NOTEBOOKS, LESSONS = ROOT / "docs", ROOT / "nbs", ROOT / "tutorials" / "exercises"
TOOLS = [Path(__file__), Path(reference.__file__)]
GENERATED = {  # what stands in place of `<!-- name -->` in a page
    "packages": reference.package_list,
    "reports": reference.report_list,
    "reasons": reference.reason_list,
    "exit codes": reference.code_list,
    "commands": reference.command_list,
}
PROJECT = {  # pages that lie at the top of the project, and what they are called in the site
    "CONTRIBUTING.md": "project/contributing.md",
    "CHANGELOG.md": "project/changelog.md",
    "SECURITY.md": "project/security.md",
}


class Site:
    "The pages as Sphinx reads them: a text or bytes for each path."

    def __init__(self) -> None:
        self.pages: dict[str, bytes] = {}

    def add(self, path: str, content: str | bytes) -> None:
        "Add a page, whose path nobody else may have."
        if path in self.pages:
            raise ValueError(f"two pages want to be {path}")
        self.pages[path] = content.encode() if isinstance(content, str) else content

    def write(self, folder: Path) -> None:
        "Write what has changed, and remove what is no page any more."
        for path, content in self.pages.items():
            target = folder / path
            if not target.exists() or target.read_bytes() != content:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        for path in [*folder.rglob("*")] if folder.exists() else []:
            if path.is_file() and path.relative_to(folder).as_posix() not in self.pages:
                path.unlink()


def toctree(*names: str, hidden: bool = True) -> str:
    "A table of contents in Markdown."
    options = ":hidden:\n" if hidden else ":maxdepth: 1\n"
    return "```{toctree}\n" + options + "\n" + "\n".join(names) + "\n```\n"


# --- pages that are written by hand ---------------------------------------------------------------


def filled(text: str, made: dict[str, str]) -> str:
    "A page with what is made in place of its marks."

    def replace(match: re.Match[str]) -> str:
        return made[match[1]] if match[1] in made else GENERATED[match[1]]()

    return re.sub(r"^<!-- ([a-z ]+) -->$", replace, text, flags=re.M)


def hand_written() -> Iterator[tuple[str, str | bytes]]:
    "The pages and pictures of docs/, with the pages of the project."
    made = {
        "lessons": lesson_list(),
        "rooms": room_list(),
        "project": project_list(),
    }
    for path in sorted(DOCS.rglob("*.md")):
        name = path.relative_to(DOCS).as_posix()
        if not name.startswith("_build/"):
            text = filled(path.read_text(encoding="utf-8"), made)
            yield name, reference.Names().linked(text) if name == "reference/index.md" else text
    for path in sorted((DOCS / "pictures").iterdir()):
        yield f"pictures/{path.name}", path.read_bytes()
    for name, target in PROJECT.items():
        if (ROOT / name).exists():
            yield target, relinked((ROOT / name).read_text(encoding="utf-8"))


def relinked(text: str) -> str:
    """A page of the project's top with its links as they are in the site; a link to a file that is
    no page of it becomes its text."""

    def replace(match: re.Match[str]) -> str:
        label, target = match[1], match[2]
        path, _, anchor = target.partition("#")
        if not path or re.match(r"[a-z]+:", target):
            return match[0]
        if path in PROJECT:
            path = Path(PROJECT[path]).name
        elif path.startswith("docs/") and path.endswith(".md") and (ROOT / path).exists():
            path = f"../{path.removeprefix('docs/')}"
        elif path.startswith("nbs/") and (ROOT / path).is_file():
            path = f"../notebooks/{path.removeprefix('nbs/')}"
        else:
            return label
        return f"[{label}]({path}{'#' if anchor else ''}{anchor})"

    return re.sub(r"(?<!!)\[([^\]]+)\]\(([^)\s]+)\)", replace, text)


def project_list() -> str:
    "The pages of the project that are there."
    names = [Path(target).stem for name, target in PROJECT.items() if (ROOT / name).exists()]
    return toctree(*names, hidden=False)


# --- notebooks ------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def source_of(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def markdown(text: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def exported_module(notebook: dict[str, Any]) -> str:
    "The module that a notebook becomes."
    for cell in notebook["cells"]:
        if found := re.search(r"^#\|\s*default_exp (\S+)", source_of(cell), re.M):
            name = f"domostats.{found[1]}"
            return name.removesuffix(".__init__")
    return ""


def shown_cells(notebook: dict[str, Any]) -> Iterator[dict[str, Any]]:
    "The cells that a reader sees: without directives, and without the cells that nbdev hides."
    for cell in notebook["cells"]:
        text = source_of(cell)
        if cell["cell_type"] == "code":
            if re.search(r"^\s*#\|\s*(hide|default_exp)", text, re.M):
                continue
            text = re.sub(r"^\s*#\|.*\n?", "", text, flags=re.M).strip("\n")
            if not text:
                continue
            cell = {**cell, "outputs": [shown(output) for output in cell["outputs"]]}
        yield {**cell, "source": text, "metadata": {}}


def shown(output: dict[str, Any]) -> dict[str, Any]:
    "An output without widgets: they need a server."
    data = output.get("data")
    if not data:
        return output
    kept = {kind: value for kind, value in data.items() if "widget" not in kind}
    return {**output, "data": kept}


def written(cells: list[dict[str, Any]]) -> str:
    "A notebook with these cells, as a file."
    metadata = {"language_info": {"name": "python", "pygments_lexer": "ipython3"}}
    notebook = {"nbformat": 4, "nbformat_minor": 5, "metadata": metadata, "cells": cells}
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    return json.dumps(notebook)


def title_of(cells: list[dict[str, Any]]) -> tuple[str, str]:
    "The title of a notebook, and the line below it."
    first = next(source_of(cell) for cell in cells if cell["cell_type"] == "markdown")
    title = re.search(r"^# (.+)$", first, re.M)
    line = re.search(r"^> (.+)$", first, re.M)
    return title[1] if title else "", line[1] if line else ""


def rooms() -> list[Path]:
    "The folders of the notebooks, in the order in which they are read."
    return sorted(path for path in NOTEBOOKS.iterdir() if [*path.glob("00_*.ipynb")])


def first_page(folder: Path) -> Path:
    "The notebook that opens a folder."
    return next(iter(sorted(folder.glob("00_*.ipynb"))))


def room_list() -> str:
    "The rooms as a table, with a hidden table of contents."
    rows, names = [], []
    for room in rooms():
        path = first_page(room).relative_to(NOTEBOOKS)
        title, line = title_of(read(first_page(room))["cells"])
        rows.append((f"[{title}]({path})", reference.cell(line)))
        names.append(str(path.with_suffix("")))
    return f"{reference.table(['room', 'what it is for'], rows)}\n\n{toctree(*names)}"


def notebook_pages() -> Iterator[tuple[str, str]]:
    "Every notebook as a page; the first of a folder lists what is in it."
    for path in sorted(NOTEBOOKS.rglob("*.ipynb")):
        if path.parent == NOTEBOOKS or ".ipynb_checkpoints" in path.parts:
            continue
        notebook = read(path)
        cells = [*shown_cells(notebook)]
        if module := exported_module(notebook):
            first = next(n for n, cell in enumerate(cells) if cell["cell_type"] == "markdown")
            cells.insert(first + 1, markdown(f"It becomes the module {{py:mod}}`{module}`."))
        if path == first_page(path.parent):
            inside = [one.stem for one in sorted(path.parent.glob("*.ipynb")) if one != path]
            below = sorted(one for one in path.parent.iterdir() if [*one.glob("00_*.ipynb")])
            inside += [f"{one.name}/{first_page(one).stem}" for one in below]
            if inside:
                cells.append(markdown(f"## In this room\n\n{toctree(*inside, hidden=False)}"))
        yield f"notebooks/{path.relative_to(NOTEBOOKS).as_posix()}", written(cells)


# --- lessons --------------------------------------------------------------------------------------


def lessons() -> list[Path]:
    "The exercises, in the order in which they are taken."
    return sorted(path for path in LESSONS.glob("*.ipynb") if path.stem != "index")


def lesson_list() -> str:
    "The lessons as a list, each with what can be done after it."
    parts = []
    for path in lessons():
        first = next(c for c in read(path)["cells"] if c["cell_type"] == "markdown")
        title, text = source_of(first).split("\n", 1)
        parts.append(f"## {title.lstrip('# ')}\n\n{text.strip()}\n\n[Read the lesson]({path.name})")
    return "\n\n".join([*parts, toctree(*(path.stem for path in lessons()))])


def lesson_pages() -> Iterator[tuple[str, str]]:
    "The exercises as pages, without answers."
    for path in lessons():
        yield f"lessons/{path.name}", written([*shown_cells(read(path))])


# --- all of it ------------------------------------------------------------------------------------


def assemble() -> Site:
    "Every page of the site."
    site = Site()
    for pages in (
        hand_written(),
        notebook_pages(),
        lesson_pages(),
        reference.module_pages(),
        reference.report_pages(),
    ):
        for path, content in pages:
            site.add(path, content)
    return site


def modified(path: Path) -> float:
    return path.stat().st_mtime


def build(folder: Path) -> int:
    "Put the site together and build it in a folder; gives Sphinx's exit code."
    source, target = folder / "source", folder / "html"
    assemble().write(source)
    shutil.rmtree(folder / "jupyter_execute", ignore_errors=True)
    read = folder / "doctrees" / "environment.pickle"
    if read.exists() and read.stat().st_mtime < max(map(modified, [DOCS / "conf.py", *TOOLS])):
        shutil.rmtree(folder / "doctrees")  # Sphinx knows what is set, not what a function does
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-j", "auto"]
    places = ["-c", DOCS, "-d", folder / "doctrees", source, target]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tools")])}
    code = subprocess.run([*command, *map(str, places)], env=environment).returncode
    if code == 0:
        print(f"{sum(1 for _ in target.rglob('*.html'))} pages: {target / 'index.html'}")
    return code


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Build the site.")
    parser.add_argument("--to", type=Path, default=DOCS / "_build", metavar="FOLDER")
    sys.exit(build(parser.parse_args().to.resolve()))
