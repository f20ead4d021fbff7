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
from domostats.clients.domo import rotation_plan, token_rotation
from domostats.clients.domo.access_tokens import issue_access_token
from domostats.clients.domo.auth import AccessToken
from domostats.clients.domo.rotation_plan import plan_rotation
from domostats.clients.domo.token_marks import marked_name
from domostats.clients.domo.token_rotation import rotate_token
from domostats.errors import DomostatsError, RetryLaterError, SettingsError
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


@pytest.mark.sampled(10)
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


# --- what is kept for a while ---


def test_what_was_replaced_stays_as_long_as_was_asked(box, monkeypatch):
    watch = Watch(box)
    clock = [now()]
    for module in (rotation_plan, token_rotation):
        monkeypatch.setattr(module, "now", lambda: clock[0])
    rotated = []
    for _day in range(12):
        rotated.append(rotate_token(box, name=NAME, account=ACCOUNT, keep_old=3).token.id)
        valid = watch.valid()
        watch.look()
        assert valid == rotated[-4:], "today's, and those that were replaced in three days"
        clock[0] += timedelta(days=1).total_seconds() + 1
    rotate_token(box, name=NAME, account=ACCOUNT)
    watch.at_the_end()


# --- two at once ---


def test_a_second_run_on_this_machine_is_told_to_wait(box, monkeypatch):
    real, told = token_rotation._try, []

    def meanwhile(*arguments):
        with pytest.raises(RetryLaterError) as error:
            rotate_token(box, name=NAME, account=ACCOUNT)
        told.append(error.value.reason)
        return real(*arguments)

    monkeypatch.setattr(token_rotation, "_try", meanwhile)
    rotate_token(box, name=NAME, account=ACCOUNT)
    assert told == ["already_running"]
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
    for module in (rotation_plan, token_rotation):
        monkeypatch.setattr(module, "now", lambda: later)
    rotate_token(box, name=NAME, account=ACCOUNT)
    Watch(box).at_the_end()


def test_a_run_that_took_too_long_stores_nothing(box, monkeypatch):
    first = rotate_token(box, name=NAME, account=ACCOUNT)
    steady = iter([0.0, 1000.0])
    monkeypatch.setattr(token_rotation.Clock, "steady", lambda self: next(steady, 1000.0))
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
