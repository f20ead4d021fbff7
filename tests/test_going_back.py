"""Migrations that are taken back: what is asked, what is lost, and what is there afterwards."""

import dataclasses
import os
import subprocess
import sys
import threading
from dataclasses import field
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pyarrow as pa
import pytest
from commands import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domostats.errors import DestinationError, DomostatsError, SettingsError
from domostats.loading.store import Store
from domostats.tracking.extractors.base import BaseExtractor
from domostats.tracking.extractors.extraction import Extraction
from domostats.tracking.extractors.going_back import find_losses, find_way_back, go_back
from domostats.tracking.extractors.migrations import Migrations
from domostats.tracking.extractors.schema import sq_field
from domostats.tracking.extractors.structure import DuckDBStructure
from domostats.tracking.extractors.tables import ExtractorType
from domostats.tracking.loads import Loads

FIRST, NOON = date(2022, 1, 1), datetime(2022, 1, 4, 12, tzinfo=timezone.utc)
DAYS = [FIRST + timedelta(n) for n in range(3)]


def extractor(name, fields, value=lambda start, name: start.day, part=None, **attributes):
    """An extractor of one row a day into a table; `fields` are (name, type, field) as
    `make_dataclass` takes them."""
    row = dataclasses.make_dataclass(name.title(), fields, kw_only=True)
    names = [one.name for one in dataclasses.fields(row)]

    class Made(BaseExtractor):
        table = name

        def get_dataclass(self):
            return row

        def get_extractor_type(self):
            return ExtractorType.date_aggregated

        def extract(self, date_start, date_end):
            yield row(**{one: value(date_start, one) for one in names})

    for attribute, given_value in attributes.items():
        setattr(Made, attribute, given_value)
    return Made


WHOLE = ("n", int, sq_field(differentiate=True))
MAYBE = ("more", int | None, field(default=None))
SMALL = extractor("user", [WHOLE])
WIDE = extractor("user", [WHOLE, MAYBE])


@pytest.fixture
def store():
    return Store("store.duckdb")


def migrated(store, *extractors, fill=True):
    "Declare these, migrate, and fill three days."
    extraction = Extraction([*extractors], store, "UTC", FIRST)
    migrations = Migrations("migrations", store)
    migrations.make(extraction.tables)
    migrations.apply()
    if fill:
        assert not [one.error for one in extraction.extract(NOON) if one.error]
    return migrations


def lost(migrations, target):
    way = find_way_back(migrations, target)
    with migrations.warehouse.open() as db:
        return find_losses(db, way)


def back(migrations, target):
    return go_back(migrations, target, lost(migrations, target))


def state(store):
    "All that a store has of the extractors: tables, rows, lines, declarations, and steps."
    days = sorted((line.dataset, line.release_key) for line in Loads(store).lines())
    with store.open() as con:
        structure = DuckDBStructure(con)
        names = [name for (name,) in con.execute("SHOW TABLES FROM datasets").fetchall()]
        return {
            "columns": {name: structure.live_columns(name) for name in names},
            "declared": {name: structure.declared(name) for name in names},
            "applied": structure.applied(),
            "rows": {
                name: con.execute(f'SELECT * FROM datasets."{name}" ORDER BY ALL').fetchall()
                for name in names
            },
            "days": days,
        }


def refused(call):
    with pytest.raises(DomostatsError) as caught:
        call()
    return caught.value.reason


def test_a_table_goes_with_its_view_its_days_and_its_steps(store):
    migrations = migrated(store, SMALL)
    other = extractor("email", [("sent", int, field())])
    migrated(store, SMALL, other)
    before = state(store)
    [loss] = lost(migrations, "1")
    assert (loss.table, loss.columns, loss.view) == ("email", (), None)
    assert (loss.rows, loss.days, loss.first, loss.last) == (3, 3, DAYS[0], DAYS[-1])
    assert str(loss) == "table email with 3 rows of 3 days (2022-01-01 to 2022-01-03)"
    assert [one.table.name for one in back(migrations, "1")] == ["email"]
    after = state(store)
    for kind in ("columns", "declared", "rows"):
        assert after[kind] == {name: v for name, v in before[kind].items() if name != "email"}
    assert after["days"] == [line for line in before["days"] if line[0] != "email"]
    assert {name for name, _ in after["applied"]} == {"0001_user.json"}
    migrations.apply()  # the files have stayed
    assert state(store)["columns"] == before["columns"] and state(store)["rows"]["email"] == []
    again = Extraction([SMALL, other], store, "UTC", FIRST)
    assert {one.error for one in again.extract(NOON)} == {None}
    assert state(store)["rows"] == before["rows"]


@pytest.mark.parametrize("target", ["0001_user", "0001_user.json", "1", "0001"])
def test_a_file_is_named_as_people_name_it(store, target):
    migrations = migrated(store, SMALL)
    before = state(store)
    migrated(store, WIDE)
    assert [one.before.name for one in back(migrations, target)] == ["user"]
    assert state(store) == before


@pytest.mark.parametrize("target", ["3", "0002", "user", "", "../0001_user", "²", "-1", "Zero"])
def test_a_file_that_there_is_not_is_named(store, target):
    migrations = migrated(store, SMALL)
    before = state(store)
    with pytest.raises(SettingsError, match="0001_user.json, its number, or zero") as refusal:
        find_way_back(migrations, target)
    assert refusal.value.reason == "no_way_back" and state(store) == before


def test_where_nothing_came_later_nothing_is_lost(store):
    migrations = migrated(store, SMALL)
    before = state(store)
    assert find_way_back(migrations, "1") == [] == go_back(migrations, "1")
    migrations.make([table_from_extractor(WIDE)])  # written, and not applied
    assert find_way_back(migrations, "1") == [] and state(store) == before


def table_from_extractor(made):
    return made().get_table()


def test_nothing_goes_that_nobody_has_agreed_to(store):
    migrations = migrated(store, SMALL)
    before = state(store)
    losses = lost(migrations, "zero")
    assert refused(lambda: go_back(migrations, "zero")) == "not_agreed"
    [*Extraction([SMALL], store, "UTC", FIRST).extract(NOON + timedelta(1))]  # a day came meanwhile
    with pytest.raises(SettingsError, match="4 rows of 4 days") as refusal:
        go_back(migrations, "zero", losses)
    assert refusal.value.reason == "not_agreed"
    assert state(store)["applied"] == before["applied"] and len(state(store)["days"]) == 4


def test_a_column_that_may_be_null_is_required_again(store):
    number = ("n", int, field())
    maybe = ("n", int | None, field())
    migrations = migrated(store, extractor("user", [number]))
    before = state(store)
    migrated(store, extractor("user", [maybe]))
    assert lost(migrations, "1") == []
    back(migrations, "1")
    assert state(store) == before
    migrated(store, extractor("user", [maybe], lambda start, name: None), fill=False)
    extraction = Extraction([extractor("user", [maybe], lambda *_: None)], store, "UTC", FIRST)
    assert not [one.error for one in extraction.extract(NOON, DAYS[1], DAYS[1]) if one.error]
    filled = state(store)
    with pytest.raises(DestinationError, match="Table user cannot be taken back") as refusal:
        back(migrations, "1")
    assert refusal.value.reason == "not_written" and state(store) == filled


def test_the_order_and_the_view_are_what_they_were(store):
    plain = [("a", int, field()), ("b", int, field())]
    marked = [("b", int, sq_field(differentiate=True)), ("a", int, field())]
    migrations = migrated(store, extractor("user", plain))
    before = state(store)
    migrated(store, extractor("user", marked))
    assert [str(loss) for loss in lost(migrations, "1")] == ["view user_delta"]
    back(migrations, "1")
    assert state(store) == before


def test_a_view_of_another_difference_is_made_anew(store):
    gaps = {"gap": "previous_day"}
    migrations = migrated(store, SMALL)
    before = state(store)
    migrated(store, extractor("user", [WHOLE], **gaps))
    assert lost(migrations, "1") == []
    with store.open() as con:
        other = con.execute("SELECT sql FROM duckdb_views() WHERE view_name = 'user_delta'")
        changed = other.fetchall()
    back(migrations, "1")
    with store.open() as con:
        again = con.execute("SELECT sql FROM duckdb_views() WHERE view_name = 'user_delta'")
        assert again.fetchall() != changed
    assert state(store) == before and migrations.findings() == []


def test_several_steps_of_a_table_are_one_way(store):
    migrations = migrated(store, SMALL)
    before = state(store)
    migrated(store, WIDE)
    third = [MAYBE, WHOLE, ("mood", str | None, field(default=None))]
    migrated(store, extractor("user", third, lambda start, name: "x" if name == "mood" else 1))
    [way] = find_way_back(migrations, "1")
    assert [step.path.name for step in way.steps][-1] == "0002_user.json"
    assert str(lost(migrations, "1")[0]) == (
        "columns more, mood of table user in 3 rows of 3 days (2022-01-01 to 2022-01-03)"
    )
    back(migrations, "2")
    assert state(store)["columns"]["user"].keys() == {"date", "n", "more"}
    back(migrations, "1")
    assert state(store) == before


def test_the_days_of_every_part_leave_the_ledger(store):
    def of(instance):
        return extractor(
            "user", [WHOLE], partition_field="instance", get_partition=lambda self: instance
        )

    migrations = migrated(store, of("acme"), of("umbra"))
    assert {line.dataset for line in Loads(store).lines()} == {"user/acme", "user/umbra"}
    assert lost(migrations, "zero")[0].rows == 6
    back(migrations, "zero")
    assert state(store)["days"] == [] and store.names() == []


def test_a_partition_that_came_later_stays(store):
    migrations = migrated(store, SMALL)
    parted = extractor(
        "user", [WHOLE], partition_field="instance", get_partition=lambda self: "acme"
    )
    migrations.make([parted().get_table()])
    migrations.apply({"user": "acme"})
    before = state(store)
    with pytest.raises(SettingsError, match="column instance since") as refusal:
        find_way_back(migrations, "1")
    assert refusal.value.reason == "no_way_back" and state(store) == before
    back(migrations, "zero")
    assert state(store)["days"] == []


def test_a_dataset_of_a_similar_name_keeps_its_lines(store):
    migrations = migrated(store, SMALL)
    Loads(store).load("user/own", "p:2022-01-01", pa.table({"n": [1]}))
    back(migrations, "zero")
    assert state(store)["days"] == [("user/own", "p:2022-01-01")]


def test_what_somebody_has_removed_by_hand_is_no_hindrance(store):
    migrations = migrated(store, SMALL)
    with store.open() as con:
        con.execute("DROP VIEW datasets.user_delta; DROP TABLE datasets.user")
    [loss] = lost(migrations, "zero")
    assert (loss.rows, loss.days, loss.first) == (0, 0, None)
    back(migrations, "zero")
    assert state(store)["days"] == [] and len(migrations.apply()) == 1


def test_an_extractor_of_a_table_that_went_back_is_told_to_migrate(store):
    migrations = migrated(store, SMALL)
    migrated(store, WIDE)
    back(migrations, "1")
    extraction = Extraction([WIDE], store, "UTC", FIRST)
    [failed] = extraction.extract(NOON + timedelta(1))
    assert failed.error.reason == "not_migrated"
    migrations.apply()
    [written] = extraction.extract(NOON + timedelta(1))
    assert written.error is None


def test_a_file_that_has_changed_is_told_before_anything_goes(store):
    migrations = migrated(store, SMALL)
    before = state(store)
    [path] = migrations.files
    text = path.read_text()
    path.write_text(text.replace('"INT64"', '"FLOAT64"'))
    assert refused(lambda: find_way_back(migrations, "zero")) == "changed_migration"
    path.rename("elsewhere.json")
    assert refused(lambda: find_way_back(migrations, "zero")) == "changed_migration"
    assert state(store)["rows"] == before["rows"]


def test_two_who_go_back_at_once_do_it_once(store):
    migrations = migrated(store, SMALL, extractor("email", [("sent", int, field())]))
    losses = lost(migrations, "zero")
    found, failed = [], []

    def go():
        try:
            found.extend(go_back(Migrations("migrations", store), "zero", losses))
        except DomostatsError as e:
            failed.append(e)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed and sorted(one.table.name for one in found) == ["email", "user"]
    assert state(store)["applied"] == {} and state(store)["days"] == []


@pytest.mark.parametrize("method", ["erase", "drop", "note_undone"])
def test_one_that_breaks_off_is_done_again(store, monkeypatch, method):
    "Nothing is half: the table and its notes are one transaction, and the next one finishes."
    from domostats.tracking.extractors import on_duckdb

    migrations = migrated(store, SMALL, extractor("email", [("sent", int, field())]))
    losses = lost(migrations, "zero")
    owner = on_duckdb.DuckDBLedger if method == "erase" else on_duckdb.DuckDBStructure
    real, calls = getattr(owner, method), []

    def breaking(self, *given_values):
        calls.append(method)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, *given_values)

    monkeypatch.setattr(owner, method, breaking)
    with pytest.raises(KeyboardInterrupt):
        go_back(migrations, "zero", losses)
    [left] = {one.table.name for one in find_way_back(migrations, "zero")}
    there = state(store)
    assert {name for name, _ in there["days"]} == {left}
    assert {name.removesuffix("_delta") for name in there["columns"]} == {left}
    monkeypatch.setattr(owner, method, real)
    back(migrations, "zero")
    assert state(store)["columns"] == {} and state(store)["applied"] == {}


# --- any story of declarations -------------------------------------------------------------------

KINDS = [int, float, str]
VALUES = {int: 1, float: 1.5, str: "x"}


@st.composite
def stories(draw):
    """Declarations of one table, each allowed after the one before: columns are added, may be null
    later, come in another order, and have a difference or not."""
    story = [{"a": [int, False, draw(st.booleans())]}]
    for number in range(draw(st.integers(1, 4))):
        table = {name: [*about] for name, about in story[-1].items()}
        if draw(st.booleans()):
            table[f"b{number}"] = [draw(st.sampled_from(KINDS)), True, False]
        for about in table.values():
            about[1] = about[1] or draw(st.booleans())
            about[2] = about[0] is not str and draw(st.booleans())
        names = draw(st.permutations([*table]))
        story.append({name: table[name] for name in names})
    return story


def declared(story):
    fields = [
        (
            name,
            kind | None if may_be_null else kind,
            sq_field(differentiate=is_marked, default=VALUES[kind]),
        )
        for name, (kind, may_be_null, is_marked) in story.items()
    ]
    kinds = {name: about[0] for name, about in story.items()}
    return extractor("user", fields, lambda start, name: VALUES[kinds[name]])


@pytest.mark.slow
@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(story=stories(), data=st.data())
def test_any_way_back_ends_where_it_was(tmp_path_factory, story, data):
    """Each state of a store is remembered on the way; going back gives that state again, and the
    way forward the last one."""
    folder = tmp_path_factory.mktemp("story")
    store = Store(folder / "store.duckdb")
    migrations = Migrations(folder / "migrations", store)
    seen = {0: state(store)}
    for table in story:
        migrations.make([declared(table)().get_table()])
        migrations.apply()
        extraction = Extraction([declared(table)], store, "UTC", FIRST)
        assert not [one.error for one in extraction.extract(NOON) if one.error]
        number = len(migrations.files)
        if number not in seen:
            seen[number] = state(store)
    last = max(seen)
    target = data.draw(st.integers(0, last))
    losses = lost(migrations, str(target) if target else "zero")
    way = go_back(migrations, str(target) if target else "zero", losses)
    now, then = state(store), seen[target]
    assert bool(way) == (target != last)
    for kind in ("columns", "declared", "applied", "days"):
        assert now[kind] == then[kind], kind
    assert now["rows"] == then["rows"]
    assert migrations.findings() == []
    migrations.apply()
    assert state(store)["columns"] == seen[last]["columns"]
    assert state(store)["applied"] == seen[last]["applied"]


# --- the command ---------------------------------------------------------------------------------

MODULE = """
from dataclasses import dataclass
from domostats.tracking import BaseExtractor, ExtractorType, sq_field

@dataclass
class Users:
    users: int = sq_field(differentiate=True)
    {column}

class UserExtractor(BaseExtractor[Users]):
    def get_extractor_type(self): return ExtractorType.date_aggregated
    def extract(self, date_start, date_end): yield Users(date_start.day)
"""


@pytest.fixture
def shop(own_folder):
    "A folder with a table of two migrations, and two days in it."
    Path("settings.ini").write_text(
        "[domostats]\nstore = shop.duckdb\n[extractors]\nclasses = shop.UserExtractor\n"
        "first_date = 2022-01-01\nzone = UTC\n"
    )
    for column in ("", "clients: int | None = None"):
        Path("shop.py").write_text(MODULE.format(column=column))
        for words in (("make-migrations",), ("migrate",)):
            code, _, said = domostats(*words)
            assert code == 0, said
    code, _, said = domostats("extract", "-f", "2022-01-01", "-l", "2022-01-02")
    assert code == 0, said
    return Store("shop.duckdb")


def domostats(*words):
    return run(*words, environment={"COLUMNS": "200"})


def at_a_terminal(answer, *words):
    "What a command says to somebody who sits at a terminal and types this."
    import pty

    leader, follower = pty.openpty()
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "domostats", *words],
            stdin=follower,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"COLUMNS": "200"},
        )
        os.write(leader, answer.encode())
        said, _ = process.communicate(timeout=120)
        return process.returncode, said
    finally:
        os.close(leader)
        os.close(follower)


LOST = "column clients of table users in 2 rows of 2 days (2022-01-01 to 2022-01-02)"


def test_a_way_back_is_asked_for_and_told(shop):
    before = state(shop)
    code, said, _ = domostats("migrate", "--back-to", "1", "--dry-run")
    assert code == 0 and said == f"would be lost: {LOST}\n" and state(shop) == before
    code, said, errors = domostats("migrate", "--back-to", "1")  # nobody sits there
    assert code == 3 and LOST in said and "not_agreed" in errors and "--yes" in errors
    assert state(shop) == before
    code, said, _ = domostats("migrate", "--back-to", "1", "--yes")
    assert code == 0 and said.splitlines() == [
        f"will be lost: {LOST}",
        "took back step 1 of 0002_users.json",
    ]
    assert [*state(shop)["columns"]["users"]] == ["date", "users"]
    code, said, _ = domostats("migrate", "--back-to", "1", "--yes")
    assert code == 0 and said == "nothing to take back: no later migration is applied\n"
    code, said, errors = domostats("migrate", "--back-to", "nine", "--yes")
    assert code == 3 and "no_way_back" in errors and "Traceback" not in errors


@pytest.mark.skipif(os.name == "nt", reason="no such terminal")
@pytest.mark.parametrize(("answer", "code"), [("\n", 3), ("y\n", 0)])
def test_somebody_may_say_yes_or_no(shop, answer, code):
    before = state(shop)
    ended, said = at_a_terminal(answer, "migrate", "--back-to", "zero")
    assert ended == code and "This cannot be undone. Go back? [y/N]" in said, said
    assert (
        "table users with 2 rows of 2 days (2022-01-01 to 2022-01-02), and view users_delta" in said
    )
    assert (state(shop) == before) == (code == 3) and (shop.names() == []) == (code == 0)


def test_what_loses_nothing_is_not_asked(own_folder):
    Path("settings.ini").write_text(
        "[domostats]\nstore = shop.duckdb\n[extractors]\nclasses = shop.UserExtractor\n"
        "first_date = 2022-01-01\nzone = UTC\n"
    )
    for null in ("", " | None"):
        Path("shop.py").write_text(MODULE.format(column=f"clients: int{null} = 0"))
        for word in ("make-migrations", "migrate"):
            assert domostats(word)[0] == 0
    code, said, _ = domostats("migrate", "--back-to", "1")
    assert code == 0 and said == "took back step 1 of 0002_users.json\n"
