"""Small things of tracking: keys that are brought to a granularity, what a refusal is over http."""

import enum
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from msgspec import structs

from domostats.errors import DataError, DestinationError, SettingsError
from domostats.tracking.extractors.base import BaseExtractor
from domostats.tracking.extractors.declared import _table_from_columns
from domostats.tracking.extractors.domo import AccountCounts, ActivityLog, DatasetCounts, UserCounts
from domostats.tracking.extractors.rows import pack_column
from domostats.tracking.extractors.schema import Column
from domostats.tracking.extractors.steps import (
    AddColumn,
    AddPartition,
    MakeView,
    Relax,
    Reorder,
    apply_step,
    steps_between,
)
from domostats.tracking.extractors.tables import ExtractorType, Table
from domostats.tracking.registry.messages import error_reply
from domostats.tracking.registry.policies import licences_on
from domostats.tracking.registry.release_keys import release_key


@pytest.mark.parametrize(
    "key, grain, found",
    [
        ("s:2021-01-31", None, "s:2021-01-31"),
        ("s:2021-01-31T10:20:30", "day", "s:2021-01-31"),
        ("s:2021-01-31", "month", "s:2021-01"),
        ("p:2021-01", "month", "p:2021-01"),
        ("w:2021-01-01/2021-02-01", "day", "w:2021-01-01/2021-02-01"),
        ("w:2021-01-01/", "day", "w:2021-01-01/"),  # open at one end
        ("w:/2021-02-01T10:00:00", "day", "w:/2021-02-01"),
        ("w:2021-01-01T05:00:00/2021-01-01T07:00:00", "day", "s:2021-01-01"),  # of no length
        ("q:7-12", None, "q:000000000007-000000000012"),
    ],
)
def test_a_key_is_brought_to_the_granularity_of_its_dataset(key, grain, found):
    assert release_key(key, grain) == found
    assert release_key(found, grain) == found


@pytest.mark.parametrize(
    "release, found",
    [
        ("2024-03", "s:2024-03-01"),
        ("2024-Q2", "s:2024-04-01"),
        ("2024-W09", "s:2024-02-26"),  # a Monday
        ("2024-03-05", "s:2024-03-05"),
        (date(2024, 3, 5), "s:2024-03-05"),
        (12, "q:000000000012-000000000012"),
    ],
)
def test_a_release_of_a_period_stands_at_its_first_day(release, found):
    assert release_key(release) == found


@pytest.mark.parametrize("key", ["s:2021-01", "p:2021-01", "w:2021-01/2021-02-01"])
def test_a_key_that_is_coarser_than_its_dataset_is_refused(key):
    with pytest.raises(DataError) as caught:
        release_key(key, "day")
    assert caught.value.reason == "granularity"


@pytest.mark.parametrize(
    "error, status",
    [
        (DataError("x", "not_found"), 404),
        (DataError("x", "no_operation"), 404),
        (DataError("x", "conflict"), 409),
        (DataError("x", "in_use"), 409),
        (DataError("x", "granularity"), 409),
        (DataError("x", "not_claimed"), 409),
        (DataError("x", "bad_reference"), 422),
        (SettingsError("x", "no_key"), 401),
        (SettingsError("x", "read_only_key"), 403),
        (DataError("x", "too_large"), 413),
        (DataError("x", "bad_time"), 400),
        (DestinationError("x", "no_registry"), 503),
    ],
)
def test_a_refusal_has_the_status_that_other_programs_expect(error, status):
    found, trouble = error_reply(error)
    assert (found, trouble.reason, trouble.message) == (status, error.reason, "x")


class Day(date):
    "A date with something more to it, as libraries have them."


class Whole(int):
    "The same with a number."


class Colour(enum.Enum):
    RED = "red"


NOON = datetime(2024, 2, 1, 12, 30, 15, 250, timezone.utc)
IN_PARIS = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    "type, value, kept",
    [
        ("INT64", Whole(7), 7),
        ("FLOAT64", np.float64(1.5), 1.5),
        ("FLOAT64", 3, 3.0),
        ("NUMERIC", 3, Decimal(3)),
        ("STRING", np.str_("a"), "a"),
        ("STRING", Colour.RED, "red"),
        ("DATE", Day(2024, 2, 29), date(2024, 2, 29)),
        ("TIMESTAMP", pd.Timestamp(NOON), NOON),
        ("TIMESTAMP", pd.Timestamp(NOON).tz_convert(IN_PARIS), NOON),
        ("TIMESTAMP", NOON.astimezone(IN_PARIS), NOON),
        ("TIME", time(1, 2, 3, 4), time(1, 2, 3, 4)),
        ("INT64", None, None),
    ],
    ids=str,
)
def test_a_value_of_a_library_is_kept_as_what_it_is(type, value, kept):
    found = pack_column(Column("x", type, nullable=True), [value], 0).to_pylist()
    assert found == [kept]


@pytest.mark.parametrize(
    "type, good, wrong, reason",
    [
        ("INT64", 1, True, "wrong_type"),
        ("INT64", 1, 1.0, "wrong_type"),
        ("INT64", 1, "1", "wrong_type"),
        ("INT64", 1, None, "null_value"),
        ("INT64", 1, 2**63, "bad_number"),
        ("FLOAT64", 1.5, float("inf"), "bad_number"),
        ("FLOAT64", 1.5, float("nan"), "bad_number"),
        ("NUMERIC", Decimal(1), Decimal(10) ** 30, "bad_number"),
        ("STRING", "a", "\ud800", "bad_text"),
        ("DATE", date(2024, 2, 1), NOON, "wrong_type"),
        ("TIMESTAMP", NOON, date(2024, 2, 1), "wrong_type"),
        ("TIMESTAMP", NOON, NOON.replace(tzinfo=None), "naive_time"),
        ("TIMESTAMP", NOON, pd.Timestamp(NOON) + pd.Timedelta(1, "ns"), "wrong_type"),
        ("TIMESTAMP", NOON, pd.NaT, "wrong_type"),
        ("TIME", time(1), time(1, tzinfo=timezone.utc), "wrong_type"),
    ],
    ids=str,
)
def test_the_row_of_a_value_that_would_change_on_its_way_is_named(type, good, wrong, reason):
    "The third row of those that come after twenty."
    with pytest.raises(DataError, match=r"^Row 23: x ") as caught:
        pack_column(Column("x", type), [good, good, wrong, good], 20)
    assert (caught.value.reason, caught.value.row, caught.value.column) == (reason, 23, "x")


N, M = Column("n", "INT64"), Column("m", "STRING", nullable=True)
K = Column("k", "INT64", nullable=True)
DAILY = ExtractorType.date_aggregated
TABLE = Table("t", DAILY, "date", (N, M), partition="shop")


def table_with(**changes):
    return structs.replace(TABLE, **changes)


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"columns": (M,)}, "n (INT64) is gone"),
        ({"columns": (Column("n", "FLOAT64"), M)}, "n was INT64 and is FLOAT64"),
        (
            {"columns": (N, Column("m", "STRING"))},
            "m (STRING) could be None and cannot any more",
        ),
        ({"columns": (N, M, Column("k", "INT64"))}, "k (INT64) is new and cannot be None"),
        ({"kind": ExtractorType.individual_rows}, "its kind was date_aggregated and is"),
        ({"date_field": "on"}, "its date_field was date and is on"),
        ({"partition": "branch"}, "its partition was shop and is branch"),
        ({"partition": None}, "its partition was shop and is none"),
    ],
)
def test_what_a_table_with_rows_cannot_become_is_said(changes, said):
    with pytest.raises(SettingsError) as caught:
        steps_between(TABLE, table_with(**changes))
    assert caught.value.reason == "changed_model" and f"this way: {said}" in str(caught.value)


@pytest.mark.parametrize(
    "before, after, steps",
    [
        ({}, {}, []),
        ({"partition": None}, {}, [AddPartition("t", "shop")]),
        ({}, {"columns": (N, M, K)}, [AddColumn("t", K)]),
        ({}, {"columns": (K, N, M)}, [AddColumn("t", K), Reorder("t", ("k", "n", "m"))]),
        ({}, {"columns": (M, N)}, [Reorder("t", ("m", "n"))]),
        ({}, {"columns": (Column("n", "INT64", True), M)}, [Relax("t", "n")]),
        ({}, {"deltas": ("n",)}, [MakeView("t", ("n",), "previous_row", False)]),
    ],
)
def test_a_table_becomes_another_in_these_steps(before, after, steps):
    old, new = table_with(**before), table_with(**after)
    assert steps_between(old, new) == steps
    tables = {"t": old}
    for step in steps:
        tables = apply_step(tables, step)
    assert tables == {"t": new}


def test_a_step_of_a_table_that_is_not_there_is_refused():
    for tables, there in (({}, "none yet"), ({"other": table_with(name="other")}, "other")):
        with pytest.raises(SettingsError) as caught:
            apply_step(tables, Relax("t", "n"))
        assert caught.value.reason == "bad_migration"
        assert f"a table 't', and there is none; there are {there}" in str(caught.value)


def test_the_tables_of_domo_and_what_is_told_apart_from_day_to_day():
    found = {}
    for kind in (UserCounts, DatasetCounts, AccountCounts, ActivityLog):
        table = kind("acme").get_table()
        found[table.name] = ([column.name for column in table.columns], [*table.deltas])
        assert table.partition == "instance"
    assert found == {
        "user_counts": (["users", "pending"], ["users", "pending"]),
        "dataset_counts": (["datasets", "rows"], ["datasets", "rows"]),
        "account_counts": (["accounts"], ["accounts"]),
        "activity": (
            [
                *("timestamp", "event_key", "user_id", "action_type", "object_type"),
                *("object_id", "object_name", "actor_id", "client_id"),
            ],
            [],
        ),
    }


def test_what_an_extractor_has_to_say_itself_is_named():
    class Shop(BaseExtractor):
        table = "shop"

    for ask in ("get_extractor_type", "get_partition"):
        with pytest.raises(NotImplementedError, match=f"^Shop.{ask}$"):
            getattr(Shop(), ask)()
    with pytest.raises(NotImplementedError, match="^Shop.extract$"):
        Shop().extract(NOON, NOON)


@pytest.mark.parametrize(
    "moment, allowed",
    [("2024-03-01T23:59:59", False), ("2024-03-02", True), ("2024-03-03T23:59:59", True)]
    + [("2024-03-04", False)],
)
def test_a_licence_counts_from_its_first_moment_up_to_its_end(moment, allowed):
    dataset = SimpleNamespace(id=1, derived_from=None)
    first, end = (datetime(2024, 3, day, tzinfo=timezone.utc) for day in (2, 4))
    licence = SimpleNamespace(valid_from=first, valid_to=end)
    api = SimpleNamespace(get_licences=lambda dataset_id: [licence])
    at = datetime.fromisoformat(moment).replace(tzinfo=timezone.utc)
    assert licences_on(api, dataset, at) == [(dataset, licence if allowed else None)]


def test_a_table_of_the_first_versions_is_of_events_where_it_has_a_column_of_their_day():
    columns = {"_day": ("DATE", False), "at": ("TIMESTAMPTZ", False), "n": ("BIGINT", True)}
    events = table_with(kind=ExtractorType.individual_rows, date_field="at", partition=None)
    found = _table_from_columns(events, columns)
    assert (found.kind, found.date_field) == (ExtractorType.individual_rows, "at")
    assert found.columns == (Column("at", "TIMESTAMP"), Column("n", "INT64", True))
    found = _table_from_columns(TABLE, {"on": ("DATE", False), "n": ("BIGINT", True)})
    assert (found.kind, found.date_field) == (DAILY, "on")
    assert found.columns == (Column("n", "INT64", True),)
