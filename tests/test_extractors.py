"""Typed extractors day by day: every promised feature, the days of three zones, kills,
programs at once."""

import contextlib
import dataclasses
import os
import random
import re
import signal
import subprocess
import sys
import time as clock
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Optional

import pyarrow as pa
import pytest
import sqlglot
from conftest import KILLS, ROOT
from typer.testing import CliRunner

from domostats import reports, sandbox
from domostats.errors import DataError, DestinationError, DomostatsError, SettingsError
from domostats.instances import Instance
from domostats.interfaces import extract_commands
from domostats.interfaces.cli import app
from domostats.loading import store as store_module
from domostats.loading.store import Store
from domostats.tracking import History
from domostats.tracking.extractors.base import BaseExtractor
from domostats.tracking.extractors.days import bounds, days_between, last_finished, zone_of
from domostats.tracking.extractors.domo import AccountCounts, ActivityLog, DatasetCounts, UserCounts
from domostats.tracking.extractors.extraction import Extraction
from domostats.tracking.extractors.migrations import Migrations
from domostats.tracking.extractors.rows import SIZE
from domostats.tracking.extractors.schema import columns_from, sq_field
from domostats.tracking.extractors.statements import delta_select, statements
from domostats.tracking.extractors.steps import CreateTable
from domostats.tracking.extractors.tables import ExtractorType, personal_columns, table_from
from domostats.tracking.loads import Loads

FIRST, NOON = date(2022, 1, 1), datetime(2022, 1, 4, 12, tzinfo=timezone.utc)
ZONES = "Europe/Paris", "America/New_York", "UTC"
aggregated, rows_of_events = ExtractorType.date_aggregated, ExtractorType.individual_rows


@dataclass
class User:
    users: int = sq_field(differentiate=True)
    prospects: int = sq_field(differentiate=True)
    clients: int = sq_field(differentiate=True)


@dataclass
class Email:
    timestamp: datetime
    type: str


class UserExtractor(BaseExtractor[User]):
    totals = {date(2022, 1, 1): 10, date(2022, 1, 2): 20, date(2022, 1, 3): 35}

    def get_dataclass(self) -> type[User]:
        return User

    def get_extractor_type(self) -> ExtractorType:
        return aggregated

    def extract(self, date_start: datetime, date_end: datetime) -> Iterator[User]:
        n = self.totals[date_start.date()]
        yield User(users=n, prospects=2 * n, clients=3 * n)


class EmailExtractor(BaseExtractor[Email]):
    sent = [
        datetime(2022, 1, 1, 6, tzinfo=timezone.utc) + timedelta(hours=7 * n) for n in range(12)
    ]

    def get_dataclass(self) -> type[Email]:
        return Email

    def get_extractor_type(self) -> ExtractorType:
        return rows_of_events

    def extract(self, date_start: datetime, date_end: datetime) -> Iterator[Email]:
        for moment in self.sent:
            if date_start <= moment < date_end:
                yield Email(timestamp=moment, type="welcome")


def made(*extractors, place="store", zone="UTC", first=FIRST):
    "An extraction whose tables are there."
    extraction = Extraction(extractors, Store(Path(f"{place}.duckdb")), zone, first)
    migrations = Migrations(Path(f"migrations of {place}"), extraction.store)
    migrations.make(extraction.tables)
    migrations.apply()
    return extraction


def done(extraction, now=NOON, **how):
    "All days, which must go well, as (table, day)."
    found = [*extraction.extract(now, **how)]
    assert [one.error for one in found if one.error] == []
    return [(one.table, one.day) for one in found]


def of(dataclass_, function, kind=aggregated, **attributes):
    "An extractor class of a dataclass and a function from the bounds to rows."
    return type(
        "Made",
        (BaseExtractor,),
        {
            "get_dataclass": lambda self: dataclass_,
            "get_extractor_type": lambda self: kind,
            "extract": lambda self, start, end: function(start, end),
            **attributes,
        },
    )


def refusal(call):
    with pytest.raises(DomostatsError) as caught:
        call()
    return caught.value.reason


def rows(store, name, order="1"):
    return [
        tuple(row.values())
        for row in store.read(name, f"SELECT * FROM table ORDER BY {order}").to_pylist()
    ]


def run(*words, code=0):
    result = CliRunner().invoke(app, [*words])
    assert (
        (result.exit_code == code)
        if not isinstance(result.exception, DomostatsError)
        else code is type(result.exception)
    ), (result.output, result.exception)
    return result.output + (
        str(result.exception) if isinstance(result.exception, DomostatsError) else ""
    )


MODULE = """
from dataclasses import dataclass
from datetime import datetime, timedelta
from domostats.tracking import BaseExtractor, ExtractorType, sq_field

@dataclass
class Users:
    users: int = sq_field(differentiate=True)

class UserExtractor(BaseExtractor[Users]):
    def get_extractor_type(self): return ExtractorType.date_aggregated
    def extract(self, date_start, date_end): yield Users(date_start.toordinal() % 1000)

@dataclass
class Email:
    timestamp: datetime
    type: str

class EmailExtractor(BaseExtractor[Email]):
    def get_extractor_type(self): return ExtractorType.individual_rows
    def extract(self, date_start, date_end):
        for n in range(3): yield Email(date_start + timedelta(hours=n), "welcome")
"""


@pytest.fixture
def shop(own_folder, monkeypatch):
    "A folder with a module of two extractors and settings that list them."
    name = f"shop_{random.randrange(10**9)}"
    Path(f"{name}.py").write_text(MODULE)

    def settings(**changed):
        lines = {
            "classes": f"{name}.UserExtractor, {name}.EmailExtractor",
            "first_date": "2022-01-01",
            "zone": "Europe/Paris",
            "migrations": "kept/migrations",
            **changed,
        }
        Path("settings.ini").write_text(
            "[domostats]\nstore = shop.duckdb\n[extractors]\n"
            + "\n".join(f"{key} = {value}" for key, value in lines.items() if value)
        )

    settings()
    monkeypatch.setattr("sys.path", [*sys.path])
    return settings


def test_minimal_extractors_and_everything_else_is_managed(shop):
    run("make-migrations")
    run("migrate")
    assert "welcome" in run("print-extract", "-f", "2022-01-01", "-l", "2022-01-02")
    run("extract", "-l", "2022-01-05")
    assert (
        Store().read("users").num_rows == 5
        and Store().read("email").num_rows == 15
        and Store().read("users_delta").num_rows == 5
    )


def test_the_extractors_that_are_named_are_checked(shop):
    shop(classes="nowhere.UserExtractor")
    assert "'nowhere.UserExtractor'" in run("extract", code=SettingsError)
    shop(classes=None)
    assert "classes" in run("extract", code=SettingsError)
    extraction = made(EmailExtractor, UserExtractor())
    assert [name for name, _ in done(extraction)] == ["email"] * 3 + ["user"] * 3
    assert refusal(lambda: [*extraction.extract(NOON, only=["nobody"])]) == "unknown_table"
    assert refusal(lambda: made(UserExtractor, of(User, lambda start, end: []))) == "same_table"

    @dataclass
    class UserDelta:
        users: int

    assert (
        refusal(lambda: made(UserExtractor, of(UserDelta, lambda start, end: []))) == "same_table"
    )


def test_where_migrations_are_made(shop):
    before = {path for path in Path().rglob("*") if "__pycache__" not in str(path)}
    run("make-migrations", "--dry-run")
    assert not Path("kept").exists()
    run("make-migrations")
    new = {path for path in Path().rglob("*") if "__pycache__" not in str(path)} - before
    assert {str(path) for path in new} - {"shop.duckdb"} == {
        "kept",
        "kept/migrations",
        "kept/migrations/0001_email_users.json",
    }


def test_the_first_date_for_what_was_never_extracted(shop):
    assert done(made(UserExtractor)) == [("user", FIRST + timedelta(n)) for n in range(3)]
    shop(first_date="soon")
    assert "first_date = 2022-01-01" in run("extract", code=SettingsError)


def test_the_aggregated_kind_has_its_day_first():
    extraction = made(UserExtractor)
    done(extraction)
    assert extraction.store.read("user").column_names == [
        "date",
        "users",
        "prospects",
        "clients",
    ] and [row[0] for row in rows(extraction.store, "user")] == [
        FIRST + timedelta(n) for n in range(3)
    ]

    @dataclass
    class Dated:
        date: date

    assert refusal(lambda: of(Dated, lambda start, end: [])().get_table()) == "date_is_ours"
    two = made(of(User, lambda start, end: [User(1, 1, 1), User(2, 2, 2)]), place="two")
    assert [one.error.reason for one in two.extract(NOON)] == ["more_than_one_row"]


def test_the_event_kind_needs_its_own_date_field():
    @dataclass
    class Sent:
        type: str

    with pytest.raises(SettingsError, match="Sent has no field 'timestamp'"):
        of(Sent, lambda start, end: [], rows_of_events)().get_table()


def test_the_name_of_the_date_field_can_be_overridden(shop, monkeypatch):
    @dataclass
    class Mail:
        sent_at: datetime
        type: str

    extraction = made(
        of(Mail, lambda start, end: [Mail(start, "x")], rows_of_events, date_field="sent_at"),
        of(User, lambda start, end: [User(1, 1, 1)], date_field="on"),
    )
    done(extraction)
    assert (
        rows(extraction.store, "mail")[0][:2] == (FIRST, datetime(2022, 1, 1))
        and extraction.store.read("user").column_names[0] == "on"
        and extraction.store.read("user_delta").column_names[0] == "on"
    )
    monkeypatch.setattr(
        extract_commands,
        "show_rows",
        lambda title, columns, rows: print([column for column in columns if "[bold]" in column]),
    )
    shop(date_field=None)
    assert "[bold]timestamp[/bold]" in run(
        "print-extract", "-f", "2022-01-01", "-l", "2022-01-01", "--only", "email"
    )


@pytest.mark.sampled(6)
@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize(
    "change", [date(2022, 3, 27), date(2022, 10, 30), date(2022, 3, 13), date(2022, 11, 6)]
)
def test_events_a_second_either_side_of_midnight_land_on_their_day(zone, change):
    def midnight(day):
        return datetime(day.year, day.month, day.day, tzinfo=zone_of(zone)).astimezone(timezone.utc)

    days = days_between(change - timedelta(2), change + timedelta(2))
    events = sorted(
        midnight(day) + timedelta(seconds=n)
        for day in [*days, days[-1] + timedelta(1)]
        for n in (-1800, -1, 0, 1, 1800)
    )
    extraction = made(
        of(
            Email,
            lambda start, end: [Email(event, "x") for event in events if start <= event < end],
            rows_of_events,
        ),
        zone=zone,
        first=days[0],
    )
    done(extraction, midnight(days[-1] + timedelta(1)) + timedelta(hours=1))
    got = rows(extraction.store, "email", "timestamp")
    assert [(day, moment.replace(tzinfo=timezone.utc)) for day, moment, _ in got] == [
        (event.astimezone(zone_of(zone)).date(), event)
        for event in events
        if midnight(days[0]) <= event < midnight(days[-1] + timedelta(1))
    ]


def test_a_plain_date_will_do():
    @dataclass
    class Visit:
        timestamp: date

    extraction = made(
        of(Visit, lambda start, end: [Visit(start.date())] * 2, rows_of_events),
        zone="America/New_York",
    )
    done(extraction)
    assert [row[0] == row[1] for row in rows(extraction.store, "visit")] == [True] * 6
    wrong = made(of(Visit, lambda start, end: [Visit(end.date())], rows_of_events), place="wrong")
    assert [one.error.reason for one in wrong.extract(NOON)] == ["outside_day"]


def test_columns_that_sound_like_people_are_spoken_of(shop):
    @dataclass
    class Login:
        timestamp: datetime
        user_id: str
        email_hash: str
        kind: str

    assert (
        personal_columns(of(Login, None, rows_of_events)().get_table()) == ["user_id", "email_hash"]
        and personal_columns(UserExtractor().get_table()) == []
    )
    source = next(Path().glob("shop_*.py"))
    source.write_text(MODULE.replace("    type: str", "    type: str\n    user_email: str = ''"))
    result = CliRunner().invoke(app, ["make-migrations"])
    assert "user_email" in result.output + (result.stderr or "")


KINDS = {
    int: ("INT64", "BIGINT", 7),
    float: ("FLOAT64", "DOUBLE", 1.5),
    bool: ("BOOL", "BOOLEAN", True),
    str: ("STRING", "VARCHAR", "x"),
    bytes: ("BYTES", "BLOB", b"\x00\xff"),
    date: ("DATE", "DATE", date(2022, 1, 1)),
    datetime: ("TIMESTAMP", "TIMESTAMPTZ", datetime(2022, 1, 1, 5, tzinfo=timezone.utc)),
    Decimal: ("NUMERIC", "DECIMAL(38, 9)", Decimal("1.5")),
    time: ("TIME", "TIME", time(5)),
}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("python", KINDS)
def test_the_types_of_columns(python):
    name, duckdb, value = KINDS[python]
    cls = dataclasses.make_dataclass(
        "Typed",
        [
            ("plain", python),
            ("maybe", Optional[python]),
            ("also", python | None),
            ("text", f"{python.__name__} | None"),
        ],
        namespace={"__module__": __name__},
    )
    assert [(column.type, column.duckdb, column.nullable) for column in columns_from(cls)] == [
        (name, duckdb, nullable) for nullable in (False, True, True, True)
    ]
    extraction = made(of(cls, lambda start, end: [cls(value, value, None, None)]))
    done(extraction)
    plain = value.replace(tzinfo=None) if python is datetime else value
    assert rows(extraction.store, "typed")[0] == (FIRST, plain, plain, None, None)
    sql = statements(CreateTable(extraction.tables[0]), {})[0]
    assert f"`plain` {name} NOT NULL" in sql


def test_enums_of_text_are_text_and_what_is_unmappable_is_named():
    class Mood(str, Enum):
        good = "fine"

    @dataclass
    class Moody:
        mood: Mood

    extraction = made(of(Moody, lambda start, end: [Moody(Mood.good)]))
    done(extraction)
    assert rows(extraction.store, "moody")[0][1] == "fine"
    for annotation, reason in (
        (int | str, "ambiguous_type"),
        (list, "unmapped_type"),
        (object, "unmapped_type"),
        ("Nowhere", "bad_annotation"),
    ):
        assert (
            refusal(
                lambda: columns_from(dataclasses.make_dataclass("Odd", [("field", annotation)]))
            )
            == reason
        )
    assert refusal(lambda: columns_from(int)) == "not_a_dataclass"


def test_a_naive_datetime_is_refused_with_its_field_and_row():
    def good(start):
        return Email(start + timedelta(hours=1), "x")

    extraction = made(
        of(
            Email,
            lambda start, end: [good(start), Email(datetime(2022, 1, 1, 5), "x")],
            rows_of_events,
        )
    )
    error = next(extraction.extract(NOON)).error
    assert (error.reason, error.column, error.row) == ("naive_time", "timestamp", 2) and rows(
        extraction.store, "email"
    ) == []


def test_none_in_a_column_that_takes_none_is_refused_before_anything_is_sent():
    extraction = made(of(User, lambda start, end: [User(1, None, 1)]))
    error = next(extraction.extract(NOON)).error
    assert (
        (error.reason, error.column, error.row) == ("null_value", "prospects", 1)
        and rows(extraction.store, "user") == []
        and Loads(extraction.store).keys("user") == []
    )
    for value, reason in [
        (float("nan"), "bad_number"),
        (2**63, "bad_number"),
        ("1", "wrong_type"),
        (True, "wrong_type"),
    ]:

        @dataclass
        class Part:
            share: float

        bad = made(of(Part, lambda start, end: [Part(value)]), place="bad")
        assert next(bad.extract(NOON)).error.reason == reason


def test_wrong_uses_of_the_mark_are_three_errors():
    text, event = (
        dataclasses.make_dataclass("T", [("a", str, sq_field(differentiate=True))]),
        dataclasses.make_dataclass(
            "E", [("timestamp", datetime), ("a", int, sq_field(differentiate=True))]
        ),
    )
    assert (
        refusal(lambda: table_from(text, aggregated)) == "not_a_number"
        and refusal(lambda: table_from(event, rows_of_events)) == "deltas_of_events"
    )
    with pytest.raises(TypeError):
        sq_field(difrentiate=True)
    truth = dataclasses.make_dataclass("B", [("a", bool, sq_field(differentiate=True))])
    assert refusal(lambda: table_from(truth, aggregated)) == "not_a_number"
    assert table_from(
        dataclasses.make_dataclass("O", [("a", Optional[int], sq_field(differentiate=True))]),
        aggregated,
    ).deltas == ("a",)


def test_the_slip_of_the_introduction_works_and_is_told():
    with pytest.warns(UserWarning, match="spelled differentiate=True") as told:

        @dataclass
        class Slip:
            users: int = sq_field(
                diffrentiate=True, default_factory=int, kw_only=True, metadata={"about": "all"}
            )
            mood: str = sq_field(diffrentiate=False, differentiate=False, default="", repr=False)

    assert {Path(one.filename).name for one in told} == {Path(__file__).name} and len(told) == 2
    table = table_from(Slip, aggregated)
    assert table.deltas == ("users",) and table.view == "slip_delta" and Slip().users == 0
    assert [column.about for column in table.columns] == ["all", ""]
    for one, other in ((True, False), (False, True)):
        words = {"differentiate": one, "diffrentiate": other}
        assert refusal(lambda: sq_field(**words)) == "two_ways"


def test_the_mark_is_a_thin_wrapper_of_a_field():
    @dataclass
    class All:
        a: int = sq_field(
            differentiate=True,
            default=3,
            metadata={"about": "how many", "own": 1},
            repr=False,
            compare=False,
        )
        b: list = sq_field(default_factory=list)
        c: int = sq_field(differentiate=False, kw_only=True)

    one, two, three = dataclasses.fields(All)
    assert (
        All(c=1).a,
        All(c=1).b,
        one.metadata["own"],
        one.metadata["about"],
        one.repr,
        one.compare,
        three.kw_only,
    ) == (3, [], 1, "how many", False, False, True) and field().metadata == {}


@dataclass
class Total:
    n: int | None = sq_field(differentiate=True)
    label: str = ""


TOTALS = {1: 10, 2: 20, 4: 40, 5: None, 6: 35, 7: 50}


def totals(**attributes):
    return of(
        Total,
        lambda start, end: (
            [Total(TOTALS[start.day], f"day {start.day}")] if start.day in TOTALS else []
        ),
        **attributes,
    )


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "gap, shows, expected",
    [
        ("previous_row", False, [(1, 10), (2, 10), (4, 20), (5, None), (6, -5), (7, 15)]),
        ("previous_day", False, [(1, 10), (2, 10), (4, 40), (5, None), (6, 35), (7, 15)]),
        (
            "previous_row",
            True,
            [(1, 10, None), (2, 10, 10), (4, 20, 20), (5, None, 40), (6, -5, 40), (7, 15, 35)],
        ),
    ],
)
def test_the_delta_view(gap, shows, expected):
    extraction = made(totals(gap=gap, shows_previous=shows))
    done(extraction, NOON + timedelta(4))
    assert (
        extraction.store.read("total_delta").column_names
        == ["date", "n", "label"] + ["n_before"] * shows
    )
    assert [
        (row[0].day, row[1], *row[3:]) for row in rows(extraction.store, "total_delta")
    ] == expected
    done(
        extraction, NOON + timedelta(4), first=FIRST, last=FIRST + timedelta(3)
    )  # days done again: no row comes twice
    assert [
        (row[0].day, row[1], *row[3:]) for row in rows(extraction.store, "total_delta")
    ] == expected
    sqlglot.parse_one(delta_select(extraction.tables[0]), read="bigquery")


def test_the_example_of_the_reference():
    extraction = made(UserExtractor)
    done(extraction)
    assert rows(extraction.store, "user_delta") == [
        (FIRST + timedelta(n), *(a * users for a in (1, 2, 3)))
        for n, users in enumerate((10, 10, 15))
    ]


def test_the_view_comes_with_the_table():
    store = Store("store.duckdb")
    assert store.names() == []
    assert made(UserExtractor, EmailExtractor).store.names() == ["email", "user", "user_delta"]


@pytest.mark.parametrize(
    "zone, hours",
    [
        ("Europe/Paris", {date(2022, 3, 27): 23, date(2022, 10, 30): 25}),
        ("America/New_York", {date(2022, 3, 13): 23, date(2022, 11, 6): 25}),
        ("UTC", {}),
    ],
)
def test_the_bounds_handed_to_extract(zone, hours):
    seen = []
    extraction = made(
        of(User, lambda start, end: seen.append((start, end)) or [User(1, 1, 1)]), zone=zone
    )
    assert len([*extraction.preview(FIRST, date(2022, 12, 31))]) == 365
    assert [start.date() for start, _ in seen] == days_between(FIRST, date(2022, 12, 31))
    for start, end in seen:
        assert (
            start.hour == end.hour == 0
            and start.tzinfo
            and (end.astimezone(timezone.utc) - start.astimezone(timezone.utc))
            == timedelta(hours=hours.get(start.date(), 24))
        )
    assert all(end == start for (_, end), (start, _) in pairwise(seen))


def test_rows_stream_from_a_generator():
    @dataclass
    class Tracked:
        timestamp: datetime
        alive: ClassVar[int] = 0
        most: ClassVar[int] = 0

        def __post_init__(self):
            Tracked.alive += 1
            Tracked.most = max(Tracked.most, Tracked.alive)

        def __del__(self):
            Tracked.alive -= 1

    extraction = made(
        of(
            Tracked,
            lambda start, end: (Tracked(start + timedelta(seconds=n)) for n in range(45_000)),
            rows_of_events,
        )
    )
    done(extraction, datetime(2022, 1, 2, 12, tzinfo=timezone.utc))
    assert extraction.store.read("tracked").num_rows == 45_000 and Tracked.most <= 2 * SIZE < 45_000


@pytest.mark.slow
def test_migrations_are_the_same_bytes_whatever_the_hash_seed(shop):
    def written(seed):
        code = (
            "import sys; from domostats.tracking.extractors.base import configured; "
            "from domostats.tracking.extractors.migrations import Migrations; "
            "print(Migrations(sys.argv[1]).make([one.get_table() for one in "
            "configured()]).read_text())"
        )
        return subprocess.run(
            [sys.executable, "-c", code, f"migrations_{seed}"],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)},
        ).stdout

    assert written(1) == written(2) and '"create_table"' in written(3)


def changed(*fields):
    return dataclasses.make_dataclass(
        "User",
        [
            (name, type, sq_field(differentiate=name != "mood", default=None))
            for name, type in fields
        ],
    )


def test_a_model_cannot_change_but_by_what_loses_nothing():
    extraction = made(UserExtractor)
    migrations = Migrations("migrations of store", extraction.store)
    for fields, told in [
        ([("members", int), ("prospects", int), ("clients", int)], "users (INT64) is gone"),
        (
            [("users", float), ("prospects", int), ("clients", int)],
            "users was INT64 and is FLOAT64",
        ),
        (
            [("users", int), ("prospects", int), ("clients", int), ("more", int)],
            "more (INT64) is new and cannot be None",
        ),
    ]:
        with pytest.raises(SettingsError) as caught:
            migrations.plan([table_from(changed(*fields), aggregated)])
        assert (
            caught.value.reason == "changed_model"
            and told in str(caught.value)
            and "Table user" in str(caught.value)
            and "table = 'user2'" in str(caught.value)
        )
    done(extraction)
    wider = table_from(
        changed(("users", int), ("prospects", int | None), ("clients", int), ("mood", str | None)),
        aggregated,
    )
    assert [type(step).__name__ for step in migrations.plan([wider])] == ["AddColumn", "Relax"]
    migrations.make([wider])
    migrations.apply()
    assert (
        migrations.findings() == []
        and rows(extraction.store, "user_delta")[-1] == (FIRST + timedelta(2), 15, 30, 45, None)
        and migrations.plan([wider]) == []
    )
    flat = table_from(
        changed(("users", int), ("prospects", int | None), ("clients", int), ("mood", str | None)),
        aggregated,
        gap="previous_day",
        shows_previous=True,
    )
    migrations.make([flat])
    migrations.apply()
    assert extraction.store.read("user_delta").column_names[-1] == "clients_before"


def test_a_second_table_computed_from_the_first_day():
    extraction = made(UserExtractor)
    done(extraction)
    again = Extraction(
        [UserExtractor, type("UserExtractor2", (UserExtractor,), {"table": "user2"})],
        extraction.store,
        "UTC",
        FIRST,
    )
    migrations = Migrations("migrations of store", extraction.store)
    migrations.make(again.tables)
    migrations.apply()
    before = rows(extraction.store, "user")
    assert (
        done(again) == [("user2", FIRST + timedelta(n)) for n in range(3)]
        and rows(extraction.store, "user") == rows(extraction.store, "user2") == before
    )
    alone = Migrations("migrations of store", extraction.store)
    assert (
        alone.plan([UserExtractor().get_table()]) == [] and "user2" in extraction.store.names()
    )  # an extractor that is gone leaves its table


def test_migrations_are_ordered_recorded_and_resumable():
    extraction = Extraction([UserExtractor, EmailExtractor], Store("store.duckdb"), "UTC", FIRST)
    migrations = Migrations("migrations", extraction.store)
    path = migrations.make(extraction.tables)
    with extraction.store.open() as con:
        con.execute('CREATE TABLE datasets."user" (odd INTEGER)')  # in the way of the second table
    assert refusal(migrations.apply) == "not_written" and extraction.store.names() == [
        "email",
        "user",
    ]
    extraction.store.drop("user")
    assert (
        [(file.name, n) for file, n, _ in migrations.apply()] == [("0001_email_user.json", 2)]
        and migrations.apply() == []
        and extraction.store.names() == ["email", "user", "user_delta"]
    )
    path.write_text(path.read_text().replace('"prospects"', '"leads"'))
    assert refusal(migrations.apply) == "changed_migration"
    path.write_text("{")
    assert refusal(migrations.apply) == "bad_migration"


def test_a_table_that_was_changed_by_hand_is_told_of():
    extraction = made(UserExtractor)
    migrations = Migrations("migrations of store", extraction.store)
    with extraction.store.open() as con:
        con.execute("DROP VIEW datasets.user_delta")
    assert (
        migrations.findings() == ["view user_delta is not there"]
        and refusal(migrations.apply) == "drift"
    )
    with extraction.store.open() as con:
        con.execute('DROP TABLE datasets."user"')
    assert migrations.findings() == ["table user is not there"]


def test_planning_and_dry_run_need_no_credentials(shop):
    shop(classes="domostats.tracking.domo_extractors.UserCounts", instance="nowhere-at-all")
    assert "user_counts" in run("make-migrations") and "CREATE TABLE" in run("migrate", "--dry-run")
    run("migrate")
    assert "DOMO_ACCESS_TOKEN" in run("extract", "-l", "2022-01-01", code=4)
    shop(classes="domostats.tracking.domo_extractors.UserCounts", instance=None)
    assert "'instance = NAME'" in run("extract", "-l", "2022-01-01", code=3)


def test_the_dry_run_shows_both_ends_and_writes_nothing(shop):
    run("make-migrations"), run("migrate")
    before = Path("shop.duckdb").read_bytes()
    output = run("print-extract", "-f", "2022-01-01", "-l", "2022-01-05")
    assert (
        [f"2022-01-0{n}" in output for n in range(1, 7)] == [True] * 5 + [False]
        and "20 rows, and nothing was written" in output
        and Path("shop.duckdb").read_bytes() == before
    )
    for words in (["-f", "01.02.2022"], ["-l", "soon"], ["-f", "2022-13-01"]):
        run("print-extract", *words, code=2)
    assert f"{last_finished(zone_of('Europe/Paris'))}" in run("print-extract")
    run("extract", "--dry-run", "-l", "2022-01-03")
    assert Loads().lines() == []


def test_the_table_equals_the_dry_run_row_for_row():
    extraction = made(UserExtractor, EmailExtractor)
    shown = {}
    for table, _day, batch in extraction.preview(FIRST, FIRST + timedelta(2)):
        shown.setdefault(table.name, []).extend(tuple(row.values()) for row in batch.to_pylist())
    done(extraction)

    def plain(row):
        return tuple(
            value.replace(tzinfo=None) if isinstance(value, datetime) else value for value in row
        )

    assert {name: sorted(map(plain, some)) for name, some in shown.items()} == {
        name: sorted(rows(extraction.store, name)) for name in ("user", "email")
    } and len(shown["email"]) > 3


def test_each_table_goes_on_from_its_own_days():
    extraction = made(UserExtractor, EmailExtractor)
    done(extraction, only=["user"])
    done(extraction, NOON - timedelta(2), only=["email"])
    assert done(extraction) == [("email", FIRST + timedelta(n)) for n in (1, 2)]
    Loads(extraction.store).forget(
        "user", f"p:{FIRST + timedelta(1)}"
    )  # a hole in the middle is filled too
    assert done(extraction) == [("user", FIRST + timedelta(1))]


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    "zone", ["Pacific/Midway", "UTC", "Pacific/Kiritimati", "America/New_York"]
)
def test_today_is_never_extracted(zone):
    for local, last in [
        (datetime(2022, 1, 5, 23, 59, tzinfo=zone_of(zone)), date(2022, 1, 4)),
        (datetime(2022, 1, 6, 0, 1, tzinfo=zone_of(zone)), date(2022, 1, 5)),
    ]:
        assert last_finished(zone_of(zone), local.astimezone(timezone.utc)) == last
        extraction = made(
            of(User, lambda start, end: [User(1, 1, 1)]), zone=zone, place=str(local.day)
        )
        assert done(extraction, local.astimezone(timezone.utc))[-1] == ("user", last)
    assert refusal(lambda: [*extraction.extract(local, last=local.date())]) == "bad_days"
    first, last = date(2022, 1, 4), date(2022, 1, 3)  # both are over
    assert refusal(lambda: [*extraction.extract(local, first=first, last=last)]) == "bad_days"
    assert refusal(lambda: zone_of("Europe/Atlantis")) == "bad_zone"


def test_again_and_again_and_days_that_are_corrected():
    extraction, totals = made(UserExtractor, EmailExtractor), dict(UserExtractor.totals)
    done(extraction)
    assert done(extraction) == []
    try:
        UserExtractor.totals = {day: n + 1 for day, n in totals.items()}
        first = Loads(extraction.store).lines("user")
        assert done(extraction, first=FIRST, last=FIRST + timedelta(1), only=["user"]) == [
            ("user", FIRST),
            ("user", FIRST + timedelta(1)),
        ]
        assert [row[1] for row in rows(extraction.store, "user")] == [11, 21, 35] and [
            a.checksum == b.checksum
            for a, b in zip(first, Loads(extraction.store).lines("user"), strict=True)
        ] == [False, False, True]
    finally:
        UserExtractor.totals = totals
    earlier = Extraction(
        [EmailExtractor], extraction.store, "UTC", FIRST - timedelta(3)
    )  # back-filled
    assert done(earlier) == [("email", FIRST - timedelta(n)) for n in (3, 2, 1)] and [
        line.row_count for line in Loads(extraction.store).lines("email")
    ][:3] == [0, 0, 0]
    late = Extraction(
        [type("Late", (EmailExtractor,), {"look_back": 2})], extraction.store, "UTC", FIRST
    )
    assert done(late) == done(late) == [("email", FIRST + timedelta(n)) for n in (1, 2)]


def test_one_that_fails_does_not_stop_the_others():
    def broken(start, end):
        yield User(1, 1, 1)
        if start.day == 2:
            raise ConnectionError("gone")

    extraction = made(of(User, broken), EmailExtractor)
    found = [*extraction.extract(NOON)]
    assert [(one.table, one.day.day, one.error is None) for one in found] == [
        ("user", 1, True),
        ("user", 2, False),
        ("email", 1, True),
        ("email", 2, True),
        ("email", 3, True),
    ]
    assert len(rows(extraction.store, "user")) == 1 and [
        one.day.day for one in extraction.extract(NOON)
    ] == [2]


WORKER = """
import sys
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from domostats.loading.store import Store
from domostats.tracking import BaseExtractor, Extraction, ExtractorType, Migrations, sq_field

@dataclass
class Event:
    timestamp: datetime
    n: int

class Events(BaseExtractor[Event]):
    table = "events"
    def get_extractor_type(self): return ExtractorType.individual_rows
    def extract(self, date_start, date_end):
        print("day", flush=True)
        for n in range(500): yield Event(date_start + timedelta(seconds=n), n)

def table(number):
    fields = {"__annotations__": {"n": int}, "n": sq_field(differentiate=True)}
    cls = dataclass(type(f"Table{number}", (), fields))
    class Made(BaseExtractor):
        def get_dataclass(self): return cls
        def get_extractor_type(self): return ExtractorType.date_aggregated
    return Made

what, place = sys.argv[1:]
store = Store(f"{place}.duckdb")
tables = [Events] if what == "extract" else [table(n) for n in range(40)]
extraction = Extraction(tables, store, "UTC", date(2024, 1, 1))
migrations = Migrations(f"{place} migrations", store)
migrations.make(extraction.tables)
if what == "migrate":
    from domostats.tracking.extractors import structure as module
    real = module.statements
    module.statements = lambda *given: (print("step", flush=True), real(*given))[1]
migrations.apply()
if what == "extract":
    done = extraction.extract(datetime(2024, 2, 10, tzinfo=timezone.utc))
    wrong = [str(one.error) for one in done if one.error]
    assert not wrong, wrong
print("done", flush=True)
"""


LONG = 400  # seconds: on a machine with much else to do three programs take more than a minute


def worker(what, place):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, what, str(place)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def told(place):
    store = Store(f"{place}.duckdb")
    with store.open() as con:
        steps = con.execute("SELECT name, step, sum FROM kit.migrations ORDER BY ALL").fetchall()
        columns = con.execute(
            "SELECT table_name, column_name, data_type, "
            "is_nullable FROM duckdb_columns() WHERE schema_name = 'datasets' ORDER BY "
            "ALL"
        ).fetchall()
    return (
        steps,
        columns,
        {name: rows(store, name, "ALL") for name in store.names()},
        [
            (line.dataset, line.release_key, line.row_count, line.checksum)
            for line in Loads(store).lines()
        ],
    )


@pytest.mark.slow
@pytest.mark.kills
@pytest.mark.parametrize("what", ["extract", "migrate"])
def test_kills_leave_what_an_undisturbed_run_leaves(tmp_path, draws, what):
    inside, places = 0, ["killed"]
    for attempt in range(100):  # however fast this machine is, so many kills come in between
        if inside == KILLS:
            break
        running = worker(what, tmp_path / places[-1])
        if running.stdout.readline().strip() == "done":
            running.communicate(timeout=LONG)
            places.append(f"killed {attempt}")
            continue
        clock.sleep(draws.random() * 0.03)
        running.send_signal(signal.SIGKILL)
        inside += running.wait() == -signal.SIGKILL and running.stdout.read().splitlines()[-1:] != [
            "done"
        ]
        running.stdout.close()
    assert inside == KILLS
    for place in (places[-1], "whole"):
        assert worker(what, tmp_path / place).communicate(timeout=LONG)[0].endswith("done\n")
    whole = told(tmp_path / "whole")
    assert len(whole[1]) == (3 if what == "extract" else 160)
    for place in places:
        assert told(tmp_path / place) == whole


@pytest.mark.slow
def test_two_programs_at_once_do_no_harm(tmp_path):
    workers = [worker("extract", tmp_path / "shared") for _ in range(3)]
    assert [one.communicate(timeout=LONG)[0].splitlines()[-1] for one in workers] == ["done"] * 3
    assert worker("extract", tmp_path / "alone").communicate(timeout=LONG)[0].endswith("done\n")
    assert told(tmp_path / "shared") == told(tmp_path / "alone")


def test_progress_is_told(shop):
    run("make-migrations"), run("migrate")
    output = run("extract", "-f", "2022-01-01", "-l", "2022-01-02", "--only", "email")
    assert output.splitlines() == ["email 2022-01-01 3 rows", "email 2022-01-02 3 rows"]
    shop(first_date=str(last_finished(zone_of("Europe/Paris"))))
    run("extract")
    assert (
        run("extract").splitlines() == ["nothing new: every day is extracted"]
        and "nothing new" in run("make-migrations")
        and "nothing new" in run("migrate")
    )


def test_plain_tables_and_documented_columns():
    @dataclass
    class Figures:
        users: int = sq_field(differentiate=True, metadata={"about": "all who ever registered"})

    extraction = made(of(Figures, lambda start, end: [Figures(1)]))
    done(extraction)
    with extraction.store.open() as con:
        assert con.execute(
            "SELECT column_name, comment FROM duckdb_columns() WHERE table_name = "
            "'figures' ORDER BY column_index"
        ).fetchall() == [("date", "the local day"), ("users", "all who ever registered")]
    assert (
        extraction.store.read(
            "figures", "SELECT users FROM table WHERE date = DATE '2022-01-02'"
        ).num_rows
        == 1
    )


def test_the_sql_of_the_warehouse_can_be_told_to_bigquery(monkeypatch):
    "All of it but the questions to DuckDB's own catalogue and the bookkeeping of migrations."
    said, opened = [], store_module.opened

    class Overheard:
        def __init__(self, con):
            self.con = con

        def execute(self, sql, *values):
            return (said.append(sql), self.con.execute(sql, *values))[1]

        def sql(self, sql):
            return (said.append(sql), self.con.sql(sql))[1]

        def __getattr__(self, name):
            return getattr(self.con, name)

    @contextlib.contextmanager
    def overheard(*how):
        with opened(*how) as con:
            yield Overheard(con)

    monkeypatch.setattr(store_module, "opened", overheard)
    done(made(UserExtractor, EmailExtractor))
    history = History("things", "id", Store("store.duckdb"))
    for n in (1, 2):
        history.snapshot(pa.table({"id": [n, 3], "value": ["a" * n, "b"]}), f"2024-01-0{n}")
    assert (
        len(history.changes("2024-01-01").to_pylist()) == 2
        and history.at().num_rows == 2
        and history.validity().num_rows == 3
    )
    said = [
        sql
        for sql in dict.fromkeys(said)
        if not re.search(r"DESCRIBE|duckdb_|kit.migrations|COMMENT ON|PRAGMA|^SET ", sql)
    ]
    assert len(said) > 20
    for sql in said:
        told = sqlglot.transpile(
            sql, read="duckdb", write="bigquery", unsupported_level=sqlglot.ErrorLevel.RAISE
        )[0]
        sqlglot.parse_one(told, read="bigquery")
        assert not re.search(r"BY NAME|ANTI JOIN|SEMI JOIN|INSERT OR", told), told


def test_without_a_migration_the_way_out_is_named():
    error = next(
        Extraction([UserExtractor], Store("store.duckdb"), "UTC", FIRST).extract(NOON)
    ).error
    assert (
        isinstance(error, DestinationError)
        and error.reason == "not_migrated"
        and "domostats migrate" in str(error)
    )


@pytest.mark.slow
def test_the_ready_extractors_over_domo():
    with sandbox.start(events=300, today="2024-04-01") as box:
        newest = (
            reports.activity_log.generate(box, format_fn="all", since=datetime(2000, 1, 1))[
                "event_at"
            ]
            .max()
            .to_pydatetime()
        )
        extraction = made(
            ActivityLog(box),
            UserCounts(box),
            DatasetCounts(box),
            AccountCounts(box),
            zone="Europe/Paris",
            first=(newest - timedelta(40)).date(),
        )
        found = done(extraction, newest + timedelta(2))
        start = datetime.combine(extraction.first_date, time(), zone_of("Europe/Paris"))
        expected = reports.activity_log.generate(box, format_fn="all", since=start)
        kept = extraction.store.read("activity").to_pandas()
        assert (
            sorted(kept["event_key"]) == sorted(expected["event_key"])
            and len(kept) > 10
            and len({name for name, _ in found}) == 4
        )
        last = {
            name: rows(extraction.store, name)[-1]
            for name in ("user_counts", "dataset_counts", "account_counts")
        }
        assert (
            last["user_counts"][1],
            last["dataset_counts"][1],
            last["account_counts"][1],
        ) == tuple(
            len(
                reports.find(name).generate(
                    box, format_fn="all" if name != "accounts" else "domostats"
                )
            )
            for name in ("users", "datasets", "accounts")
        )
        limited = ActivityLog(box)
        before = len(box.log)
        assert (
            done(extraction, newest + timedelta(2)) == []
            and len(box.log) == before
            and limited.get_table().name == "activity"
        )
        partial = made(AccountCounts(box), place="partial", first=newest.date())
        with pytest.MonkeyPatch.context() as patch:
            for name in ("username", "password"):
                patch.setenv(f"DOMO_{name.upper()}", getattr(box.limited, name))
            own = AccountCounts(Instance(box.name, box.url))
            errors = [
                one.error
                for one in Extraction([own], partial.store, "UTC", newest.date()).extract(
                    newest + timedelta(2)
                )
            ]
        assert (
            isinstance(errors[0], DataError)
            and errors[0].reason == "incomplete"
            and rows(partial.store, "account_counts") == []
        )


def test_days_are_cut_in_the_zone_of_the_settings(shop):
    assert (
        bounds(date(2022, 3, 27), zone_of())[0].utcoffset() == timedelta(hours=1)
        and Extraction().zone.key == "Europe/Paris"
    )


def test_a_failing_command_says_so_with_its_exit_code(shop):
    assert "There is no table users yet. Run: domostats make-migrations" in run(
        "extract", "-l", "2022-01-01", code=7
    )


def test_rows_of_an_arrow_table_of_the_day_are_typed(tmp_path):
    extraction = made(EmailExtractor)
    batches = [batch for _, _, batch in extraction.preview(FIRST, FIRST)]
    assert (
        batches[0].schema.field("timestamp").type == pa.timestamp("us", tz="UTC")
        and batches[0].schema.names[0] == "_day"
    )


# several instances in one store


def shop_of(name, figures):
    "Daily figures of a shop that shares its table with others."
    return of(
        Total,
        lambda start, end: [Total(figures[start.day], name)] if start.day in figures else [],
        partition_field="shop",
        get_partition=lambda self: name,
    )


def test_two_sources_in_one_table_keep_their_days_and_their_differences_apart():
    north, south = shop_of("north", {1: 10, 2: 20, 3: 35}), shop_of("south", {1: 7, 2: 7, 3: 9})
    extraction = made(north, south)
    done(extraction)
    store = extraction.store
    assert sorted((row[3], row[0].day, row[1]) for row in rows(store, "total")) == [
        ("north", 1, 10),
        ("north", 2, 20),
        ("north", 3, 35),
        ("south", 1, 7),
        ("south", 2, 7),
        ("south", 3, 9),
    ]
    assert sorted((row[3], row[0].day, row[1]) for row in rows(store, "total_delta")) == [
        ("north", 1, 10),
        ("north", 2, 10),
        ("north", 3, 15),
        ("south", 1, 7),
        ("south", 2, 0),
        ("south", 3, 2),
    ]
    Loads(store).forget("total/south", f"p:{FIRST}")
    assert extraction.missing(extraction.extractors[0], NOON) == []
    assert extraction.missing(extraction.extractors[1], NOON) == [FIRST]
    assert Loads(store).keys("total") == ["p:2022-01-02", "p:2022-01-03"]
    again = Extraction([shop_of("north", {1: 11})], store, "UTC", FIRST)
    done(again, first=FIRST, last=FIRST)
    assert [row[1] for row in rows(store, "total") if row[0] == FIRST and row[3] == "south"] == [7]
    twice = Extraction([north, north], store, "UTC", FIRST)
    assert [one.error.reason for one in twice.extract(NOON) if one.error] == ["same_table"]


def test_a_zone_that_changes_is_told_and_mended_for_each_source():
    north, south = shop_of("north", {1: 10, 2: 20, 3: 35}), shop_of("south", {1: 7, 2: 7, 3: 9})
    extraction = made(north)
    done(extraction)
    both = Extraction([north, south], extraction.store, "America/New_York", FIRST)
    found = [*both.extract(NOON)]
    assert [one.error.reason for one in found if one.error] == ["changed_zone"]
    assert [one.dataset for one in found if not one.error] == ["total/south"] * 3
    assert [(one.dataset, one.rows) for one in both.rezone(now=NOON)] == [("total/north", 3)]
    assert len(rows(extraction.store, "total")) == 6 and done(both) == []


def test_two_instances_in_one_store_do_not_overwrite_each_other():
    with (
        sandbox.start(today="2024-04-01") as one,
        sandbox.start(users=30, today="2024-04-01") as other,
    ):
        day = date(2024, 3, 1)
        now = datetime(2024, 3, 4, tzinfo=timezone.utc)
        for box in (one, other):
            done(made(UserCounts(box), ActivityLog(box), first=day), now)
        store = Store("store.duckdb")
        counts = store.read("user_counts").to_pylist()
        assert {row["instance"] for row in counts} == {one.name, other.name}
        assert len(counts) == 6 and len({row["users"] for row in counts}) == 2
        first = [row for row in store.read("user_counts_delta").to_pylist() if row["date"] == day]
        assert all(row["users"] > 0 for row in first) and len(first) == 2
        assert Loads(store).keys("activity") == Loads(store).keys(f"activity/{other.name}")
        moved = Instance(one.name, "https://elsewhere.domo.com")
        assert UserCounts(moved).get_partition() == one.name


def test_instances_of_the_settings_share_the_tables(shop):
    shop(classes="domostats.tracking.domo_extractors.UserCounts", instance="acme, umbra")
    run("make-migrations")
    run("migrate")
    planned = run("extract", "--dry-run", "-f", "2022-01-01", "-l", "2022-01-03")
    assert "user_counts/acme" in planned and "user_counts/umbra" in planned


FIRST_VERSION = """[{"do": "create_table", "table": {"name": "user_counts",
"kind": "date_aggregated", "date_field": "date", "columns": [
{"name": "users", "type": "INT64", "about": "users created up to the end of the day"},
{"name": "pending", "type": "INT64", "about": "those of them whose invitation is open today"}],
"deltas": ["users", "pending"]}}]"""
OLD_VIEW = """CREATE VIEW datasets.user_counts_delta AS SELECT "date",
"users" - coalesce(last_value("users" IGNORE NULLS) OVER (ORDER BY "date" ROWS BETWEEN UNBOUNDED
PRECEDING AND 1 PRECEDING), 0) AS "users", "pending" - coalesce(last_value("pending" IGNORE NULLS)
OVER (ORDER BY "date" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS "pending"
FROM datasets."user_counts\""""


def store_of_the_first_version(folder, place="shop.duckdb"):
    """What version 0.1.0 left: a table without an instance, three days, no word of what was
    declared."""
    Path(folder).mkdir(parents=True)
    Path(folder, "0001_user_counts.json").write_text(FIRST_VERSION)
    store = Store(Path(place))
    with store.open() as con:
        for line in (
            "CREATE TABLE datasets.user_counts (date DATE NOT NULL, users BIGINT NOT NULL, "
            "pending BIGINT NOT NULL)",
            OLD_VIEW,
            "INSERT INTO datasets.user_counts VALUES ('2022-01-01', 10, 1), ('2022-01-02', 20, 2)",
            "CREATE TABLE kit.migrations (name VARCHAR, step INTEGER, sum VARCHAR, applied_at "
            "TIMESTAMP DEFAULT current_timestamp, PRIMARY KEY (name, step))",
            "INSERT INTO kit.migrations (name, step, sum) VALUES "
            "('0001_user_counts.json', 1, 'e37cfcdead23c867')",
            "CREATE TABLE kit.loads (dataset VARCHAR, release_key VARCHAR, row_count BIGINT, "
            "run VARCHAR, checksum VARCHAR, started_at TIMESTAMP, loaded_at TIMESTAMP, "
            "details VARCHAR)",
        ):
            con.execute(line)
        for day in (1, 2):
            con.execute(
                "INSERT INTO kit.loads VALUES ('user_counts', ?, 1, 'r', ?, now(), now(), ?)",
                [f"p:2022-01-0{day}", f"sum {day}", '{"zone": "UTC"}'],
            )
    return store


def test_tables_of_the_first_version_get_their_instance_and_no_row_changes(shop):
    listed = "domostats.tracking.domo_extractors.UserCounts"
    shop(classes=listed, instance="acme", zone="UTC")
    store = store_of_the_first_version("kept/migrations")
    before, deltas = rows(store, "user_counts"), rows(store, "user_counts_delta")
    lines = Loads(store).lines("user_counts")
    told = run("extract", "-f", "2022-01-01", "-l", "2022-01-01", code=4)
    assert "user_counts" in told and rows(store, "user_counts") == before
    run("make-migrations")
    planned = run("migrate", "--dry-run")
    assert "instance" in planned and "acme" in planned and rows(store, "user_counts") == before
    shop(classes=listed, instance="acme, umbra", zone="UTC")
    assert "from where" in run("migrate", code=DestinationError)
    assert rows(store, "user_counts") == before
    shop(classes=listed, instance="acme", zone="UTC")
    run("migrate")
    assert rows(store, "user_counts") == [(*row, "acme") for row in before]
    assert rows(store, "user_counts_delta") == [(*row, "acme") for row in deltas]
    after = Loads(store).lines("user_counts/acme")
    assert [line[1:-1] for line in after] == [line[1:-1] for line in lines]
    assert all(line.details == {"zone": "UTC", "part": "acme"} for line in after)
    assert Loads(store).keys("user_counts") == [line.release_key for line in lines]
    migrations = Migrations("kept/migrations", store)
    assert migrations.findings() == [] and "nothing new" in run("make-migrations")
    extraction = Extraction(["domostats.tracking.domo_extractors.UserCounts"], store, "UTC", FIRST)
    assert extraction.missing(extraction.extractors[0], NOON) == [date(2022, 1, 3)]


# one name for a dataset, whoever writes it down


def test_a_gate_over_an_extract_opens(tmp_path):
    from test_registry import dataset_of

    from domostats.tracking import make_observatory_api, wait_for
    from domostats.tracking.registry.catch_up import CatchUp

    extraction = made(UserExtractor, EmailExtractor)
    done(extraction)
    api = make_observatory_api(tmp_path / "registry.sqlite")
    for name in ("user", "email"):
        dataset = dataset_of(api, name, address=name, kind=name)
        books = CatchUp(dataset, api, extraction.store)
        assert [one.release_key for one in books.record()] == [f"p:2022-01-0{n}" for n in (1, 2, 3)]
        assert books.record() == []
    assert wait_for(api, ["user", "email"], since=date(2022, 1, 3), timeout=0) is None
    assert refusal(lambda: wait_for(api, ["user"], since=date(2022, 1, 4), timeout=0)) == (
        "still_waiting"
    )


def test_a_gate_over_a_shared_table_opens_when_every_source_is_there(tmp_path):
    from test_registry import dataset_of

    from domostats.tracking import make_observatory_api
    from domostats.tracking.registry.catch_up import CatchUp
    from domostats.tracking.registry.waiting import unfinished

    north, south = shop_of("north", {1: 1, 2: 2, 3: 3}), shop_of("south", {1: 1, 2: 2, 3: 3})
    extraction = made(north, south)
    done(extraction, NOON - timedelta(1))
    done(Extraction([north], extraction.store, "UTC", FIRST))
    api = make_observatory_api(tmp_path / "registry.sqlite")
    for name in ("total", "total/north"):
        dataset = dataset_of(api, name, address=name, kind=name)
        CatchUp(dataset, api, extraction.store).record()
    assert unfinished(api, ["total", "total/north"], date(2022, 1, 3)) == ["total"]


def test_ledgers_that_call_a_dataset_by_its_service_are_understood():
    extraction = made(UserExtractor)
    done(extraction)
    with extraction.store.open() as con:
        con.execute("UPDATE kit.loads SET dataset = 'duckdb:user'")
    ledger = Loads(extraction.store)
    assert len(ledger.keys("user")) == len(ledger.keys("duckdb:user")) == 3
    assert done(extraction) == []
    assert done(extraction, first=FIRST, last=FIRST) == [("user", FIRST)]
    assert [line.dataset for line in ledger.lines()] == ["user"] * 3


# days of which rows may be missing


def test_an_incomplete_day_is_refused_and_with_the_flag_done_again():
    from domostats.tracking.extractors.domo import DomoExtractor

    class Run:
        incomplete, findings = True, ["A record was set aside."]

    class Users(DomoExtractor, BaseExtractor[Total]):
        def get_extractor_type(self):
            return aggregated

        def extract(self, start, end):
            self.check_whole(Run)
            yield Total(1, "x")

    extraction = made(Users("sandbox"))
    assert [(one.error.reason, type(one.error)) for one in extraction.extract(NOON)] == [
        ("incomplete", DataError)
    ]
    assert rows(extraction.store, "total") == []
    assert len(done(extraction, allow_incomplete=True)) == 3
    Run.incomplete = False
    assert len(done(extraction)) == 3 and done(extraction) == []


def test_a_dataset_with_a_slash_in_its_name_is_no_part_of_another(tmp_path):
    loads = Loads(Store(tmp_path / "store.duckdb"))
    rows = pa.table({"id": [1]})
    loads.load("sales/eu", "s:2024-03-01", rows)
    assert loads.keys("sales") == [] and not loads.forget("sales", "s:2024-03-01")
    loads.load("sales", "s:2024-03-02", rows)
    assert loads.keys("sales") == ["s:2024-03-02"]
    assert loads.keys("sales/eu") == ["s:2024-03-01"]
