"""The guides of the site: each block of Python runs, from the first to the last of a page. Each
command that a page of the project names can be given as it stands there."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from typer.main import get_command

from domostats import sandbox
from domostats.interfaces.cli import app
from domostats.sandbox.running import RunningSandbox

GUIDES = sorted(path for path in (ROOT / "docs" / "guides").glob("*.md") if path.stem != "index")


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text(encoding="utf-8"), re.M | re.S)


OF_A_PROJECT = "django"  # its Python is files of a project: test_guide_django makes it


@pytest.mark.parametrize(
    "path", [one for one in GUIDES if one.stem != OF_A_PROJECT], ids=lambda path: path.stem
)
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


FOR_PEOPLE = "pip install", "domostats dash-sandbox"  # these the test does in another way


@pytest.mark.slow
def test_the_commands_of_the_guide_to_dash_run_one_after_the_other(own_folder):
    script = [
        text
        for text in blocks(ROOT / "docs" / "guides" / "comotion_dash.md", "sh")
        if not text.startswith(FOR_PEOPLE)
    ]
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    with sandbox.start_dash() as box:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", "\n".join(script)],
            env={**os.environ, "PATH": places},
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        loads = {load.table: load.state for load in box.loads.values()}
        assert loads == {"policies": "SUCCESS"} and box.migration.full == "Completed"
        assert box.table("policies").num_rows == 0, "what was tried is deleted by the migration"
    assert Path("result.csv").read_text() == '"n"\n"1"\n' and Path("loads.parquet").exists()
    assert len(script) >= 6 and '"status": "RUNNING"' in done.stdout


@pytest.mark.slow
def test_the_commands_of_the_guide_to_bigquery_run_beside_their_sandbox(own_folder):
    page = ROOT / "docs" / "guides" / "bigquery.md"
    Path("stats.py").write_text(blocks(page, "python")[0])
    Path("settings.ini").write_text(blocks(page, "ini")[0])
    _, serving, *scripts = blocks(page, "sh")
    places = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": places}
    environment.pop("DOMOSTATS_SETTINGS", None)  # a newcomer has none
    words = shlex.split(serving)
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            said = [process.stdout.readline() for _ in range(4)]
            assert said[-1] == "GOOGLE_APPLICATION_CREDENTIALS=key.json\n"
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", "".join(scripts)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
            )
        finally:
            process.send_signal(signal.SIGINT)
    assert done.returncode == 0, done.stdout + done.stderr
    for words in (
        "wrote 0001_email_user.json",
        "applied step 2 of 0001_email_user.json",
        "welcome",
        "user 2022-01-03 1 row",
        "would be lost: table user with 3 rows of 3 days (2022-01-01 to 2022-01-03), and view "
        "user_delta",
        "p:2022-01-03",
        "35",
    ):
        assert words in done.stdout, done.stdout


SMOLQWERY = """EXTRACTORS DJANGO_APP FIRST_DATE DATASET DATASET_LOCATION ACL_GROUPS GOOGLE_TYPE
    GOOGLE_PROJECT_ID GOOGLE_PRIVATE_KEY_ID GOOGLE_PRIVATE_KEY GOOGLE_CLIENT_EMAIL GOOGLE_CLIENT_ID
    GOOGLE_AUTH_URI GOOGLE_TOKEN_URI GOOGLE_AUTH_PROVIDER_X509_CERT_URL
    GOOGLE_CLIENT_X509_CERT_URL GOOGLE_MOCK"""


def test_each_setting_of_smolqwery_stands_beside_one_of_ours():
    from domostats.clients.bigquery.credentials import ENTRIES, variable_of
    from domostats.settings_text import KEYS

    text = (ROOT / "docs" / "guides" / "bigquery.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `SMOLQWERY_(\w+)` \| (.+) \|$", text, re.M))
    assert sorted(rows) == sorted(SMOLQWERY.split())
    ours = {*KEYS["extractors"], *KEYS["bigquery"], *map(variable_of, ENTRIES)}
    for setting, words in rows.items():
        quoted = [word.partition(" ")[0] for word in re.findall(r"`([^`]+)`", words)]
        named = [word for word in quoted if not word.startswith("[")]
        assert named and {*named} <= ours, setting
    entries = {name for name in rows if name.startswith("GOOGLE_")} - {"GOOGLE_MOCK"}
    assert {variable_of(name.removeprefix("GOOGLE_")) for name in entries} == {
        variable_of(entry) for entry in ENTRIES
    }


def prose(path):
    "What a page says, or the cells of Markdown of a notebook."
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
    return "\n\n".join("".join(cell["source"]) for cell in cells)


def commands_in(text):
    "The commands that stand in a text: in its blocks, and between backticks."
    lines = "\n".join(re.findall(r"^```(?:sh)?\n(.*?)^```", text, re.M | re.S)).splitlines()
    parts = [part for line in lines for part in line.split("&&")]
    for part in [*parts, *re.findall(r"`(domostats [^`\n]+)`", text)]:
        if part.strip().startswith("domostats "):
            yield shlex.split(part, comments=True)[1:]


def flaw(words):
    "What is wrong with a command, as its words; empty where nothing is."
    command = get_command(app)
    while words and hasattr(command, "commands"):
        name, *words = words
        option = next((one for one in command.params if name in one.opts), None)
        if option is not None and not option.is_flag:
            words = words[1:]
            continue
        if name.startswith("-"):
            words = [name, *words]
            break
        if name not in command.commands:
            return f"there is no {name}"
        command = command.commands[name]
    options = {one: param for param in command.params for one in param.opts + param.secondary_opts}
    given, seen = [], []
    while words:
        word, *words = words
        if not word.startswith("-") or word == "-":
            given.append(word)
        elif word not in options:
            return f"there is no {word}"
        else:
            words = words[0 if options[word].is_flag else 1 :]
            seen.append(word)
    twice = [one for one in seen if seen.count(one) > 1 and not options[one].multiple]
    places = [param for param in command.params if param.param_type_name == "argument"]
    if twice:
        return f"{twice[0]} is taken once"
    is_right = len(given) <= len(places) or any(param.nargs == -1 for param in places)
    return "" if is_right else f"{given[-1]} is too much"


PAGES = [
    *GUIDES,
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted((ROOT / "tutorials" / "solutions").glob("*.ipynb")),
    *sorted((ROOT / "nbs").rglob("*.ipynb")),
]


def test_every_command_that_a_page_names_can_be_given():
    told = [(path, words) for path in PAGES for words in commands_in(prose(path))]
    assert len(told) > 30
    assert [(path.name, words, flaw(words)) for path, words in told if flaw(words)] == []


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("estimate --instance acme", ""),
        ("generate users --instance a --instance b --excel --to x.csv", ""),
        ("registry upgrade sqlite:///FILE", ""),
        ("--version", ""),
        ("estimate --instance a --instance b", "--instance is taken once"),
        ("estimate acme", "acme is too much"),
        ("registry migrate", "there is no migrate"),
        ("check --loud", "there is no --loud"),
        ("dash -o acme migration-status", ""),
        ("dash -o acme migrate", "there is no migrate"),
    ],
)
def test_a_command_that_cannot_be_given_is_noticed(command, told):
    assert flaw(command.split()) == told


def test_each_guide_is_in_the_list_of_guides():
    assert len(GUIDES) >= 10
    index = (ROOT / "docs" / "guides" / "index.md").read_text(encoding="utf-8")
    assert all(f"]({path.name})" in index for path in GUIDES)
