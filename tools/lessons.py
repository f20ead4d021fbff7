"""The lessons: `run` executes the solutions and stores their outputs (those that are named, or
all), `make` writes the exercises and the clean copies from them, `check` says whether they are
current.

In a solution, what is to be done stands between two comments, and what stands in its place in the
exercise is up to the author:

    # BEGIN SOLUTION
    return sorted(rows)
    # STUB: return ...
    # END SOLUTION

Without a STUB line the region becomes three dots. Cells with the tag `solution-only` are left
out. A clean copy is the exercise without its prose, for those who want to recall a lesson."""

import copy
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat

TUTORIALS = Path(__file__).resolve().parent.parent / "tutorials"
WIDGET = "application/vnd.jupyter.widget-view+json"
METADATA = {"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}}


class LessonError(Exception):
    "A solution from which no exercise can be made."


def pairs(tutorials=TUTORIALS):
    "Every solution with the exercise that belongs to it, as paths."
    return [
        (solution, tutorials / "exercises" / solution.name)
        for solution in sorted((tutorials / "solutions").glob("*.ipynb"))
    ]


def stubbed(source):
    "The lines of a cell with its solution regions replaced, and how many regions there were."
    lines, region, regions = [], None, 0
    for line in source.split("\n"):
        word = line.strip()
        if word == "# BEGIN SOLUTION":
            if region is not None:
                raise LessonError("A solution region begins inside another one.")
            region, indent, regions = [], line[: line.index("#")], regions + 1
        elif word == "# END SOLUTION":
            if region is None:
                raise LessonError("A solution region ends where none has begun.")
            lines, region = lines + (region or [indent + "..."]), None
        elif region is None:
            lines.append(line)
        elif stub := re.match(r"\s*# STUB: ?(.*)", line):
            region.append((indent + stub[1]).rstrip())
    if region is not None:
        raise LessonError("A solution region has no end.")
    return "\n".join(lines), regions


def exercise(solution):
    "The exercise (notebook) of a solution (notebook)."
    made, regions = (
        nbformat.from_dict({"nbformat": 4, "nbformat_minor": 5, "metadata": METADATA, "cells": []}),
        0,
    )
    for cell in copy.deepcopy(solution.cells):
        tags = cell.metadata.get("tags", [])
        if "solution-only" in tags:
            continue
        cell.metadata = nbformat.from_dict({"tags": tags} if tags else {})
        if cell.cell_type == "code":
            cell.source, found = stubbed(cell.source)
            cell.outputs, cell.execution_count, regions = [], None, regions + found
        made.cells.append(cell)
    if not regions:
        raise LessonError(
            "There is no solution region in this notebook, so there would be nothing to do "
            "in the exercise."
        )
    return made


def tidy(notebook):
    """The notebook without what differs from run to run: cells are counted from 1, no
    timings, no addresses, no widget numbers, no output of a cell with the tag
    `nbval-ignore-output`."""
    notebook.metadata, count = nbformat.from_dict(METADATA), 0
    for cell in notebook.cells:
        cell.metadata = nbformat.from_dict(
            {key: value for key, value in cell.metadata.items() if key == "tags"}
        )
        if cell.cell_type != "code":
            continue
        count += bool(cell.execution_count)
        cell.execution_count = count if cell.execution_count else None
        differs = "nbval-ignore-output" in cell.metadata.get("tags", [])
        cell.outputs = [] if differs else _joined(cell.outputs)
        for output in cell.outputs:
            _tidy_output(output, count)
    return notebook


def _joined(outputs):
    """The outputs with neighbouring pieces of one stream put together: how a kernel cuts them is
    chance."""
    joined = []
    for output in outputs:
        if (
            joined
            and output.output_type == joined[-1].output_type == "stream"
            and output.name == joined[-1].name
        ):
            joined[-1].text += output.text
        else:
            joined.append(output)
    return joined


def _tidy_output(output, count):
    if "execution_count" in output:
        output.execution_count = count
    if "metadata" in output:
        output.metadata = nbformat.from_dict({})
    data = output.get("data", {})
    data.pop(WIDGET, None)
    for kind, text in data.items():
        if kind.startswith("text/") and isinstance(text, str):
            data[kind] = re.sub(r" at 0x[0-9a-f]+", "", text)


def clean(made):
    "The clean copy of an exercise: its code, without prose."
    copied = copy.deepcopy(made)
    copied.cells = [cell for cell in copied.cells if cell.cell_type == "code"]
    return copied


def marked(notebook, name):
    """The notebook with the lesson and its version in its metadata, by which a newer one is told
    from a learner's copy; as it is if no lesson has this name."""
    from domostats.lessons.catalogue import LESSONS

    lesson = next((one for one in LESSONS.values() if one.file == name), None)
    if lesson:
        notebook.metadata["domostats"] = {"lesson": lesson.subject, "version": lesson.version}
    return notebook


def wanted_files(tutorials=TUTORIALS):
    "What `make` writes: the text of each exercise and each clean copy, by path."
    wanted = {}
    for solution, path in pairs(tutorials):
        made = marked(exercise(nbformat.read(solution, as_version=4)), solution.name)
        wanted[path] = text_of(made)
        wanted[tutorials / "clean" / solution.name] = text_of(clean(made))
    return wanted


def text_of(notebook):
    "The file that holds a notebook."
    return nbformat.writes(notebook) + "\n"


def executed(notebook, folder):
    """Run a notebook from its top in a kernel of its own that works in `folder`, and give it back;
    the first error ends it."""
    from nbclient import NotebookClient

    NotebookClient(
        notebook,
        kernel_name="python3",
        timeout=300,
        record_timing=False,
        resources={"metadata": {"path": str(folder)}},
    ).execute()
    return notebook


def run(*names, tutorials=TUTORIALS):
    """Execute the solutions (those of these names, or all) and store their outputs, in a home of
    its own: no sandbox, setting or progress of this user shows in them."""
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(
            dict.fromkeys(("XDG_STATE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), home)
        )
        for solution, _ in pairs(tutorials):
            if not names or solution.stem in names:
                notebook = executed(nbformat.read(solution, as_version=4), home)
                solution.write_text(text_of(tidy(notebook)), encoding="utf-8")


def make(tutorials=TUTORIALS):
    "Write every exercise and every clean copy."
    for path, text in wanted_files(tutorials).items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def check(tutorials=TUTORIALS):
    "Exit with a sentence if an exercise or a clean copy is not what its solution makes."
    wanted = wanted_files(tutorials)
    there = {
        path: path.read_text(encoding="utf-8")
        for kind in ("exercises", "clean")
        for path in (tutorials / kind).glob("*.ipynb")
    }
    stale = sorted(
        {path.name for path in wanted.keys() | there.keys() if wanted.get(path) != there.get(path)}
    )
    if stale:
        sys.exit(
            f"Not what the solutions make: {', '.join(stale)}. Run: python tools/lessons.py make"
        )


if __name__ == "__main__":
    commands = {"run": run, "make": make, "check": check}
    if (
        len(sys.argv) < 2
        or sys.argv[1] not in commands
        or (len(sys.argv) > 2 and sys.argv[1] != "run")
    ):
        sys.exit("Usage: python tools/lessons.py run [NAME ...] | make | check")
    try:
        commands[sys.argv[1]](*sys.argv[2:])
    except LessonError as error:
        sys.exit(str(error))
