"""Only files of this user or of root decide where a secret goes; a stranger's file neither does
nor blocks anybody."""

import os
import stat
import warnings
from pathlib import Path

import pytest

from domostats.credentials import find_secrets, from_dotenv
from domostats.errors import CredentialsError, SettingsError
from domostats.instances import Instance, find_instance
from domostats.loading.database_file import store_path
from domostats.settings import find_settings, read_settings
from domostats.user_files import check_file_owner

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="files have no owner here")

EVIL = "[domostats]\nstore = evil.duckdb\n[instance.acme]\nurl = https://evil.example\n"
ACME = Instance("acme", "https://acme.domo.com")


@pytest.fixture
def stranger(give_away):
    return give_away


def quiet(call, *args):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return call(*args)


def said(call, *args):
    with pytest.warns(UserWarning) as found:
        result = call(*args)
    return result, " ".join(str(one.message) for one in found)


def inside(name="mine"):
    Path(name).mkdir()
    os.chdir(name)


# ---- settings.ini


def test_the_folder_of_a_stranger_does_not_make_his_file_count(stranger):
    Path("settings.ini").write_text(EVIL)
    stranger("settings.ini", ".")
    instance, words = said(find_instance, "acme")
    assert instance.url == "https://acme.domo.com"
    assert "DOMOSTATS_SETTINGS" in words and str(Path("settings.ini").resolve()) in words


@pytest.mark.parametrize("where", ["here", "above"])
def test_a_strangers_settings_are_passed_by_with_a_word(stranger, where):
    Path("settings.ini").write_text(EVIL)
    stranger("settings.ini")
    if where == "above":
        inside()
    instance, words = said(find_instance, "acme")
    assert instance.url == "https://acme.domo.com" and "belongs to another user" in words
    assert store_path().name == "store.duckdb"


def test_my_own_settings_above_those_of_a_stranger_are_found(stranger):
    Path("settings.ini").write_text("[instance.acme]\nurl = https://mine.example\n")
    inside("shared")
    Path("settings.ini").write_text(EVIL)
    stranger("settings.ini")
    assert said(find_instance, "acme")[0].url == "https://mine.example"


def broken(path):
    path.write_bytes(b"\xff\xfe[domo")


def without_a_section(path):
    path.write_text("store = x\nstore = y\n")


def of_another_tool(path):
    path.write_text("[DEFAULT]\nlib_name = x\n[a]\n[a]\n")


def a_folder(path):
    path.mkdir()


def a_pipe(path):
    os.mkfifo(path)


def a_link_to_nothing(path):
    path.symlink_to("nothing.ini")


def a_link_in_a_circle(path):
    path.symlink_to(path.name)


def large(path):
    path.write_bytes(b"[domostats]\nstore = x\n" + b"#\n" * 1_000_000)


ODD = [
    broken,
    without_a_section,
    of_another_tool,
    a_folder,
    a_pipe,
    a_link_to_nothing,
    a_link_in_a_circle,
    large,
]


@pytest.mark.parametrize("make", ODD)
@pytest.mark.parametrize("whose", ["mine", "a stranger's"])
def test_a_file_above_that_is_none_of_ours_blocks_nobody(make, whose, stranger):
    make(Path("settings.ini"))
    if whose != "mine":
        stranger("settings.ini")
    inside()
    assert quiet(find_instance, "acme").url == "https://acme.domo.com"


@pytest.mark.parametrize("make", ODD)
def test_a_strangers_odd_file_right_here_blocks_nobody(make, stranger):
    make(Path("settings.ini"))
    stranger("settings.ini")
    assert quiet(find_instance, "acme").url == "https://acme.domo.com"


def test_a_broken_file_of_a_stranger_that_speaks_of_the_kit_is_passed_by_with_a_word(stranger):
    Path("settings.ini").write_text("[domostats]\nstroe = x\n[domostats]\n")
    stranger("settings.ini")
    inside()
    assert said(find_instance, "acme")[0].url == "https://acme.domo.com"


def test_a_broken_file_of_mine_above_that_speaks_of_the_kit_is_an_error():
    Path("settings.ini").write_text("[domostats]\nstroe = x\n")
    inside()
    with pytest.raises(SettingsError) as told:
        find_instance("acme")
    assert told.value.reason == "unknown_setting"


def unreadable(monkeypatch, *paths):
    "Whoever opens these files is refused: root, too."
    paths, opened = {str(Path(path).resolve()) for path in paths}, os.open

    def refuse(path, *args, **kwargs):
        if str(Path(path).absolute()) in paths:
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)


@pytest.mark.parametrize("where", ["here", "above"])
def test_a_strangers_file_that_cannot_be_read_blocks_nobody(stranger, monkeypatch, where):
    Path("settings.ini").write_text(EVIL)
    stranger("settings.ini")
    unreadable(monkeypatch, "settings.ini")
    if where == "above":
        inside()
    assert quiet(find_instance, "acme").url == "https://acme.domo.com"


def test_my_file_that_cannot_be_read_is_an_error_here_and_a_word_above(monkeypatch):
    Path("settings.ini").write_text(EVIL)
    unreadable(monkeypatch, "settings.ini")
    with pytest.raises(SettingsError) as told:
        find_instance("acme")
    assert told.value.reason == "bad_settings" and "settings.ini" in str(told.value)
    inside()
    instance, words = said(find_instance, "acme")
    assert instance.url == "https://acme.domo.com" and "cannot be read" in words


def test_a_link_counts_only_if_it_and_its_file_are_mine(stranger):
    Path("evil.ini").write_text(EVIL)
    Path("good.ini").write_text("[instance.acme]\nurl = https://mine.example\n")
    stranger("evil.ini")
    link = Path("settings.ini")
    link.symlink_to("evil.ini")  # mine, to a stranger's file
    assert said(find_instance, "acme")[0].url == "https://acme.domo.com"
    link.unlink()
    link.symlink_to("good.ini")  # a stranger's, to my file
    stranger("settings.ini")
    assert find_instance("acme").url == "https://acme.domo.com"
    stranger("settings.ini", to=os.getuid())
    assert find_instance("acme").url == "https://mine.example"


def test_a_file_of_root_counts_for_everybody(monkeypatch, stranger):
    Path("settings.ini").write_text("[instance.acme]\nurl = https://mine.example\n")
    Path(".env").write_text("DOMO_ACCESS_TOKEN=mine\n")
    stranger("settings.ini", ".env", to=0)
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert find_instance("acme").url == "https://mine.example"
    assert from_dotenv("DOMO_ACCESS_TOKEN").reveal() == "mine"


@pytest.mark.parametrize("path", ["shared.ini", "./shared.ini", "~/shared.ini"])
def test_a_file_that_is_named_outright_counts_whoever_owns_it(stranger, monkeypatch, path):
    monkeypatch.setenv("HOME", str(Path.cwd()))
    Path("shared.ini").write_text("[instance.acme]\nurl = https://shared.example\n")
    stranger("shared.ini")
    monkeypatch.setenv("DOMOSTATS_SETTINGS", path)
    assert quiet(find_instance, "acme").url == "https://shared.example"


def test_beside_a_file_that_is_named_no_other_is_looked_at(monkeypatch):
    Path("settings.ini").write_text("[instance.acme]\nurl = https://other.example\n")
    Path("named.ini").write_text("# nothing yet\n")
    monkeypatch.setenv("DOMOSTATS_SETTINGS", "named.ini")
    assert find_instance("acme").url == "https://acme.domo.com"


@pytest.mark.parametrize(
    "make, reason",
    [
        (lambda path: None, "no_settings"),
        (a_folder, "no_settings"),
        (a_link_to_nothing, "no_settings"),
        (broken, "bad_settings"),
        (large, "bad_settings"),
    ],
)
def test_a_file_that_is_named_and_cannot_be_used_is_an_error(make, reason, monkeypatch):
    make(Path("named.ini"))
    monkeypatch.setenv("DOMOSTATS_SETTINGS", "named.ini")
    with pytest.raises(SettingsError) as told:
        find_instance("acme")
    assert told.value.reason == reason and "named.ini" in str(told.value)


def test_a_file_that_everybody_may_change_is_taken_with_a_word():
    Path("settings.ini").write_text("[instance.acme]\nurl = https://mine.example\n")
    Path("settings.ini").chmod(0o666)
    instance, words = said(find_instance, "acme")
    assert instance.url == "https://mine.example" and "chmod o-w" in words
    Path("settings.ini").chmod(0o664)
    assert quiet(find_instance, "acme").url == "https://mine.example"


def test_reading_a_strangers_file_outright_is_refused(stranger):
    Path("settings.ini").write_text(EVIL)
    stranger("settings.ini")
    for call in (read_settings, check_file_owner):
        with pytest.raises(SettingsError) as told:
            call(Path("settings.ini"))
        assert told.value.reason == "foreign_file"


# ---- .env


@pytest.mark.parametrize("where", ["here", "above"])
def test_a_strangers_secrets_are_passed_by_with_a_word(stranger, where):
    Path(".env").write_text("DOMO_ACCESS_TOKEN=evil\n")
    stranger(".env")
    if where == "above":
        inside()
    secret, words = said(from_dotenv, "DOMO_ACCESS_TOKEN")
    assert secret is None and "DOMOSTATS_ENV" in words and "evil" not in words
    with pytest.raises(CredentialsError) as told:
        find_secrets(ACME, ("DOMO_ACCESS_TOKEN",))
    assert told.value.reason == "missing_secret"


def test_in_a_strangers_folder_his_secrets_do_not_count(stranger):
    Path(".env").write_text("DOMO_ACCESS_TOKEN=evil\n")
    stranger(".env", ".")
    assert said(from_dotenv, "DOMO_ACCESS_TOKEN")[0] is None


def test_my_secrets_above_those_of_a_stranger_are_found(stranger):
    Path(".env").write_text("DOMO_ACCESS_TOKEN=mine\n")
    inside("shared")
    Path(".env").write_text("OTHER=evil\n")
    stranger(".env")
    assert quiet(from_dotenv, "DOMO_ACCESS_TOKEN").reveal() == "mine"


@pytest.mark.parametrize("make", [a_folder, a_link_to_nothing, a_link_in_a_circle, a_pipe])
def test_a_strangers_env_that_is_no_file_blocks_nobody(make, stranger):
    make(Path(".env"))
    stranger(".env")
    assert quiet(from_dotenv, "DOMO_ACCESS_TOKEN") is None


def test_a_strangers_env_that_cannot_be_read_blocks_nobody_and_mine_is_an_error(
    stranger, monkeypatch
):
    Path(".env").write_text("DOMO_ACCESS_TOKEN=x\n")
    unreadable(monkeypatch, ".env")
    with pytest.raises(SettingsError) as told:
        from_dotenv("DOMO_ACCESS_TOKEN")
    assert told.value.reason == "bad_dotenv" and ".env" in str(told.value)
    stranger(".env")
    assert from_dotenv("DOMO_ACCESS_TOKEN") is None


def test_an_env_that_is_named_outright_counts_and_no_other(stranger, monkeypatch):
    Path("shared.env").write_text("DOMO_ACCESS_TOKEN=shared\n")
    Path(".env").write_text("DOMO_PASSWORD=mine\n")
    stranger("shared.env")
    monkeypatch.setenv("DOMOSTATS_ENV", "shared.env")
    assert quiet(from_dotenv, "DOMO_ACCESS_TOKEN").reveal() == "shared"
    assert from_dotenv("DOMO_PASSWORD") is None
    with pytest.raises(CredentialsError) as told:
        find_secrets(ACME, ("DOMO_PASSWORD",))
    assert "shared.env" in str(told.value)


@pytest.mark.parametrize("make", [lambda path: None, a_folder, a_link_to_nothing])
def test_an_env_that_is_named_must_be_there(make, monkeypatch):
    make(Path("named.env"))
    monkeypatch.setenv("DOMOSTATS_ENV", "named.env")
    with pytest.raises(SettingsError) as told:
        from_dotenv("DOMO_ACCESS_TOKEN")
    assert told.value.reason == "no_dotenv" and "named.env" in str(told.value)


def test_an_env_that_everybody_may_change_is_taken_with_a_word():
    Path(".env").write_text("DOMO_ACCESS_TOKEN=mine\n")
    Path(".env").chmod(0o606)
    secret, words = said(from_dotenv, "DOMO_ACCESS_TOKEN")
    assert secret.reveal() == "mine" and "chmod o-w" in words


def test_no_settings_are_an_empty_answer():
    assert find_settings().sections() == [] and stat.S_ISDIR(Path.cwd().stat().st_mode)
