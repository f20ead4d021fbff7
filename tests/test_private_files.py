"""Whatever the umask and the folder: what the kit keeps is for this user only, and what killed processes left is cleaned up."""

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
from domostats.loading.files import read_file, replacing, write_file
from domostats.loading.store import Store, opened
from domostats.settings import sandbox_note
from domostats.transport import spool
from domostats.transport.budget import budget_path
from domostats.transport.connection import remember, remembered
from domostats.transport.record import recorded
from domostats.transport.spool import folder_of, spooled

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
from domostats.loading.store import opened
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
            "CREATE TABLE kit.big AS SELECT range AS n, md5(range::VARCHAR) AS t FROM range(1000000)"
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


def test_a_process_killed_while_it_spills_leaves_nothing_for_long():
    path = Path("store.duckdb").resolve()
    Store(path).write("before", ROWS)
    killed(
        """
from domostats.loading.store import opened
with opened(Path(sys.argv[1]), memory="40MB") as con:
    con.execute("CREATE TABLE kit.big AS SELECT range AS n, md5(range::VARCHAR) AS t FROM range(1000000)")
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
from domostats.loading import store
if {when == "before it is there"}:
    store.os.link = die
else:
    linked = os.link
    store.os.link = lambda *places: die(linked(*places))
store.Store(sys.argv[1]).names()
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


def test_a_log_of_a_stranger_is_not_written_to(monkeypatch):
    path = Path("store.duckdb").resolve()
    Store(path).write("a", ROWS)
    log = path.with_name("store.duckdb.wal")
    log.touch()
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody else")
    os.chown(log, 65534, 65534)
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
        remember(box.url, "f", "7")
        with recorded(box.url, "some work", ["one"]) as record:
            record.put("one", "sent")
        assert sandbox_note(box.name).exists()
        assert {"budget.sqlite", "sandboxes", "spool", "people", "work"} <= {
            *names(state / "domostats")
        }
        assert open_ones(state.parent / state.name) == []
        assert state.stat().st_mode & 0o777 == 0o700
    assert remembered(box.url, "f") == "7"


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
from domostats.transport import spool
spool.os.replace = die
with spool.spooled("a place", "a name"):
    pass
"""
    )
    folder = folder_of("spool", "a place", "a name")
    assert [name for name in names(folder) if name.endswith(".draft")]
    with spooled("a place", "a name"):
        assert not [*folder.rglob("*.draft")]


def test_a_run_beside_another_one_leaves_nothing_when_it_is_killed(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(spool.tempfile, "tempdir", None)
    with spooled("a place", "a name"):
        killed(
            """
from domostats.transport.spool import spooled
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
from domostats.transport import budget
budget.os.link = die
budget.Row("a place", "label", 60, None).run("SELECT 1")
"""
    killed(code)
    state = budget_path().parent
    assert len(names(state)) == 1
    from domostats.transport.budget import Row

    Row("a place", "label", 60, None).run("SELECT 1")
    assert [name for name in names(state) if not name.startswith("budget.sqlite")] == []
    assert open_ones(state) == []


def test_a_note_of_who_is_who_leaves_no_draft():
    killed(
        """
from domostats.transport import connection
from domostats import private
private.os.replace = die
connection.remember("https://acme.domo.com", "f", "7")
"""
    )
    people = Path(os.environ["XDG_STATE_HOME"]) / "domostats" / "people"
    assert len(names(people)) == 1 and open_ones(people) == []
    remember("https://other.domo.com", "g", "8")
    assert len(names(people)) == 1 and remembered("https://other.domo.com", "g") == "8"


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
from domostats.loading.files import replacing
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
from domostats.interfaces.lessons import temporary_store
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
    from domostats.private import open_draft

    from domostats import private

    lock, tries = private._lock, []

    def late(handle):
        tries.append(handle)
        if len(tries) == 1:
            for name in names():
                os.unlink(name)
        return lock(handle)

    monkeypatch.setattr(private, "_lock", late)
    with open_draft(Path("note").resolve()) as file:
        assert len(tries) == 2 and names() == [Path(file.name).name]


def test_what_fails_leaves_the_old_file_and_no_draft():
    from domostats.private import replacing_private

    path = Path("note").resolve()
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError):
        with replacing_private(path) as file:
            file.write(b"new")
            1 / 0
    assert names() == ["note"] and path.read_bytes() == b"old"


def test_private_folders_are_private_whatever_the_umask():
    from domostats.private import make_private

    for umask in (0, 0o022, 0o077, 0o777):
        os.umask(umask)
        folder = make_private(f"{umask}/data")
        assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o700]


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
