"""Settings files as people write them: read right, or an error that names the file and the line
and never the value."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from domostats.credentials import find_secrets, from_dotenv
from domostats.errors import SettingsError
from domostats.instances import Instance, find_instance
from domostats.loading.database_file import store_path
from domostats.settings import find_settings, setting

HORSE = "correct-horse-battery"


def dotenv(content, name="DOMO_PASSWORD"):
    "What a `.env` of this content gives for a name, in plain text."
    Path(".env").write_bytes(content if isinstance(content, bytes) else content.encode())
    found = from_dotenv(name)
    return found and found.reveal()


def told(call, *args):
    with pytest.raises(SettingsError) as error:
        call(*args)
    return error.value


# ---- .env: read right


@pytest.mark.parametrize(
    "content, value",
    [
        (f"DOMO_PASSWORD={HORSE}\n", HORSE),
        (f"DOMO_PASSWORD={HORSE}", HORSE),
        (f"DOMO_PASSWORD={HORSE}\r\nDOMO_USERNAME=ada\r\n", HORSE),
        (f"DOMO_PASSWORD={HORSE}\rDOMO_USERNAME=ada\r", HORSE),
        (f"\ufeffDOMO_PASSWORD={HORSE}\nDOMO_USERNAME=ada\n", HORSE),
        (f"DOMO_USERNAME=ada\n\ufeffDOMO_PASSWORD={HORSE}\n", HORSE),
        (f"DOMO_PASSWORD={HORSE}\r\n".encode("utf-16"), HORSE),
        ("\ufeffDOMO_PASSWORD=Öl #1\n".replace(" ", "").encode("utf-16-be"), "Öl#1"),
        (f"export DOMO_PASSWORD={HORSE}\n", HORSE),
        (f"  export\tDOMO_PASSWORD = {HORSE} \n", HORSE),
        ("DOMO_PASSWORD=correct horse battery\n", "correct horse battery"),
        ("DOMO_PASSWORD=correct#horse\n", "correct#horse"),
        ("DOMO_PASSWORD='correct #horse'\n", "correct #horse"),
        ('DOMO_PASSWORD="correct #horse" # a comment\n', "correct #horse"),
        ("DOMO_PASSWORD='# horse'\n", "# horse"),
        ("DOMO_PASSWORD='\"horse'\n", '"horse'),
        ('DOMO_PASSWORD="\'horse"\n', "'horse"),
        ("DOMO_PASSWORD='it\\'s'\n", "it's"),
        ("DOMO_PASSWORD='horse\\\\'\n", "horse\\"),
        ("DOMO_PASSWORD='c:\\new'\n", "c:\\new"),
        ("DOMO_PASSWORD=c:\\new\n", "c:\\new"),
        ("DOMO_PASSWORD='${HOME}'\n", "${HOME}"),
        ("DOMO_PASSWORD=pa$$word$1\n", "pa$$word$1"),
        ("DOMO_PASSWORD=a=b==\n", "a=b=="),
        ("DOMO_PASSWORD=ho\"r'se\n", "ho\"r'se"),
        ("# DOMO_PASSWORD='old\nDOMO_PASSWORD=new\n", "new"),
        ("DOMO_PASSWORD=old\nDOMO_PASSWORD=new\n", "new"),
        ('KEY="-----BEGIN\nabc==\n-----END"\nDOMO_PASSWORD=new\n', "new"),
        ("A LINE OF ANOTHER 'TOOL\nDOMO_PASSWORD=new\n", "new"),
        ("DOMO_PASSWORD=\n", None),
        ("DOMO_PASSWORD=''\n", None),
        ("DOMO_PASSWORD=   # what you have\n", None),
        ("", None),
    ],
)
def test_a_value_is_read_as_it_was_meant(content, value):
    assert dotenv(content) == value


# ---- .env: an error that names the line


@pytest.mark.parametrize(
    "statement",
    [
        f"DOMO_PASSWORD='{HORSE}",
        f'DOMO_PASSWORD="{HORSE}',
        f"DOMO_PASSWORD='{HORSE}'s",
        f"DOMO_PASSWORD='{HORSE}''s'",
        f'DOMO_PASSWORD="{HORSE}"!',
        f"DOMO_PASSWORD=“{HORSE}”",
        f"DOMO_PASSWORD=`{HORSE}`",
        f"DOMO_PASSWORD={HORSE} #1",
        f"DOMO_PASSWORD=#{HORSE}",
        f"DOMO_PASSWORD={HORSE}${{HOME}}",
        f'DOMO_PASSWORD="{HORSE}${{HOME}}"',
        f'DOMO_PASSWORD="{HORSE}\\new"',
        f"DOMO_PASSWORD: {HORSE}",
        f"DOMO_PASSWORD {HORSE}",
        f"set DOMO_PASSWORD={HORSE}",
        f'$env:DOMO_PASSWORD = "{HORSE}"',
    ],
)
@pytest.mark.parametrize("below", ["", "\nDOMO_USERNAME=ada\n"])
def test_what_cannot_be_told_is_an_error_with_its_line(statement, below):
    error = told(dotenv, f"# mine\n\n{statement}{below}")
    assert error.reason == "bad_dotenv"
    assert str(Path(".env").resolve()) + ", line 3:" in str(error)
    assert "DOMO_PASSWORD" in str(error) and HORSE not in str(error)


def test_a_quote_that_is_left_open_swallows_no_other_secret():
    content = f"OTHER='left open\nDOMO_PASSWORD={HORSE}\nLAST=it's\n"
    error = told(dotenv, content)
    assert error.reason == "bad_dotenv" and HORSE not in str(error)
    content = f'OTHER="left open\nDOMO_PASSWORD={HORSE}\nLAST="\n'
    error = told(dotenv, content)
    assert error.reason == "bad_dotenv" and "line 1:" in str(error) and HORSE not in str(error)


def test_a_secret_on_two_lines_is_none():
    error = told(dotenv, f'DOMO_PASSWORD="{HORSE}\nand more"\n')
    assert error.reason == "bad_dotenv" and "line 1:" in str(error) and HORSE not in str(error)


@pytest.mark.parametrize(
    "content, line",
    [
        (f"A=1\nDOMO_PASSWORD={HORSE}ü\n".encode("latin-1"), 2),
        (f"A=1\nDOMO_PASSWORD={HORSE}\n".encode("utf-16-le"), 1),
        (f"A=1\nDOMO_PASSWORD={HORSE}\0\n".encode(), 2),
    ],
)
def test_an_encoding_that_is_not_known_is_an_error(content, line):
    error = told(dotenv, content)
    assert error.reason == "bad_dotenv" and f"line {line}:" in str(error)
    assert "UTF-8" in str(error) and HORSE not in str(error)


def test_a_broken_line_matters_to_who_asks_for_it_only():
    Path(".env").write_text("DOMO_PASSWORD='left\nDOMO_ACCESS_TOKEN=whole\n")
    acme = Instance("acme", "https://acme.domo.com")
    found = find_secrets(acme, ("DOMO_ACCESS_TOKEN",), ("DOMO_USERNAME", "DOMO_PASSWORD"))
    assert found["DOMO_ACCESS_TOKEN"].reveal() == "whole"
    assert told(find_secrets, acme, ("DOMO_PASSWORD",)).reason == "bad_dotenv"


def test_no_traceback_with_local_values_shows_the_file():
    code = """
import sys
from domostats.credentials import from_dotenv
try:
    from_dotenv("DOMO_PASSWORD")
except Exception as e:
    while e:
        frame = e.__traceback__
        while frame:
            print(frame.tb_frame.f_locals if frame.tb_frame.f_code.co_name != "<module>" else "")
            frame = frame.tb_next
        e = e.__cause__ or e.__context__
"""
    Path(".env").write_text(f"DOMO_USERNAME='ada-{HORSE}'\nDOMO_PASSWORD='{HORSE}\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "<secret>" in done.stdout and HORSE not in done.stdout + done.stderr


def test_the_example_says_how_to_quote_and_can_be_read():
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert "single quotes" in text
    Path(".env").write_text(text)
    assert from_dotenv("DOMO_ACCESS_TOKEN") is None and from_dotenv("DOMO_PASSWORD") is None


# ---- settings.ini


def settings(content):
    Path("settings.ini").write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize(
    "content",
    [
        "[domostats]\nstore = Köln 100%.duckdb\n",
        "[domostats]\r\nstore = Köln 100%.duckdb\r\n",
        "\ufeff[domostats]\nstore = Köln 100%.duckdb\n",
        "\ufeff[domostats]\r\nstore = Köln 100%.duckdb\r\n".encode("utf-16-le"),
        '[domostats]\nstore = "Köln 100%.duckdb"\n',
        "[domostats]\nstore: 'Köln 100%.duckdb'\n",
        "[Domostats]\nSTORE=Köln 100%.duckdb\n",
        "# mine\n; too\n[other]\nstroe = x\n[domostats]\n# a comment\nstore = Köln 100%.duckdb\n",
    ],
)
def test_a_setting_is_read_as_it_was_meant(content):
    settings(content)
    assert store_path() == Path("Köln 100%.duckdb").resolve()
    assert setting("domostats", "store") == "Köln 100%.duckdb"


@pytest.mark.parametrize(
    "content, line, reason, words",
    [
        ("[domostats]\nstroe = data.duckdb\n", 2, "unknown_setting", "Did you mean store?"),
        ("[domostats]\nregistery = x\n", 2, "unknown_setting", "Did you mean registry?"),
        ("[domostats]\nurl = https://a.example\n", 2, "unknown_setting", "store, registry"),
        (
            "[domostats]\n[instance.acme]\n\nulr = https://a.example\n",
            4,
            "unknown_setting",
            "Did you mean url?",
        ),
        ("[extractors]\nclases = a\n[domostats]\n", 2, "unknown_setting", "Did you mean classes?"),
        ("[domostat]\nstore = a\n", 1, "unknown_setting", "Did you mean [domostats]?"),
        ("[domostats]\n[extractor]\nzone = UTC\n", 2, "unknown_setting", "[extractors]?"),
        ("[domostats]\n[instnace.acme]\n", 2, "unknown_setting", "[instance.acme]?"),
        ("[domostats]\n[instance]\nurl = x\n", 2, "unknown_setting", "[instance.NAME]?"),
        ("[domostats]\n[instance. acme]\nurl = x\n", 2, "unknown_setting", "[instance.acme]"),
        ("[domostats]\n[instance.acme ]\nurl = x\n", 2, "unknown_setting", "[instance.acme]"),
        ("[instance.acme.domo.com]\nurl = x\n", 1, "unknown_setting", "before .domo.com"),
        ("[domostats]\nstore = data.duckdb  # mine\n", 2, "bad_settings", "line of its own"),
        ("[domostats]\nstore = data.duckdb ; mine\n", 2, "bad_settings", "line of its own"),
        ('[domostats]\nstore = "data.duckdb\n', 2, "bad_settings", "quote"),
        ("[domostats]\nstore = a\n  registry = b\n", 2, "bad_settings", "indented"),
        ("[domostats]\nstore = a\nstore = b\n", 3, "bad_settings", "second time"),
        ("[domostats]\nstore = a\n[domostats]\n", 3, "bad_settings", "second time"),
        ("[instance.acme]\n[instance.ACME]\n", 2, "bad_settings", "second time"),
        ("store = a\n", 1, "bad_settings", "[domostats]"),
        ("[domostats]\nstore\n", 2, "bad_settings", "NAME = VALUE"),
        ("[domostats]\nstore = Köln\n".encode("latin-1"), 2, "bad_settings", "UTF-8"),
        ("[domostats]\nstore = a\0b\n", 2, "bad_settings", "UTF-8"),
    ],
)
def test_what_is_not_a_setting_is_an_error_with_its_line(content, line, reason, words):
    settings(content)
    for call in (store_path, lambda: find_instance("acme"), find_settings):
        error = told(call)
        assert error.reason == reason
        assert f"{Path('settings.ini').resolve()}, line {line}:" in str(error)
        assert words in str(error)


def test_an_error_shows_no_value():
    settings(f"[domostats]\naccont = {HORSE}\n")
    assert HORSE not in str(told(find_settings))
    settings(f"[domostats]\n{HORSE}\n")
    assert HORSE not in str(told(find_settings))
    settings(f"[domostats]\naccount = '{HORSE}\n")
    assert HORSE not in str(told(find_settings))


def test_a_command_says_what_was_meant():
    settings("[domostats]\nstroe = data.duckdb\n")
    done = subprocess.run(
        [sys.executable, "-m", "domostats", "demo"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    shown = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 3 and "line 2" in shown and "Did you mean store?" in shown
    assert "Traceback" not in shown and [*Path().iterdir()] == [Path("settings.ini")]


def test_the_lines_of_others_are_their_own_business():
    settings("[DEFAULT]\nlib = x\n[other]\nstroe = a  # b\n[domostats]\nstore = mine.duckdb\n")
    assert store_path() == Path("mine.duckdb").resolve()


def test_the_settings_that_the_project_shows_are_known():
    text = (ROOT / "settings.ini").read_text(encoding="utf-8")
    shown = "\n".join(
        line.removeprefix("# ") if line.startswith(("# [", "# ")) and (" = " in line) else line
        for line in text.replace("# [", "[").splitlines()
    )
    settings(shown)
    assert {"domostats", "instance.acme", "extractors"} <= {*find_settings().sections()}


@pytest.mark.parametrize("variable", ["DOMOSTATS_SETTINGS", "DOMOSTATS_ENV"])
def test_a_file_in_the_home_of_nobody_is_told(variable, monkeypatch):
    monkeypatch.setenv(variable, "~nobody-of-that-name/file")
    error = told(find_secrets, Instance("acme", "https://acme.domo.com"), ("DOMO_PASSWORD",))
    assert error.reason == "no_home"


def test_a_named_file_that_is_too_large_is_told_by_its_name(monkeypatch):
    Path("big").write_bytes(bytes(2_000_000))
    monkeypatch.setenv("DOMOSTATS_ENV", "big")
    assert str(told(from_dotenv, "DOMO_PASSWORD")).startswith("big cannot be read")


def test_a_file_with_extractors_alone_is_found(own_folder):
    "The guides have no other section; one of another program by that name is passed by."
    Path("settings.ini").write_text("[extractors]\nzone = UTC\nclasses = stats.Users\n")
    assert find_settings()["extractors"]["classes"] == "stats.Users"
    Path("settings.ini").unlink()
    Path("../settings.ini").write_text("[extractors]\nthreads = 4\n[broken\n")
    assert find_settings().sections() == []
