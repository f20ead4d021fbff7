"""A run and a night's work taken up again: what is asked for, what is sent, and what two
programs do at once."""

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from domostats.errors import (
    AccessError,
    CredentialsError,
    DataError,
    DestinationError,
    RetryLaterError,
    SettingsError,
)
from domostats.transport.announced import AnnouncedBudget
from domostats.transport.answer import Answer
from domostats.transport.carry_out import carry_out, error_facts, said_in
from domostats.transport.clock import FakeClock
from domostats.transport.journal_file import open_database
from domostats.transport.offset import Offset
from domostats.transport.old_journals import old_items, read_old_journal
from domostats.transport.pool import Pool, PoolBudget
from domostats.transport.reader import Reader
from domostats.transport.retry import Request
from domostats.transport.spooled_runs import data_fault, spooled
from domostats.transport.state_folder import folder_of, make_folder
from domostats.transport.take_up import open_journal
from domostats.transport.writes import (
    FAILED,
    LATER,
    STOP,
    WAIT,
    Patience,
    download,
    patiently,
    verdict,
    wait_until,
    write_once,
)

PLACE = "https://x.example|ada"
ONE, TWO, THREE = (Request("GET", f"/{name}", {"page": 1}) for name in ("one", "two", "three"))
MONDAY = 1_711_929_600.0


class Service:
    "A service that counts what it is asked, or is not there."

    url, instance = "", None

    def __init__(self, is_there=True):
        self.asked, self.is_there, self.instance = [], is_there, self

    def ask(self, request, debug_api=False):
        assert self.is_there, "nobody may ask now"
        self.asked.append(request.path)
        content = json.dumps([{"id": len(self.asked)}]).encode()
        return Answer(request.method, request.path, 200, content, {"set-cookie": "x"}, 0.5)


def run(service, *requests, error=None, name="some", **how):
    "A run that asks for these, and dies of the error; what it was told, and its notes."
    with spooled(PLACE, name, **how) as spool:
        reader = Reader(service, spool)
        answers = [reader.answer(request).response for request in requests]
        if error:
            raise error
    return answers, reader.notes


def die(service, *requests, error=KeyboardInterrupt, **how):
    with pytest.raises(error if isinstance(error, type) else type(error)):
        run(service, *requests, error=error, **how)


def later(monkeypatch, seconds):
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)


def state():
    return Path(os.environ["XDG_STATE_HOME"]) / "domostats"


# --- a run ---


def test_a_run_that_died_goes_on_and_says_what_it_had(monkeypatch):
    service = Service()
    die(service, ONE, TWO)
    later(monkeypatch, 3600)
    answers, (note,) = run(service, ONE, TWO, THREE)
    assert answers == [[{"id": 1}], [{"id": 2}], [{"id": 3}]]
    assert service.asked == ["/one", "/two", "/three"]
    assert note == (
        "2 answers were kept by an earlier start of this run, the oldest 60 minutes old. What may "
        "have moved was asked for again."
    )


def test_a_finished_run_is_begun_anew_and_says_nothing():
    service = Service()
    assert run(service, ONE) == ([[{"id": 1}]], [])
    assert run(service, ONE) == ([[{"id": 2}]], [])


def test_a_restored_run_does_not_call_the_service(monkeypatch):
    run(Service(), ONE, TWO)
    later(monkeypatch, 7200)
    gone = Service(is_there=False)
    answers, (note,) = run(gone, ONE, TWO, restore=True)
    assert answers == [[{"id": 1}], [{"id": 2}]]
    assert (
        note
        == "All answers are kept ones of the last finished run, the oldest 2 hours 0 minutes old."
    )
    with spooled(PLACE, "some", restore=True) as spool:
        reader = Reader(gone, spool)
        assert reader.answer(ONE, again=True).response == [{"id": 1}]
        with pytest.raises(SettingsError) as caught:
            reader.answer(THREE)
    assert caught.value.reason == "nothing_to_restore"
    assert "no answer to GET /three" in str(caught.value)
    assert "Run once without restore" in str(caught.value)


def test_another_page_of_a_kept_list_is_another_answer():
    run(Service(), ONE)
    with pytest.raises(SettingsError):
        run(Service(is_there=False), ONE._replace(params={"page": 2}), restore=True)


def test_a_restored_run_is_the_last_finished_one_and_not_the_open_one():
    service = Service()
    run(service, ONE)
    die(service, ONE, TWO)
    assert run(Service(is_there=False), ONE, restore=True)[0] == [[{"id": 1}]]
    assert run(service, ONE, TWO)[0] == [[{"id": 2}], [{"id": 3}]], "the open one is still there"


def test_without_a_finished_run_nothing_is_restored():
    die(Service(), ONE)
    with pytest.raises(SettingsError) as caught:
        run(Service(is_there=False), ONE, restore=True)
    assert caught.value.reason == "nothing_to_restore"
    assert "no finished run of some" in str(caught.value)


@pytest.mark.parametrize(
    "change", [{"name": "other"}, {"question": "since=5"}], ids=["name", "question"]
)
def test_another_run_or_question_has_none_of_it(change):
    service = Service()
    die(service, ONE)
    run(service, ONE, **change)
    assert service.asked == ["/one", "/one"]


@pytest.mark.parametrize("age, asked", [(3599, 1), (3601, 2), (-59, 1), (-61, 2)])
def test_a_run_goes_on_for_so_long_and_not_from_the_future(monkeypatch, age, asked):
    service = Service()
    die(service, ONE)
    later(monkeypatch, age)
    run(service, ONE, oldest=3600)
    assert len(service.asked) == asked


def test_a_run_that_is_started_again_and_again_does_not_get_younger(monkeypatch):
    service = Service()
    later(monkeypatch, -4 * 3600)
    die(service, ONE)
    later(monkeypatch, 4 * 3600)  # the files that are written from now on are four hours younger
    die(service, ONE)
    later(monkeypatch, 3600)
    die(service, ONE)
    assert service.asked == ["/one"], "it goes on after four and after five hours"
    later(monkeypatch, 2 * 3600)
    assert run(service, ONE) == ([[{"id": 2}]], []), "its answers are seven hours old"


def test_a_run_that_may_be_no_time_old_is_begun_anew():
    service = Service()
    die(service, ONE)
    run(service, ONE, oldest=0)
    assert len(service.asked) == 2


def test_a_run_that_failed_on_its_data_is_taken_up_only_when_told():
    service = Service()
    die(service, ONE, error=DataError("odd", "violations"))
    answers, (note,) = run(service, ONE, reuse=True)
    assert answers == [[{"id": 1}]] and note.endswith(
        "Lists that were whole were not asked for again."
    )
    die(service, ONE, error=DataError("odd", "violations"))
    assert run(service, ONE) == ([[{"id": 3}]], [])


@pytest.mark.parametrize(
    "error, fault",
    [
        (DataError("", "contract"), "contract"),
        (DataError("", ""), "data"),
        (DataError("", "html"), ""),
        (DataError("", "empty"), ""),
        (DataError("", "too_large"), ""),
        (DataError("", "bad_column"), ""),
        (DataError("", "bad_record"), ""),
        (DataError("", "not_a_row"), ""),
        (DataError("", "name_clash"), ""),
        (DataError("", "bad_reply"), ""),
        (DataError("", "bad_request"), ""),
        (DataError("", "not_json"), ""),
        (AccessError("", "blocked"), ""),
        (ValueError("x"), ""),
        (RuntimeError(ValueError(), DataError("", "incomplete")), "incomplete"),
    ],
    ids=lambda value: value if isinstance(value, str) else repr(value.args[1:] or value),
)
def test_which_errors_are_faults_of_the_data(error, fault):
    assert data_fault(error) == fault


def test_what_a_killed_run_was_about_to_write_is_removed():
    service = Service()
    die(service, ONE)
    (folder,) = (state() / "spool").glob("*/*/open")
    for draft in (folder / "half.draft", folder.parent / "began.draft"):
        draft.write_bytes(b"\x9c\xa3GET")
    with spooled(PLACE, "some") as spool:
        assert len(spool) == 1 and repr(spool) == "<spool of 1 answers>"
        assert not [*folder.parent.rglob("*.draft")]


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_an_answer_that_was_half_written_is_asked_for_again(share):
    service = Service()
    die(service, ONE, TWO)
    (folder,) = (state() / "spool").glob("*/*/open")
    file = folder / ONE.fingerprint
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    assert run(service, ONE, TWO)[0] == [[{"id": 3}], [{"id": 2}]]
    file = folder.parent / "last" / ONE.fingerprint
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with pytest.raises(SettingsError) as caught:
        run(Service(is_there=False), ONE, restore=True)
    assert "an answer that cannot be read to GET /one" in str(caught.value)


def test_a_record_of_a_run_that_was_half_written_begins_it_anew():
    service = Service()
    die(service, ONE)
    (note,) = (state() / "spool").glob("*/*/began")
    note.write_bytes(note.read_bytes()[:-9])
    assert run(service, ONE) == ([[{"id": 2}]], [])


def test_two_runs_at_once_have_answers_of_their_own():
    service = Service()
    die(service, ONE)
    with spooled(PLACE, "some") as first:
        assert len(first) == 1 and first.is_resumed
        with spooled(PLACE, "some") as second:
            assert len(second) == 0 and not second.is_resumed
            Reader(service, second).answer(TWO)
            aside = second.folder
            assert aside.stat().st_mode & 0o777 == 0o700
        assert not aside.exists() and first.find(TWO) is None
    assert run(Service(is_there=False), ONE, restore=True)[0] == [[{"id": 1}]]
    with pytest.raises(SettingsError):
        run(Service(is_there=False), TWO, restore=True)


def test_the_second_of_two_runs_that_fails_leaves_the_first_alone():
    service = Service()
    with spooled(PLACE, "some") as first:
        Reader(service, first).answer(ONE)
        die(service, TWO, error=DataError("odd", "violations"))
        assert first.find(ONE).response == [{"id": 1}] and first.record.fault == ""
    assert run(Service(is_there=False), ONE, restore=True)[0] == [[{"id": 1}]]


def test_no_header_of_an_answer_is_kept_and_all_else_is():
    with spooled(PLACE, "some") as spool:
        Reader(Service(), spool).answer(ONE)
        kept = spool.find(ONE)
    assert (kept.method, kept.url, kept.status, kept.seconds) == ("GET", "/one", 200, 0.5)
    assert kept.headers == {} and kept.response == [{"id": 1}]


def test_what_is_not_trusted_any_more_is_asked_for_again_even_after_another_death():
    service = Service()
    die(service, ONE, TWO)
    with pytest.raises(KeyboardInterrupt), spooled(PLACE, "some") as spool:
        spool.distrust("GET /one")
        assert spool.find(ONE) is None and spool.find(TWO).response == [{"id": 2}]
        raise KeyboardInterrupt
    assert run(service, ONE, TWO)[0] == [[{"id": 3}], [{"id": 2}]]


class Shelf(Service):
    "A service with a list in pages, which fails after so many calls."

    def __init__(self, *ids, works_for=100):
        super().__init__()
        self.ids, self.left = [*ids], works_for

    def ask(self, request, debug_api=False):
        if self.left == 0:
            raise RetryLaterError("down", "unreachable")
        self.left -= 1
        first, size = request.params["offset"], request.params["limit"]
        self.asked.append(first)
        found = [{"id": id} for id in self.ids[first : first + size]]
        content = json.dumps({"rows": found, "total": len(self.ids)}).encode()
        return Answer(request.method, request.path, 200, content, {}, 0.0)


def read_shelf(service, **how):
    "The ids that came, and what a run says; all of it is read, or it dies."
    with spooled(PLACE, "shelf", **how) as spool:
        reader = Reader(service, spool, in_flight=1)
        pages = Offset("/shelf", "rows", "id", size=2, total="total").pages(reader)
        found = [row["id"] for page in pages for row in page.records()]
    return found, reader.doubts, reader.notes


def half_read(*ids, pages=3):
    service = Shelf(*ids, works_for=pages)
    with pytest.raises(RetryLaterError):
        read_shelf(service)
    service.left = 100
    service.asked.clear()
    return service


def test_of_a_list_that_goes_on_only_the_two_ends_are_asked_for_again():
    service = half_read(*range(11))
    came, doubts, (note,) = read_shelf(service)
    assert came == [*range(11)] and doubts == [] and service.asked == [0, 4, 6, 8, 10]
    assert note.startswith("1 answers were kept by an earlier start of this run")


@pytest.mark.parametrize("change", ["deleted", "added", "moved"])
def test_a_list_that_has_changed_since_is_asked_for_anew(change):
    service = half_read(*range(11))
    if change == "deleted":
        del service.ids[2]
    elif change == "added":
        service.ids.append(99)
    else:
        service.ids[0:2] = [1, 0]
    came, doubts, notes = read_shelf(service)
    assert came == service.ids and doubts == []
    assert notes == [
        "GET /shelf has changed since this run was first started: it was asked for anew."
    ]
    assert {*service.asked} - {12} == {0, 2, 4, 6, 8, 10} and service.asked.count(2) == 1


def test_a_list_that_was_whole_is_not_compared_where_its_pages_are_to_be_reused():
    service = Shelf(*range(5))
    with pytest.raises(DataError), spooled(PLACE, "shelf") as spool:
        reader = Reader(service, spool, in_flight=1)
        [*Offset("/shelf", "rows", "id", size=2, total="total").pages(reader)]
        raise DataError("odd", "violations")
    del service.ids[2]
    service.asked.clear()
    came, doubts, (note,) = read_shelf(service, reuse=True)
    assert came == [*range(5)] and doubts == [] and service.asked == []
    assert "Lists that were whole were not asked for again" in note


def test_a_restored_list_is_not_compared():
    read_shelf(Shelf(*range(5)))
    gone = Shelf(works_for=0)
    assert read_shelf(gone, restore=True)[:2] == ([*range(5)], []) and gone.asked == []


@pytest.mark.skipif(os.geteuid() == 0, reason="everything is writable for root")
def test_a_folder_that_cannot_be_written_to_is_told():
    state().parent.mkdir(parents=True)
    state().parent.chmod(0o500)
    try:
        with pytest.raises(SettingsError) as caught:
            run(Service(), ONE)
    finally:
        state().parent.chmod(0o700)
    assert caught.value.reason == "no_state_folder" and "XDG_STATE_HOME" in str(caught.value)


def test_a_file_in_place_of_the_folder_is_told():
    state().parent.mkdir(parents=True)
    state().write_text("not a folder")
    with pytest.raises(SettingsError) as caught:
        run(Service(), ONE)
    assert caught.value.reason == "no_state_folder" and "XDG_STATE_HOME" in str(caught.value)


# --- a night's work ---

URL = "https://api.example"


class Shop:
    """A service that makes things: what it has made, and what it was sent and asked to look up,
    in order."""

    def __init__(self, *made, errors=None, blind=None):
        self.made, self.heard, self.errors, self.blind = [*made], [], errors or {}, blind

    def send(self, keys):
        self.heard += [f"send {key}" for key in keys]
        for key in keys:
            if key in self.errors:
                raise self.errors[key]
        self.made += keys
        return {key: {"made": key} for key in keys}

    def look(self, key, facts):
        self.heard.append(f"look {key}")
        if self.blind:
            raise self.blind
        self.facts = facts
        return {"found": key} if key in self.made else None


def work(shop, *keys, now=MONDAY, patience=None, batches=None, facts=dict, **how):
    "Do the work; gives what came of each: its state, or the reason of its error."
    with open_journal(URL, "make", keys, now=lambda: now, **how) as record:
        return {
            one.entry.key: one.error.reason if one.error else one.entry.state
            for one in carry_out(record, shop.send, shop.look, facts, patience, batches)
        }


def begin(*states, now=MONDAY, error=None, **how):
    "A call that died: each item (key, state) as it was by then."
    with pytest.raises(KeyboardInterrupt):
        with open_journal(
            URL, "make", [key for key, _ in states], now=lambda: now, **how
        ) as record:
            for key, state in states:
                if state != "intended":
                    record.put(key, state, since=5)
            raise KeyboardInterrupt


UNKNOWN = RetryLaterError("Nobody knows.", "unknown_outcome")


@pytest.mark.parametrize("state", ["sent", "unknown"])
@pytest.mark.parametrize("heard", [True, False], ids=["it was heard", "it was not"])
def test_what_nobody_knows_is_looked_up_at_the_next_run_before_anything_is_sent(state, heard):
    begin(("a", "ok"), ("b", state), ("c", "intended"))
    shop = Shop(*(["b"] if heard else []))
    assert work(shop, "a", "b", "c") == {"a": "ok", "b": "ok", "c": "ok"}
    assert shop.heard == ["look b", *([] if heard else ["send b"]), "send c"]
    assert shop.facts == {"since": 5}


def test_what_failed_is_sent_again_without_a_look():
    begin(("a", "failed"), ("b", "ok"))
    shop = Shop()
    assert work(shop, "a", "b") == {"a": "ok", "b": "ok"} and shop.heard == ["send a"]


def test_an_outcome_that_stays_unknown_is_looked_up_at_every_next_run_and_never_sent():
    shop = Shop(errors={"a": UNKNOWN})
    assert work(shop, "a", "b") == {"a": "unknown_outcome", "b": "ok"}
    for _ in range(2):
        blind = Shop(blind=RetryLaterError("It could not be found out.", "unknown_outcome"))
        assert work(blind, "a", "b") == {"a": "unknown_outcome", "b": "ok"}
        assert blind.heard == ["look a"]
    shop = Shop("a")
    assert work(shop, "a", "b") == {"a": "ok", "b": "ok"} and shop.heard == ["look a"]


@pytest.mark.parametrize(
    "error",
    [
        CredentialsError("no", "bad_token"),
        SettingsError("no", "bad_method"),
        DestinationError("no", "cannot_write"),
        RetryLaterError("no", "day_used_up"),
        AccessError("no", "blocked"),
        AccessError("no", "redirected"),
    ],
    ids=lambda error: error.reason,
)
def test_what_only_a_person_can_mend_ends_all_work_and_leaves_it_intended(error):
    shop = Shop(errors={"b": error})
    with pytest.raises(type(error)):
        work(shop, "a", "b", "c")
    assert shop.heard == ["send a", "send b"]
    shop = Shop("a")
    assert work(shop, "a", "b", "c") == dict.fromkeys("abc", "ok")
    assert shop.heard == ["send b", "send c"], "nothing is to be looked up"


def test_a_look_that_only_a_person_can_mend_leaves_it_unknown():
    begin(("a", "sent"))
    with pytest.raises(CredentialsError):
        work(Shop(blind=CredentialsError("no", "bad_token")), "a")
    shop = Shop("a")
    assert work(shop, "a") == {"a": "ok"} and shop.heard == ["look a"]


def test_facts_are_on_the_disk_before_anything_is_sent():
    seen = []

    class Dying(Shop):
        def send(self, keys):
            with sqlite3.connect(folder_of("work", URL, "record") / "record.sqlite") as con:
                seen.extend(con.execute("SELECT key, state, facts FROM items"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(Dying(), "a", "b", facts=lambda: {"since": 7})
    assert seen == [("a", "sent", '{"since": 7}'), ("b", "intended", "{}")]


def test_items_of_one_call_are_sent_together_and_fail_together():
    shop = Shop(errors={"c": AccessError("no", "forbidden")})
    done = work(shop, *"abcd", batches=lambda keys: [keys[:2], keys[2:]])
    assert done == {"a": "ok", "b": "ok", "c": "forbidden", "d": "forbidden"}
    assert shop.heard == ["send a", "send b", "send c", "send d"]


def test_five_that_fail_alike_are_no_chance():
    down = RetryLaterError("no", "unavailable")
    words, keys = [], [f"{n}" for n in range(8)]
    shop = Shop(errors=dict.fromkeys(keys[:6], down))
    patience = Patience(FakeClock(), words.append)
    done = work(shop, *keys, patience=patience)
    assert done == {**dict.fromkeys(keys[:6], "unavailable"), "6": "ok", "7": "ok"}
    assert [key.removeprefix("send ") for key in shop.heard] == [*"01234567012345"]
    assert len(words) == 2 and "unavailable" in words[0], "once for the five, once for the sixth"


def test_two_programs_at_once_do_not_do_the_same_item():
    with open_journal(URL, "make", ["a", "b"], now=lambda: MONDAY):
        with pytest.raises(SettingsError) as caught:
            work(Shop(), "b", "c")
        assert caught.value.reason == "already_running" and "It is about b" in str(caught.value)
        assert work(Shop(), "c") == {"c": "ok"}
        with open_journal(URL, "other", ["a"]) as record:
            assert record["a"].state == "intended"
        with open_journal("https://other.example", "make", ["a"]) as record:
            assert record["a"].state == "intended"
    assert work(Shop(), "b") == {"b": "ok"}


@pytest.mark.parametrize(
    "mine, theirs, is_shared",
    [
        (["ada"], ["ada"], True),
        (["ada"], ["bob"], False),
        (["ada", "bob"], ["bob", "eve"], True),
        ([""], ["bob"], True),
        (["ada"], [""], True),
    ],
)
def test_two_programs_of_different_users_do_not_meet(mine, theirs, is_shared):
    with open_journal(URL, "make", ["a"], users=mine):
        if is_shared:
            with pytest.raises(SettingsError):
                work(Shop(), "a", users=theirs, now=time.time())
        else:
            assert work(Shop(), "a", users=theirs, now=time.time()) == {"a": "ok"}


HOLD = """
import sys
from domostats.transport.take_up import open_journal
with open_journal("https://api.example", "make", ["a"]) as record:
    record.put("a", "sent", since=5)
    print("here", flush=True)
    sys.stdin.readline()
"""


def test_another_process_that_is_killed_leaves_its_work_to_the_next():
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "here\n"
        with pytest.raises(SettingsError) as caught:
            work(Shop(), "a", now=time.time())
        assert caught.value.reason == "already_running"
    finally:
        child.kill()
        child.communicate(timeout=60)
    shop = Shop("a")
    assert work(shop, "a", now=time.time()) == {"a": "ok"} and shop.heard == ["look a"]
    assert not [*(folder_of("work", URL, "record") / "calls").iterdir()]


@pytest.mark.parametrize("share", [0, 0.2, 0.6, 0.99])
def test_a_record_that_was_half_written_is_put_aside_and_everything_is_looked_up(share):
    begin(("a", "ok"), ("b", "intended"))
    path = folder_of("work", URL, "record") / "record.sqlite"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    shop = Shop("a")
    with pytest.warns(UserWarning, match="damaged; it was put aside"):
        assert work(shop, "a", "b") == {"a": "ok", "b": "ok"}
    assert shop.heard == ["look a", "look b", "send b"] and shop.facts == {"lost": True}
    assert len([*path.parent.glob("damaged-*.sqlite")]) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    shop = Shop("a", "b")
    work(shop, "a", "b", "c", fresh=True)
    assert shop.heard == ["send a", "send b", "send c"], "fresh asks about nothing"


def test_what_was_lost_counts_for_a_day():
    folder = make_folder(folder_of("work", URL, "record"))
    (folder / "record.sqlite").write_bytes(b"x" * 5000)
    with pytest.warns(UserWarning):
        open_database(folder, MONDAY).close()
    for hours, heard in ((23, ["look a", "send a"]), (25, ["send b"])):
        shop = Shop()
        work(shop, heard[-1][-1], now=MONDAY + hours * 3600)
        assert shop.heard == heard


def test_a_line_of_the_record_that_cannot_be_read_is_a_damage():
    begin(("a", "sent"))
    path = folder_of("work", URL, "record") / "record.sqlite"
    with sqlite3.connect(path) as con:
        con.execute("UPDATE items SET facts = '{\"since\": '")
    con.close()
    shop = Shop("a")
    with pytest.warns(UserWarning, match="damaged"):
        assert work(shop, "a") == {"a": "ok"}
    assert shop.heard == ["look a"]


def test_the_record_of_a_newer_version_is_left_alone():
    begin(("a", "sent"))
    path = folder_of("work", URL, "record") / "record.sqlite"
    with sqlite3.connect(path) as con:
        con.execute("PRAGMA user_version = 2")
    con.close()
    before = path.read_bytes()
    with pytest.raises(SettingsError) as caught:
        work(Shop(), "a")
    assert caught.value.reason == "newer_record" and "newer version" in str(caught.value)
    assert path.read_bytes() == before


DAY = 86_400


@pytest.mark.parametrize("after, refused", [(DAY - 1, True), (DAY, False)])
def test_what_was_finished_is_refused_for_a_day_where_it_asks(after, refused):
    work(Shop(), "a")
    shop = Shop()
    if refused:
        with pytest.raises(SettingsError) as caught:
            work(shop, "a", "b", now=MONDAY + after, asks=True)
        assert caught.value.reason == "already_done" and not shop.heard
        assert "1 of these 2 items were finished 24.0 hours ago, a among them" in str(caught.value)
        work(shop, "a", "b", now=MONDAY + after, asks=True, fresh=True)
        assert shop.heard == ["send a", "send b"]
    else:
        assert work(shop, "a", now=MONDAY + after, asks=True) == {"a": "ok"}
        assert shop.heard == ["send a"]


def test_what_is_left_of_a_call_goes_on_in_another_list_and_what_was_done_is_not_done_again():
    begin(("a", "ok"), ("b", "failed"), ("c", "ok"))
    shop = Shop()
    assert work(shop, "c", "b", "d", now=MONDAY + 3600) == dict.fromkeys("cbd", "ok")
    assert shop.heard == ["send b", "send d"]


@pytest.mark.parametrize("days", [1, 3])
def test_what_was_done_of_unfinished_work_is_not_done_again_however_long_that_lay(days):
    begin(("a", "ok"), ("b", "failed"), ("c", "intended"))
    shop = Shop()
    done = work(shop, *"abc", now=MONDAY + days * DAY + 3600)
    assert done == dict.fromkeys("abc", "ok")
    assert shop.heard == ["send b", "send c"]


def test_how_old_what_goes_on_is():
    begin(("a", "ok"), ("b", "failed"))
    with open_journal(URL, "make", ["b"], now=lambda: MONDAY + 90) as record:
        assert record.age == 90 and record.went_on and len(record) == 1
        assert repr(record) == "<record of 1 items, 0 of them done>"
    with open_journal(URL, "make", ["z"], now=lambda: MONDAY + 90) as record:
        assert record.age == 0 and not record.went_on and record.get("y") is None


def test_a_later_wish_for_the_same_thing_replaces_what_was_done():
    work(Shop(), "name=one", slots={"name=one": "name"})
    work(Shop(), "name=two", slots={"name=two": "name"}, now=MONDAY + 60)
    shop = Shop()
    work(shop, "name=one", slots={"name=one": "name"}, now=MONDAY + 120)
    assert shop.heard == ["send name=one"]


def halves(key):
    return {"all": ["1", "2"], "first": ["1"], "second": ["2"], "third": ["3"]}[key]


def test_two_items_of_one_call_that_make_the_same_are_refused():
    with pytest.raises(SettingsError) as caught:
        work(Shop(), "all", "second", parts=halves)
    assert caught.value.reason == "twice" and "all and second" in str(caught.value)


@pytest.mark.parametrize("first, then", [("all", "first"), ("all", "second")])
def test_what_was_made_under_another_name_is_not_made_again(first, then):
    work(Shop(), first, parts=halves)
    shop = Shop()
    with pytest.raises(SettingsError) as caught:
        work(shop, then, parts=halves, now=MONDAY + 60)
    assert caught.value.reason == "already_done" and not shop.heard
    assert f"The days of {then} were sent already, as {first}" in str(caught.value)
    assert work(shop, then, parts=halves, now=MONDAY + 60, fresh=True) == {then: "ok"}


def test_a_part_of_it_that_is_finished_is_no_reason_and_one_that_is_open_is():
    work(Shop(), "first", parts=halves)
    assert work(Shop(), "all", parts=halves, now=MONDAY + 60) == {"all": "ok"}
    begin(("third", "sent"))
    with pytest.raises(SettingsError):
        work(Shop(), "more", parts=lambda key: ["3", "4"] if key == "more" else halves(key))


# --- what is written down about an error ---


def refusal(body, status=403):
    return Answer("GET", "/x", status, body, {}, 0.0)


def test_what_the_service_says_is_written_down():
    error = AccessError("It was refused.", "forbidden", refusal(b'{"message":"not yours"}'))
    assert error_facts(error) == {
        "reason": "forbidden",
        "http": 403,
        "error": 'It was refused. The service said: {"message":"not yours"}',
    }
    assert error_facts(RetryLaterError("down", "unreachable")) == {
        "reason": "unreachable",
        "http": None,
        "error": "down",
    }


@pytest.mark.parametrize(
    "body, said",
    [
        (b"  a\n\tb\x1b[31m  c ", "a b [31m c"),
        (b"<html>no</html>", ""),
        (b"", ""),
        (b"x" * 500, "x" * 200),
        (b"key 0123abcd-0123-4567-89ab-0123456789ab.", "key <hidden>."),
        (b"key dato-api-0123abcd01234567.", "key dato-api-0123abcd01234567."),
        (b"\xff ok", "\ufffd ok"),
    ],
)
def test_the_words_of_a_refusal(body, said):
    assert said_in(refusal(body)) == said


# --- what version 0.1.0 left ---


def test_the_lines_of_the_first_version(tmp_path):
    file = tmp_path / "open.jsonl"
    file.write_text('["a","begun",{"since":5}]\n\n["b","ok"]\n["a","ok",{"jobs":[]}]\n["c",')
    entries, is_whole = read_old_journal(file)
    assert entries == [("a", "ok", {"jobs": []}), ("b", "ok", {})] and not is_whole
    file.write_text('["a","begun",{"since":5}]\n')
    assert read_old_journal(file) == ([("a", "begun", {"since": 5})], True)


JOBS = [{"id": 1, "dataStreamId": 7}, {"id": 2, "dataStreamId": 8}]


@pytest.mark.parametrize(
    "entry, items",
    [
        (
            ("2024-01-01 2024-01-05 [7, 8]", "ok", {"jobs": JOBS}),
            [
                ("process", "7 2024-01-01 2024-01-05", "ok", {"jobs": JOBS[:1]}),
                ("process", "8 2024-01-01 2024-01-05", "ok", {"jobs": JOBS[1:]}),
            ],
        ),
        (
            ("2024-01-01 2024-01-05 [7]", "begun", {"since": 5}),
            [("process", "7 2024-01-01 2024-01-05", "sent", {"since": 5})],
        ),
        (
            ("7 2024-01-01 2024-01-05", "begun", {"since": 5}),
            [("process", "7 2024-01-01 2024-01-05", "sent", {"since": 5})],
        ),
        (
            ("7 [1, 2]", "ok", {"jobs": JOBS}),
            [
                ("rerun_batch", "7 1", "ok", {"jobs": JOBS[:1]}),
                ("rerun_batch", "7 2", "ok", {"jobs": JOBS[1:]}),
            ],
        ),
        (("7", "ok", {}), [("rerun_all", "7", "ok", {})]),
        (("7 name One", "failed", {}), [("patch", "7 name One", "failed", {})]),
        (("workspaces make x", "ok", {}), [("changes", "workspaces make x", "ok", {})]),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)
def test_the_tasks_of_the_first_version_by_item(entry, items):
    found = [*old_items([entry])]
    assert [(kind, key, state, facts) for kind, key, _, state, facts in found] == items
    slots = [slot for _, _, slot, _, _ in found]
    assert slots == (["7"] if items[0][0] == "patch" else [key for _, key, _, _ in items])


def test_work_that_others_left_in_the_first_version_is_told_and_stays():
    folder = make_folder(folder_of("work", f"{URL}|bob", "process 1f"))
    (folder / "open.jsonl").write_text('["7 2024-01-01 2024-01-05","begun",{"since":5}]\n')
    with pytest.warns(UserWarning, match="1 records of unfinished work were left by version 0.1.0"):
        work(Shop(), "a", places=[f"{URL}|ada"])
    assert (folder / "open.jsonl").exists()
    with open_journal(
        URL, "process", ["7 2024-01-01 2024-01-05"], places=[f"{URL}|bob"], now=lambda: MONDAY
    ) as record:
        (entry,) = record
        assert (entry.state, entry.facts, record.lost) == ("sent", {"since": 5}, None)
    assert not (folder / "open.jsonl").exists() and (folder / "taken-over.jsonl").exists()


def test_the_end_of_a_line_of_the_first_version_that_is_missing_is_told():
    folder = make_folder(folder_of("work", f"{URL}|bob", "process 1f"))
    lines = ['["7 2024-01-01 2024-01-05","begun",{"since":9}]']
    lines += ['["8 2024-01-01 2024-01-05","begun",{"since":5}]', '["9 2024-']
    (folder / "open.jsonl").write_text("\n".join(lines))
    with open_journal(URL, "process", ["z"], places=[f"{URL}|bob"], now=lambda: MONDAY) as record:
        assert record.lost == {"since": 5} and record["z"].state == "intended"


# --- a write of which the reply is lost ---

POST = Request("POST", "/jobs", body={}, reads=False)
LOST = RetryLaterError("The line was cut.", "cut")


class Line:
    """A connection that gives these answers, or raises them, one after another; with a clock of
    its own."""

    url, instance = "", "https://api.example"
    retry = SimpleNamespace(floor=lambda attempt: 10.0 * attempt, tries=3)

    def __init__(self, *given):
        self.given, self.asked, self.clock = [*given], 0, FakeClock()
        self.waits, wait = [], self.clock.wait
        self.clock.wait = lambda seconds: self.waits.append(seconds) or wait(seconds)

    def ask(self, request, debug_api=False, into=None):
        self.asked += 1
        given = self.given.pop(0)
        if isinstance(given, Exception):
            raise given
        if into is not None:
            into.write(given)
        return Answer(request.method, request.path, 200, given, {}, 0.0)


def looks(*found):
    "A look that finds these, or raises them, one after another."
    found = [*found]

    def look():
        one = found.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    look.left = found
    return look


def test_a_write_that_was_answered_is_not_looked_up():
    line = Line(b"[5]")
    assert write_once(line, POST, looks()) == [5] and line.asked == 1 and line.waits == []
    assert write_once(Line(b"[5]"), POST, looks(), take=lambda answer: answer.status) == 200


def test_a_write_that_was_heard_is_not_sent_again():
    line = Line(LOST)
    assert write_once(line, POST, looks({"id": 5})) == {"id": 5}
    assert line.asked == 1 and line.waits == [10.0]


def test_a_write_that_was_not_heard_is_sent_again_with_longer_and_longer_pauses():
    line = Line(LOST, LOST, b"[6]")
    assert write_once(line, POST, looks(None, None)) == [6]
    assert line.asked == 3 and line.waits == [10.0, 20.0]


def test_a_write_that_is_never_heard_ends_with_its_own_error():
    line, look = Line(LOST, LOST, LOST, b"[6]"), looks(None, None, None, None)
    with pytest.raises(RetryLaterError) as caught:
        write_once(line, POST, look)
    assert caught.value is LOST and line.asked == 3 and len(look.left) == 1


def test_a_write_whose_outcome_cannot_be_looked_up_is_unknown_and_not_sent_again():
    line = Line(LOST, b"[6]")
    blind = RetryLaterError("No network.", "unreachable")
    with pytest.raises(RetryLaterError) as caught:
        write_once(line, POST, looks(blind))
    error = caught.value
    assert error.reason == "unknown_outcome" and error.__cause__ is blind and line.asked == 1
    assert "POST /jobs was sent, and it could not be looked up" in str(
        error
    ) and "No network." in str(error)
    assert "Look it up before you repeat it" in str(error)


def test_a_write_that_was_refused_is_neither_looked_up_nor_sent_again():
    line = Line(AccessError("no", "forbidden"))
    with pytest.raises(AccessError):
        write_once(line, POST, looks())
    assert line.asked == 1 and line.waits == []


# --- a file ---

GET = Request("GET", "/file")


def test_a_file_is_whole_and_for_this_user_only(tmp_path):
    path = download(Line(b"PK whole"), GET, tmp_path / "new" / "a.zip")
    assert path.read_bytes() == b"PK whole" and path == tmp_path / "new" / "a.zip"
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("how", ["it breaks off", "it is refused by the check"])
def test_a_file_that_is_not_whole_leaves_the_old_one(how):
    path = Path("a.zip")
    path.write_bytes(b"old")

    def check(draft):
        assert draft.read_bytes() == b"new"
        raise DestinationError("no", "bad_file")

    breaks = how == "it breaks off"
    with pytest.raises(RetryLaterError if breaks else DestinationError):
        download(Line(LOST if breaks else b"new"), GET, path, check)
    assert path.read_bytes() == b"old" and [file.name for file in Path().iterdir()] == ["a.zip"]


def test_where_no_file_can_be_made_is_told_before_anything_is_asked(tmp_path):
    (tmp_path / "file").write_text("")
    line = Line(b"new")
    with pytest.raises(DestinationError) as caught:
        download(line, GET, tmp_path / "file" / "a.zip")
    assert caught.value.reason == "cannot_write" and line.asked == 0
    assert "Check the folder and its permissions" in str(caught.value)


# --- waiting ---


def test_something_is_waited_for_until_it_is_there():
    line = Line()
    wait_until(line, looks(30, 20, None))
    assert sum(line.waits) == 50


@pytest.mark.parametrize("deadline, in_time", [(120, True), (119, False)])
def test_it_is_not_waited_for_longer_than_said(deadline, in_time):
    line, condition = Line(), looks(60, 60, None)
    if in_time:
        wait_until(line, condition, deadline=deadline)
    else:
        with pytest.raises(RetryLaterError) as caught:
            wait_until(line, condition, deadline=deadline)
        assert caught.value.reason == "not_in_time" and caught.value.retry_after == 60
        assert "within 2 minutes" in str(caught.value) and sum(line.waits) == 60


def caused(cause):
    error = RetryLaterError("?", "unknown_outcome")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error, means",
    [
        (CredentialsError("", "bad_token"), STOP),
        (SettingsError("", "bad_name"), STOP),
        (DestinationError("", "cannot_write"), STOP),
        (RetryLaterError("", "day_used_up"), STOP),
        (RetryLaterError("", "no_slot"), STOP),
        (AccessError("", "blocked"), STOP),
        (AccessError("", "redirected"), STOP),
        (RetryLaterError("", "unreachable"), WAIT),
        (RetryLaterError("", "unavailable"), LATER),
        (RetryLaterError("", "timeout"), LATER),
        (DataError("", "html"), LATER),
        (DataError("", "empty"), LATER),
        (DataError("", "bad_reply"), LATER),
        (DataError("", "bad_field"), FAILED),
        (AccessError("", "forbidden"), FAILED),
        (AccessError("", "not_found"), FAILED),
        (caused(RetryLaterError("", "unreachable")), WAIT),
        (caused(RetryLaterError("", "server_error")), LATER),
        (caused(CredentialsError("", "bad_token")), STOP),
        (caused(AccessError("", "not_found")), FAILED),
        (caused(None), FAILED),
        (caused(ValueError()), FAILED),
    ],
    ids=lambda value: value if isinstance(value, str) else value.reason,
)
def test_what_an_error_of_one_means_for_the_others(error, means):
    assert verdict(error) == means


def test_it_is_waited_longer_and_longer_and_not_for_ever():
    words, clock = [], FakeClock()
    patience = Patience(clock, words.append, most=1000)
    begun, error = clock.now(), RetryLaterError("Nothing answers.", "unreachable")
    waits = []
    with pytest.raises(RetryLaterError) as caught:
        for _ in range(20):
            before = clock.now()
            patience.wait(error)
            waits.append(round(clock.now() - before))
    assert waits == [30, 60, 120, 240, 300] and round(clock.now() - begun) == 750
    assert caught.value is error and str(error).endswith("It was waited for, 12 minutes long.")
    assert words[0].startswith("No answer since 0 min (unreachable); the next try is in 30 s.")
    assert "ends after 0.3 h" in words[0] and len(words) == 5


def test_an_answer_begins_the_patience_anew():
    clock = FakeClock()
    patience = Patience(clock, lambda words: None)
    assert not patience.is_waiting
    patience.wait(LOST)
    assert patience.is_waiting
    patience.over()
    before = clock.now()
    patience.wait(LOST)
    assert round(clock.now() - before) == 30


def test_only_what_has_no_way_to_the_service_is_waited_for():
    down = RetryLaterError("down", "unreachable")
    clock = FakeClock()
    begun = clock.now()
    patience = Patience(clock, lambda words: None)
    assert patiently(looks(down, down, "here"), patience) == "here"
    assert round(clock.now() - begun) == 90 and not patience.is_waiting
    with pytest.raises(RetryLaterError):
        patiently(looks(RetryLaterError("", "unavailable")), patience)
    assert round(clock.now() - begun) == 90


def test_a_thread_in_line_to_wait_goes_on_at_once_when_another_one_was_answered():
    waits, came, has_failed = [], [], threading.Event()

    def do_second():
        if not has_failed.is_set():
            has_failed.set()
            raise RetryLaterError("down", "unreachable")
        return "second"

    class Waiting(FakeClock):
        "While the first thread waits a second one fails, and a third one is answered."

        def wait(self, seconds):
            waits.append(seconds)
            if len(waits) == 1:
                second.start()
                assert has_failed.wait(30)
                assert patiently(lambda: "third", patience) == "third"

    patience = Patience(Waiting(), lambda words: None)
    second = threading.Thread(target=lambda: came.append(patiently(do_second, patience)))
    down = RetryLaterError("down", "unreachable")
    assert patiently(looks(down, "first"), patience) == "first"
    second.join(30)
    assert came == ["second"] and waits == [30.0]


# --- several users ---


class Way:
    "As much of a connection as a pool needs, with a real budget of sixty calls a minute."

    instance = "https://api.example"

    def __init__(self, user, folder, clock, per_day=1000, error=None):
        self.user, self.place, self.error, self.sent = user, f"api|{user}", error, []
        self.auth = SimpleNamespace(retry=lambda: None, ready=lambda: 0, user=user)
        self.budget = AnnouncedBudget(
            user, {"all": 60}, per_day, lambda request: "all", dict, folder=folder, clock=clock
        )
        self.calls, self.clock = [], clock

    def way(self, request):
        return self

    def attempt(self, request, *more):
        self.budget.reserve(request)
        self.sent.append(self.clock.now())
        if self.error:
            raise self.error
        return request

    def go_by(self, clock):
        self.clock = clock

    def meet(self):
        self.is_met = True


@pytest.fixture
def users(tmp_path):
    clock = FakeClock()

    def make(*given, **how):
        return [Way(user, tmp_path, clock, **how) for user in given]

    return make


STATS = Request("GET", "/stats")


def refused(user="ada"):
    return CredentialsError(f"The token of {user} was refused.", "bad_token")


def test_calls_go_through_whoever_may_go_first(users):
    ada, bob = users("ada", "bob")
    pool = Pool([ada, bob])
    for _ in range(120):
        pool.ask(STATS)
    assert (len(ada.sent), len(bob.sent)) == (60, 60)
    assert pool.budget.per_day == 2000 and pool.budget.left == 1880
    assert repr(pool) == "<2 connections to https://api.example>"
    assert repr(pool.budget) == "<budget of 2 users: 1880 of 2000 left today>"
    assert pool.place == "api|ada|api|bob" and pool.living == [ada, bob]


def test_a_refused_token_is_left_out_once_and_said_so(users):
    ada, bob = users("ada", "bob")
    ada.error = refused()
    pool = Pool([ada, bob])
    with pytest.warns(UserWarning) as words:
        for _ in range(3):
            assert pool.ask(STATS) == STATS
    (said,) = [str(one.message) for one in words]
    assert "The token of ada was refused and is left out; 1 of 2 are left." in said
    assert (len(ada.sent), len(bob.sent)) == (1, 3) and pool.living == [bob]
    assert pool.dropped == {ada: ada.error} and pool.budget.per_day == 1000


def test_the_last_refused_token_ends_the_work(users):
    ada, bob = users("ada", "bob")
    ada.error, bob.error = refused(), refused("bob")
    pool = Pool([ada, bob])
    with pytest.warns(UserWarning), pytest.raises(CredentialsError) as caught:
        pool.ask(STATS)
    assert caught.value.reason == "bad_token" and len(ada.sent) == len(bob.sent) == 1
    with pytest.raises(CredentialsError):
        pool.ask(STATS)
    assert len(ada.sent) == len(bob.sent) == 1, "nobody is asked again"


def test_another_fault_of_a_credential_is_no_reason_to_leave_it_out(users):
    ada, bob = users("ada", "bob")
    ada.error = CredentialsError("locked", "locked")
    pool = Pool([ada, bob])
    with pytest.raises(CredentialsError) as caught:
        pool.ask(STATS)
    assert caught.value.reason == "locked" and pool.living == [ada, bob]


def test_what_only_refused_users_see_is_told_as_such(users):
    ada, bob = users("ada", "bob")
    ada.error = refused()
    pool = Pool([ada, bob])
    part = pool.part([ada])
    with pytest.warns(UserWarning), pytest.raises(AccessError):
        part.ask(STATS)
    with pytest.raises(AccessError) as caught:
        part.ask(STATS)
    assert caught.value.reason == "no_user_left" and "Make new tokens" in str(caught.value)
    assert len(ada.sent) == 1
    assert pool.living == [bob] and pool.ask(STATS) == STATS and part.clock is pool.clock


def test_a_budget_of_several_users_is_as_long_as_they_take_together(users):
    ada, bob = users("ada", "bob", per_day=20_000)
    alone, both = PoolBudget([ada.budget]), PoolBudget([ada.budget, bob.budget])
    assert (alone.per_day, both.per_day, both.left) == (20_000, 40_000, 40_000)
    assert alone.estimate(600) == ada.budget.estimate(600) > 500
    assert abs(both.estimate(1200) - alone.estimate(600)) <= 61
    assert both.estimate(60) <= 1 and both.is_limited
    both.overnight = True
    assert ada.budget.overnight and bob.budget.overnight and both.overnight
    bob.budget.overnight = False
    assert not both.overnight


def test_calls_of_all_users_are_listed_in_their_order(users):
    ada, bob = users("ada", "bob")
    ada.calls, bob.calls = [[SimpleNamespace(at=at) for at in them] for them in ((1, 4), (2, 3, 5))]
    pool = Pool([ada, bob])
    assert [call.at for call in pool.calls] == [1, 2, 3, 4, 5]
    pool.meet()
    assert ada.is_met and bob.is_met
    clock = FakeClock()
    pool.part([ada]).go_by(clock)
    assert pool.clock is clock and ada.clock is clock
