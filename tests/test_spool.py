"""A run that dies goes on where it stopped; a finished one can be played again; and nobody
else's answers are among them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qsl

import msgspec
import pyarrow as pa
import pytest
from conftest import KILLS, settle

from domostats import sandbox
from domostats.clients.domo.auth import sign_in
from domostats.clients.domo.credentials import AccessToken
from domostats.clients.domo.session import Session
from domostats.errors import SettingsError
from domostats.reports.reading import reading
from domostats.reports.users import report as users
from domostats.transport.clock import without_waits
from domostats.transport.connection import Connection
from domostats.transport.kept_answers import KeptAnswer
from domostats.transport.retry import Request
from domostats.transport.spooled_runs import OLDEST

RUN = """
import json, sys
from dataclasses import replace
from domostats.reports.users import report
report.source = replace(report.source, listing=replace(report.source.listing, size=3))
rows = report.run(sys.argv[1], format_fn="all", restore=len(sys.argv) > 2).rows
print(json.dumps(rows, default=str))
"""
ME, ROLES, GROUPS = (
    Request("GET", path)
    for path in (
        "/api/content/v2/users/me",
        "/api/authorization/v1/roles",
        "/api/content/v2/groups/grouplist",
    )
)


def start(name, *more):
    return subprocess.Popen(
        [sys.executable, "-c", RUN, name, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child):
    out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    return json.loads(out)


def state():
    return Path(os.environ["XDG_STATE_HOME"]) / "domostats"


def runs(kind):
    return [*(state() / "spool").glob(f"*/*/{kind}")]


def kept():
    return {
        path.name for folder in runs("open") for path in folder.iterdir() if path.suffix != ".draft"
    }


def begin(box, name="died", auth=None, requests=(ROLES, GROUPS)):
    "A run that dies after these requests."
    with pytest.raises(ZeroDivisionError), reading(sign_in(box, auth), name) as reader:
        for request in requests:
            reader.answer(request)
        1 / 0


def heard(box):
    return [(method, path) for method, path, _ in box.calls]


@pytest.mark.slow
@pytest.mark.kills
def test_a_run_that_is_killed_asks_again_only_for_what_may_have_moved(monkeypatch, draws):
    with sandbox.start(users=401) as box:
        wanted = finish(start(box.name))
        asked, reply = [], box.domo.reply

        def listening(method, path, headers, body=b"", query=""):
            params = {
                name: int(value) if name in ("limit", "offset") else value
                for name, value in parse_qsl(query)
            }
            asked.append(
                Request(
                    method, path, params or None, msgspec.json.decode(body) if body else None
                ).fingerprint
            )
            return reply(method, path, headers, body, query)

        monkeypatch.setattr(box.domo, "reply", listening)
        box.latency, killed, again, compared = 0.02, 0, [], []
        while killed < KILLS:
            there, before = kept(), len(asked)
            child = start(box.name)
            goal = before + draws.randint(7, 15)
            for _ in range(15_000):
                if len(asked) >= goal or child.poll() is not None:
                    break
                time.sleep(0.002)
            time.sleep(draws.random() * 0.03)
            child.kill()
            child.communicate(timeout=60)
            assert child.returncode == -signal.SIGKILL, "it was to be killed in mid-listing"
            killed += 1
            settle(box)  # what was under way is heard
            compared.append(len(there & set(asked[before:])))
            again.append(len(set(asked[before:]) - kept()))  # what was asked for in vain
        there, before = kept(), len(asked)
        assert finish(start(box.name)) == wanted and len(wanted) == 401
        compared.append(len(there & set(asked[before:])))
        assert len(there) > KILLS and len(asked) > before
        # of each list the first page, the last, and those beside the ten at most that were under
        # way
        assert max(compared) <= 14, compared
        more = sum(times - 1 for times in Counter(asked).values())
        assert max(again) <= 10 and more <= sum(again) + sum(compared), (again, compared, more)
        print(f"{killed} kills, {more} requests asked again, {again} under way at each")
        before = len(asked)
        assert (
            finish(start(box.name, "restore")) == wanted and len(asked) == before
        )  # in a new process, without a call


def test_a_finished_run_is_played_again_without_a_call(box):
    first = users.run(box, format_fn="all")
    before = len(box.calls)
    again = users.run(box, format_fn="all", restore=True)
    assert (
        first.rows == again.rows
        and len(first.rows) == 12
        and again.doubts == first.doubts
        and len(box.calls) == before
    )
    box.stop()
    assert users.run(box, format_fn="all", restore=True).rows == first.rows


def test_what_was_not_asked_for_then_cannot_be_restored(box):
    with pytest.raises(SettingsError) as caught:
        users.run(box, restore=True)
    assert caught.value.reason == "nothing_to_restore"
    users.run(box, format_fn="identity")
    with pytest.raises(SettingsError) as caught:
        users.run(box, format_fn="domostats", restore=True)
    assert caught.value.reason == "nothing_to_restore"


def test_what_an_open_run_holds_is_not_asked_for_again(box):
    begin(box)
    before = len(box.calls)
    with reading(sign_in(box), "died") as reader:
        for request in (ROLES, GROUPS, ME):
            reader.answer(request)
    assert heard(box)[before:] == [("GET", ME.path)] and not runs("open")


def test_another_user_never_gets_what_the_first_was_told(box):
    begin(box)
    before = len(box.calls)
    with reading(
        sign_in(box, Session(box, box.limited.username, box.limited.password)), "died"
    ) as reader:
        assert len(reader.spool) == 0
        reader.answer(ROLES)
    assert ("GET", ROLES.path) in heard(box)[before:]
    users.run(box, format_fn="all")
    with pytest.raises(SettingsError) as caught:
        users.run(
            box,
            Session(box, box.limited.username, box.limited.password),
            format_fn="all",
            restore=True,
        )
    assert caught.value.reason == "nothing_to_restore" and kept()


def test_all_credentials_of_one_user_share_pages_and_budget(box):
    table, session = users.run(box).table, Session(box, box.username, box.password)
    with pytest.raises(SettingsError) as caught:  # nobody has asked yet whose this session is
        users.run(box, session, restore=True)
    assert caught.value.reason == "nothing_to_restore"
    mine, other = sign_in(box), sign_in(box, session)
    assert mine.place != other.place
    other.meet()
    assert mine.place == other.place and mine.user == other.user == str(box.domo.admin.user["id"])
    calls = len(box.calls)
    assert users.run(box, session, restore=True).table == table and len(box.calls) == calls
    assert mine.budget.reserve() == 0 and other.budget.not_before(30) is None
    with without_waits() as waited:
        mine.budget.reserve()
    assert sum(waited) > 25


def test_who_is_behind_a_credential_is_asked_once_on_this_machine(box):
    def asked():
        return sum(path == "/api/content/v2/users/me" for _, path, _ in box.calls)

    token = AccessToken(box.access_token, instance=box)
    for _ in range(2):
        connection = Connection(box, token)
        connection.meet()
        connection.meet()
        assert connection.user == str(box.domo.admin.user["id"]) and asked() == 1


def test_an_instance_that_does_not_say_who_is_behind_it_works_all_the_same(box):
    box.fail("forbidden", "/api/content/v2/users/me", times=None)
    connection = Connection(box, AccessToken(box.access_token, instance=box))
    connection.meet()
    connection.meet()
    assert (
        connection.user == ""
        and connection.place.endswith(connection.auth.fingerprint)
        and connection.calls.total == 1
    )
    box.heal()
    assert len(users.run(box).table) == 12


@pytest.mark.parametrize(
    "age, asked", [(OLDEST - 60, []), (OLDEST + 60, [("GET", ROLES.path)])], ids=["young", "old"]
)
def test_a_run_that_is_too_old_is_begun_anew(box, age, asked):
    begin(box)
    (began,) = runs("began")
    os.utime(began, (time.time() - age,) * 2)
    before = len(box.calls)
    with reading(sign_in(box), "died") as reader:
        reader.answer(ROLES)
    assert heard(box)[before:] == asked


def test_fresh_begins_anew(box):
    begin(box)
    before = len(box.calls)
    with reading(sign_in(box), "died", fresh=True) as reader:
        reader.answer(ROLES)
    assert heard(box)[before:] == [("GET", ROLES.path)]


def test_two_runs_at_once_do_not_disturb_one_another(box):
    begin(box)
    with reading(sign_in(box), "died") as one:
        with reading(sign_in(box), "died") as two:
            assert len(one.spool) == 2 and len(two.spool) == 0
            answers = one.answer(ROLES).content, two.answer(ROLES).content
        assert (
            answers[0] == answers[1]
            and len(one.spool) == 2
            and one.answer(ME).content
            and runs("open")
            and not runs("last")
        )
    assert runs("last") and not runs("open")


@pytest.mark.slow
def test_two_processes_at_once_both_come_to_the_end():
    with sandbox.start(users=60) as box:
        box.latency = 0.01
        both = [start(box.name) for _ in range(2)]
        first, second = map(finish, both)
        assert first == second and len(first) == 60 and finish(start(box.name, "restore")) == first


def test_files_are_for_this_user_only_and_hold_no_secret(box):
    old = os.umask(0)
    try:
        session = Session(box, box.username, box.password)
        users.run(box, format_fn="all")
        users.run(box, session, format_fn="all")
        begin(box)
        begin(box, auth=session)
    finally:
        os.umask(old)
    secrets = [
        text.encode()
        for text in (
            box.access_token,
            box.password,
            session._secret.reveal(),
            box.limited.access_token,
        )
    ]
    for path in [state() / "spool", *(state() / "spool").rglob("*")]:
        mode = path.stat().st_mode & 0o777
        assert mode == (0o700 if path.is_dir() else 0o600), (path.relative_to(state()), oct(mode))
    answers = [
        path for kind in ("open", "last") for folder in runs(kind) for path in folder.iterdir()
    ]
    assert len(answers) > 5
    for path in answers:
        one = msgspec.msgpack.decode(path.read_bytes(), type=KeptAnswer)
        assert not one.headers and not any(
            secret in pa.decompress(one.packed, one.size, "lz4", asbytes=True) for secret in secrets
        )
    notes = {
        path
        for path in state().rglob("*")
        if path.is_file()
        and box.url.encode() in path.read_bytes()
        and b'"key"' in path.read_bytes()
    }  # the sandbox's own note
    for path in state().rglob("*"):
        if path.is_file() and path not in notes:
            assert not any(secret in path.read_bytes() for secret in secrets), path
    assert len(notes) == 1
