"""What a contributor is told is true: the guide is followed to the letter, the changelog knows the
version, notebooks merge cell by cell."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

import domostats

BIN = Path(sys.executable).parent
GUIDE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
HEADS = re.compile(
    r"^\*\*`(?P<path>[^`]+)`\*\*|^```(?P<language>\w+)\n(?P<text>.*?)^```", re.M | re.S
)


def blocks():
    "The blocks of the guide that belong to a file, in order: path, language and text of each."
    lesson = GUIDE.split("## Write your first report")[1].split("### 7.")[0]
    path = ""
    for found in HEADS.finditer(lesson):
        path = found["path"] or path
        if found["language"]:
            yield path, found["language"], found["text"].rstrip("\n")


def cell(language, text, number):
    kind = "markdown" if language == "markdown" else "code"
    made = {"cell_type": kind, "id": f"guide{number:03}", "metadata": {}, "source": text}
    return made if kind == "markdown" else made | {"outputs": [], "execution_count": None}


def changed(source, diff):
    "The source of a cell with the lines of a diff changed; None where it has not these lines."
    lines = diff.splitlines()
    before = "\n".join(line[1:] for line in lines if line[0] in " -")
    after = "\n".join(line[1:] for line in lines if line[0] in " +")
    return source.replace(before, after, 1) if before in source else None


def follow(folder):
    "Do in a copy of the project what the guide says."
    for number, (path, language, text) in enumerate(blocks()):
        file = folder / path
        if file.suffix != ".ipynb":
            file.write_text(text + "\n")
            continue
        new = {"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        page = json.loads(file.read_text(encoding="utf-8")) if file.exists() else new
        if language != "diff":
            end = len(page["cells"]) - ("nbdev_export" in str(page["cells"][-1:]))
            page["cells"].insert(end, cell(language, text, number))
        else:
            for one in page["cells"]:
                source = changed("".join(one["source"]), text)
                if source is not None:
                    one["source"] = source
                    break
            else:
                raise AssertionError(f"{path} has no such lines:\n{text}")
        file.write_text(json.dumps(page, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


@pytest.mark.long
@pytest.mark.slow
def test_who_follows_the_guide_has_a_report_and_no_test_fails(copy, tmp_path):
    environment = os.environ | {
        "PYTHONPATH": str(copy),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }

    def run(program, *arguments):
        done = subprocess.run(
            [BIN / program, *arguments],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
        return done.stdout

    follow(copy)
    pages = sorted({path for path, _, _ in blocks() if path.endswith(".ipynb")})
    assert len(pages) == 5
    run("ruff", "format", "--quiet", "nbs")
    run("nbdev-export")
    run("ruff", "format", "--quiet", "domostats")
    run("ruff", "check", ".")
    for page in pages:
        run("nbdev-test", page)
    run("python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_expected.py")
    slow = "tests/test_strictness.py", "tests/test_estimates.py"
    told = run("python", "-m", "pytest", "-q", "-m", "", *slow, "-k", "known_grants")
    assert " passed" in told
    files = "columns", "reports", "report_edges", "incomplete", "listings", "sandbox_entities"
    names = [f"tests/test_{name}.py" for name in files]
    told = run("python", "-m", "pytest", "-q", *names, "-k", "known_grants or authorities")
    assert int(re.search(r"(\d+) passed", told)[1]) >= 20, told
    assert "one grant" in run("python", "-m", "domostats", "reports", "known_grants")


def test_what_the_guide_names_is_there():
    new = {path for path, _, _ in blocks()}
    for path in re.findall(r"`((?:nbs|tests|tutorials|tools|\.ci)/[\w./]+)`", GUIDE):
        assert path in new or (ROOT / path).exists(), path
    for path in re.findall(r"`([\w/]+\.ipynb)`", GUIDE):  # named by the end of its path
        there = any(one.match(f"**/{path}") for one in (ROOT / "nbs").rglob("*.ipynb"))
        assert path in new or there, path
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for target in re.findall(r"(?:^|`)make ([a-z-]+)", GUIDE, re.M):
        assert target in targets, target
    for link in re.findall(r"\]\(([\w./]+\.md)\)", GUIDE):
        assert (ROOT / link).exists(), link


def test_the_changelog_knows_the_version():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    titles = re.findall(r"^## (.*)$", text, re.M)
    assert titles[0] == "[Unreleased]"
    released = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)", one) for one in titles[1:]]
    assert released[0][1] == domostats.__version__
    days = [one[2] for one in released]
    assert days == sorted(days, reverse=True)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert {*re.findall(r"^### (.*)$", text, re.M)} <= kinds


def test_two_who_ran_the_same_page_have_no_conflict(tmp_path):
    nbformat = pytest.importorskip("nbformat")

    def git(*arguments, check=True):
        return subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments],
            cwd=tmp_path,
            check=check,
            capture_output=True,
            text=True,
        )

    def write(ran, **texts):
        texts = {"one": "1", "two": "2", "three": "3"} | texts
        cells = [
            cell("python", text, number) | {"id": name, "execution_count": ran + number}
            for number, (name, text) in enumerate(texts.items())
        ]
        page = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
        nbformat.write(nbformat.from_dict(page), tmp_path / "page.ipynb")  # as Jupyter does

    def cells():
        page = json.loads((tmp_path / "page.ipynb").read_text())
        return ["".join(one["source"]) for one in page["cells"]]

    driver = re.search(r'merge\.jupyternotebook\.driver "(.*)"', (ROOT / "Makefile").read_text())[1]
    git("init", "-q", "-b", "main")
    git("config", "merge.jupyternotebook.driver", driver.replace("$(BIN)", str(BIN)))
    (tmp_path / ".gitattributes").write_text((ROOT / ".gitattributes").read_text())
    write(1)
    git("add", "-A")
    git("commit", "-qm", "page")
    git("checkout", "-qb", "other")
    write(20, three="3 of other")
    git("commit", "-qam", "other")
    git("checkout", "-q", "main")
    write(40, one="1 of main")
    git("commit", "-qam", "main")
    git("merge", "other", "-m", "both")
    assert cells() == ["1 of main", "2", "3 of other"]
    git("checkout", "-q", "other")
    write(60, one="1 of other", three="3 of other")
    git("commit", "-qam", "again")
    assert git("merge", "main", check=False).returncode == 1
    assert [line for line in cells() if line[0] in "123"] == [
        "1 of other",
        "1 of main",
        "2",
        "3 of other",
    ]
