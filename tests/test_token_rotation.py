"""A token is put in the place of another, whatever breaks in between: asserted on the sandbox's own
state after each call, for every call of the procedure."""

import contextlib
import json
import os
import random
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from conftest import KILLS, TODAY
from secret_search import leaks, leaks_in_files, told_by

from domostats import sandbox
from domostats.clients.domo import rotation_plan, token_marks, token_rotation
from domostats.clients.domo.access_tokens import issue_access_token
from domostats.clients.domo.auth import get_session_token
from domostats.clients.domo.credentials import AccessToken
from domostats.clients.domo.rotation_plan import plan_rotation
from domostats.clients.domo.token_marks import marked_name
from domostats.clients.domo.token_rotation import rotate_token
from domostats.errors import (
    AccessError,
    CredentialsError,
    DataError,
    DomostatsError,
    RetryLaterError,
    SettingsError,
)
from domostats.transport.clock import now
from domostats.transport.connection import Connection

NAME, ACCOUNT = "nightly", "night_token"
OTHER_NAME = "nightly report"
HOW = ("killed before", "killed after", "answer lost", "never sent")


class Killed(BaseException):
    "The process ends here."


class Watch:
    "What the sandbox itself holds: which of our tokens are valid, and which one is stored."

    def __init__(self, box, name=NAME, account=ACCOUNT):
        self.box = box
        self.data = box.domo.data
        self.name = name
        self.account = account
        self.me = box.domo.admin.user["id"]
        self.was_stored = False

    def stored(self):
        "The id of the token that stands in the account, or None where there is no account."
        found = [one.id for one in self.data.accounts if one.name == self.account]
        assert len(found) <= 1, "two accounts"
        if not found:
            return None
        text = self.data.configurations[found[0]]["credentials"]
        return self.data.tokens.id_of(json.loads(text)["DOMO_ACCESS_TOKEN"])

    def valid(self):
        "The ids of our valid tokens of this name."
        return [
            one.id
            for one in self.data.tokens.rows()
            if one.owner == self.me
            and (one.name == self.name or one.name.startswith(f"{self.name} ["))
            and self.data.tokens.is_valid(one.id)
        ]

    def look(self):
        "At no moment is a token stored that is not valid."
        stored = self.stored()
        if stored is None:
            assert not self.was_stored, "what was stored is stored no more"
            return
        self.was_stored = True
        assert self.data.tokens.is_valid(stored), f"{stored} is stored, and is not valid"

    def at_the_end(self):
        "Exactly one valid token of ours, and it is the one that is stored."
        self.look()
        assert self.valid() == [self.stored()]


def prepare(watch, start):
    "Others' tokens and ours of another name; and what was left by earlier days. Gives a login."
    box, name = watch.box, watch.name
    limited = box.domo.limited.user["id"]
    for other, owner in ((name, limited), (OTHER_NAME, watch.me), (f"my {name}", watch.me)):
        issue_access_token(box, name=other, owner_id=owner)
    login = None
    if start in ("rotated", "rotated, with leftovers"):
        rotate_token(box, name=name, account=watch.account)
    if start in ("made by hand", "with leftovers", "rotated, with leftovers"):
        made = issue_access_token(box, name=name)
        login = AccessToken(made.token, instance=box) if start == "made by hand" else None
    if start.endswith("with leftovers"):
        machine = (Path(os.environ["XDG_STATE_HOME"]) / "domostats" / "rotations").glob("machine")
        mine = next((file.read_text() for file in machine), "0a1b2c")
        issue_access_token(box, name=marked_name(name, mine, now() - 5000))
    return login


def others(watch):
    "What nobody may touch."
    rows = watch.data.tokens.rows()
    ours = {one.id for one in rows if one.owner == watch.me and one.name.startswith(watch.name)}
    report = {one.id for one in rows if one.name in (OTHER_NAME, f"my {watch.name}")}
    return {one.id for one in rows} - (ours - report)


@contextlib.contextmanager
def interrupted(monkeypatch, watch, which, how):
    "In this block call number `which` is interrupted; gives a list with a line for each call."
    real, calls = Connection._send, []

    def send(self, request, *more):
        number = len(calls)
        calls.append(f"{request.method} {request.path}")
        try:
            if number == which and how == "killed before":
                raise Killed
            if number == which and how == "never sent":
                raise RetryLaterError("it broke off before", "cut")
            answer = real(self, request, *more)
            if number == which and how == "killed after":
                raise Killed
            if number == which and how == "answer lost":
                raise RetryLaterError("it broke off behind", "cut")
            return answer
        finally:
            watch.look()

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "_send", send)
        yield calls


def again(watch, login):
    "Run it again, with the token that stands in the account where ours is valid no more."
    data = watch.data
    if login is not None and data.tokens.owner_of(login._secret.reveal()) is None:
        found = next(one.id for one in data.accounts if one.name == watch.account)
        text = json.loads(data.configurations[found]["credentials"])
        login = AccessToken(text["DOMO_ACCESS_TOKEN"], instance=watch.box)
    return rotate_token(watch.box, login, watch.name, watch.account)


@pytest.mark.sampled(10, a_day=6)
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "start", ["nothing", "rotated", "made by hand", "with leftovers", "rotated, with leftovers"]
)
def test_interrupted_at_any_call_and_run_again(box, monkeypatch, start, how):
    for which in range(100):
        watch = Watch(box, f"{NAME}{which}", f"{ACCOUNT}{which}")
        login = prepare(watch, start)
        untouched = others(watch)
        with interrupted(monkeypatch, watch, which, how) as calls:
            with contextlib.suppress(Killed, DomostatsError):
                rotate_token(box, login, watch.name, watch.account)
        if which >= len(calls):
            watch.at_the_end()
            break
        with interrupted(monkeypatch, watch, -1, how):
            done = again(watch, login)
        watch.at_the_end()
        assert watch.stored() == done.token.id, calls
        assert untouched <= {one.id for one in watch.data.tokens.rows()}
    assert which >= 12, "so many calls there are at least"
    assert {line.split()[0] for line in calls} >= {"GET", "POST"}


@pytest.mark.sampled(8)
@pytest.mark.parametrize("seed", range(24))
def test_several_nights_that_break_off_and_one_that_does_not(box, monkeypatch, seed):
    draws = random.Random(seed)
    watch = Watch(box)
    login = prepare(watch, draws.choice(["nothing", "rotated", "made by hand"]))
    untouched = others(watch)
    for _night in range(5):
        which, how = draws.randrange(18), draws.choice(HOW)
        with interrupted(monkeypatch, watch, which, how):
            with contextlib.suppress(Killed, DomostatsError):
                again(watch, login)
        assert watch.was_stored or watch.stored() is None
    again(watch, login)
    watch.at_the_end()
    assert untouched <= {one.id for one in watch.data.tokens.rows()}


@pytest.mark.sampled(3)
@pytest.mark.parametrize("fault", ["cut", "drop", "truncated", "empty", "html", "server_error"])
def test_a_fault_of_the_service_at_each_write(box, fault):
    rotate_token(box, name=NAME, account=ACCOUNT)
    watch = Watch(box)
    for path, after in (
        ("/api/data/v1/accesstokens", 2),  # the plan, the look before, then the POST
        ("/api/data/v1/providers", 0),
        ("/api/data/v1/accesstokens/", 0),
    ):
        box.fail(fault, path, after=after)
        with contextlib.suppress(DomostatsError):
            rotate_token(box, name=NAME, account=ACCOUNT)
        watch.look()
        assert box.fired[fault]
        box.heal()
        rotate_token(box, name=NAME, account=ACCOUNT)
        watch.at_the_end()


def test_a_token_that_does_not_work_is_taken_back(box):
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    for fault in ("forbidden", "unavailable"):
        box.fail(fault, "/api/content/v2/users/me", after=1, times=20)
        with pytest.raises(DomostatsError):
            rotate_token(box, name=NAME, account=ACCOUNT)
        box.heal()
        watch = Watch(box)
        watch.at_the_end()
        assert watch.stored() == first.token.id


def test_a_store_that_refuses_leaves_everything_as_it_was(box):
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    box.fail("forbidden", "/api/data/v1/providers", times=None)
    with pytest.raises(DomostatsError) as told:
        rotate_token(box, name=NAME, account=ACCOUNT)
    assert told.value.reason == "forbidden"
    watch = Watch(box)
    watch.at_the_end()
    assert watch.stored() == first.token.id


def test_an_account_that_somebody_else_has_changed_meanwhile(box, monkeypatch):
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    monkeypatch.setattr(token_rotation, "rename_account", lambda *_: True)
    with pytest.raises(DomostatsError) as told:
        rotate_token(box, name=NAME, account=ACCOUNT)
    assert told.value.reason == "changed_meanwhile"
    assert box.domo.data.tokens.is_valid(first.token.id)
    monkeypatch.undo()


def test_two_accounts_of_one_name_are_nobodys_guess(box):
    done = rotate_token(box, name=NAME, account=ACCOUNT)
    data = box.domo.data
    one = next(one for one in data.accounts if one.id == done.account)
    data.put_account(one._replace(id=one.id + 1))
    with pytest.raises(SettingsError) as told:
        rotate_token(box, name=NAME, account=ACCOUNT)
    assert told.value.reason == "several_accounts" and data.tokens.is_valid(done.token.id)


REFUSALS = {
    "rate_limited": RetryLaterError,
    "forbidden": AccessError,
    "not_found": AccessError,
    "bad_token": CredentialsError,
}


@pytest.mark.sampled(8)
@pytest.mark.parametrize("spared", ["", "DELETE"])
@pytest.mark.parametrize("reason", REFUSALS)
def test_refused_at_any_call_and_from_then_on(box, monkeypatch, spared, reason):
    """From one call on the service refuses all of them but those of one method, without carrying
    them out: those that look whether a write was carried out, too."""
    for which in range(100):
        watch = Watch(box, f"{NAME}{which}", f"{ACCOUNT}{which}")
        login = prepare(watch, "rotated")
        real, calls = Connection._send, []

        def send(self, request, *more, which=which, real=real, calls=calls):
            calls.append(f"{request.method} {request.path}")
            if len(calls) > which and request.method != spared:
                raise REFUSALS[reason]("it is refused", reason)
            return real(self, request, *more)

        told = None
        with monkeypatch.context() as patch:
            patch.setattr(Connection, "_send", send)
            try:
                rotate_token(box, login, watch.name, watch.account)
            except DomostatsError as error:
                told = error
        watch.look()
        again(watch, login)
        watch.at_the_end()
        if told is None:
            break
    assert which >= 12, "so many calls there are at least"


# --- what is kept for a while ---


def test_what_was_replaced_stays_as_long_as_was_asked(box, monkeypatch):
    watch = Watch(box)
    clock = [now()]
    monkeypatch.setattr(rotation_plan, "service_time", lambda answer: clock[0])
    rotated = []
    for _day in range(12):
        rotated.append(rotate_token(box, name=NAME, account=ACCOUNT, keep_old=3).token.id)
        valid = watch.valid()
        watch.look()
        assert valid == rotated[-4:], "today's, and those that were replaced in three days"
        clock[0] += timedelta(days=1).total_seconds() + 1
    rotate_token(box, name=NAME, account=ACCOUNT)
    watch.at_the_end()


def test_several_old_ones_and_what_helps_nobody(box, monkeypatch):
    """Kept are those that were replaced a short while ago; not what has ended, what was issued in a
    broken night and never stored, and what somebody made by hand long ago."""
    watch = Watch(box)
    clock = [now()]
    monkeypatch.setattr(rotation_plan, "service_time", lambda answer: clock[0])
    by_hand = issue_access_token(box, name=NAME).id
    first, second = (rotate_token(box, name=NAME, account=ACCOUNT, keep_old=3) for _ in range(2))
    assert by_hand in second.kept and first.token.id in second.kept
    ended = issue_access_token(box, name=marked_name(NAME, "ffffff", clock[0] - 9000)).id
    rows = watch.data.tokens._rows
    rows[ended] = rows[ended]._replace(expires=int(clock[0] * 1000) - 1000)
    clock[0] += 2 * 86_400
    never = issue_access_token(box, name=marked_name(NAME, "ffffff", clock[0] - 9000)).id
    third = rotate_token(box, name=NAME, account=ACCOUNT, keep_old=3)
    assert sorted(third.revoked) == [ended, never]
    assert third.kept == [by_hand, first.token.id, second.token.id]
    clock[0] += 2 * 86_400
    fourth = rotate_token(box, name=NAME, account=ACCOUNT, keep_old=3)
    assert fourth.revoked == [by_hand, first.token.id]
    assert watch.valid() == [second.token.id, third.token.id, fourth.token.id]
    watch.look()


# --- what others do in the meantime, and by hand ---


def vanish(data, account):
    "Somebody deletes an account."
    data.accounts[:] = [one for one in data.accounts if one.id != account]
    data.changed()


def test_an_account_that_vanished_before_a_run_is_made_again(box):
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    vanish(box.domo.data, first.account)
    second = rotate_token(box, name=NAME, account=ACCOUNT)
    assert second.revoked == [first.token.id]
    Watch(box).at_the_end()


@pytest.mark.parametrize("before", ["update_account", "rename_account", "get_account_by_id"])
def test_an_account_that_vanishes_during_a_run(box, monkeypatch, before):
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    data, real = box.domo.data, getattr(token_rotation, before)

    def vanishes(*arguments):
        vanish(data, first.account)
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(token_rotation, before, vanishes)
        with pytest.raises(DomostatsError) as told:
            rotate_token(box, name=NAME, account=ACCOUNT)
    assert told.value.reason == "not_found" and data.tokens.is_valid(first.token.id)
    new = first.token.id + 1
    if before == "update_account":
        assert f"The new token {new} was revoked." in str(told.value)
    else:
        assert f"The new token {new} is in the account {first.account}" in str(told.value)
        assert f"may be valid still: {first.token.id}" in str(told.value)
    rotate_token(box, name=NAME, account=ACCOUNT)
    Watch(box).at_the_end()


def test_a_token_that_somebody_gave_another_name(box):
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    data = box.domo.data
    rows = data.tokens._rows
    rows[first.token.id] = rows[first.token.id]._replace(name="do not touch")
    with pytest.raises(SettingsError) as told:
        rotate_token(box, name=NAME, account=ACCOUNT)
    assert told.value.reason == "other_token"
    assert f"{first.token.id} 'do not touch'" in str(told.value)
    assert "display name of the account" in str(told.value)
    watch = Watch(box)
    assert watch.stored() == first.token.id and data.tokens.is_valid(first.token.id)
    one = next(one for one in data.accounts if one.id == first.account)
    shown = "Ben: do not touch"
    data.put_account(one._replace(display_name=shown, new_name=shown))
    rotate_token(box, name=NAME, account=ACCOUNT)
    watch.at_the_end()


@pytest.mark.parametrize("whose", ["another name", "another owner"])
def test_an_account_holds_one_token(box, whose):
    if whose == "another name":
        first = rotate_token(box, name=NAME, account=ACCOUNT)
    else:
        owner = box.domo.limited.user["id"]
        first = rotate_token(box, name=NAME, account=ACCOUNT)
        rows = box.domo.data.tokens._rows
        rows[first.token.id] = rows[first.token.id]._replace(owner=owner)
    count = len(box.domo.data.tokens.rows())
    with pytest.raises(SettingsError) as told:
        rotate_token(box, name="weekly" if whose == "another name" else NAME, account=ACCOUNT)
    assert told.value.reason == "other_token" and len(box.domo.data.tokens.rows()) == count
    assert Watch(box).stored() == first.token.id


def test_no_token_is_issued_any_more(box, monkeypatch):
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    real = Connection._send

    def send(self, request, *more):
        if (request.method, request.path) == ("POST", "/api/data/v1/accesstokens"):
            raise DataError("Too many access tokens.", "bad_request")
        return real(self, request, *more)

    monkeypatch.setattr(Connection, "_send", send)
    with pytest.raises(DataError) as told:
        rotate_token(box, name=NAME, account=ACCOUNT)
    for words in ("Nothing else was changed", f"before: {first.token.id}.", "token revoke ID"):
        assert words in str(told.value)
    watch = Watch(box)
    watch.at_the_end()
    assert watch.stored() == first.token.id


@pytest.mark.parametrize("times", [1, 2, 3])
def test_an_answer_that_is_lost_several_times(box, monkeypatch, times):
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    real, lost = Connection._send, []

    def send(self, request, *more):
        answer = real(self, request, *more)
        is_issue = (request.method, request.path) == ("POST", "/api/data/v1/accesstokens")
        if is_issue and len(lost) < times:
            lost.append(request)
            raise RetryLaterError("it broke off behind", "cut")
        return answer

    monkeypatch.setattr(Connection, "_send", send)
    if times < 3:
        done = rotate_token(box, name=NAME, account=ACCOUNT)
        assert done.token.id == first.token.id + times + 1
    else:
        with pytest.raises(RetryLaterError) as told:
            rotate_token(box, name=NAME, account=ACCOUNT)
        assert told.value.reason == "unseen_token" and "All three were revoked" in str(told.value)
    Watch(box).at_the_end()


def test_a_request_that_seemed_to_be_lost_and_was_not(box, monkeypatch):
    "It is sent again, and what the first one made shows up late."
    rotate_token(box, name=NAME, account=ACCOUNT)
    tokens = box.domo.data.tokens
    real, late = Connection._send, []

    def send(self, request, *more):
        is_issue = (request.method, request.path) == ("POST", "/api/data/v1/accesstokens")
        answer = real(self, request, *more)
        if is_issue and not late:
            late.append(tokens._rows.popitem())
            raise RetryLaterError("it broke off behind", "cut")
        if is_issue:
            tokens._rows[late[0][0]] = late[0][1]._replace(name=tokens.rows()[-1].name)
        return answer

    monkeypatch.setattr(Connection, "_send", send)
    done = rotate_token(box, name=NAME, account=ACCOUNT)
    assert late[0][0] in done.revoked
    Watch(box).at_the_end()


def test_who_may_not_give_the_account_another_name_is_told_what_stands(box, monkeypatch):
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    real = Connection._send

    def send(self, request, *more):
        if request.path.endswith("/name"):
            raise AccessError("403", "forbidden")
        return real(self, request, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Connection, "_send", send)
        with pytest.raises(AccessError) as told:
            rotate_token(box, name=NAME, account=ACCOUNT)
    watch = Watch(box)
    watch.look()
    assert f"The new token {watch.stored()} is in the account {first.account}" in str(told.value)
    rotate_token(box, name=NAME, account=ACCOUNT)
    watch.at_the_end()


def test_who_may_only_read_changes_nothing(box):
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    limited = get_session_token(box, box.limited.username, box.limited.password)
    tokens = box.domo.data.tokens.rows()
    with pytest.raises(DomostatsError) as told:
        rotate_token(box, limited, NAME, ACCOUNT)
    assert told.value.reason == "forbidden" and "Nothing" in str(told.value)
    assert box.domo.data.tokens.rows() == tokens
    assert Watch(box).stored() == first.token.id


def test_the_clock_of_the_machine_is_not_asked(box, monkeypatch):
    def nobody_asks():
        raise AssertionError("the clock of this machine was asked")

    monkeypatch.setattr(rotation_plan, "now", nobody_asks)
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    ends = first.token.ends.timestamp() - now()
    assert abs(ends - 90 * 86_400) < 120
    rotate_token(box, name=NAME, account=ACCOUNT, keep_old=1)


# --- two at once ---


@pytest.mark.parametrize("when", ["_store", "rename_account", "_revoke"])
def test_a_machine_that_slept_and_was_taken_for_dead(box, monkeypatch, when):
    "Another one does the whole of it in the meantime, and revokes what this one goes on to store."
    rotate_token(box, name=NAME, account=ACCOUNT)
    real, slept = getattr(token_rotation, when), []

    @contextlib.contextmanager
    def another_machine(instance, name):
        yield "ffffff"

    def sleeps(*arguments):
        if not slept:
            slept.append(when)
            with monkeypatch.context() as patch:
                patch.setattr(token_rotation, "one_run", another_machine)
                patch.setattr(token_rotation, "check_alone", lambda *_: None)
                rotate_token(box, name=NAME, account=ACCOUNT)
        return real(*arguments)

    monkeypatch.setattr(token_rotation, when, sleeps)
    with contextlib.suppress(DomostatsError):
        rotate_token(box, name=NAME, account=ACCOUNT)
    watch = Watch(box)
    assert slept
    watch.at_the_end()


def test_copies_of_one_image_are_two_machines(box, monkeypatch):
    numbers = []
    for host in ("left", "right", "left"):
        monkeypatch.setattr(token_marks.socket, "gethostname", lambda host=host: host)
        with token_marks.one_run(box, NAME) as machine:
            numbers.append(machine)
    assert numbers[0] == numbers[2] != numbers[1]


def test_a_second_run_on_this_machine_is_told_to_wait(box, monkeypatch):
    real, told = token_rotation._opens, []

    def meanwhile(*arguments):
        with pytest.raises(RetryLaterError) as error:
            rotate_token(box, name=NAME, account=ACCOUNT)
        told.append(error.value.reason)
        return real(*arguments)

    monkeypatch.setattr(token_rotation, "_opens", meanwhile)
    rotate_token(box, name=NAME, account=ACCOUNT)
    assert {*told} == {"already_running"}
    Watch(box).at_the_end()


class Turns:
    "Lets several threads go on one call at a time, in an order that is drawn."

    def __init__(self, seed, threads):
        self.draws = random.Random(seed)
        self.changed = threading.Condition()
        self.waiting, self.running = set(), threads
        self.next = None

    def take(self):
        me = threading.get_ident()
        with self.changed:
            self.waiting.add(me)
            self._choose()
            while self.next != me:
                assert self.changed.wait(60), "nobody goes on"
            self.next = None
            self.waiting.discard(me)

    def leave(self):
        with self.changed:
            self.running -= 1
            self._choose()

    def _choose(self):
        if self.next is None and self.waiting and len(self.waiting) == self.running:
            self.next = self.draws.choice(sorted(self.waiting))
            self.changed.notify_all()


@pytest.mark.sampled(6)
@pytest.mark.parametrize("seed", range(40))
def test_two_machines_at_once_in_any_order(box, monkeypatch, seed):
    watch = Watch(box)
    if seed % 2:
        rotate_token(box, name=NAME, account=ACCOUNT)
    machines, ended = threading.local(), []

    @contextlib.contextmanager
    def one_run(instance, name):
        yield machines.name

    turns, real = Turns(seed, 2), Connection._send

    def send(self, *request):
        turns.take()
        answer = real(self, *request)
        watch.look()
        return answer

    def run(machine):
        machines.name = machine
        try:
            done = rotate_token(box, name=NAME, account=ACCOUNT)
            ended.append(done.token.id)
        except DomostatsError as e:
            ended.append(e.reason)
        except BaseException as e:
            ended.append(e)
        finally:
            turns.leave()

    monkeypatch.setattr(token_rotation, "one_run", one_run)
    with monkeypatch.context() as patch:
        patch.setattr(Connection, "_send", send)
        threads = [threading.Thread(target=run, args=(name,)) for name in ("aaaaaa", "bbbbbb")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
    assert {type(one) for one in ended} <= {int, str}, ended
    done = [one for one in ended if isinstance(one, int)]
    refused = {one for one in ended if isinstance(one, str)}
    assert done and refused <= {"already_running", "changed_meanwhile", "not_found"}, ended
    watch.at_the_end()
    assert watch.stored() in done


def test_an_unfinished_run_of_another_machine_is_waited_for(box, monkeypatch):
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    theirs = issue_access_token(box, name=marked_name(NAME, "ffffff", now() - 60))
    with pytest.raises(RetryLaterError) as told:
        rotate_token(box, name=NAME, account=ACCOUNT)
    assert told.value.reason == "already_running" and told.value.retry_after == 900
    assert {first.token.id, theirs.id} <= {*Watch(box).valid()}
    later = now() + 1000
    monkeypatch.setattr(rotation_plan, "service_time", lambda answer: later)
    rotate_token(box, name=NAME, account=ACCOUNT)
    Watch(box).at_the_end()


def test_a_run_that_took_too_long_stores_nothing(box, monkeypatch):
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    slow = property(lambda self: 1000.0)
    monkeypatch.setattr(token_rotation._ServiceClock, "passed", slow)
    with pytest.raises(RetryLaterError) as told:
        rotate_token(box, name=NAME, account=ACCOUNT)
    assert told.value.reason == "not_in_time"
    watch = Watch(box)
    watch.at_the_end()
    assert watch.stored() == first.token.id


# --- secrets ---


@pytest.fixture
def values(box, monkeypatch):
    "The value of each token that is issued."
    real, given = box.domo.data.tokens.issue, []

    def issue(*arguments):
        made, value = real(*arguments)
        given.append(value)
        return made, value

    monkeypatch.setattr(box.domo.data.tokens, "issue", issue)
    return given


@pytest.mark.sampled(3)
@pytest.mark.parametrize("fault", ["", "truncated", "html", "cut", "server_error", "forbidden"])
def test_no_value_is_shown_or_written(box, values, fault, tmp_path, capsys):
    done = rotate_token(box, name=NAME, account=ACCOUNT)
    shown = [repr(done), repr(vars(done.token)), str(plan_rotation(box, name=NAME))]
    for path, after in (
        ("/api/data/v1/accesstokens", 2),
        ("/api/content/v2/users/me", 1),
        ("/api/data/v1/providers", 0),
        ("/api/data/v1/providers", 1),
        ("/api/data/v1/accesstokens/", 0),
    ):
        if fault:
            box.fail(fault, path, after=after, times=None)
        try:
            rotate_token(box, name=NAME, account=ACCOUNT)
        except DomostatsError as error:
            shown.append(told_by(error, ("traceback", "inspect")))
        box.heal()
    assert len(values) >= 5
    shown.append(str(capsys.readouterr()))
    for part in shown:
        assert not leaks(part, *values)
    assert not leaks_in_files(tmp_path, *values)


def test_the_clear_text_is_never_asked_for(box):
    for _ in range(2):
        rotate_token(box, name=NAME, account=ACCOUNT)
    assert not [call for call in box.log if "unmask" in call.query.lower()]


# --- the command ---


def command(box, *words, **more):
    return subprocess.run(
        [sys.executable, "-m", "domostats", "token", *words, "--instance", box.name],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        check=False,
        **more,
    )


@pytest.mark.slow
def test_the_command_asks_first_and_takes_yes(box):
    watch = Watch(box, account="domostats_token")
    plan = command(box, "rotate", NAME, "--dry-run")
    assert plan.returncode == 0 and "would be done: issue a token 'nightly'" in plan.stdout
    asked = command(box, "rotate", NAME)
    assert asked.returncode == 3 and "not_agreed" in asked.stderr and "--yes" in asked.stderr
    assert watch.valid() == [] and watch.stored() is None
    done = command(box, "rotate", NAME, "--yes")
    assert done.returncode == 0, done.stderr
    watch.at_the_end()
    first = watch.stored()
    assert f"stored: <token {first} " in done.stdout
    kept = command(box, "rotate", NAME, "--yes", "--keep-old", "1")
    assert f"kept for now: {first}" in kept.stdout
    assert watch.valid() == [first, watch.stored()]
    revoked = command(box, "revoke", str(first), "--yes")
    assert revoked.returncode == 0 and f"revoked: {first}" in revoked.stdout
    watch.at_the_end()
    listed = command(box, "list")
    assert listed.returncode == 0 and str(watch.stored()) in listed.stdout


def test_what_has_no_end_is_listed_last(box, capsys):
    from domostats.interfaces.token_commands import list_tokens

    made = [issue_access_token(box, name=name).id for name in ("none", "far")]
    rows = box.domo.data.tokens._rows
    for id, expires in zip(made, (None, 10**18), strict=True):
        rows[id] = rows[id]._replace(expires=expires)
    list_tokens(box.name)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.split()[:1]]
    assert all("never" in line for line in lines[-2:])
    assert {int(word) for line in lines[-2:] for word in line.split() if word.isdigit()} == {*made}


CHILD = """
import sys
from domostats.clients.domo.token_rotation import rotate_token
rotate_token(sys.argv[1], name="nightly", account="night_token")
"""


@pytest.mark.slow
@pytest.mark.kills
def test_a_program_killed_at_any_moment_and_run_again(draws):
    with sandbox.start(today=TODAY) as box:
        box.latency = 0.01
        watch = Watch(box)
        rotate_token(box, name=NAME, account=ACCOUNT)
        killed = 0
        for _attempt in range(KILLS):
            seen, wanted = len(box.calls), draws.randrange(1, 17)
            child = subprocess.Popen([sys.executable, "-c", CHILD, box.name])
            for _ in range(60_000):
                watch.look()
                if child.poll() is not None or len(box.calls) - seen >= wanted:
                    break
                time.sleep(0.001)
            child.kill()
            killed += child.wait(60) != 0
            for _ in range(2_000):  # what the service has heard of is carried out
                if not box.server.uvicorn.server_state.tasks:
                    break
                time.sleep(0.002)
            requests.get(f"{box.url}/sandbox", timeout=60)
            watch.look()
            rotate_token(box, name=NAME, account=ACCOUNT)
            watch.at_the_end()
        assert killed >= KILLS // 2, killed
