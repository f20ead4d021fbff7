"""A run that goes on: what it takes from before, what it asks for again, and what it says about
it."""

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
import uuid
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import commands
import msgspec
import pyarrow as pa
import pytest
from conftest import settle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domostats import sandbox
from domostats.clients.datorama.auth import sign_in as sign_in_datorama
from domostats.clients.domo.auth import sign_in
from domostats.clients.domo.certifications import CERTIFIED_DATASETS
from domostats.clients.domo.datasets import DATASET_SEARCH
from domostats.clients.domo.groups import GROUPS
from domostats.clients.domo.pages import PAGE_ACCESS, PAGES
from domostats.errors import (
    AccessError,
    DataError,
    DestinationError,
    DomostatsError,
    RetryLaterError,
    SettingsError,
)
from domostats.loading.files import read_file
from domostats.reports.accounts import report as accounts
from domostats.reports.activity_log import report as activity
from domostats.reports.datorama_jobs import report as jobs
from domostats.reports.groups import report as groups
from domostats.reports.reading import reading
from domostats.reports.report import Report
from domostats.sandbox.domo.owners import group_id_of
from domostats.transport.answer import Answer
from domostats.transport.cursor import Cursor
from domostats.transport.numbered import Numbered
from domostats.transport.offset import Offset
from domostats.transport.search import Search

PROVIDERS = "/api/data/v2/datasources/providers"
GROUP_LIST = "/api/content/v2/groups/grouplist"
GOOD = [{"key": "k", "name": "Old", "accounts": [{"id": 1, "displayName": "one"}]}]
BAD = [{"key": "k", "name": "Old", "accounts": [{"id": "?", "displayName": "one"}]}]


class Stopped(Exception):
    "What ends a run here in the middle."


def state():
    return Path(os.environ["XDG_STATE_HOME"]) / "domostats"


def pages_in(kind):
    "The files of all runs of this kind, `open` or `last`."
    return [
        path
        for folder in (state() / "spool").glob(f"*/*/{kind}")
        for path in folder.iterdir()
        if path.suffix != ".draft"
    ]


def read_some(connection, listing, pages, error=Stopped, name="some", **how):
    "A run that reads so many pages of a listing and dies."
    with pytest.raises(error if isinstance(error, type) else type(error)):
        with reading(connection, name, **how) as reader:
            for number, _ in enumerate(listing.pages(reader), 1):
                if number == pages:
                    break
            raise error


def read_all(connection, listing, name="some", **how):
    "The records of a listing, and the reader that has read them."
    with reading(connection, name, **how) as reader:
        records = [record for page in listing.pages(reader) for record in page.records()]
    return records, reader


def remove_group(box, number):
    """Somebody deletes a group: the one at this place of the list, which has to have been read
    before."""
    del box.domo.data.memo["groups False"][number]
    box.domo.pages.cache.kept.clear()  # what it had answered before


def notes_of(reader):
    "What a reader, or a run, notes about answers from before."
    return getattr(reader, "notes", [])


def in_order(events):
    "Events by their time: a log that is read in other pieces gives them in another order."
    return sorted(events, key=lambda event: (event["time"], str(event)))


def ids(records, name="groupId"):
    return [record[name] for record in records]


# --- something is deleted while nobody reads ---


@pytest.mark.parametrize("place", [0, 4, 17, 30, 43])
def test_a_deleted_group_takes_no_living_one_with_it(place):
    with sandbox.start(groups=44, today="2024-04-01") as box:
        connection, listing = sign_in(box), replace(GROUPS, size=3)
        read_some(connection, listing, 6)
        remove_group(box, place)
        living = ids(json.loads(connection.get(GROUP_LIST, {"limit": 100, "offset": 0}).content))
        records, reader = read_all(connection, listing)
        assert ids(records) == living and len(living) == 43 and not reader.doubts
        assert notes_of(reader)


def test_what_has_not_moved_is_not_asked_for_again():
    with sandbox.start(groups=44, today="2024-04-01") as box:
        connection, listing = sign_in(box), replace(GROUPS, size=3)
        read_some(connection, listing, 9)
        kept, before = len(pages_in("open")), len(box.calls)
        records, reader = read_all(connection, listing)
        asked = len(box.calls) - before
        assert len(records) == 44 and not reader.doubts and kept >= 9
        before = len(box.calls)
        read_all(connection, listing, fresh=True)
        assert asked <= len(box.calls) - before - kept + 6
        (note,) = notes_of(reader) or [""]
        assert "kept by an earlier start" in note and "second" in note


def test_a_resumed_run_says_so_and_is_complete_all_the_same(box):
    with pytest.raises(Stopped), groups.stream(box) as run:
        assert run.made and not notes_of(run) and not run.findings
        raise Stopped
    run = groups.run(box)
    assert not run.incomplete and len(run.table) == 8
    assert any("kept by an earlier start" in finding for finding in run.findings)
    with pytest.warns(UserWarning, match="last finished run, the oldest"):
        frame = groups.generate(box, restore=True)
    assert frame.attrs["domostats"]["notes"] and not frame.attrs["domostats"]["incomplete"]


def test_a_resumed_run_says_what_has_no_effect_too(box):
    with pytest.raises(Stopped), groups.stream(box, since="2024-03-01") as run:
        assert run.made
        raise Stopped
    said = " ".join(groups.run(box, since="2024-03-01").findings)
    assert "kept by an earlier start" in said and "since has no effect on groups" in said


def test_an_answer_says_how_old_it_is(box, monkeypatch):
    connection, listing = sign_in(box), replace(GROUPS, size=1)
    read_some(connection, listing, 5)
    later(monkeypatch, 2 * 3600 + 300)
    _, reader = read_all(connection, listing)
    assert "2 hours 5 minutes old" in " ".join(notes_of(reader))


def later(monkeypatch, seconds):
    "Let so much time have passed."
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)


class Service:
    "Lists in memory in four styles of paging; it can be changed, and fails after so many calls."

    user, is_pool = "1", False

    def __init__(self, rows, works_for):
        self.rows, self.left, self.asked = rows, works_for, 0
        self.place, self.url, self.instance = f"https://x.example|{uuid.uuid4()}", "", self
        self.lock = threading.Lock()

    def meet(self):
        pass

    def ask(self, request, debug_api=False):
        with self.lock:
            self.asked, self.left = self.asked + 1, self.left - 1
            if self.left < 0:
                raise RetryLaterError("down", "unreachable")
        given = {**(request.params or {}), **(request.body or {})}
        start = given.get("offset", given.get("number", 1) * 3 - 3)
        if given.get("after"):
            start = int(given["after"][1:])
        rows = [{"id": id} for id in self.rows[start : start + min(3, given.get("limit", 3))]]
        more = start + 3 < len(self.rows)
        made = {
            "/offset": rows,
            "/less": rows,
            "/total": {"rows": rows, "total": len(self.rows)},
            "/search": {"rows": rows, "total": len(self.rows)},
            "/cursor": {"rows": rows, "next": f"c{start + 3}" if more else None},
            "/numbered": rows,
        }[request.path]
        return Answer(request.method, request.path, 200, msgspec.json.encode(made), {}, 0.0)


LISTINGS = {
    "offset": Offset("/offset", key="id", size=3),
    "less than asked for": Offset("/less", key="id", size=5),
    "total": Offset("/total", at="rows", key="id", size=3, total="total"),
    "search": Search(
        "/search",
        at="rows",
        key="id",
        size=3,
        total="total",
        cap=1000,
        in_body=True,
        method="POST",
        body={},
    ),
    "cursor": Cursor("/cursor", at="rows", key="id", size=3, next="next", method="POST"),
    "numbered": Numbered("/numbered", key="id", size=3, names=("number", "size"), method="POST"),
}


def resume(style, count, works_for, change):
    """The records before, those after a change made while nobody read, what the second run gave,
    and its reader."""
    service, listing = Service([*range(count)], works_for), LISTINGS[style]
    before = [*service.rows]
    with contextlib.suppress(RetryLaterError):
        read_all(service, listing)
    change(service.rows)
    service.left, service.asked = 10_000, 0
    records, reader = read_all(service, listing)
    return before, service, ids(records, "id"), reader


@pytest.mark.sampled(3)
@pytest.mark.parametrize("style", LISTINGS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), count=st.integers(1, 70), works_for=st.integers(0, 26))
def test_what_is_deleted_between_two_starts_is_gone_and_nothing_else(style, data, count, works_for):
    gone = data.draw(st.sets(st.integers(0, count - 1), max_size=3))
    _, service, came, reader = resume(
        style,
        count,
        works_for,
        lambda rows: rows.__setitem__(slice(None), [row for row in rows if row not in gone]),
    )
    if service.rows:
        assert came == service.rows and not reader.doubts


@pytest.mark.sampled(3)
@pytest.mark.parametrize("style", LISTINGS)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data(), count=st.integers(4, 70), works_for=st.integers(0, 26))
def test_nobody_who_lives_is_lost_whatever_changes_between_two_starts(
    style, data, count, works_for
):
    steps = data.draw(
        st.lists(st.tuples(st.booleans(), st.integers(0, count - 4)), min_size=1, max_size=4)
    )

    def change(rows):
        for number, (adds, place) in enumerate(steps):
            if adds:
                rows.insert(min(place, len(rows)), 1000 + number)
            else:
                del rows[min(place, len(rows) - 1)]

    before, service, came, reader = resume(style, count, works_for, change)
    assert {*before} & {*service.rows} <= {*came} or reader.doubts
    assert len(came) == len({*came}) or reader.doubts
    assert {*came} <= {*service.rows} or notes_of(reader)


@pytest.mark.parametrize("style", LISTINGS)
def test_an_unchanged_list_is_asked_for_again_in_a_few_places_only(style):
    for works_for in (5, 12, 25):
        before, service, came, reader = resume(style, 120, works_for, lambda rows: None)
        assert came == before and not reader.doubts
        whole = resume(style, 120, 0, lambda rows: None)[1].asked
        assert service.asked <= whole - works_for + 14, (style, works_for, service.asked, whole)


def test_a_bookmark_that_the_service_has_forgotten_ends_no_run():
    service, listing = Service([*range(40)], 6), LISTINGS["cursor"]
    with pytest.raises(RetryLaterError):
        read_all(service, listing)
    service.left, ask, refused = 1000, service.ask, []

    def forgetful(request, debug_api=False):
        if request.body["after"] == "c15" and not refused:
            refused.append(request)
            raise DataError("unknown bookmark", "bad_request")
        return ask(request)

    service.ask = forgetful
    records, reader = read_all(service, listing)
    assert ids(records, "id") == [*range(40)] and "has changed since" in " ".join(notes_of(reader))


# --- the moment of a run ---


def test_the_log_goes_on_where_it_stopped_though_the_clock_has_moved(monkeypatch):
    with sandbox.start(events=3000, today="2024-04-01") as box:
        log = replace(activity.source.listing, size=100, most=400)
        connection = sign_in(box)
        since = {"since": datetime(2020, 1, 1)}
        read_some(connection, log, 12, **since)
        kept, before = len(pages_in("open")), len(box.calls)
        later(monkeypatch, 125)
        records, reader = read_all(connection, log, **since)
        again, before = len(box.calls) - before, len(box.calls)
        whole, _ = read_all(connection, log, "other", **since)
        assert in_order(records) == in_order(whole) and len(whole) == 3000 and not reader.doubts
        assert kept > 20 and again <= len(box.calls) - before - kept + 2
        assert "kept by an earlier start" in " ".join(notes_of(reader))


def test_the_log_ends_at_the_beginning_of_its_run(box, monkeypatch):
    with pytest.raises(Stopped), reading(sign_in(box), "log") as reader:
        end = activity.source.listing.span(reader)[1]
        activity.source.listing.rows(reader)
        raise Stopped
    later(monkeypatch, 600)
    with reading(sign_in(box), "log") as reader:
        assert activity.source.listing.span(reader)[1] == end
    with reading(sign_in(box), "log", restore=True) as reader:
        assert activity.source.listing.span(reader)[1] == end
    with reading(sign_in(box), "log") as reader:
        assert activity.source.listing.span(reader)[1] == end + 600_000


def test_another_question_is_not_answered_up_to_an_old_moment(box, monkeypatch):
    log, days = activity.source.listing, [datetime(2024, 3, day) for day in (1, 2)]
    with pytest.raises(Stopped), reading(sign_in(box), "log", since=days[0]) as reader:
        log.rows(reader)
        end = log.span(reader)[1]
        raise Stopped
    later(monkeypatch, 600)
    with reading(sign_in(box), "log", since=days[1]) as reader:
        assert log.span(reader)[1] == end + 600_000 and len(reader.spool) == 0


def test_what_was_asked_for_until_another_moment_is_not_gone_on_with(box):
    log, days = activity.source.listing, [datetime(2024, 3, day) for day in (1, 20, 25)]
    with pytest.raises(Stopped):
        with reading(sign_in(box), "log", since=days[0], until=days[1]) as reader:
            log.rows(reader)
            raise Stopped
    with reading(sign_in(box), "log", since=days[0], until=days[2]) as reader:
        assert len(reader.spool) == 0


def test_a_finished_log_is_played_again_at_any_later_time(box, monkeypatch):
    first, calls = activity.run(box), len(box.calls)
    later(monkeypatch, 3600)
    assert activity.run(box, restore=True).table == first.table and len(box.calls) == calls


def test_more_datasets_than_the_service_shows_go_on_too(monkeypatch):
    with sandbox.start(datasets=430, today="2024-04-01") as box:
        listing, connection = replace(DATASET_SEARCH, cap=100, size=20), sign_in(box)
        read_some(connection, listing, 15)
        kept, before = len(pages_in("open")), len(box.calls)
        later(monkeypatch, 5)
        records, reader = read_all(connection, listing)
        again = len(box.calls) - before
        before = len(box.calls)
        whole, _ = read_all(connection, listing, "other")
        assert sorted(ids(records, "id")) == sorted(ids(whole, "id")) and not reader.doubts
        assert kept > 20 and again <= len(box.calls) - before - kept + 20


# --- which faults leave the pages ---


@pytest.mark.parametrize(
    "error, stays",
    [
        (KeyboardInterrupt(), True),
        (SystemExit(1), True),
        (RetryLaterError("", "cut"), True),
        (AccessError("", "blocked"), True),
        (SettingsError("", "bad_method"), True),
        (DestinationError("", "not_written"), True),
        (OSError(28, "No space left on device"), True),
        (DataError("", "formatter_failed"), True),
        (DataError("", "mixed_column"), True),
        (DataError("", "html"), True),
        (DataError("", "truncated"), True),
        (DataError("", "violations"), False),
        (DataError("", "all_set_aside"), False),
        (DataError("", "contract"), False),
        (DataError("", "incomplete"), False),
        (DataError("", "not_a_list"), False),
        (RuntimeError(RetryLaterError("", "cut"), DataError("", "violations")), False),
    ],
    ids=lambda value: "" if isinstance(value, bool) else getattr(value, "reason", repr(value)),
)
def test_only_a_fault_in_the_data_lets_the_next_run_ask_anew(box, error, stays):
    read_some(sign_in(box), GROUPS, 1, error)
    with reading(sign_in(box), "some") as reader:
        assert bool(len(reader.spool)) is stays


def test_a_mended_source_is_seen_by_a_plain_repeat(box):
    for contract in ("freeze", "report"):
        box.serve(PROVIDERS, BAD)
        with pytest.raises(DataError):
            accounts.run(box, format_fn="v1", contract=contract)
        box.serve(PROVIDERS, GOOD)
        run = accounts.run(box, format_fn="v1", contract=contract)
        assert len(run.table) == 1 and not run.findings


def test_the_old_pages_of_a_run_that_failed_on_its_data_can_be_taken(box):
    box.serve(PROVIDERS, [{"key": "k", "accounts": [{"id": 1}, {"id": "?"}]}])
    with pytest.raises(DataError):
        accounts.run(box, format_fn="v1", contract="freeze")
    box.serve(PROVIDERS, GOOD)
    calls = sum(path == PROVIDERS for _, path, _ in box.calls)
    run = accounts.run(box, format_fn="v1", reuse=True)
    assert calls == sum(path == PROVIDERS for _, path, _ in box.calls)
    assert len(run.violations) == 1 and "were not asked for again" in run.findings[-1]


@pytest.mark.parametrize("two", [("restore", "fresh"), ("fresh", "reuse"), ("restore", "reuse")])
def test_a_run_is_begun_in_one_way(box, two):
    with pytest.raises(SettingsError) as caught:
        groups.run(box, **dict.fromkeys(two, True))
    assert caught.value.reason == "bad_start" and " and ".join(two) in str(caught.value)


def test_a_formatter_is_mended_without_asking_again(box):
    def broken(group_obj):
        return {"id": group_obj["groupId"] / 0}

    def mixed(group_obj):
        return {"id": object()}

    for formatter in (broken, mixed):
        with pytest.raises(DomostatsError):
            groups.generate(box, format_fn=formatter)
        kept = len(pages_in("open"))
        assert kept
    before = len(box.calls)
    assert len(groups.generate(box, format_fn=lambda group_obj: {"id": group_obj["groupId"]})) == 8
    assert len(box.calls) - before <= 3


def domostats(*arguments):
    code, out, err = commands.run(*arguments, environment={"COLUMNS": "200"})
    return code, out + err


def test_strict_and_then_mended_and_then_a_plain_repeat(box):
    command = ["generate", "accounts", "--instance", box.name, "--format", "v1"]
    command += ["--to", "accounts.csv"]
    box.serve(PROVIDERS, [{"key": "k", "accounts": [{"id": 1}, {"id": "?"}]}])
    assert domostats(*command, "--strict")[0] == 6
    box.serve(PROVIDERS, GOOD)
    code, printed = domostats(*command, "--strict")
    assert code == 0, printed
    assert read_file("accounts.csv").num_rows == 1 and "kept by" not in printed


def test_the_command_takes_the_old_pages_when_told(box):
    command = ["generate", "accounts", "--instance", box.name, "--format", "v1"]
    command += ["--to", "accounts.csv"]
    box.serve(PROVIDERS, [{"key": "k", "accounts": [{"id": 1}, {"id": "?"}]}])
    assert domostats(*command, "--strict")[0] == 6
    box.serve(PROVIDERS, [{"key": "k", "accounts": [{"id": 1}, {"id": 2}]}])
    code, printed = domostats(*command, "--reuse")
    assert code == 0 and "3 answers were kept by an earlier start" in printed, printed
    assert read_file("accounts.csv").num_rows == 1


def test_a_run_of_many_reports_goes_on_or_is_begun_anew(box):
    command = ["run", "--instance", box.name, "--only", "accounts,groups", "--to", "out"]
    box.serve(PROVIDERS, BAD)
    assert domostats(*command)[0] == 6
    box.serve(PROVIDERS, GOOD)
    code, printed = domostats(*command)
    assert code == 0 and "kept by an earlier start" not in printed, printed
    box.fail("server_error", GROUP_LIST, times=None)
    assert domostats(*command)[0] == 75
    box.heal()
    code, printed = domostats(*command)
    assert code == 0 and "kept by an earlier start" in printed, printed


# --- what lies on disk ---


def cut(content):
    return content[: len(content) // 2]


def garbled(content):
    middle = len(content) // 2
    return (
        content[:middle]
        + bytes(255 - byte for byte in content[middle : middle + 8])
        + content[middle + 8 :]
    )


DAMAGES = {
    "empty": lambda content: b"",
    "cut": cut,
    "one byte short": lambda content: content[:-1],
    "garbled": garbled,
    "one byte other": lambda content: content[:-40] + bytes([content[-40] ^ 1]) + content[-39:],
    "longer": lambda content: content + b"\0",
    "text": lambda content: b"not a page at all",
    "zeros": lambda content: bytes(len(content)),
}


@pytest.mark.parametrize("damage", [*DAMAGES, "a folder", "another page"])
def test_a_damaged_page_is_asked_for_again(box, damage):
    connection, listing = sign_in(box), replace(GROUPS, size=2)
    read_some(connection, listing, 4)
    before = read_all(connection, listing, "other")[0]
    files = pages_in("open")
    for number, file in enumerate(files):
        content = file.read_bytes()
        if damage == "a folder":
            file.unlink()
            file.mkdir()
        elif damage == "another page":
            file.write_bytes(files[number - 1].read_bytes())
        else:
            file.write_bytes(DAMAGES[damage](content))
    records, reader = read_all(connection, listing)
    assert records == before and not reader.doubts
    assert read_all(connection, listing, restore=True)[0] == before


def test_one_damaged_page_among_many_is_the_only_one_asked_for(box):
    with sandbox.start(groups=60, today="2024-04-01") as big:
        connection, listing = sign_in(big), replace(GROUPS, size=2)
        read_some(connection, listing, 20)
        victim = random.Random(3).choice(pages_in("open"))
        victim.write_bytes(cut(victim.read_bytes()))
        kept, before = len(pages_in("open")), len(big.calls)
        records, reader = read_all(connection, listing)
        assert len(records) == 60 and not reader.doubts and len(notes_of(reader)) == 1
        assert len(big.calls) - before <= 40 - kept + 10


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_page_of_a_restored_run_is_told(box, damage):
    connection, listing = sign_in(box), replace(GROUPS, size=3)
    read_all(connection, listing)
    for offset in (0, 3):
        (file,) = [one for one in pages_in("last") if one.name == listing.page(offset).fingerprint]
        whole = file.read_bytes()
        file.write_bytes(DAMAGES[damage](whole))
        with pytest.raises(SettingsError) as caught:
            read_all(connection, listing, restore=True)
        assert caught.value.reason == "nothing_to_restore"
        assert "cannot be read" in str(caught.value)
        file.write_bytes(whole)
    assert len(read_all(connection, listing, restore=True)[0]) == 8


@pytest.mark.parametrize("name", ["began", "lock"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe" * 600, b"{}"])
def test_a_damaged_note_beside_the_pages_ends_no_run(box, name, content):
    read_some(sign_in(box), GROUPS, 1)
    (file,) = (state() / "spool").glob(f"*/*/{name}")
    file.write_bytes(content)
    records, reader = read_all(sign_in(box), GROUPS)
    assert len(records) == 8 and not reader.doubts


class FirstForm(msgspec.Struct, array_like=True):
    "An answer as version 0.1.0 kept it."

    method: str
    url: str
    status: int
    headers: dict[str, str]
    seconds: float
    size: int
    packed: bytes


def as_first_form(file):
    fields = msgspec.msgpack.decode(file.read_bytes())[:7]
    fields[6] = pa.compress(b"[]", "lz4", asbytes=True)
    fields[5] = 2
    file.write_bytes(msgspec.msgpack.encode(FirstForm(*fields)))


def test_pages_of_the_first_version_are_not_taken_for_new_ones(box):
    connection = sign_in(box)
    read_some(connection, GROUPS, 1)
    for file in pages_in("open"):
        as_first_form(file)
    (began,) = (state() / "spool").glob("*/*/began")
    began.write_bytes(b"")
    records, _ = read_all(connection, GROUPS)
    assert len(records) == 8
    for file in pages_in("last"):
        as_first_form(file)
    with pytest.raises(SettingsError) as caught:
        read_all(connection, GROUPS, restore=True)
    assert caught.value.reason == "nothing_to_restore"
    assert "earlier version" in str(caught.value) and "without restore" in str(caught.value)


def test_runs_are_never_mixed(box):
    connection, listing = sign_in(box), replace(GROUPS, size=3)
    read_all(connection, listing)
    stray = {file.name: file.read_bytes() for file in pages_in("last")}
    read_some(connection, listing, 1)
    (folder,) = (state() / "spool").glob("*/*/open")
    for name, content in stray.items():
        (folder / name).write_bytes(content)
    _, reader = read_all(connection, listing)
    assert not notes_of(reader)


# --- one call for each of others ---


def test_one_call_for_each_goes_on_with_those_that_are_left():
    with sandbox.start(pages=30, today="2024-04-01") as box:
        listing = replace(PAGE_ACCESS, parents=replace(PAGES, size=40))
        connection = sign_in(box)
        read_some(connection, listing, 12)
        before = len(box.calls)
        records, reader = read_all(connection, listing)
        assert len(records) == len(read_all(connection, listing, "other")[0]) and not reader.doubts
        resumed = [path for _, path, _ in box.calls[before:]]
        assert len(resumed) < 70


READ_GROUPS = """
import json, sys
from dataclasses import replace
from domostats.reports.groups import report
report.source = replace(report.source, listing=replace(report.source.listing, size=3))
run = report.run(sys.argv[1], format_fn="all")
print(json.dumps([run.table["group_id"].to_pylist(), run.doubts, run.findings]))
"""


@pytest.mark.slow
def test_a_run_is_killed_again_and_again_while_groups_are_deleted():
    rng = random.Random(7)
    with sandbox.start(groups=200, today="2024-04-01") as box:
        box.latency = 0.02
        command = [sys.executable, "-c", READ_GROUPS, box.name]
        for _ in range(6):
            before, goal = len(box.calls), rng.randint(12, 40)
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            while len(box.calls) - before < goal and child.poll() is None:
                time.sleep(0.002)
            child.kill()
            assert child.wait(60) == -9, "it was to be killed in mid-listing"
            settle(box)
            for _ in range(rng.randint(0, 2)):
                remove_group(box, rng.randrange(150))
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        came, doubts, findings = json.loads(done.stdout)
        numbers = [number for _, number in box.domo.data.memo["groups False"]]
        living = [str(group_id_of(box.domo.data.world.seed, number)) for number in numbers]
        assert came == living and len(living) < 200 and not doubts
        assert any("kept by an earlier start" in finding for finding in findings) or any(
            "has changed since" in finding for finding in findings
        )


def test_a_destination_that_fails_costs_no_second_reading():
    with sandbox.start(groups=60, today="2024-04-01") as box:
        report = Report("groups", "one group", "group_id", replace(groups.source))
        report.source = replace(groups.source, listing=replace(GROUPS, size=3))
        with pytest.raises(DestinationError), report.stream(box) as run:
            assert len(run.made) == 60
            raise DestinationError("the disk is full", "not_written")
        settle(box)  # pages asked for ahead of their turn
        before = len(box.calls)
        run = report.run(box)
        assert len(run.table) == 60
        # who it is, the first page and the last, and what is asked for ahead beyond the end: not
        # the twenty pages again
        assert len(box.calls) - before <= 8
        assert "kept by an earlier start" in " ".join(run.findings)


def test_the_command_goes_on_after_a_destination_that_failed(box):
    command = ["generate", "groups", "--instance", box.name, "--to", "nowhere/groups.csv"]
    assert domostats(*command)[0] == 7
    Path("nowhere").mkdir()
    code, printed = domostats(*command)
    assert code == 0 and "kept by an earlier start" in printed, printed


def test_strict_asks_anew_whatever_the_destination(box):
    command = ["generate", "accounts", "--instance", box.name, "--format", "v1", "--strict"]
    for to in ("accounts.csv", "accounts.parquet", "accounts_kept"):
        box.serve(PROVIDERS, [{"key": "k", "accounts": [{"id": 1}, {"id": "?"}]}])
        code, printed = domostats(*command, "--to", to)
        assert code == 6, printed
        box.serve(PROVIDERS, GOOD)
        code, printed = domostats(*command, "--to", to)
        assert code == 0 and "kept by an earlier start" not in printed, printed


def test_two_lists_of_one_endpoint_may_both_have_moved(monkeypatch):
    with sandbox.start(datasets=100, today="2024-04-01") as box:
        connection = sign_in(box)
        lists = replace(DATASET_SEARCH, size=7), replace(DATASET_SEARCH, size=9)
        with pytest.raises(Stopped), reading(connection, "both") as reader:
            for listing in lists:
                for number, _ in enumerate(listing.pages(reader)):
                    if number == 4:
                        break
            raise Stopped
        reply = box.domo.genuine

        def smaller(*arguments):
            made = reply(*arguments)
            if b"totalCount" in made.body:
                made = made._replace(
                    body=made.body.replace(b'"totalCount":100', b'"totalCount":99')
                )
            return made

        monkeypatch.setattr(box.domo, "genuine", smaller)
        with reading(connection, "both") as reader:
            for listing in lists:
                assert sum(page.rows for page in listing.pages(reader)) in (99, 100)
        said = " ".join(notes_of(reader))
        assert said.count("has changed since") == 1, said


def test_lists_below_the_records_of_another_go_on_with_those_that_are_left():
    with sandbox.start_datorama(streams=15, jobs=3, today="2024-04-01") as box:
        connection = sign_in_datorama(box)
        listing = jobs.source.listing
        read_some(connection, listing, 8)
        kept, before = len(pages_in("open")), connection.calls.total
        records, reader = read_all(connection, listing)
        again, before = connection.calls.total - before, connection.calls.total
        whole, _ = read_all(connection, listing, "other")
        assert records == whole and not reader.doubts
        assert again <= connection.calls.total - before - kept + 4


def test_certified_datasets_go_on_behind_their_bookmark():
    with sandbox.start(datasets=430, today="2024-04-01") as box:
        connection, listing = sign_in(box), replace(CERTIFIED_DATASETS, size=3)
        read_some(connection, listing, 6)
        kept, before = len(pages_in("open")), len(box.calls)
        records, reader = read_all(connection, listing)
        again, before = len(box.calls) - before, len(box.calls)
        whole, _ = read_all(connection, listing, "other")
        assert records == whole and not reader.doubts
        assert again <= len(box.calls) - before - kept + 3
