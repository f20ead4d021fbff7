"""Small things that everything stands on: handles that are given back, an instance that stays what
it is, moments."""

import os
from dataclasses import FrozenInstanceError
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import pytest

from domostats import private
from domostats.instances import Instance
from domostats.secrets import Secret, is_token
from domostats.times import (
    format_micros,
    from_millis,
    from_seconds,
    parse_micros,
    to_millis,
    to_moment,
)


@pytest.mark.skipif(private.fcntl is None, reason="there are no locks")
@pytest.mark.parametrize("make", ["scratch", "draft"])
def test_a_sweep_that_comes_in_between_costs_no_handle(monkeypatch, make):
    "A program that works for weeks would run out of them."
    lock, close, locked, closed = private._lock, os.close, [], []

    def late(handle):
        locked.append(handle)
        if len(locked) == 1:
            for path in Path.cwd().iterdir():
                path.rmdir() if path.is_dir() else path.unlink()
        return lock(handle)

    def counted(handle):
        closed.append(handle)
        close(handle)

    monkeypatch.setattr(private, "_lock", late)
    monkeypatch.setattr(os, "close", counted)
    if make == "scratch":
        with private.scratch(Path.cwd()) as folder:
            assert [*Path.cwd().iterdir()] == [folder]
            assert len(locked) == 2 and closed == locked[:1]
    else:
        with private.open_draft(Path("note").resolve()) as file:
            assert [*Path.cwd().iterdir()] == [Path(file.name)]
            assert len(locked) == 2 and closed == locked[:1]


def test_an_instance_stays_what_it_is():
    "It is the key under which answers, limits and records are kept."
    one = Instance("acme", "https://acme.domo.com")
    same = Instance("acme", "https://acme.domo.com", {"DOMO_PASSWORD": Secret("planted-7")})
    assert one == same and len({one, same, Instance("acme", "https://acme2.domo.com")}) == 2
    with pytest.raises(FrozenInstanceError):
        one.url = "https://elsewhere.example"
    with pytest.raises(FrozenInstanceError):
        one.name = "other"


# moments

NOON = datetime(2024, 2, 29, 12, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "value",
    [
        NOON,
        datetime(2024, 2, 29, 12),
        datetime(2024, 2, 29, 14, tzinfo=timezone(timedelta(hours=2))),
        pd.Timestamp("2024-02-29 12:00"),
        pd.Timestamp("2024-02-29 07:00", tz="America/New_York"),
        "2024-02-29T12:00:00Z",
        " 2024-02-29 12:00:00 ",
        "2024-02-29T14:00:00+02:00",
    ],
)
def test_a_moment_may_be_said_in_many_ways(value):
    found = to_moment(value)
    assert found == NOON and type(found) is datetime and found.utcoffset() == timedelta(0)


def test_a_day_is_its_midnight():
    assert to_moment(date(2024, 2, 29)) == datetime(2024, 2, 29, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "value", [None, 7, 7.5, True, b"2024-02-29", ["2024-02-29"], pd.NaT, "", "soon", "2023-02-29"]
)
def test_what_is_no_moment_is_refused(value):
    with pytest.raises(ValueError):
        to_moment(value)


@pytest.mark.parametrize(
    "text, micros",
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01 00:00:00", 0),
        ("1970-01-01t00:01:01.5z", 61_500_000),
        ("1970-01-01 00:00:00,000001 Z", 1),
        ("1970-01-01 00:00:00.0000010000", 1),
        ("1970-01-02T01:30:00+01:30", 86_400_000_000),
        ("1970-01-01T22:29:00-0131", 86_400_000_000),
        ("1970-01-01T22:00:00-02", 86_400_000_000),
        ("1969-12-31 23:59:59.999999", -1),
        ("0001-01-01 00:00:00", -62_135_596_800_000_000),
        ("9999-12-31 23:59:59.999999", 253_402_300_799_999_999),
        ("1970-01-01 00:00:00.0000001", None),  # finer than microseconds
        ("1970-01-01", None),  # no time of day
        ("1970-01-01 24:00:00", None),
        ("1970-02-29 00:00:00", None),
        ("1970-01-01 00:00:00+24:00", None),
        ("1970-01-01 00:00:00+00:60", None),
        ("1970-01-01 00:00:00 UTC", None),
        (" 1970-01-01 00:00:00", None),
        ("1970-01-01 00:00:00x", None),
        ("x", None),
    ],
)
def test_a_text_is_a_moment_to_the_microsecond_or_none(text, micros):
    assert parse_micros(text) == micros


def test_microseconds_are_written_out():
    assert format_micros(0) == "1970-01-01 00:00:00.000000"
    assert format_micros(-1) == "1969-12-31 23:59:59.999999"
    assert format_micros(1_709_210_096_000_007) == "2024-02-29 12:34:56.000007"


@pytest.mark.parametrize(
    "text, token",
    [
        ("abcdefghij-abcdefghij-abcdefghij-abcdefg", True),  # forty characters
        ("abcdefghij-abcdefghij-abcdefghij-abcdef", False),
        ("a" * 32, True),  # in one piece
        ("a" * 31, False),
        ("a" * 13 + "123", True),  # sixteen, with three digits
        ("a" * 14 + "12", False),
        ("1" * 13 + "abc", True),  # or three letters
        ("1" * 14 + "ab", False),
        ("a" * 12 + "123", False),
        ("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed", True),
        ("activity_log", False),
        ("", False),
    ],
)
def test_what_is_taken_for_a_token(text, token):
    assert is_token(text) is token


def test_moments_are_counted_from_1970():
    assert from_millis(0) == from_seconds(0) == datetime(1970, 1, 1, tzinfo=timezone.utc)
    assert from_millis(1_711_929_600_250) == datetime(2024, 4, 1, 0, 0, 0, 250_000, timezone.utc)
    assert parse_micros("1970-01-01T00:00:00Z") == 0
    assert parse_micros("2024-04-01T02:00:00.5+02:00") == 1_711_929_600_500_000
    assert format_micros(1_711_929_600_500_000) == "2024-04-01 00:00:00.500000"
    assert to_millis(date(2024, 4, 1)) == 1_711_929_600_000
