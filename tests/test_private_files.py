"""Whatever the umask and the folder: what the kit keeps is for this user only, and what killed
processes left is cleaned up."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from conftest import ROOT

from domostats import sandbox
from domostats.errors import DestinationError
from domostats.instances import sandbox_note
from domostats.loading.database_file import opened
from domostats.loading.drafts import replacing
from domostats.loading.files import read_file, write_file
from domostats.loading.store import Store
from domostats.transport import spooled_runs
from domostats.transport.budget_file import budget_path
from domostats.transport.remembered_users import remember_user, remembered_user
from domostats.transport.spooled_runs import spooled
from domostats.transport.state_folder import folder_of
from domostats.transport.take_up import open_journal

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")

ROWS = pa.table({"id": [1, 2], "email": ["ada@example.com", "bob@example.com"]})


@pytest.fixture(autouse=True)
def open_to_all():
    "The umask of many containers, and a working folder that everybody may read and write."
    before = os.umask(0)
    Path.cwd().chmod(0o777)
    yield
    os.umask(before)


def open_ones(folder):
    "Every file and folder below this one that others may read, write or enter."
    found = [path for path in Path(folder).rglob("*") if path.lstat().st_mode & 0o077]
    return sorted(str(path.relative_to(folder)) for path in found)


def names(folder="."):
    return sorted(path.name for path in Path(folder).iterdir())


def killed(code, *arguments):
    "Run this program, which kills itself."
    done = subprocess.run(
        [sys.executable, "-c", KILL + code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr


KILL = """
import os, signal, sys
from pathlib import Path
os.umask(0)

def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)
"""


# ---- the store


def test_the_store_its_log_and_its_folder_are_private_while_it_is_written():
    path = Path("data/deep/store.duckdb")
    store = Store(path)
    with store.open() as con:
        con.execute("CREATE TABLE datasets.a AS SELECT 1 AS id")
        con.commit()
        assert (path.parent / "store.duckdb.wal").stat().st_size > 0
        assert open_ones("data") == [] and len(names(path.parent)) == 3
        con.begin()
    assert names(path.parent) == ["store.duckdb"] and open_ones(".") == []


def test_the_log_of_a_killed_writer_is_private_and_is_read():
    path = Path("store.duckdb").resolve()
    Store(path).write("before", ROWS)
    killed(
        """
from domostats.loading.database_file import opened
with opened(Path(sys.argv[1])) as con:
    con.execute("CREATE TABLE datasets.after AS SELECT 'ada@example.com' AS email")
    con.commit()
    die()
""",
        path,
    )
    assert "store.duckdb.wal" in names() and open_ones(".") == []
    assert Store(path).names() == ["after", "before"]
    assert names() == ["store.duckdb"]


def test_a_log_that_was_left_open_is_closed():
    path = Path("store.duckdb").resolve()
    Store(path).write("before", ROWS)
    path.with_name("store.duckdb.wal").write_bytes(b"")
    with opened(path):
        assert open_ones(".") == []


def test_what_does_not_fit_into_memory_goes_into_a_private_folder():
    path = Path("store.duckdb").resolve()
    with opened(path, memory="40MB") as con:
        con.execute("SET threads = 1")
        con.execute(
            "CREATE TABLE kit.big AS SELECT range AS n, "
            "md5(range::VARCHAR) AS t FROM range(1000000)"
        )
        result = con.execute("SELECT t, count(*) FROM kit.big GROUP BY t ORDER BY t")
        spilled = [path for path in Path().rglob("*") if path.suffix == ".tmp"]
        assert spilled and not Path("store.duckdb.tmp").exists()
        # DuckDB's own files stand in a folder that nobody else may enter
        assert {Path(name).parts[0] for name in open_ones(".")} <= {spilled[0].parts[0]}
        assert {path.parent.stat().st_mode & 0o777 for path in spilled} == {0o700}
        assert len(result.fetchmany(3)) == 3
        con.rollback()
        con.begin()
    assert names() == ["store.duckdb"]


def test_a_store_in_a_folder_with_a_quote_in_its_name_spills_beside_itself():
    path = Path("o'brien's/store.duckdb").resolve()
    with opened(path) as con:
        [[place]] = con.execute("SELECT current_setting('temp_directory')").fetchall()
        assert Path(place).is_dir() and Path(place).parent == path.parent
    assert names(path.parent) == ["store.duckdb"]


def test_a_process_killed_while_it_spills_leaves_nothing_for_long():
    path = Path("store.duckdb").resolve()
    Store(path).write("before", ROWS)
    killed(
        """
from domostats.loading.database_file import opened
with opened(Path(sys.argv[1]), memory="40MB") as con:
    rows = "SELECT range AS n, md5(range::VARCHAR) AS t FROM range(1000000)"
    con.execute(f"CREATE TABLE kit.big AS {rows}")
    die()
""",
        path,
    )
    assert len(names()) > 1
    assert Store(path).names() == ["before"]
    assert names() == ["store.duckdb"]


def test_the_folder_in_which_an_earlier_version_spilled_is_removed():
    path = Path("store.duckdb").resolve()
    Store(path).write("before", ROWS)
    Path("store.duckdb.tmp").mkdir()
    Path("store.duckdb.tmp/duckdb_temp_storage-0.tmp").write_bytes(b"ada@example.com")
    Store(path).names()
    assert names() == ["store.duckdb"]


@pytest.mark.parametrize("when", ["before it is there", "when it is there"])
def test_a_hidden_store_that_a_killed_process_left_is_removed(when):
    path = Path("store.duckdb").resolve()
    killed(
        f"""
from domostats.loading import database_file
from domostats.loading.store import Store
if {when == "before it is there"}:
    database_file.os.link = die
else:
    linked = os.link
    database_file.os.link = lambda *places: die(linked(*places))
Store(sys.argv[1]).names()
""",
        path,
    )
    assert [name for name in names() if name.startswith(".store.duckdb.")]
    assert open_ones(".") == []
    Store(path).names()
    assert names() == ["store.duckdb"]


def test_the_hidden_store_of_a_living_process_stays():
    from domostats.private import scratch

    path = Path("store.duckdb").resolve()
    with scratch(path.parent, ".store.duckdb.") as living:
        Store(path).write("a", ROWS)
        assert living.is_dir() and names() == [living.name, "store.duckdb"]


def test_a_log_of_a_stranger_is_not_written_to(give_away):
    path = Path("store.duckdb").resolve()
    Store(path).write("a", ROWS)
    log = path.with_name("store.duckdb.wal")
    log.touch()
    give_away(log)
    with pytest.raises(DestinationError) as told:
        Store(path).names()
    assert told.value.reason == "foreign_file" and "store.duckdb.wal" in str(told.value)


def test_a_store_that_its_owner_has_opened_keeps_its_permissions():
    path = Path("store.duckdb").resolve()
    Store(path).write("a", ROWS)
    path.chmod(0o640)
    with opened(path) as con:
        con.execute("CREATE TABLE kit.a AS SELECT 1 AS n")
        con.commit()
        assert path.with_name("store.duckdb.wal").stat().st_mode & 0o777 == 0o640
        con.begin()
    assert path.stat().st_mode & 0o777 == 0o640


# ---- state


def test_what_is_kept_of_a_run_is_private():
    state = Path(os.environ["XDG_STATE_HOME"])
    with sandbox.start() as box:
        from domostats import reports

        reports.accounts.generate(box)
        remember_user(box.url, "f", "7")
        with open_journal(box.url, "some work", ["one"]) as record:
            record.put("one", "sent")
        assert sandbox_note(box.name).exists()
        assert {"budget.sqlite", "sandboxes", "spool", "people", "work"} <= {
            *names(state / "domostats")
        }
        assert open_ones(state.parent / state.name) == []
        assert state.stat().st_mode & 0o777 == 0o700
    assert remembered_user(box.url, "f") == "7"


def test_a_folder_of_the_kit_that_was_open_is_closed_and_one_of_the_user_is_not():
    from domostats.private import make_private

    state = Path(os.environ["XDG_STATE_HOME"]) / "domostats"
    folder = folder_of("spool", "a place", "a name")
    folder.mkdir(parents=True)
    assert folder.stat().st_mode & 0o777 == 0o777
    with spooled("a place", "a name"):
        assert {path.stat().st_mode & 0o777 for path in (state, folder, folder.parent)} == {0o700}
    assert state.parent.stat().st_mode & 0o777 == 0o777
    Path("shared").mkdir()
    make_private("shared/data")
    assert [path.stat().st_mode & 0o777 for path in (Path("shared"), Path("shared/data"))] == [
        0o777,
        0o700,
    ]


def test_drafts_of_a_killed_run_are_removed_from_its_spool():
    killed(
        """
from domostats.transport import spooled_runs
import os
os.replace = die
with spooled_runs.spooled("a place", "a name"):
    pass
"""
    )
    folder = folder_of("spool", "a place", "a name")
    assert [name for name in names(folder) if name.endswith(".draft")]
    with spooled("a place", "a name"):
        assert not [*folder.rglob("*.draft")]


def test_a_run_beside_another_one_leaves_nothing_when_it_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(spooled_runs.tempfile, "tempdir", None)
    with spooled("a place", "a name"):
        killed(
            """
from domostats.transport.spooled_runs import spooled
with spooled("a place", "a name") as own:
    (own.folder / "answer").write_text("ada@example.com")
    die()
"""
        )
        left = [path for path in tmp_path.iterdir() if path.name.startswith("domostats.")]
        assert len(left) == 1 and open_ones(left[0].parent / left[0].name) == ["answer"]
        assert left[0].stat().st_mode & 0o777 == 0o700
        with spooled("a place", "a name"):
            assert not left[0].exists()


def test_the_budget_leaves_nothing_when_its_making_is_killed():
    code = """
from domostats.transport import budget_file
budget_file.os.link = die
budget_file.BudgetRow("a place", "label", 60, None).run("SELECT 1")
"""
    killed(code)
    state = budget_path().parent
    assert len(names(state)) == 1
    from domostats.transport.budget_file import BudgetRow

    BudgetRow("a place", "label", 60, None).run("SELECT 1")
    assert [name for name in names(state) if not name.startswith("budget.sqlite")] == []
    assert open_ones(state) == []


def test_a_note_of_who_is_who_leaves_no_draft():
    killed(
        """
from domostats.transport import remembered_users
Path.replace = die
remembered_users.remember_user("https://acme.domo.com", "f", "7")
"""
    )
    people = Path(os.environ["XDG_STATE_HOME"]) / "domostats" / "people"
    assert len(names(people)) == 1 and open_ones(people) == []
    remember_user("https://other.domo.com", "g", "8")
    assert len(names(people)) == 1 and remembered_user("https://other.domo.com", "g") == "8"


def modes(*paths):
    return [oct(Path(path).lstat().st_mode & 0o777) for path in paths]


def people():
    return Path(os.environ["XDG_STATE_HOME"]) / "domostats" / "people"


def the_note():
    "The one note of who is behind a credential."
    (note,) = people().iterdir()
    return note


ACME = "https://acme.domo.com"


def test_a_note_of_who_is_who_and_its_folder_are_private_whatever_was_there():
    people().mkdir(parents=True)
    assert modes(people()) == ["0o777"]
    remember_user(ACME, "f", "7")
    assert modes(the_note(), people(), people().parent) == ["0o600", "0o700", "0o700"]
    the_note().chmod(0o666)
    remember_user(ACME, "f", "8")
    assert modes(the_note()) == ["0o600"] and the_note().read_bytes() == b"8"
    assert remembered_user(ACME, "f") == "8"
    assert remembered_user(ACME, "g") is None and remembered_user("https://b.domo.com", "f") is None


@pytest.mark.parametrize(
    "mode, is_believed",
    [(0o600, True), (0o644, True), (0o400, True), (0o620, False), (0o602, False), (0o666, False)],
)
def test_a_note_of_who_is_who_that_others_may_write_is_not_believed(mode, is_believed):
    remember_user(ACME, "f", "7")
    the_note().chmod(mode)
    assert remembered_user(ACME, "f") == ("7" if is_believed else None)


@pytest.mark.parametrize(
    "mode, user", [(0o644, "7"), (0o620, None), (0o602, None)], ids=["read", "group", "others"]
)
def test_a_connection_is_not_of_the_user_whom_others_could_write_into_its_note(mode, user):
    from domostats.clients.domo.credentials import AccessToken
    from domostats.instances import Instance
    from domostats.transport.connection import Connection

    auth = AccessToken("token-of-ada")
    remember_user(ACME, auth.fingerprint, "7")
    the_note().chmod(mode)
    assert Connection(Instance("acme", ACME), auth).user == user


def test_a_note_of_who_is_who_by_another_user_is_not_believed(give_away):
    remember_user(ACME, "f", "7")
    give_away(the_note())
    assert remembered_user(ACME, "f") is None


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "no text", "nothing"])
def test_what_stands_in_the_place_of_a_note_of_who_is_who_is_not_followed(kind):
    remember_user(ACME, "f", "7")
    note = the_note()
    note.unlink()
    Path("mine").write_bytes(b"9")
    Path("mine").chmod(0o600)
    make = {
        "link": lambda: note.symlink_to(Path("mine").resolve()),
        "pipe": lambda: os.mkfifo(note, 0o600),
        "folder": note.mkdir,
        "no text": lambda: note.write_bytes(b"\xff"),
        "nothing": lambda: note.write_bytes(b""),
    }
    make[kind]()
    if kind != "link":
        note.chmod(0o700)
    assert remembered_user(ACME, "f") is None
    remember_user(ACME, "f", "7")
    assert Path("mine").read_bytes() == b"9"
    if kind != "folder":
        assert remembered_user(ACME, "f") == "7" and not note.is_symlink()
        assert modes(note) == ["0o600"]


def test_where_no_note_can_be_left_nothing_is_remembered_and_nothing_fails():
    Path(os.environ["XDG_STATE_HOME"]).write_text("a file, no folder")
    remember_user(ACME, "f", "7")
    assert remembered_user(ACME, "f") is None


def test_the_record_of_what_was_begun_is_private_while_and_after_it_is_written():
    folder = folder_of("work", ACME, "record")
    folder.mkdir(parents=True)
    with open_journal(ACME, "some work", ["one", "two"]) as record:
        record.con.execute("BEGIN IMMEDIATE")
        record.con.execute("UPDATE items SET state = 'sent'")
        assert {"record.sqlite", "record.sqlite-journal", "lock", "calls"} == {*names(folder)}
        (call,) = (folder / "calls").iterdir()
        assert open_ones(os.environ["XDG_STATE_HOME"]) == []
        assert modes(folder / "record.sqlite", folder / "record.sqlite-journal") == ["0o600"] * 2
        assert modes(folder, folder / "calls", call) == ["0o700"] * 3
        record.con.execute("COMMIT")
    assert names(folder) == ["calls", "lock", "record.sqlite"]
    assert names(folder / "calls") == [] and open_ones(os.environ["XDG_STATE_HOME"]) == []


def test_a_damaged_record_that_was_put_aside_stays_private():
    with open_journal(ACME, "some work", ["one"]):
        pass
    folder = folder_of("work", ACME, "record")
    (folder / "record.sqlite").write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="put aside"), open_journal(ACME, "some work", ["one"]):
        pass
    assert [name.partition("-")[0] for name in names(folder)] == [
        "calls",
        "damaged",
        "lock",
        "record.sqlite",
    ]
    assert open_ones(os.environ["XDG_STATE_HOME"]) == []


def test_a_link_in_the_place_of_a_record_is_put_aside_and_its_file_stays():
    folder = folder_of("work", ACME, "record")
    folder.mkdir(parents=True)
    Path("mine").write_text("my own lines")
    (folder / "record.sqlite").symlink_to(Path("mine").resolve())
    with pytest.warns(UserWarning, match="put aside"):
        with open_journal(ACME, "some work", ["one"]) as record:
            record.put("one", "sent")
    assert Path("mine").read_text() == "my own lines"
    assert not (folder / "record.sqlite").is_symlink()
    assert modes(folder / "record.sqlite") == ["0o600"]


def test_the_lists_of_the_other_platform_and_the_registry_are_private():
    from domostats.clients.datorama.lists import list_file, open_list_file
    from domostats.tracking.registry.api import make_observatory_api

    con = open_list_file(list_file("a place"))
    con.execute("BEGIN IMMEDIATE")
    con.execute("CREATE TABLE more (a)")
    con.execute("COMMIT")
    assert names(list_file("a place").parent)[0].endswith(".sqlite")
    assert open_ones(os.environ["XDG_STATE_HOME"]) == []
    con.close()
    make_observatory_api()
    data = Path(os.environ["XDG_DATA_HOME"])
    assert "registry.sqlite" in names(data / "domostats") and open_ones(data) == []


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_notes_and_drafts_of_killed_sandboxes_are_removed_and_those_of_living_ones_stay():
    killed(
        """
from domostats import sandbox
box = sandbox.start(seed=2)
die()
"""
    )
    folder = sandbox_note("sandbox").parent
    dead = {"url": f"http://127.0.0.1:{free_port()}", "key": "k", "secrets": {}}
    sandbox_note("sandbox-7").write_text(json.dumps(dead))
    (folder / ".sandbox-7.json.0123abcd.draft").write_text("{")
    with socket.create_server(("127.0.0.1", 0)) as living:
        alive = {**dead, "url": f"http://127.0.0.1:{living.getsockname()[1]}"}
        sandbox_note("sandbox-8").write_text(json.dumps(alive))
        with sandbox.start() as box:
            assert box.name == "sandbox"
            assert names(folder) == ["lock", "sandbox-8.json", "sandbox.json"]
            assert sandbox_note(box.name).stat().st_mode & 0o777 == 0o600


# ---- files that a user asked for


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_part_that_a_killed_writer_left_is_removed_by_the_next_and_a_living_one_stays(suffix):
    path = Path(f"accounts{suffix}").resolve()
    write_file(ROWS, path)
    killed(
        """
from domostats.loading.drafts import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    die()
""",
        path,
    )
    assert [name for name in names() if name.endswith(".part")]
    with replacing(path) as living:
        assert [name for name in names() if name.endswith(".part")] == [Path(living.name).name]
        write_file(ROWS, path)
        assert Path(living.name).exists()
        living.write(path.read_bytes())
    assert names() == [path.name] and read_file(path).num_rows == 2


def test_a_file_for_the_user_has_the_permissions_that_the_umask_gives():
    os.umask(0o027)
    write_file(ROWS, "accounts.csv")
    assert Path("accounts.csv").stat().st_mode & 0o777 == 0o640
    Path("accounts.csv").chmod(0o604)
    write_file(ROWS, "accounts.csv")
    assert Path("accounts.csv").stat().st_mode & 0o777 == 0o604


def test_the_lessons_folder_is_private():
    from domostats.interfaces.lab import copy_lessons

    copy_lessons("my/lessons")
    assert {Path(name).stat().st_mode & 0o777 for name in ("my", "my/lessons")} == {0o700}


def test_what_a_lesson_writes_is_removed_by_the_next_run(tmp_path, monkeypatch):
    from domostats.private import scratch

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    killed(
        """
from domostats.lessons.store import temporary_store
with temporary_store():
    die()
"""
    )
    monkeypatch.setattr("tempfile.tempdir", None)
    left = [name for name in names(tmp_path) if name.startswith("domostats.")]
    assert len(left) == 1
    with scratch():
        assert left[0] not in names(tmp_path)


# ---- what it is made of


def test_a_sweep_leaves_what_is_not_a_leftover():
    from domostats.private import sweep

    Path("mine.csv").write_text("x")
    kept = [
        ".a.csv.part",
        "a.csv.0123abcd.part",
        ".a.csv.0123abcd.part.txt",
        ".b.csv.0123abcd.part",
    ]
    for name in kept:
        Path(name).write_text("x")
    Path(".a.csv.0123abce.part").symlink_to("mine.csv")
    Path(".a.csv.0123abcf.part").write_text("x")
    sweep(Path.cwd(), ".a.csv.", ".part")
    assert names() == sorted([*kept, "mine.csv", ".a.csv.0123abce.part"])


def test_a_sweep_leaves_what_belongs_to_another_user(monkeypatch):
    from domostats.private import sweep

    Path(".a.csv.0123abcd.part").write_text("x")
    monkeypatch.setattr(os, "getuid", lambda real=os.getuid(): real + 1)
    sweep(Path.cwd(), ".a.csv.", ".part")
    assert names() == [".a.csv.0123abcd.part"]


def test_a_name_that_is_not_made_here_is_left_for_a_day():
    from domostats.private import sweep

    for name in (".a.csv.1.part", ".a.csv.2.part"):
        Path(name).write_text("x")
    os.utime(".a.csv.2.part", (0, 0))
    sweep(Path.cwd(), ".a.csv.", ".part")
    assert names() == [".a.csv.1.part"]


def test_where_there_are_no_locks_a_day_decides(monkeypatch):
    from domostats.private import scratch

    monkeypatch.setattr("domostats.private.fcntl", None)
    for name in (".a.csv.0123abcd.part", ".a.csv.0123abce.part"):
        Path(name).write_text("x")
    os.utime(".a.csv.0123abce.part", (time.time() - 90_000,) * 2)
    with replacing(Path("a.csv")) as file:
        file.write(b"x")
    assert names() == [".a.csv.0123abcd.part", "a.csv"]
    with scratch(Path.cwd()) as folder:
        assert folder.is_dir()
    assert names() == [".a.csv.0123abcd.part", "a.csv"]


def test_a_draft_that_a_sweep_takes_before_it_is_locked_is_made_again(monkeypatch):
    from domostats import private
    from domostats.private import open_draft

    lock, tries = private._lock, []

    def late(handle):
        tries.append(handle)
        if len(tries) == 1:
            for name in names():
                Path(name).unlink()
        return lock(handle)

    monkeypatch.setattr(private, "_lock", late)
    with open_draft(Path("note").resolve()) as file:
        assert len(tries) == 2 and names() == [Path(file.name).name]


def test_what_fails_leaves_the_old_file_and_no_draft():
    from domostats.private import replacing_private

    path = Path("note").resolve()
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing_private(path) as file:
        file.write(b"new")
        1 / 0
    assert names() == ["note"] and path.read_bytes() == b"old"


def test_a_file_is_whole_before_it_gets_its_name(monkeypatch):
    "What is still in memory when the name is given can be lost, with the old file gone already."
    from domostats import private

    given = []

    def put_in_place(file, path):
        given.append(Path(file.name).read_bytes())
        put(file, path)

    put = private.put_in_place
    monkeypatch.setattr(private, "put_in_place", put_in_place)
    with private.replacing_private(Path("note").resolve()) as file:
        file.write(b"new")
    assert given == [b"new"] and Path("note").read_bytes() == b"new"


def test_private_folders_are_private_whatever_the_umask():
    from domostats.private import make_private

    for umask in (0, 0o022, 0o077, 0o777):
        os.umask(umask)
        folder = make_private(f"{umask}/data")
        assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o700]


def test_a_file_for_this_user_only_takes_the_place_of_a_link_and_not_of_its_file():
    from domostats.private import replacing_private

    Path("target").write_text("mine")
    path = Path("note").resolve()
    path.symlink_to(Path("target").resolve())
    with replacing_private(path) as file:
        draft = Path(file.name)
        assert draft.name.startswith(".note.") and modes(draft) == ["0o600"]
        file.write(b"new")
    assert Path("target").read_text() == "mine" and path.read_text() == "new"
    assert modes(path) == ["0o600"] and names() == ["note", "target"]


def test_the_folder_of_another_user_stays_as_it_is(give_away):
    from domostats.private import kit_folder, make_private

    folder = kit_folder("state") / "sandboxes"
    folder.mkdir(parents=True)
    give_away(folder)
    make_private(folder / "mine")
    assert modes(folder, folder.parent, folder / "mine") == ["0o777", "0o700", "0o700"]


@pytest.mark.parametrize("mode", [0o710, 0o701, 0o750, 0o777])
def test_folders_of_the_kit_are_closed_and_the_one_of_its_settings_is_not(mode):
    from domostats.private import kit_folder, make_private

    for kind in ("state", "data", "config"):
        folder = kit_folder(kind) / "deep"
        folder.mkdir(parents=True)
        folder.chmod(mode)
        assert make_private(str(folder)) == folder
        assert modes(folder) == ([oct(mode)] if kind == "config" else ["0o700"])


def test_a_file_in_the_place_of_a_folder_is_told():
    from domostats.private import make_private

    Path("file").write_text("x")
    with pytest.raises(NotADirectoryError, match="file is a file"):
        make_private("file")
    with pytest.raises(OSError):
        make_private("file/deep")
    assert Path("file").read_text() == "x"


def test_a_folder_for_a_while_is_private_and_goes_whatever_happens():
    from domostats.private import scratch

    with scratch(Path.cwd()) as folder:
        assert folder.parent == Path.cwd() and modes(folder) == ["0o700"]
        assert folder.name.startswith("domostats.") and folder.name.endswith(".scratch")
        (folder / "deep").mkdir()
        (folder / "deep/file").write_text("x")
    assert names() == []
    with pytest.raises(ZeroDivisionError), scratch(Path.cwd(), "mine.") as folder:
        assert folder.name.startswith("mine.")
        1 / 0
    assert names() == []


def test_a_sweep_takes_folders_too_and_no_younger_ones_of_others():
    from domostats.private import sweep

    now = time.time()
    for name in ("a.0123456789abcdef.s", "a.0123456789abcde.s", "a.x.s", "a.y.s"):
        Path(name).mkdir()
        (Path(name) / "file").write_text("x")
    os.utime("a.x.s", (now - 86_000,) * 2)
    os.utime("a.y.s", (now - 86_800,) * 2)
    sweep(Path.cwd(), "a.", ".s")
    assert names() == ["a.0123456789abcde.s", "a.x.s"]
    sweep(Path("no such folder"), "a.", ".s")


def test_the_engine_still_names_its_log_and_its_folder_so():
    "What is closed here is what DuckDB writes: a new name would be open again."
    con = duckdb.connect("plain.duckdb")
    con.execute("CREATE TABLE a AS SELECT 1 AS n")
    assert names() == ["plain.duckdb", "plain.duckdb.wal"]
    assert (
        con.execute("SELECT current_setting('temp_directory')")
        .fetchone()[0]
        .endswith("plain.duckdb.tmp")
    )
    con.close()
