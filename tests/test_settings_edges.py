"""Settings at their edges: which source wins, what each key does, and what is said of a bad one."""

import copy
import http.server
import json
import logging
import os
import pickle
import stat
import sys
import threading
import types
import warnings
from datetime import date
from pathlib import Path

import pytest

from domostats import errors, notices, settings
from domostats.clients.datorama.management import path_of
from domostats.clients.domo.credentials import AccessToken
from domostats.credentials import account_alias, find_secrets, from_dotenv, own_name
from domostats.errors import (
    CodeError,
    CredentialsError,
    DomostatsError,
    SettingsError,
    check_keywords,
    did_you_mean,
    place_in,
    your_code,
)
from domostats.instances import (
    Instance,
    check_name,
    find_instance,
    known_instances,
    running_sandboxes,
    sandbox_note,
    signed,
)
from domostats.loading.database_file import store_path
from domostats.private import kit_folder, make_private
from domostats.sealing import hides, sealed
from domostats.secrets import (
    Masked,
    MaskedBytes,
    Secret,
    is_plain,
    is_token,
    masked,
    shown,
)
from domostats.settings import find_settings, read_settings, setting, settings_places
from domostats.tracking.extractors.base import configured
from domostats.tracking.extractors.days import first_date_of, zone_of
from domostats.tracking.extractors.domo import UserCounts
from domostats.tracking.extractors.files import migrations_folder
from domostats.tracking.registry.engines import default_url
from domostats.transport.connection import Connection
from domostats.user_files import expanded, user_folder

ACME = Instance("acme", "https://acme.domo.com")
HORSE = "correct horse battery"


def told(call, *args, kind=SettingsError, **kwargs):
    with pytest.raises(kind) as error:
        call(*args, **kwargs)
    return error.value


def write(text, path="settings.ini"):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path.resolve()


def store(name):
    return f"[domostats]\nstore = {name}\n"


# ---- which file counts


def test_the_places_are_looked_at_in_this_order(monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/srv/ada/conf")
    monkeypatch.chdir("/usr/lib")
    above = ["/usr/lib/settings.ini", "/usr/settings.ini", "/settings.ini"]
    of_the_user = "/srv/ada/conf/domostats/settings.ini"
    assert [str(path) for path in settings_places()] == [*above, of_the_user]
    monkeypatch.setenv("DOMOSTATS_SETTINGS", "mine.ini")
    assert [str(path) for path in settings_places()] == ["mine.ini", *above, of_the_user]


def test_of_several_files_the_nearest_counts_and_alone(monkeypatch):
    top = Path.cwd()
    config = write(store("of_the_user"), user_folder("config") / "settings.ini")
    assert setting("domostats", "store") == "of_the_user"
    assert store_path() == config.parent / "of_the_user"
    write("[domostats]\nstore = above\naccount = above\n")
    Path("a/b").mkdir(parents=True)
    os.chdir("a/b")
    assert store_path() == top / "above" and find_settings().folder == top
    write(store("between"), top / "a/settings.ini")
    assert store_path() == top / "a/between" and setting("domostats", "account") is None
    write(store("here"))
    assert store_path() == top / "a/b/here"
    write(store("named"), "other/named.ini")
    monkeypatch.setenv("DOMOSTATS_SETTINGS", "other/named.ini")
    assert store_path() == top / "a/b/other/named" and find_settings().folder == top / "a/b/other"


def test_a_nearer_file_without_a_section_of_the_kit_hides_nothing():
    write(store("above"))
    Path("a").mkdir()
    os.chdir("a")
    write("[DEFAULT]\nlib_name = x\n[nbdev]\nstore = x\n[extractor]\nzone = UTC\n")
    assert setting("domostats", "store") == "above"
    write("[instance.acme]\naccount = a\n")
    assert setting("domostats", "store") is None


def test_without_any_file_the_defaults_are_in_the_folders_of_this_user(monkeypatch, tmp_path):
    assert find_settings().sections() == []
    assert find_settings().folder == tmp_path / "XDG_CONFIG_HOME/domostats"
    assert store_path() == tmp_path / "XDG_DATA_HOME/domostats/store.duckdb"
    registry = tmp_path / "XDG_DATA_HOME/domostats/registry.sqlite"
    assert default_url().reveal() == str(registry)
    assert sandbox_note("sandbox-2") == (
        tmp_path / "XDG_STATE_HOME/domostats/sandboxes/sandbox-2.json"
    )


def test_a_file_in_the_folder_of_the_user_is_his_choice_and_one_above_is_not():
    write("store = x\n")
    Path("a").mkdir()
    os.chdir("a")
    assert find_settings().sections() == []  # of somebody, for something
    path = write("store = x\n", user_folder("config") / "settings.ini")
    error = told(find_settings)
    assert str(error) == (
        f"{path}, line 1: it stands above the first section. Write [domostats] above it."
    )


def test_a_link_to_a_file_leads_to_the_folder_of_the_file(tmp_path):
    write(store("x.duckdb"), tmp_path / "real/settings.ini")
    Path("settings.ini").symlink_to(tmp_path / "real/settings.ini")
    assert find_settings().folder == tmp_path / "real"
    assert read_settings("settings.ini").folder == tmp_path / "real"


def test_a_file_in_which_only_an_instance_stands_is_read_outright():
    write("[Instance.ACME]\nurl = https://a.example\n")
    assert find_instance("acme").url == "https://a.example"
    assert setting("instance.acme", "url") == "https://a.example"
    assert known_instances() == ["acme"]
    assert read_settings("missing.ini").sections() == []


@pytest.mark.parametrize("size, is_read", [(1_000_000, True), (1_000_001, False)])
def test_a_file_of_settings_has_at_most_a_million_bytes(size, is_read):
    text = store("x.duckdb")
    write(text + "#" * (size - len(text)))
    if is_read:
        assert setting("domostats", "store") == "x.duckdb"
        return
    error = told(find_settings)
    assert error.reason == "bad_settings"
    assert str(error) == (
        f"{Path.cwd() / 'settings.ini'} is too large for settings. "
        "Check the file and its permissions, or move it away."
    )


# ---- what each key does, and what holds without it


def limits():
    "What a connection to acme holds itself to: calls a minute, calls a day, bytes, seconds."
    way = Connection(ACME, AccessToken("a" * 20, instance=ACME))
    return way.budget.per_minute, way.budget.per_day, way.limits.size, way.limits.seconds


def test_the_limits_without_a_word_about_them():
    assert limits() == (120, None, 200_000_000, 900)
    here = Instance("here", "http://127.0.0.1:9")
    way = Connection(here, AccessToken("a" * 20, instance=here))
    assert (way.budget.per_minute, way.budget.per_day) == (None, None)
    assert (way.limits.size, way.limits.seconds) == (200_000_000, 900)


def test_a_limit_of_an_instance_goes_before_the_one_of_all():
    of_all = "calls_per_minute = 10\ncalls_per_day = 20\nlargest_reply = 30\nlongest_call = 40\n"
    write(f"[domostats]\n{of_all}")
    assert limits() == (10, 20, 30_000_000, 40)
    write(
        f"[domostats]\n{of_all}[instance.acme]\ncalls_per_minute = 1\ncalls_per_day = 2\n"
        "largest_reply = 3\nlongest_call = 4\n[instance.other]\ncalls_per_day = 9\n"
    )
    assert limits() == (1, 2, 3_000_000, 4)
    write(f"[domostats]\n{of_all}[instance.acme]\ncalls_per_day = 2\n")
    assert limits() == (10, 2, 30_000_000, 40)


def test_the_environment_goes_before_the_settings_in_what_a_reply_may_be(monkeypatch):
    write("[domostats]\nlargest_reply = 30\nlongest_call = 40\n")
    monkeypatch.setenv("DOMOSTATS_LARGEST_REPLY", "7")
    assert limits() == (120, None, 7_000_000, 40)
    monkeypatch.setenv("DOMOSTATS_LONGEST_CALL", " 999999999 ")
    monkeypatch.setenv("DOMOSTATS_LARGEST_REPLY", "")
    assert limits() == (120, None, 30_000_000, 999_999_999)


@pytest.mark.parametrize(
    "name", ["calls_per_minute", "calls_per_day", "largest_reply", "longest_call"]
)
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many", "1e3", "1 000", "0x10", "1000000000"])
def test_a_limit_is_a_whole_number_from_1_on(name, value):
    write(f"[instance.acme]\n{name} = {value}\n")
    error = told(limits)
    assert error.reason == "bad_limit"
    assert str(error) == (
        f"{name} = {value} in settings.ini is not a whole number from 1 on. Mend the line."
    )


def test_a_bad_limit_in_the_environment_names_the_variable(monkeypatch):
    monkeypatch.setenv("DOMOSTATS_LONGEST_CALL", "soon")
    error = told(limits)
    assert error.reason == "bad_limit" and str(error).startswith("DOMOSTATS_LONGEST_CALL=soon ")


@pytest.mark.parametrize(
    "value, path",
    [
        ("data.duckdb", "{here}/data.duckdb"),
        ("deep/data.duckdb", "{here}/deep/data.duckdb"),
        ("/srv/data.duckdb", "/srv/data.duckdb"),
        ("~/data.duckdb", "/srv/ada/data.duckdb"),
        ("", "{data}/domostats/store.duckdb"),
    ],
)
def test_the_store_is_seen_from_the_folder_of_the_file(value, path, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/srv/ada")
    write(store(value))
    Path("a").mkdir()
    expected = path.format(here=Path.cwd(), data=tmp_path / "XDG_DATA_HOME")
    os.chdir("a")
    assert str(store_path()) == expected


def test_the_registry_is_the_one_of_the_settings():
    write("[domostats]\nregistry = postgresql://ada:pw@db.example/kit\n")
    assert default_url() == Secret("postgresql://ada:pw@db.example/kit")


def test_the_account_of_an_instance_goes_before_the_one_of_all():
    assert account_alias(ACME) is None
    write("[domostats]\naccount = of all\n")
    assert account_alias(ACME) == "of all"
    write("[domostats]\naccount = of all\n[instance.acme]\naccount = of acme\n")
    assert account_alias(ACME) == "of acme"
    assert account_alias(Instance("other", "https://other.domo.com")) == "of all"


@pytest.mark.parametrize(
    "name, line, platform",
    [
        ("acme", "", "domo"),
        ("datorama", "", "datorama"),
        ("datorama-us", "", "datorama"),
        ("datorama-eu2", "", "datorama"),
        ("mydatorama", "", "domo"),
        ("domo-datorama", "", "domo"),
        ("sandbox-2", "", "domo"),
        ("acme", "platform = datorama\n", "datorama"),
        ("datorama-us", "platform = domo\n", "domo"),
        ("dash", "", "dash"),
        ("dash-2", "", "dash"),
        ("dash-acme", "", "domo"),  # Domo may have an instance of this name
        ("dash-acme", "orgname = acme\n", "dash"),
        ("dash-acme", "platform = dash\n", "dash"),
    ],
)
def test_the_platform_follows_from_the_name_unless_the_settings_say_it(name, line, platform):
    write(f"[domostats]\n[instance.{name}]\naccount = a\n{line}")
    assert Instance(name, "https://a.example").platform == platform


def test_a_platform_that_is_none_is_told():
    write("[instance.acme]\nplatform = Salesforce\n")
    error = told(lambda: ACME.platform)
    assert error.reason == "unknown_platform"
    assert str(error) == (
        "platform = Salesforce under [instance.acme] in settings.ini is not one of domo, datorama, "
        "dash, bigquery. Mend the line."
    )


@pytest.mark.parametrize(
    "kind, known",
    [
        ("users", "/v1/users"),
        ("workspaces", "/v1/workspaces"),
        ("permission_sets", "/v1/permission-sets"),
    ],
)
def test_the_paths_of_what_is_managed(kind, known):
    assert path_of("agency", kind) == known
    write(f"[instance.agency]\n{kind}_path = /v1/other/{kind}/\n")
    assert path_of("agency", kind) == f"/v1/other/{kind}" and path_of("other", kind) == known
    write(f"[instance.agency]\n{kind}_path = https://evil.example/v1/\n")
    error = told(path_of, "agency", kind)
    assert error.reason == "bad_path" and f"{kind}_path = https://evil.example/v1/" in str(error)
    assert "/v1/. Mend the line." in str(error)


def test_what_is_extracted_without_a_word_about_it():
    assert told(configured).reason == "no_extractors"
    assert told(first_date_of).reason == "no_first_date"
    assert str(zone_of()) == "UTC"
    assert migrations_folder() == Path.cwd() / "migrations"
    assert told(UserCounts().get_instance).reason == "no_instance"


def test_what_the_settings_say_of_extractors():
    write(
        "[domostats]\n[extractors]\nclasses = domostats.tracking.domo_extractors.UserCounts,\n"
        "  domostats.tracking.domo_extractors:DatasetCounts\n"
        "  domostats.tracking.domo_extractors.ActivityLog\n"
        "first_date = 2024-02-29\nzone = Asia/Kathmandu\nmigrations = steps\ninstance = acme\n"
    )
    top = Path.cwd()
    Path("a").mkdir()
    os.chdir("a")
    assert [type(one).__name__ for one in configured()] == [
        "UserCounts",
        "DatasetCounts",
        "ActivityLog",
    ]
    assert first_date_of() == date(2024, 2, 29)
    assert first_date_of(date(2025, 1, 1)) == date(2025, 1, 1)
    assert str(zone_of()) == "Asia/Kathmandu" and str(zone_of("UTC")) == "UTC"
    assert migrations_folder() == top / "steps"
    assert UserCounts().get_instance() == "acme" and UserCounts("mine").get_instance() == "mine"
    assert len(UserCounts().spread()) == 1


def test_several_instances_are_extracted_each_for_itself():
    write("[domostats]\n[extractors]\ninstance = acme, other,\n  acme,third\n")
    assert [one.instance for one in UserCounts().spread()] == ["acme", "other", "third"]
    assert [one.instance for one in UserCounts("mine").spread()] == ["mine"]


@pytest.mark.parametrize(
    "line, call, reason, words",
    [
        ("first_date = 2024-02-30", first_date_of, "no_first_date", "'2024-02-30' is no day"),
        ("first_date = today", first_date_of, "no_first_date", "first_date = 2022-01-01"),
        ("zone = Europe/Pariss", zone_of, "bad_zone", "Did you mean 'Europe/Paris'?"),
        ("classes = nowhere.Mine", configured, "unknown_extractor", "there is no module nowhere"),
        (
            "classes = domostats.tracking.domo_extractors.ActivityLogs",
            configured,
            "unknown_extractor",
            "has no ActivityLogs. Did you mean 'ActivityLog'?",
        ),
        ("classes = ,", configured, "no_extractors", "classes = my_module.MyExtractor"),
    ],
)
def test_a_bad_value_for_extractors_is_told(line, call, reason, words):
    write(f"[domostats]\n[extractors]\n{line}\n")
    error = told(call)
    assert error.reason == reason and words in str(error) and "settings.ini" in str(error)


EVERY_KEY = """[domostats]
store = a.duckdb
registry = sqlite:///b.sqlite
account = c
calls_per_minute = 1
calls_per_day = 2
largest_reply = 3
longest_call = 4
[instance.acme]
url = https://a.example
platform = domo
account = d
users_path = /v1/a
workspaces_path = /v1/b
permission_sets_path = /v1/c
calls_per_minute = 5
calls_per_day = 6
largest_reply = 7
longest_call = 8
[extractors]
classes = a.B
first_date = 2024-01-01
zone = UTC
migrations = m
instance = acme
"""


def test_every_key_may_stand_in_its_section_and_in_no_other():
    write(EVERY_KEY)
    assert {name: len(find_settings()[name]) for name in find_settings().sections()} == {
        "domostats": 7,
        "instance.acme": 10,
        "extractors": 5,
    }
    homes = {
        "url": "instance.acme",
        "platform": "instance.acme",
        "users_path": "instance.acme",
        "workspaces_path": "instance.acme",
        "permission_sets_path": "instance.acme",
        "store": "domostats",
        "registry": "domostats",
        "classes": "extractors",
        "first_date": "extractors",
        "zone": "extractors",
        "migrations": "extractors",
        "instance": "extractors",
    }
    for key, home in homes.items():
        for section in {"domostats", "instance.acme", "extractors"} - {home}:
            write(
                f"[domostats]\n[{section}]\n{key} = 1\n".replace(
                    "[domostats]\n[domostats]", "[domostats]"
                )
            )
            error = told(find_settings)
            assert error.reason == "unknown_setting", (key, section)
            assert f"sets {key}, which [{section}] does not know." in str(error)


@pytest.mark.parametrize(
    "content, said",
    [
        (
            "[domostats]\nstroe = a\n",
            "line 2: it sets stroe, which [domostats] does not know. Did you mean store?",
        ),
        (
            "[domostats]\nzzz = a\n",
            "line 2: it sets zzz, which [domostats] does not know. It knows store, registry, "
            "account, calls_per_minute, calls_per_day, largest_reply, longest_call.",
        ),
        (
            "[domostats]\n[extractors]\nzzz = a\n",
            "line 3: it sets zzz, which [extractors] does not know. It knows classes, "
            "first_date, zone, migrations, instance, warehouse.",
        ),
        (
            "[instance.a]\ncall_per_minute = a\n",
            "line 2: it sets call_per_minute, which [instance.a] does not know. Did you mean "
            "calls_per_minute?",
        ),
        (
            "[domostats]\n[instence.acme]\n",
            "line 2: it begins [instence.acme], which means nothing here. Did you mean "
            "[instance.acme]?",
        ),
        (
            "[domostats]\n[instances]\n",
            "line 2: it begins [instances], which means nothing here. Did you mean "
            "[instance.NAME]?",
        ),
        (
            "[domostats]\n[instance.]\n",
            "line 2: it begins [instance.], which means nothing here. Did you mean "
            "[instance.NAME]?",
        ),
        (
            "[domostats]\n[extractor s]\n",
            "line 2: it begins [extractor s], which means nothing here. Did you mean [extractors]?",
        ),
        (
            "[domostat]\nstore = a\n",
            "line 1: it begins [domostat], which means nothing here. Did you mean [domostats]?",
        ),
        (
            "[domostats]\n[instance.a_b]\n",
            "line 2: it begins [instance.a_b], and there is no instance of that name. Give "
            "the part before .domo.com, such as [instance.acme] (letters, digits, hyphens).",
        ),
        (
            "[domostats]\n[instance.-a]\n",
            "line 2: it begins [instance.-a], and there is no instance of that name. Give "
            "the part before .domo.com, such as [instance.acme] (letters, digits, hyphens).",
        ),
        (
            "[domostats]\n# a\nstore = a\n\n[DomoStats]\n",
            "line 5: it begins [DomoStats] a second time. Put its lines together.",
        ),
        (
            "[domostats]\nstore = a\nSTORE = b\n",
            "line 3: it sets store a second time. Remove one of the two.",
        ),
        (
            "# a\nstore = a\n[domostats]\n",
            "line 2: it stands above the first section. Write [domostats] above it.",
        ),
        (
            "[domostats]\nstore = a\n\nnonsense\n",
            "line 4: it is neither [SECTION], nor NAME = VALUE, nor a comment.",
        ),
        (
            "[domostats]\nstore = a\n b = c\n",
            "line 2: it sets store, and the next line is indented, so it goes on there. "
            "Begin each line at the left.",
        ),
        (
            "[other]\nstore = x\n[domostats]\nstore = a # b\n",
            "line 4: it sets store, with a # or ; behind a blank. Give a comment a line of "
            "its own.",
        ),
        (
            "[domostats]\nstore = # b\n",
            "line 2: it sets store, with a # or ; behind a blank. Give a comment a line of "
            "its own.",
        ),
        (
            "[domostats]\naccount = 'a'b'\n",
            "line 2: it sets account to a value that begins with a quote and does not end "
            "with it. Leave the quotes out.",
        ),
        (
            "[domostats]\naccount = '\n",
            "line 2: it sets account to a value that begins with a quote and does not end "
            "with it. Leave the quotes out.",
        ),
        (
            "[domostats]\naccount = 'a\"\n",
            "line 2: it sets account to a value that begins with a quote and does not end "
            "with it. Leave the quotes out.",
        ),
        (
            "[domostats]\nstore = a\0b\n",
            "line 2: it holds a zero byte. Save the file again as UTF-8.",
        ),
        (
            "[domostats]\n[extractors]\nclasses = a\n  b # c\n",
            "line 3: it sets classes, with a # or ; behind a blank. Give a comment a line of "
            "its own.",
        ),
    ],
)
def test_what_is_said_of_a_line_that_is_wrong(content, said):
    path = write(content)
    error = told(find_settings)
    assert str(error) == f"{path}, {said}"
    unknown = "means nothing", "does not know", "of that name"
    is_unknown = any(words in said for words in unknown)
    assert error.reason == ("unknown_setting" if is_unknown else "bad_settings")


@pytest.mark.parametrize(
    "content",
    [
        "[domostats]\nstore = a;b#c\n",
        "[domostats]\nstore = a;b#c\n[tool]\nstroe = 1 # 2\n[zone]\na = 'b\n",
        "[domostats]\nstore = 'a;b#c'\n",
        "  \n# x\n[domostats]\nstore=a;b#c\n[extractors]\nclasses = a,\n  b\n",
    ],
)
def test_what_only_looks_wrong_is_read(content):
    write(content)
    assert setting("domostats", "store") == "a;b#c"


def test_a_section_near_one_of_ours_is_left_alone_in_a_file_of_others():
    write("[instances]\na = b\n[extractor]\nc = d\n")
    assert find_settings().sections() == []
    assert find_instance("acme").url == "https://acme.domo.com"


def test_a_file_of_others_with_a_slip_in_the_name_of_the_kit_is_told():
    write("[instances]\na = b\n[domostat]\nc = d\n")
    assert "Did you mean [domostats]?" in str(told(find_settings))


@pytest.mark.parametrize(
    "mark, codec",
    [
        (b"\xff\xfe\0\0", "utf-32-le"),
        (b"\0\0\xfe\xff", "utf-32-be"),
        (b"\xff\xfe", "utf-16-le"),
        (b"\xfe\xff", "utf-16-be"),
        (b"\xef\xbb\xbf", "utf-8"),
    ],
)
def test_a_mark_at_the_beginning_tells_the_encoding(mark, codec):
    Path("settings.ini").write_bytes(mark + "[domostats]\nstore = Öl\n".encode(codec))
    assert setting("domostats", "store") == "Öl"
    Path(".env").write_bytes(mark + "DOMO_PASSWORD=Öl\n".encode(codec))
    assert from_dotenv("DOMO_PASSWORD").reveal() == "Öl"


def test_the_same_word_of_warning_is_said_once():
    write(store("x"))
    Path("settings.ini").chmod(0o666)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        find_settings()
        find_settings()
    assert [str(one.message) for one in said] == [
        f"Everybody may write to {Path.cwd() / 'settings.ini'}, which decides where your secrets "
        f"go. Take that away: chmod o-w {Path.cwd() / 'settings.ini'}"
    ]
    assert said[0].filename == __file__


def test_what_is_found_says_how_large_it_is_and_not_what_it_holds():
    write(store("a secret"))
    found = settings.look_at(Path("settings.ini"))
    assert repr(found) == "<a file of 29 bytes>" and found.owners == {os.getuid()}
    assert stat.S_IMODE(found.mode) == stat.S_IMODE(Path("settings.ini").stat().st_mode)


# ---- homes


def test_without_a_home_it_is_said_which_variable_helps(monkeypatch):
    import pwd

    def nobody(*arguments):
        raise KeyError(arguments)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    number = os.getuid()
    for kind in ("state", "data", "config"):
        assert kit_folder(kind) is None
        error = told(user_folder, kind)
        assert error.reason == "no_home"
        assert str(error) == (
            f"This user (number {number}) has no home folder, so there is no place for what the "
            f"kit keeps ({kind}). Set HOME or XDG_{kind.upper()}_HOME in the environment to a "
            "folder that can be written to."
        )
    error = told(expanded, "~/a.csv")
    assert error.reason == "no_home"
    assert "so ~/a.csv cannot be found. Set HOME in the environment" in str(error)
    assert settings_places()[-1] == Path("/settings.ini")
    assert setting("domostats", "store") is None and running_sandboxes() == []
    assert str(expanded("a/b")) == "a/b"


# ---- names and addresses


@pytest.mark.parametrize(
    "name, url",
    [
        ("Acme", "https://acme.domo.com"),
        ("a", "https://a.domo.com"),
        ("a-1", "https://a-1.domo.com"),
        ("a" * 31, f"https://{'a' * 31}.domo.com"),
        ("my-company-" * 3 + "eight8", f"https://{'my-company-' * 3}eight8.domo.com"),
        ("datorama-us", "https://api.datorama.com"),
        ("datorama-us2", "https://api-us2.datorama.com"),
        ("datorama-eu", "https://api-eu.datorama.com"),
        ("Datorama-EU2", "https://api-eu2.datorama.com"),
        ("datorama-asia", "https://datorama-asia.domo.com"),
        ("sandboxes", "https://sandboxes.domo.com"),
        ("sandbox-a", "https://sandbox-a.domo.com"),
        ("my-sandbox", "https://my-sandbox.domo.com"),
        ("sandbox2", "https://sandbox2.domo.com"),
    ],
)
def test_a_name_leads_to_its_address(name, url):
    found = find_instance(name)
    assert (found.name, found.url, found.secrets) == (name.lower(), url, {})
    assert str(found) == name.lower() and find_instance(found) is found


@pytest.mark.parametrize("name", ["sandbox", "sandbox-2", "datorama", "datorama-17", "SANDBOX"])
def test_a_sandbox_that_does_not_run_is_told(name):
    error = told(find_instance, name)
    assert error.reason == "no_sandbox"
    assert str(error) == (
        f"No sandbox called {name.lower()!r} is running, nor any other. Start one: "
        "'domostats sandbox' in a terminal, or sandbox.start() in a notebook."
    )
    write(f"[domostats]\n[instance.{name.lower()}]\nurl = https://mine.example/\n")
    assert find_instance(name).url == "https://mine.example"


@pytest.mark.parametrize(
    "name, quoted",
    [
        ("", "''"),
        ("-acme", "<secret>"),
        ("acme-", "<secret>"),
        ("a_b", "'a_b'"),
        ("acme.domo.com", "'acme.domo.com'"),
        ("https://acme.domo.com/", "'https://acme.domo.com/'"),
        ("acme corp", "<secret>"),
        ("my-company-" * 5 + "nine99999", "<secret>"),
        ("acme\n", "<secret>"),
        (None, "None"),
        (7, "something of type int"),
        ([], "something of type list"),
    ],
)
def test_what_is_no_name_is_told(name, quoted):
    for call in (check_name, find_instance):
        error = told(call, name)
        assert error.reason == "bad_name"
        assert str(error).startswith(f"{quoted} is not the name of an instance. Give the part ")
        assert "[instance.NAME]" in str(error)


@pytest.mark.parametrize("value", ["", "acme.example", "https://a b", "https://a.example/x"])
def test_a_bad_address_names_the_line_and_never_the_address(value):
    write(f"[domostats]\n[instance.acme]\nurl = {value}\n")
    error = told(find_instance, "acme")
    assert error.reason == "bad_url"
    assert str(error) == (
        "The address of instance 'acme' must be https://HOST (plain http only on this machine), "
        "with no user, path or query in it. Mend the line 'url' under [instance.acme] in "
        "settings.ini."
    )


@pytest.mark.parametrize(
    "port, fine", [("1", True), ("65535", True), ("65536", False), ("123456", False), ("", False)]
)
def test_a_port_is_one_that_there_can_be(port, fine):
    url = f"https://acme.example:{port}"
    if fine:
        assert Instance("acme", url).url == url
    else:
        assert told(Instance, "acme", url).reason == "bad_url"


def test_an_instance_shows_no_secret_and_is_told_by_name_and_address():
    one = Instance("acme", "https://a.example", {"DOMO_PASSWORD": Secret(HORSE)})
    assert repr(one) == "Instance(name='acme', url='https://a.example')"
    assert one == Instance("acme", "https://a.example") != Instance("acme", "https://b.example")
    assert one != Instance("other", "https://a.example")
    assert len({one, Instance("acme", "https://a.example")}) == 1
    with pytest.raises(AttributeError):
        one.url = "https://evil.example"


# ---- notes of sandboxes: mine alone, a file, and proven


@pytest.fixture(scope="module")
def answering():
    "A server that proves itself with the key `k`, however it is asked; gives its address."

    class Proving(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            path, _, number = self.path.partition("?number=")
            moved = Proving.answer == "moved" and path == "/sandbox"
            proof = {"good": signed(Secret("k"), number), "stale": signed(Secret("k"), "0" * 32)}
            body = json.dumps({"proof": proof.get(Proving.answer, proof["good"])}).encode()
            self.send_response(302 if moved else 200)
            self.send_header("Location", f"/elsewhere?number={number}")
            self.send_header("Content-Length", str(0 if moved else len(body)))
            self.end_headers()
            self.wfile.write(b"" if moved else body)

        def log_message(self, *_):
            pass

    Proving.answer = "good"
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proving) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield types.SimpleNamespace(
            url=f"http://127.0.0.1:{server.server_port}",
            will=lambda answer: setattr(Proving, "answer", answer),
        )
        server.shutdown()
        thread.join()


@pytest.fixture
def leave(answering):
    "A function that leaves a true note, with changes, under a name."
    answering.will("good")

    def leave(name="sandbox", mode=0o600, **changes):
        path = sandbox_note(name)
        make_private(path.parent)
        note = {"url": answering.url, "key": "k", "secrets": {"DOMO_USERNAME": "ada"}} | changes
        path.write_text(json.dumps(note))
        path.chmod(mode)
        return path

    return leave


def test_a_true_note_is_believed_and_its_secrets_are_hidden(leave, answering, monkeypatch):
    leave()
    leave("sandbox-2")
    leave("datorama", secrets={"DATORAMA_API_TOKEN": "t", "plain": "p"})
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    found = find_instance("Sandbox")
    assert found == Instance("sandbox", answering.url)
    assert found.secrets == {"DOMO_USERNAME": Secret("ada")}
    assert find_instance("datorama").secrets == {"DATORAMA_API_TOKEN": Secret("t"), "plain": "p"}
    assert running_sandboxes() == ["datorama", "sandbox-2", "sandbox"]
    write("[domostats]\n[instance.ACME]\naccount = a\n[instance.sandbox]\naccount = b\n")
    assert known_instances() == ["acme", "sandbox", "datorama", "sandbox-2"]
    error = told(find_instance, "sandbox-3")
    assert "is running; what runs: datorama, sandbox-2, sandbox. Start one" in str(error)


@pytest.mark.parametrize("mode", [0o640, 0o620, 0o610, 0o604, 0o602, 0o601, 0o666])
def test_a_note_that_others_may_touch_is_not_believed(leave, mode):
    leave(mode=mode)
    assert told(find_instance, "sandbox").reason == "no_sandbox"
    sandbox_note("sandbox").chmod(0o700)
    assert find_instance("sandbox").name == "sandbox"


def test_a_note_of_another_user_is_not_believed(leave, monkeypatch):
    leave()
    monkeypatch.setattr(os, "getuid", lambda real=os.getuid(): real + 1)
    assert told(find_instance, "sandbox").reason == "no_sandbox"


def test_a_link_in_the_place_of_a_note_is_not_followed(leave):
    path = leave()
    path.rename("elsewhere.json")
    path.symlink_to(Path("elsewhere.json").resolve())
    assert told(find_instance, "sandbox").reason == "no_sandbox" and running_sandboxes() == []
    path.unlink()
    Path("elsewhere.json").rename(path)
    assert find_instance("sandbox").name == "sandbox"


@pytest.mark.parametrize("kind", ["folder", "cut", "a number", "a list", "deep", "nothing"])
def test_a_note_that_is_no_note_is_none(leave, kind):
    path = leave()
    if kind == "folder":
        path.unlink()
        path.mkdir()
    else:
        text = {"cut": path.read_text()[:-1], "a number": "7", "a list": "[]", "deep": "[" * 9_000}
        path.write_text(text.get(kind, ""))
    assert told(find_instance, "sandbox").reason == "no_sandbox"


@pytest.mark.parametrize(
    "changes",
    [{"key": "other"}, {"url": "https://acme.domo.com"}, {"url": "http://10.0.0.1"}, {"url": ""}],
)
def test_a_note_that_proves_nothing_is_none(leave, changes):
    leave(**changes)
    assert told(find_instance, "sandbox").reason == "no_sandbox"


@pytest.mark.parametrize("answer", ["stale", "moved"])
def test_a_proof_is_for_this_question_and_from_this_address(leave, answering, answer):
    leave()
    answering.will(answer)
    assert told(find_instance, "sandbox").reason == "no_sandbox"


# ---- secrets: who is asked first, and what is said of a missing one


def env(**values):
    Path(".env").write_text("".join(f"{name}='{value}'\n" for name, value in values.items()))


@pytest.fixture
def workspace(monkeypatch):
    "A function that puts a domojupyter with these accounts in place."

    def put(accounts):
        module = types.ModuleType("domojupyter")
        module.get_account_property_keys = lambda alias: list(accounts[alias])
        module.get_account_property_value = lambda alias, key: accounts[alias][key]
        monkeypatch.setitem(sys.modules, "domojupyter", module)

    return put


TOKEN, LOGIN = ("DOMO_ACCESS_TOKEN",), ("DOMO_USERNAME", "DOMO_PASSWORD")


def found(*alternatives, instance=ACME):
    return {name: value.reveal() for name, value in find_secrets(instance, *alternatives).items()}


def test_the_environment_goes_before_the_file_and_the_file_before_the_account(
    monkeypatch, workspace
):
    write("[domostats]\naccount = keys\n")
    workspace({"keys": {"Access_Token": "of the account"}})
    assert found(TOKEN) == {"DOMO_ACCESS_TOKEN": "of the account"}
    env(DOMO_ACCESS_TOKEN="of the file")
    assert found(TOKEN) == {"DOMO_ACCESS_TOKEN": "of the file"}
    monkeypatch.setenv("DOMO_ACCESS_TOKEN", "of the environment")
    assert found(TOKEN) == {"DOMO_ACCESS_TOKEN": "of the environment"}
    monkeypatch.setenv("DOMO_ACCESS_TOKEN", "")
    assert found(TOKEN) == {"DOMO_ACCESS_TOKEN": "of the file"}


def test_what_is_meant_for_this_instance_goes_before_what_is_meant_for_all(monkeypatch):
    monkeypatch.setenv("DOMO_ACCESS_TOKEN", "for all")
    env(DOMO_USERNAME__ACME="ada", DOMO_PASSWORD__ACME="pw", DOMO_USERNAME="bob")
    assert found(TOKEN, LOGIN) == {"DOMO_USERNAME": "ada", "DOMO_PASSWORD": "pw"}
    other = Instance("other", "https://other.domo.com")
    assert found(TOKEN, LOGIN, instance=other) == {"DOMO_ACCESS_TOKEN": "for all"}
    env(DOMO_USERNAME__ACME="ada", DOMO_PASSWORD="pw")  # half of one and half of another is none
    assert found(TOKEN, LOGIN) == {"DOMO_ACCESS_TOKEN": "for all"}
    monkeypatch.setenv("DOMO_ACCESS_TOKEN__ACME", "mine")
    assert found(TOKEN, LOGIN) == {"DOMO_ACCESS_TOKEN": "mine"}
    assert own_name("DOMO_PASSWORD", Instance("my-own-2", "https://a.example")) == (
        "DOMO_PASSWORD__MY_OWN_2"
    )


def test_of_two_ways_the_first_that_is_whole_counts(monkeypatch):
    env(DOMO_USERNAME="ada", DOMO_PASSWORD="pw")
    assert found(TOKEN, LOGIN) == {"DOMO_USERNAME": "ada", "DOMO_PASSWORD": "pw"}
    env(DOMO_USERNAME="ada", DOMO_PASSWORD="pw", DOMO_ACCESS_TOKEN="t")
    assert found(TOKEN, LOGIN) == {"DOMO_ACCESS_TOKEN": "t"}
    assert found(LOGIN, TOKEN) == {"DOMO_USERNAME": "ada", "DOMO_PASSWORD": "pw"}


@pytest.mark.parametrize(
    "properties",
    [
        {"DOMO_PASSWORD": "pw", "domo_username": "ada"},
        {"password": "pw", "Username": "ada"},
        {"credentials": json.dumps({"Password": "pw", "DOMO_USERNAME": "ada"})},
        {"credentials": "no JSON", "password": "pw", "username": "ada"},
        {"domo_password": "pw", "password": "other", "username": "ada"},
    ],
)
def test_an_account_of_the_workspace_in_each_form(properties, workspace):
    write("[instance.acme]\naccount = keys\n")
    workspace({"keys": properties})
    assert found(LOGIN) == {"DOMO_USERNAME": "ada", "DOMO_PASSWORD": "pw"}


@pytest.mark.parametrize(
    "properties",
    [{}, {"credentials": "no JSON"}, {"credentials": "[1]"}, {"credentials": '{"a": 1}'}],
)
def test_an_account_that_holds_nothing_of_it_is_one_more_place(properties, workspace):
    write("[domostats]\naccount = keys\n")
    workspace({"keys": properties})
    error = told(find_secrets, ACME, TOKEN, kind=CredentialsError)
    assert "DOMO_ACCESS_TOKEN in an account of the DomoJupyter workspace (keys)" in str(error)


def test_an_account_that_is_not_there_is_told(workspace):
    write("[domostats]\naccount = lost\n")
    workspace({})
    error = told(find_secrets, ACME, TOKEN)
    assert error.reason == "account_not_attached"
    assert str(error) == (
        "The workspace gives no account 'lost'. Add it to the workspace, share it with "
        "yourself, or "
        "mend the line 'account' in settings.ini."
    )


def test_every_place_that_was_looked_in_is_named_in_order():
    write("[instance.acmee]\nurl = https://a.example\n")
    error = told(find_secrets, ACME, TOKEN, LOGIN, kind=CredentialsError)
    assert error.reason == "missing_secret"
    dotenv = ".env, in the working folder or above it"
    assert str(error).splitlines() == [
        "No credentials for instance 'acme'. Did you mean 'acmee'? Set DOMO_ACCESS_TOKEN, or "
        "DOMO_USERNAME with DOMO_PASSWORD, or check the spelling of the instance. Looked for, in "
        "this order:",
        "  1. DOMO_ACCESS_TOKEN__ACME in the environment",
        f"  2. DOMO_ACCESS_TOKEN__ACME in {dotenv}",
        "  3. DOMO_USERNAME__ACME in the environment",
        f"  4. DOMO_USERNAME__ACME in {dotenv}",
        "  5. DOMO_PASSWORD__ACME in the environment",
        f"  6. DOMO_PASSWORD__ACME in {dotenv}",
        "  7. DOMO_ACCESS_TOKEN in the environment",
        f"  8. DOMO_ACCESS_TOKEN in {dotenv}",
        "  9. DOMO_USERNAME in the environment",
        f"  10. DOMO_USERNAME in {dotenv}",
        "  11. DOMO_PASSWORD in the environment",
        f"  12. DOMO_PASSWORD in {dotenv}",
        "Inside DomoJupyter, 'account = ALIAS' in settings.ini adds an account of the workspace to "
        "these places.",
    ]


def test_with_an_account_and_half_a_login_only_what_is_missing_is_named(monkeypatch):
    write("[instance.acme]\naccount = keys\n")
    monkeypatch.setenv("DOMO_USERNAME", "ada")
    error = told(find_secrets, ACME, LOGIN, kind=CredentialsError)
    assert [line.strip() for line in str(error).splitlines()[1:]][6:] == [
        "7. DOMO_PASSWORD in the environment",
        "8. DOMO_PASSWORD in .env, in the working folder or above it",
        "9. DOMO_PASSWORD in an account of the DomoJupyter workspace (keys)",
    ]
    assert "Did you mean" not in str(error) and "Inside DomoJupyter" not in str(error)


def test_what_runs_is_named_where_an_instance_is_not_known(leave):
    leave()
    error = told(find_secrets, ACME, TOKEN, kind=CredentialsError)
    assert "for instance 'acme'. Sandboxes that run: sandbox. Set DOMO_ACCESS_TOKEN," in str(error)
    write("[instance.acme]\nurl = https://a.example\n")
    assert "for instance 'acme'. Set " in str(
        told(find_secrets, ACME, TOKEN, kind=CredentialsError)
    )


def test_a_sandbox_uses_its_own_secrets_and_no_others(monkeypatch):
    for name in (*TOKEN, *LOGIN):
        monkeypatch.setenv(name, "of the environment")
    box = Instance(
        "sandbox",
        "http://127.0.0.1:9",
        {"DOMO_USERNAME": Secret("ada"), "DOMO_PASSWORD": Secret("pw")},
    )
    assert found(TOKEN, LOGIN, instance=box) == {"DOMO_USERNAME": "ada", "DOMO_PASSWORD": "pw"}
    error = told(find_secrets, box, TOKEN, ("A", "B"), kind=CredentialsError)
    assert str(error) == (
        "'sandbox' brings its own secrets, and none of what is needed is among them: "
        "DOMO_ACCESS_TOKEN, or A with B."
    )


def test_the_nearest_env_counts_alone(monkeypatch, tmp_path):
    env(DOMO_ACCESS_TOKEN="above", DOMO_USERNAME="above")
    Path("a/b").mkdir(parents=True)
    os.chdir("a/b")
    assert from_dotenv("DOMO_ACCESS_TOKEN").reveal() == "above"
    env(DOMO_ACCESS_TOKEN="here")
    assert from_dotenv("DOMO_ACCESS_TOKEN").reveal() == "here"
    assert from_dotenv("DOMO_USERNAME") is None
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "named").write_text("DOMO_ACCESS_TOKEN=named\n")
    monkeypatch.setenv("DOMOSTATS_ENV", "~/named")
    assert from_dotenv("DOMO_ACCESS_TOKEN").reveal() == "named"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFO on this system")
@pytest.mark.parametrize("way", ["found", "named", "named, a stranger's"])
def test_a_keeper_of_passwords_may_hand_over_the_env_through_a_pipe(way, monkeypatch, give_away):
    os.mkfifo(".env", 0o600)
    if way != "found":
        monkeypatch.setenv("DOMOSTATS_ENV", str(Path(".env").resolve()))
    if way == "named, a stranger's":
        give_away(".env")
    keeper = threading.Thread(
        target=lambda: Path(".env").write_text("DOMO_ACCESS_TOKEN=kept\n"), daemon=True
    )
    keeper.start()
    assert from_dotenv("DOMO_ACCESS_TOKEN").reveal() == "kept"
    keeper.join(10)
    assert not keeper.is_alive()


@pytest.mark.parametrize(
    "statement, why",
    [
        (
            "A='x",
            "cannot be read: a quote is not closed, or something stands behind it, or there "
            "is no =. Write NAME='VALUE', with \\' for a quote in it.",
        ),
        (
            "A=x ${HOME}",
            "has ${ in it, and nothing is filled in here. Put it in single quotes if it "
            "stands for itself.",
        ),
        (
            'A="x\\ty"',
            "has a line break, a tab or another control character in it. Write it on one "
            "line, in single quotes if there is a backslash in it.",
        ),
        (
            "A='x\x7fy'",
            "has a line break, a tab or another control character in it. Write it on one "
            "line, in single quotes if there is a backslash in it.",
        ),
        ("A=“x”", "begins with a quote of another kind. Put it in single quotes."),
        ("A=«x»", "begins with a quote of another kind. Put it in single quotes."),
        (
            "A=x #y",
            "has a # at its beginning or behind a blank. Put the value in single quotes, and "
            "a comment on a line of its own.",
        ),
        (
            'A="x\ny"',
            "begins with a quote that ends in another line. Close it, or put the value in "
            "quotes of the other kind.",
        ),
        ("$env:A=x", "is not set in the form NAME=VALUE."),
    ],
)
def test_what_is_said_of_a_line_in_an_env_that_is_wrong(statement, why):
    Path(".env").write_text("\n# b\n" + statement.replace("A=", "DOMO_PASSWORD=") + "\n")
    error = told(from_dotenv, "DOMO_PASSWORD")
    assert error.reason == "bad_dotenv"
    assert str(error) == f"{Path.cwd() / '.env'}, line 3: the value of DOMO_PASSWORD {why}"


# ---- what may be shown


@pytest.mark.parametrize(
    "text, shown_as",
    [
        ("acme", "'acme'"),
        ("", "''"),
        ("-17", "'-17'"),
        ("2024-04-01T10:00:00.5+02:00", "'2024-04-01T10:00:00.5+02:00'"),
        ("ada.l+x@example.co.uk", "'ada.l+x@example.co.uk'"),
        ("api-eu.datorama.com", "'api-eu.datorama.com'"),
        ("http://acme.domo.com/", "'http://acme.domo.com/'"),
        ("~/x/a b.csv", "'~/x/a b.csv'"),
        ("./a.csv", "'./a.csv'"),
        ("/srv/a.duckdb", "'/srv/a.duckdb'"),
        ("internationalbusinessmachines", "'internationalbusinessmachines'"),
        ("a" * 31, f"'{'a' * 31}'"),
        ("abcdefghijklm12", "'abcdefghijklm12'"),
        ("abcdefghijklmn12", "'abcdefghijklmn12'"),
        ("12345678901234ab", "'12345678901234ab'"),
        (HORSE, "<secret>"),
        ("a" * 32, "<secret>"),
        ("abcdefghijklm123", "<secret>"),
        ("1234567890123abc", "<secret>"),
        ("acme-abcdefghijklm123", "<secret>"),
        ("5ec4e7d0-0dfe-4d5e-8c4e-7a00bfeed5ec", "<secret>"),
        ("5EC4E7D0-0DFE-4D5E-8C4E-7A00BFEED5EC", "<secret>"),
        ("ab-cd-" * 7, "<secret>"),
        ("a:b", "<secret>"),
        ("https://ada:pw@acme.domo.com", "<secret>"),
        ("acme.domo.com.evil.example", "<secret>"),
        (b"acme", "something of type bytes"),
        (None, "None"),
        (1.5, "something of type float"),
    ],
)
def test_what_is_quoted_and_what_is_hidden(text, shown_as):
    assert shown(text) == shown_as
    if isinstance(text, str):
        assert is_plain(text) is (shown_as != "<secret>")


def test_what_stands_in_a_variable_for_secrets_is_one(monkeypatch):
    assert not is_token("hunter22") and is_plain("hunter22")
    for name in (
        "DOMO_PASSWORD",
        "DOMO_PASSWORD__ACME",
        "DATORAMA_API_TOKEN",
        "DOMOSTATS_REGISTRY_KEY",
        "DOMO_CLIENT_SECRET",
    ):
        monkeypatch.setenv(name, "hunter22")
        assert is_token("hunter22") and not is_plain("hunter22"), name
        monkeypatch.setenv(name, "hunter2")
        assert not is_token("hunter2"), name  # so short a word stands in many places
    monkeypatch.setenv("OTHER_PASSWORD", "hunter22")
    monkeypatch.setenv("DOMO_USERNAME", "hunter22")
    assert not is_token("hunter22")


def test_what_is_cut_from_a_masked_text_is_masked():
    text = Masked(HORSE)
    for part in (text, text[:4], text[0], text[2:], copy.copy(text), copy.deepcopy(text)):
        assert isinstance(part, Masked) and repr(part) == "<secret>"
    assert text[:7] == "correct" and f"{text}" == HORSE and copy.deepcopy(text) == HORSE
    assert pickle.loads(pickle.dumps(text)) == "<secret>"


def test_masked_bytes_stay_bytes_and_show_nothing():
    raw = MaskedBytes(b" correct horse\n")
    assert repr(raw) == str(raw) == f"{raw}" == "<secret>"
    assert raw.strip() == b"correct horse" and raw.strip(b"\n") == b" correct horse"
    assert raw[1:8] == b"correct" and raw[1] == ord("c") and len(raw) == 15
    for part in (raw, raw[1:8], raw.strip(), raw.decode(), copy.copy(raw), copy.deepcopy(raw)):
        assert repr(part) == "<secret>"
    assert raw.decode() == " correct horse\n" and raw.decode("utf-16-le", "replace")
    assert pickle.loads(pickle.dumps(raw)) == b"<secret>" and copy.deepcopy(raw) == raw


def test_however_deep_a_text_stands_it_is_masked():
    value = {"a": ["x", ("y", b"z"), {"b": {"c"}}], "d": frozenset("e"), "f": 7, "g": None}
    hidden = masked(value)
    assert hidden == value and hidden is not value
    assert repr(hidden) == (
        "{'a': [<secret>, (<secret>, <secret>), {'b': {<secret>}}], 'd': frozenset({<secret>}), "
        "'f': 7, 'g': None}"
    )
    assert repr(masked(bytearray(b"x"))) == repr(masked(memoryview(b"x"))) == "<secret>"


def test_what_is_sealed_keeps_its_form():
    class Kept:
        def get_secret_value(self):
            return "x"

    value = {"a": ["x", 7, 1.5, b"y"], "b": (True, None), "c": {"x"}, "d": Kept()}
    hidden = sealed(value)
    assert repr(hidden) == (
        "{'a': [<secret>, <secret>, <secret>, <secret>], 'b': (True, None), 'c': {<secret>}, "
        "'d': <secret>}"
    )
    assert [one.reveal() for one in hidden["a"]] == ["x", "7", "1.5", "y"]
    assert hidden["d"] == Secret("x") and hidden["c"] == {Secret("x")}


@pytest.mark.parametrize(
    "value, text",
    [(7, "7"), (b"\xc3\xb6", "ö"), ("ö", "ö"), (Secret("x"), "x"), ("", "")],
)
def test_a_secret_from_each_form(value, text):
    assert Secret(value).reveal() == text and bool(Secret(value)) is bool(text)


@pytest.mark.parametrize("value", [b"\xff", "a\ud800", b"a\xed\xa0\x80"])
def test_a_secret_that_is_no_text_is_told(value):
    error = told(Secret, value)
    assert error.reason == "malformed_secret"
    assert str(error) == (
        "A secret holds bytes that are not UTF-8. Copy it again from where it was made."
    )


@hides("token", "users")
def enter(instance, token=None, users=None, user_id=None, note=None, **more):
    return instance, token, users, user_id, note, more


def test_what_a_door_lets_in():
    assert enter("acme", "t") == ("acme", Secret("t"), None, None, None, {})
    assert enter("acme", ["t", {"ada": 7}])[1] == [Secret("t"), {"ada": Secret("7")}]
    assert enter("acme", users={"ada": "t"})[2] == {"ada": Secret("t")}
    assert enter("acme", user_id="17", note="a note here", more=5) == (
        "acme",
        None,
        None,
        "17",
        "a note here",
        {"more": 5},
    )
    assert repr(enter("acme", note="a note here")[4]) == "<secret>"
    assert repr(enter("acme", note="word")[4]) == "'word'"
    assert repr(enter("acme", note=["a b", {"c d": b"e"}])[4]) == "[<secret>, {<secret>: <secret>}]"


TOKEN_LIKE = "5ec4e7d00dfeed5ec4e7a00bfeed5ec4e7c0ffee"


@pytest.mark.parametrize(
    "given, name, reason",
    [
        ({"instance": TOKEN_LIKE}, "instance", "misplaced_secret"),
        ({"instance": b"acme"}, "instance", "misplaced_secret"),
        ({"instance": Secret("acme")}, "instance", "misplaced_secret"),
        ({"instance": "acme", "note": TOKEN_LIKE}, "note", "misplaced_secret"),
        ({"instance": "acme", "more": TOKEN_LIKE}, "more", "misplaced_secret"),
        ({"instance": "acme", "user_id": "a/../b c"}, "user_id", "bad_id"),
        ({"instance": "acme", "token": ACME}, "token", "misplaced_secret"),
        ({"instance": "acme", "users": {TOKEN_LIKE: "ada"}}, "users", "misplaced_secret"),
        ({"instance": "acme", "users": {"pass word": "ada"}}, "users", "misplaced_secret"),
    ],
)
def test_what_a_door_refuses(given, name, reason):
    error = told(enter, **given)
    assert error.reason == reason
    assert str(error) == (
        f"enter(): what was given as {name} seems to belong elsewhere. A secret is taken as token "
        "or users alone; were two arguments exchanged? An instance that has a name like a token is "
        "known by its 'url' under [instance.NAME] in settings.ini."
    )


def test_a_wrong_call_of_a_door_names_the_function():
    error = told(enter, kind=TypeError)
    assert str(error) == "enter(): missing a required argument: 'instance'"
    assert enter.__name__ == "enter" and enter.hidden == ("token", "users")


def test_fields_that_are_sent_may_hold_anything():
    @hides("token")
    def change(instance, token=None, **fields):
        return token, fields

    assert change("acme", "t", note=TOKEN_LIKE) == (Secret("t"), {"note": TOKEN_LIKE})


# ---- errors


def test_an_error_carries_what_it_is_told():
    error = errors.DataError("m", "r", "a", row=3, column="c")
    assert (str(error), error.reason, error.answer) == ("m", "r", "a")
    assert (error.page, error.row, error.column, error.type) == (None, 3, "c", None)
    plain = DomostatsError("m")
    assert (plain.reason, plain.answer) == ("", None)
    assert errors.RetryLaterError("m").retry_after is None
    assert (CodeError("m").file, CodeError("m").line) == (None, None)


@pytest.mark.parametrize(
    "word, known, hint",
    [
        ("acounts", ["accounts", "users"], " Did you mean 'accounts'?"),
        ("ACCOUNTS", ["accounts"], " Did you mean 'accounts'?"),
        ("accounts", ["Accounts"], " Did you mean 'Accounts'?"),
        ("accounts", ["accounts", "account"], ""),
        ("v3", ["v1"], " Did you mean 'v1'?"),
        ("v13", ["v1x"], " Did you mean 'v1x'?"),
        ("abcd", ["abxy"], ""),
        ("abc", ["axy"], ""),
        (7, ["users"], ""),
        ("x", [], ""),
    ],
)
def test_the_nearest_word_is_offered(word, known, hint):
    assert did_you_mean(word, known) == hint


def test_an_unknown_keyword_is_refused_as_python_does_it():
    check_keywords("generate", ["sort"], ["sort", "limit"])
    error = told(
        check_keywords, "generate", ["limit", "srot"], iter(["sort", "limit"]), kind=TypeError
    )
    assert str(error) == (
        "generate() got an unexpected keyword argument 'srot'. Did you mean 'sort'? "
        "It takes sort, limit."
    )


def raised(source, path="mine.py"):
    "The error of a module that a user wrote."
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(source)
    with pytest.raises(CodeError) as error, your_code("The module mine"):
        exec(compile(source, str(Path(path).resolve()), "exec"), {})
    return error.value


@pytest.mark.parametrize(
    "source, reason, line, said",
    [
        ("a = 1\n\nb = a / 0\n", "code_failed", 3, "ZeroDivisionError: division by zero"),
        (
            "import nowhere_at_all\n",
            "not_importable",
            1,
            "ModuleNotFoundError: No module named 'nowhere_at_all'",
        ),
        ("raise ValueError('a\\n   b')\n", "code_failed", 1, "ValueError: a b"),
        ("import sys\nsys.exit(3)\n", "code_failed", 2, "SystemExit: 3"),
        ("import json\n\njson.loads('{')\n", "code_failed", 3, "JSONDecodeError: "),
        (f"raise ValueError('{'x' * 400}')\n", "code_failed", 1, f"ValueError: {'x' * 300}"),
    ],
)
def test_code_of_a_user_that_fails_is_told_with_its_place(source, reason, line, said):
    error = raised(source)
    file = str(Path("mine.py").resolve())
    assert (error.reason, error.file, error.line) == (reason, file, line)
    assert str(error).startswith(f"The module mine failed in {file}, line {line}: {said}")
    assert not str(error).endswith("x" * 301) and error.__cause__ is not None


def test_code_that_cannot_be_read_is_told_with_its_line():
    error = raised("a = 1\nb = (\n")
    assert (error.reason, error.line) == ("not_importable", 2)
    assert str(error).endswith(", line 2: SyntaxError: '(' was never closed")


def test_an_error_of_the_kit_in_code_of_a_user_stays_what_it_is():
    with pytest.raises(SettingsError) as error, your_code("mine"):
        raise SettingsError("m", "r")
    assert error.value.reason == "r"
    with pytest.raises(KeyboardInterrupt), your_code("mine"):
        raise KeyboardInterrupt


def code(text, path):
    "What a file of this text defines."
    space = {}
    exec(compile(text, str(Path(path).resolve()), "exec"), space)
    return space


CALLS = "def call(f):\n\n    return f()\n"


def test_the_place_is_the_last_line_that_is_the_users_own():
    mine = code(CALLS, "mine.py")["call"]
    library = code(CALLS, "env/site-packages/library.py")["call"]
    kit = code(CALLS, "kit/reports.py")["call"]

    def place(call, within):
        with pytest.raises(json.JSONDecodeError) as error:
            call()
        traceback = error.value.__traceback__
        while traceback.tb_frame.f_code.co_filename == __file__:  # of the tests
            traceback = traceback.tb_next
        return place_in(error.value.with_traceback(traceback), within)

    fails = types.FunctionType(compile("import json; json.loads('{')", "<frozen x>", "exec"), {})
    here, inside = Path.cwd(), Path("kit").resolve()
    assert place(lambda: mine(fails), inside) == (str(here / "mine.py"), 3)
    assert place(lambda: kit(types.MethodType(mine, fails)), inside) == (str(here / "mine.py"), 3)
    assert place(lambda: mine(types.MethodType(library, fails)), inside) == (
        str(here / "mine.py"),
        3,
    )
    assert place(lambda: mine(types.MethodType(kit, fails)), inside) == (str(here / "mine.py"), 3)
    assert place(lambda: mine(types.MethodType(kit, fails)), None) == (
        str(here / "kit/reports.py"),
        3,
    )
    assert place(lambda: library(fails), inside)[0] == json.decoder.__file__
    assert place_in(ZeroDivisionError()) == ("", 0)


# ---- what is said while it works


def test_what_the_kit_tells_goes_through_its_own_log(caplog):
    notices.tell("Waiting for acme.")
    assert [(one.name, one.levelno, one.message) for one in caplog.records] == [
        ("domostats", logging.WARNING, "Waiting for acme.")
    ]


def test_a_wait_is_told_once_and_from_its_time_on(caplog):
    now = [100.0]
    wait = notices.LongWait(after=5, clock=lambda: now[0])
    now[0] = 104.9
    wait.at("early")
    now[0] = 105.0
    wait.at("in time")
    now[0] = 200.0
    wait.at("again")
    assert [one.message for one in caplog.records] == ["in time"]
    assert notices.LongWait().after == 2.0


@pytest.mark.parametrize("module", ["domostats.reports.some", "contextlib", "functools"])
def test_a_warning_points_to_the_line_of_the_user(module):
    between = {"__name__": module}
    exec(compile("def call(warn):\n    warn('x')\n", "between.py", "exec"), between)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        notices.warn("x")
        between["call"](notices.warn)
    assert [(str(one.message), one.filename) for one in said] == [("x", __file__)] * 2
    assert said[1].lineno == said[0].lineno + 1 and said[0].category is UserWarning


@pytest.mark.parametrize("name", ["a-b-" * 9 + "abcd", "a-b-" * 15 + "abc", "a" * 32])
def test_a_name_as_long_as_a_token_has_to_stand_in_the_settings(name):
    assert told(find_instance, name).reason == "bad_name"
    write(f"[domostats]\n[instance.{name}]\nurl = https://a.example\n")
    assert find_instance(name.upper()).url == "https://a.example"


def test_a_name_has_at_most_63_characters():
    name = "a-b-" * 15 + "abcd"
    write(f"[domostats]\n[instance.{name}]\nurl = https://a.example\n")
    assert told(find_settings).reason == "unknown_setting"
    assert told(find_instance, name).reason == "bad_name"


def test_a_named_file_that_cannot_be_read_is_told_and_not_left_out(tmp_path, monkeypatch):
    path = tmp_path / "mine.ini"
    path.write_text("[domostats]\nstore = x.duckdb\n")
    monkeypatch.setenv("DOMOSTATS_SETTINGS", str(path))
    assert read_settings(path).get("domostats", "store") == "x.duckdb"

    def closed(path):
        raise PermissionError(13, "not permitted")

    monkeypatch.setattr(settings, "look_at", closed)
    with pytest.raises(SettingsError) as told:
        read_settings(path)
    assert told.value.reason == "bad_settings" and "Check its permissions" in str(told.value)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_breaks_of_any_system_end_a_line(tmp_path, end):
    path = tmp_path / "settings.ini"
    lines = "[domostats]", "store = a.duckdb", "calls_per_minute = 7", ""
    path.write_bytes(end.join(lines).encode())
    found = read_settings(path)
    assert found.get("domostats", "store") == "a.duckdb"
    assert found.getint("domostats", "calls_per_minute") == 7


def test_an_instance_in_the_place_of_a_token_is_told_so():
    for given in (ACME, Instance("box", "http://127.0.0.1:1", {"a": Secret("b")})):
        with pytest.raises(SettingsError) as told:
            AccessToken(given)
        assert told.value.reason == "misplaced_secret"


@pytest.mark.parametrize("length, is_one", [(39, False), (40, True)])
def test_a_long_text_is_a_token_from_forty_signs_on(length, is_one):
    text = "-".join(["abcdefgh"] * 5)[:length]
    assert len(text) == length and is_token(text) is is_one


def test_a_path_of_this_machine_is_no_token_however_long(tmp_path, monkeypatch):
    folder = tmp_path / "check" / "work123" / "a" / "4fbd1c1e7a414c7e8f102f2f6f4bb0b1"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    inside = "check/work123/a/4fbd1c1e7a414c7e8f102f2f6f4bb0b1"
    for start in ("", "./", "~/", "../" + tmp_path.name + "/", f"{tmp_path}/"):
        assert not is_token(start + inside) and not is_token(start + inside + "/python"), start
    for text in (
        "nowhere/work123/4fbd1c1e7a414c7e8f102f2f6f4bb0b1",
        "/4fbd1c1e7a414c7e8f102f2f6f4bb0b1",
    ):
        assert is_token(text)


def test_an_instance_is_the_same_whatever_its_secrets_and_shows_none():
    one = Instance("acme", "https://acme.domo.com", {"DOMO_ACCESS_TOKEN": Secret("horse")})
    assert one == ACME and hash(one) == hash(ACME)
    assert "horse" not in repr(one) and "secrets" not in repr(one)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="open files are counted in /proc")
def test_a_private_folder_leaves_no_file_open(tmp_path):
    from domostats.private import scratch

    def opened():
        return len([*Path("/proc/self/fd").iterdir()])

    before = opened()
    for _ in range(20):
        with scratch(tmp_path, "a.") as folder:
            assert folder.is_dir()
    assert opened() == before and [*tmp_path.glob("a.*")] == []
