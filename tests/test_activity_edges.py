"""The edges of the activity log: which events a run takes, to the millisecond, and what an event
is called."""

import json
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone

import pandas as pd
import pytest

from domostats.clients.domo.activity import ACTIVITY_LOG
from domostats.errors import SettingsError
from domostats.reports.activity_log import event_keys
from domostats.transport.answer import Answer
from domostats.transport.reader import Reader, millis

NOON = 1_711_972_800_000  # 1 April 2024, 12:00:00 UTC
RUN = NOON + 30_500  # half past the minute that begins at noon


class Log:
    """A service with events at these moments (epoch milliseconds), newest first, start inclusive
    and end exclusive."""

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


class Miscounting(Log):
    "The same service, which makes of the true count of a span what `says(true, start, end)` tells."

    def __init__(self, says, *moments):
        super().__init__(*moments)
        self.says = says

    def ask(self, request, debug_api=False):
        answer = super().ask(request, debug_api)
        if not request.path.endswith("/count"):
            return answer
        start, end = request.params["start"], request.params["end"]
        return answer_to(request, {"count": self.says(answer.response["count"], start, end)})


SMALL = replace(ACTIVITY_LOG, size=2, most=4)
START, END = NOON - 60_000 - 16, NOON - 60_000  # sixteen milliseconds
SIX = START, START + 1, START + 2, START + 9, START + 14, START + 15


def counted(log, listing=SMALL):
    "The moments that came, in their order of asking, and what is in doubt."
    reader = Reader(log, since=START, until=END, in_flight=1)
    reader.now = RUN
    came = [event["time"] for page in listing.pages(reader) for event in page.records()]
    return came, reader.doubts


def test_a_window_with_few_enough_events_is_read_as_it_is():
    log = Log(*SIX[:4])
    assert counted(log) == ([*reversed(SIX[:4])], [])  # newest first
    assert {*log.spans} == {(START, END)}


def test_a_window_with_too_many_is_cut_in_two_and_the_older_half_comes_first():
    log = Log(*SIX)
    assert counted(log) == ([START + 2, START + 1, START, START + 15, START + 14, START + 9], [])
    assert [*dict.fromkeys(log.spans)] == [(START, END), (START, START + 8), (START + 8, END)]
    assert SMALL.rows(Reader(log, since=START, until=END)) == 6
    assert SMALL.calls(Reader(log, since=START, until=END)) == 2 + 2 + 2


def test_a_millisecond_with_too_many_events_cannot_be_cut():
    log = Log(*[START + 3] * 7)
    assert counted(log) == ([START + 3] * 7, [])
    assert (START + 3, START + 4) in log.spans
    assert min(end - start for start, end in log.spans) == 1


def test_nothing_is_asked_for_where_nothing_can_be():
    log = Log(*SIX)
    reader = Reader(log, since=START, until=START, in_flight=1)
    reader.now = RUN
    assert [*SMALL.pages(reader)] == [] and SMALL.rows(reader) == 0 and SMALL.calls(reader) == 0
    assert log.spans == []
    reader = Reader(log, since=RUN, in_flight=1)  # in the minute that still runs
    reader.now = RUN
    assert [*SMALL.pages(reader)] == [] and log.spans == []


def test_a_count_that_is_too_small_hides_no_event_and_is_told():
    came, doubts = counted(Miscounting(lambda true, start, end: true // 2, *SIX))
    assert sorted(came) == [*SIX]
    assert doubts == ["GET /api/audit/v1/user-audits: 6 records came, where the service counts 3."]


def test_a_count_that_is_too_large_is_told():
    came, doubts = counted(Miscounting(lambda true, start, end: true + 1, *SIX[:3]))
    assert sorted(came) == [*SIX[:3]]
    assert doubts == ["GET /api/audit/v1/user-audits: 3 records came, where the service counts 4."]


def test_a_half_that_counts_more_than_the_whole_is_told_and_all_come():
    def says(true, start, end):
        return 9 if (start, end) == (START, START + 8) else true

    came, doubts = counted(Miscounting(says, *SIX))
    assert sorted(came) == [*SIX]
    assert doubts[0] == (
        "GET /api/audit/v1/user-audits: half of a window counts 9 events, and the whole 6."
    )


def test_counts_that_are_not_to_be_relied_on_are_told_and_the_rest_is_read_without_them():
    def says(true, start, end):
        return 4 if (start, end) == (START, START + 8) else 8

    log = Miscounting(says, START + 9, START + 10)
    came, doubts = counted(log)
    assert sorted(came) == [START + 9, START + 10]
    assert (
        "GET /api/audit/v1/user-audits: a window counts 4 events and has 0; the counts are not to "
        "be relied on, and the rest was read without them."
    ) in doubts
    assert min(end - start for start, end in log.spans) == 8, "it is not cut any further"


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
