"""The edges of the activity log: which events a run takes, to the millisecond, and what an event is called."""

import json
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import pandas as pd
import pytest

from domostats.clients.domo.activity import ACTIVITY_LOG
from domostats.errors import SettingsError
from domostats.reports.activity_log import event_keys
from domostats.transport.connection import Answer
from domostats.transport.paging import Reader, millis

NOON = 1_711_972_800_000  # 1 April 2024, 12:00:00 UTC
RUN = NOON + 30_500  # half past the minute that begins at noon


class Log:
    "A service with events at these moments (epoch milliseconds), newest first, start inclusive and end exclusive."

    def __init__(self, *moments):
        self.events = [
            {"time": at, "userId": "1", "actionType": "VIEWED", "objectId": str(number)}
            for number, at in enumerate(moments)
        ]
        self.spans = []

    def ask(self, request, debug_api=False):
        asked = request.params
        self.spans.append((asked["start"], asked["end"]))
        found = [one for one in self.events if asked["start"] <= one["time"] < asked["end"]]
        if request.path.endswith("/count"):
            return answer_to(request, {"count": len(found)})
        found.sort(key=lambda one: -one["time"])
        return answer_to(request, found[asked["offset"] :][: asked["limit"]])


def answer_to(request, value):
    return Answer(request.method, request.path, 200, json.dumps(value).encode(), {}, 0.0)


def moments_of(log, since=None, until=None, listing=ACTIVITY_LOG):
    reader = Reader(log, since=millis(since), until=millis(until), in_flight=1)
    reader.now = RUN
    came = [event["time"] for page in listing.pages(reader) for event in page.records()]
    assert not reader.doubts
    return sorted(came)


def test_the_minute_that_still_runs_is_left_for_the_next_run():
    log = Log(NOON - 60_000, NOON - 1, NOON, NOON + 29_999)
    assert moments_of(log, since="2024-04-01") == [NOON - 60_000, NOON - 1]
    assert {end for _, end in log.spans} == {NOON}


def test_an_end_in_the_future_is_the_minute_in_which_the_run_began():
    log = Log(NOON - 1, NOON)
    assert moments_of(log, since="2024-04-01", until="2030-01-01") == [NOON - 1]


def test_the_first_moment_is_taken_and_the_last_is_not():
    log = Log(NOON - 7_200_001, NOON - 7_200_000, NOON - 3_600_001, NOON - 3_600_000)
    came = moments_of(log, since="2024-04-01T10:00:00Z", until="2024-04-01T11:00:00Z")
    assert came == [NOON - 7_200_000, NOON - 3_600_001]


@pytest.mark.parametrize(
    "since, first",
    [
        ("2024-04-01", 1_711_929_600_000),
        (date(2024, 4, 1), 1_711_929_600_000),
        (datetime(2024, 4, 1, 6), 1_711_951_200_000),
        (datetime(2024, 4, 1, 6, tzinfo=timezone(timedelta(hours=-5))), 1_711_969_200_000),
        ("2024-04-01T06:00:00+13:00", 1_711_904_400_000),
        ("1970-01-01", 0),
    ],
)
def test_how_far_back_is_what_was_asked_for(since, first):
    log = Log(first - 1, first)
    assert moments_of(log, since=since) == [first]
    assert min(start for start, _ in log.spans) == first


def test_without_a_first_moment_nothing_that_the_service_keeps_is_left_out():
    old = 1_262_304_000_000  # 1 January 2010
    assert moments_of(Log(old, NOON - 1)) == [old, NOON - 1]


def test_events_where_a_window_is_cut_come_once():
    since, until = NOON - 4_000, NOON - 2_000
    middle = (since + until) // 2
    log = Log(*[since] * 3, middle - 1, middle - 1, *[middle] * 4, middle + 1, until - 1, until)
    small = replace(ACTIVITY_LOG, size=2, most=4)
    span = [datetime.fromtimestamp(at / 1000, timezone.utc) for at in (since, until)]
    came = moments_of(log, *span, listing=small)
    assert came == [*[since] * 3, middle - 1, middle - 1, *[middle] * 4, middle + 1, until - 1]


def keys(*events):
    "What these events of one page are called."
    page = event_keys()(b"[" + b",".join(events) + b"]")
    return [event["eventKey"] for event in json.loads(bytes(page))]


LOOK = b'{"time":1,"userId":"5","actionType":"VIEWED","objectType":"CARD","objectId":"9"}'


def test_an_event_is_called_the_same_on_every_run():
    assert keys(LOOK) == keys(LOOK)
    assert keys(LOOK.replace(b"}", b',"objectName":"renamed since"}')) == keys(LOOK)


@pytest.mark.parametrize(
    "was, now",
    [(b"1,", b"2,"), (b'"5"', b'"6"'), (b"VIEWED", b"SHARED"), (b"CARD", b"PAGE"), (b'"9"', b"8")],
)
def test_another_moment_person_action_or_object_is_another_event(was, now):
    assert keys(LOOK) != keys(LOOK.replace(was, now))


def test_events_that_are_alike_are_numbered_within_their_moment():
    later = LOOK.replace(b'"time":1', b'"time":2')
    first, second, third, fourth = keys(LOOK, LOOK, later, later)
    assert first.endswith("-1") and second == first[:-1] + "2"
    assert third.endswith("-1") and fourth == third[:-1] + "2"


def test_no_time_is_no_moment():
    with pytest.raises(SettingsError) as error:
        millis(pd.NaT)
    assert error.value.reason == "bad_moment"
