"""The guides of the site: each block of Python runs, from the first to the last of a page, and each
command exists."""

import re
import shlex

import pytest
from conftest import ROOT
from typer.main import get_command

from domostats.interfaces.cli import app
from domostats.sandbox.running import RunningSandbox

GUIDES = sorted(path for path in (ROOT / "docs" / "guides").glob("*.md") if path.stem != "index")


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_the_python_of_a_guide_runs(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "guide"}
    try:
        for number, block in enumerate(blocks(path, "python"), 1):
            exec(compile(block, f"{path.name}, block {number}", "exec"), names)
    finally:
        for box in [one for one in names.values() if isinstance(one, RunningSandbox)]:
            box.stop()
    assert len(names) > 2


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_the_commands_of_a_guide_exist(path):
    commands = get_command(app).commands
    for block in blocks(path, "sh"):
        for line in block.splitlines():
            for part in line.split("&&"):
                words = shlex.split(part, comments=True)
                if words[:1] != ["domostats"]:
                    continue
                command = commands[words[1]]
                if hasattr(command, "commands"):
                    command = command.commands[words[2]]
                known = {option for param in command.params for option in param.opts}
                used = {word for word in words[2:] if word.startswith("-")}
                assert used <= known, (line, used - known)


def test_each_guide_is_in_the_list_of_guides():
    assert len(GUIDES) >= 10
    index = (ROOT / "docs" / "guides" / "index.md").read_text(encoding="utf-8")
    assert all(f"]({path.name})" in index for path in GUIDES)
