"""A registry of 0.1.0 under the program of today: it is refused, upgraded, and nothing is lost.

`fixtures/registry` holds dumps of two registries that 0.1.0 made, one of SQLite and one of
PostgreSQL, with rows of every kind."""

import json
import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from domostats.errors import DestinationError, DomostatsError, SettingsError
from domostats.interfaces.cli import app
from domostats.tracking.registry import migrations
from domostats.tracking.registry.api import make_observatory_api
from domostats.tracking.registry.database import Database
from domostats.tracking.registry.engines import registry_engine, transaction
from domostats.tracking.registry.entities import DatasetRelease, Organisation
from domostats.tracking.registry.migrations import upgrade_registry
from domostats.tracking.registry.tables import REVISIONS, make_registry_tables, metadata

DUMPS = Path(__file__).parent / "fixtures" / "registry"
REVISION_FILES = ROOT / "domostats" / "tracking" / "registry" / "revisions" / "versions"
KINDS = [  # of things, as 0.1.0 had them
    *("organisation", "workflow_type", "workflow", "table_type", "dataset_type", "dataset"),
    *("dataset_release", "dataset_place", "licence", "retention", "export_decision"),
]


def old_file(path):
    "A registry of 0.1.0 in a file."
    with closing(sqlite3.connect(path)) as con:
        con.execute("PRAGMA journal_mode = WAL")
        con.executescript((DUMPS / "0.1.0.sqlite.sql").read_text())
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def old(request, tmp_path):
    "The address of a registry of 0.1.0."
    if request.param == "sqlite":
        return f"sqlite:///{old_file(tmp_path / 'registry.sqlite')}"
    url = request.getfixturevalue("postgres")()
    with psycopg.connect(url, autocommit=True) as con:
        con.execute((DUMPS / "0.1.0.postgresql.sql").read_text())
    return url


def rows(url):
    "Every row of every table of things, as the database has it."
    engine = registry_engine(url)
    with engine.connect() as con:
        return {
            kind: [
                {name: json.dumps(value, default=repr) for name, value in row.items()}
                for row in con.execute(sa.text(f"SELECT * FROM {kind} ORDER BY id")).mappings()
            ]
            for kind in KINDS
        }


def schema(url):
    "All that a database says about its tables."
    engine = registry_engine(url)
    told = {}
    with engine.connect() as con:
        about = sa.inspect(con)
        for table in about.get_table_names():
            told[table] = {
                "columns": [
                    (
                        one["name"],
                        str(one["type"].compile(engine.dialect)),
                        one["nullable"],
                        re.sub(r"\bpublic\.", "", str(one["default"])),  # a dump says where
                    )
                    for one in about.get_columns(table)
                ],
                "key": about.get_pk_constraint(table),
                "references": sorted(about.get_foreign_keys(table), key=str),
                "unique": sorted(about.get_unique_constraints(table), key=str),
                "indexes": sorted(about.get_indexes(table), key=str),
            }
    return told


def sqlite_text(path):
    "The text of each table and index: the columns in order, the constraints in any."
    with closing(sqlite3.connect(path)) as con:
        found = con.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        told = {}
        for name, sql in found:
            plain = re.sub(r"\s+", " ", sql.replace('"', "")).replace(" (", "(")
            columns, *constraints = re.split(r", (?=CONSTRAINT|FOREIGN|UNIQUE)", plain[:-1])
            told[name] = columns.strip(), sorted(one.strip() for one in constraints)
        return told


def reason(call):
    with pytest.raises(DomostatsError) as caught:
        call()
    return caught.value.reason


@pytest.mark.sampled(2)
def test_after_an_upgrade_the_schema_is_that_of_a_new_registry_and_all_rows_are_there(
    old, tmp_path, request
):
    before = rows(old)
    assert all(before.values()) and len(before["dataset_release"]) == 8
    done = upgrade_registry(old)
    assert (done.before, done.after) == ("0001", REVISIONS[-1]) and rows(old) == before
    if old.startswith("sqlite"):
        fresh = f"sqlite:///{tmp_path / 'fresh.sqlite'}"
    else:
        fresh = request.getfixturevalue("postgres")()
    Database(fresh)
    assert schema(old) == schema(fresh)
    if old.startswith("sqlite"):
        assert sqlite_text(tmp_path / "registry.sqlite") == sqlite_text(tmp_path / "fresh.sqlite")
    api = make_observatory_api(old)
    books = api.get_dataset(1)
    assert (books.address, books.workflow.organisation.name) == ("a.b.books_2", "The Press")
    keys = [one.release_key for one in api.get_dataset_releases(1000, 1)]
    assert keys == ["s:2024-04", "s:2024-03", "s:2024-02", "s:2024-01"]
    assert api.get_organisation(2).name == 'Ünï ✓ & Sons; it\'s "quoted"'
    # what was deleted had the highest id of its table: no other gets it
    assert api.post_organisation(Organisation(name="new")).id == 4
    made, new = api.register_release(DatasetRelease(dataset=books, snapshot_date=date(2025, 1, 1)))
    assert new and made.id == 10
    assert reason(lambda: api.post_organisation(Organisation(name="The Press"))) == "conflict"
    assert upgrade_registry(old) == migrations.Upgraded(REVISIONS[-1], REVISIONS[-1])


def test_the_models_and_the_database_agree(old):
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    upgrade_registry(old)
    with registry_engine(old).connect() as con:
        context = MigrationContext.configure(con, opts={"version_table": "registry_revision"})
        assert compare_metadata(context, metadata) == []
        assert context.get_current_revision() == REVISIONS[-1]


def test_a_registry_that_is_older_is_refused_with_the_command_that_helps(old, tmp_path):
    before = rows(old)
    with pytest.raises(SettingsError) as caught:
        Database(old)
    assert caught.value.reason == "older_registry" and rows(old) == before
    command = re.search("domostats (registry upgrade .*)", str(caught.value))[1]
    ran = CliRunner().invoke(app, shlex.split(command))
    assert ran.exit_code == 0, (ran.output, ran.exception)
    assert "0001" in ran.output and "0002" in ran.output
    Database(old)
    again = CliRunner().invoke(app, shlex.split(command))
    assert again.exit_code == 0 and "nothing" in again.output


def test_the_command_that_helps_can_be_given_as_it_stands_or_says_what_is_hidden(tmp_path):
    path = old_file(tmp_path / "of the night's job.sqlite")
    with pytest.raises(SettingsError) as caught:
        Database(path)
    told, _, address = str(caught.value).partition("registry upgrade ")
    [address] = shlex.split(address)
    assert address == str(path) and "***" not in told
    engine, masked = registry_engine(path), "postgresql://ada:***@registry.example.com/books"
    with transaction(engine) as con, pytest.raises(SettingsError) as caught:
        make_registry_tables(con, "registry", masked)
    told, _, address = str(caught.value).partition("registry upgrade ")
    assert shlex.split(address) == [masked] and "the password in place of ***" in told


def test_a_registry_that_is_newer_is_neither_opened_nor_upgraded(old):
    upgrade_registry(old)
    with registry_engine(old).begin() as con:
        con.execute(sa.text("UPDATE registry_revision SET version_num = '0099'"))
    assert reason(lambda: Database(old)) == "newer_registry"
    assert reason(lambda: upgrade_registry(old)) == "newer_registry"


def test_the_program_of_before_refuses_what_was_upgraded(old):
    "0.1.0 reads the number in `registry_schema`, and refuses one above 1."
    upgrade_registry(old)
    with registry_engine(old).connect() as con:
        assert con.execute(sa.text("SELECT version FROM registry_schema")).scalars().all() == [2]


def test_the_copy_is_the_registry_of_before(tmp_path):
    folder = tmp_path / "registry"
    folder.mkdir()
    path = old_file(folder / "registry.sqlite")
    before, text = rows(f"sqlite:///{path}"), sqlite_text(path)
    copy = upgrade_registry(path).copy
    assert (rows(f"sqlite:///{copy}"), sqlite_text(copy)) == (before, text)
    assert copy.parent == path.parent and copy.stat().st_mode & 0o077 == 0
    assert reason(lambda: Database(copy)) == "older_registry"
    names = {one.name for one in folder.iterdir()}
    assert names - {"registry.sqlite-wal", "registry.sqlite-shm"} == {path.name, copy.name}


def test_where_no_registry_is_no_file_and_no_postgresql_is_upgraded_or_made(tmp_path, postgres):
    folder = tmp_path / "empty"
    folder.mkdir()
    for nowhere in (folder / "none.sqlite", folder / "no folder" / "none.sqlite"):
        assert reason(lambda: upgrade_registry(nowhere)) == "no_registry"
    assert not [*folder.iterdir()]
    assert reason(lambda: upgrade_registry(postgres())) == "no_registry"
    (folder / "other.sqlite").touch()
    assert reason(lambda: upgrade_registry(folder / "other.sqlite")) == "no_registry"
    assert [one.name for one in folder.iterdir()] == ["other.sqlite"]
    (folder / "other.sqlite").write_text("a letter, and no database at all\n" * 40)
    assert reason(lambda: upgrade_registry(folder / "other.sqlite")) == "no_registry"


def test_a_path_is_that_of_the_file_whatever_signs_it_has(tmp_path):
    for name in ("a b.sqlite", "50%.sqlite", "a%20b.sqlite", "the night's.sqlite", "ü+#.sqlite"):
        for path in (tmp_path / name, str(tmp_path / name)):
            assert registry_engine(path).url.database == str(tmp_path / name)


def test_a_database_without_a_free_connection_is_no_fault_of_a_value(tmp_path):
    address, pool = f"sqlite:///{tmp_path / 'one.sqlite'}", {"pool_size": 1, "max_overflow": 0}
    engine = sa.create_engine(address, poolclass=sa.QueuePool, pool_timeout=0.01, **pool)
    with transaction(engine), pytest.raises(DestinationError) as caught, transaction(engine):
        pass
    assert caught.value.reason == "no_registry" and "QueuePool" in str(caught.value)
    engine.dispose()


def test_two_upgrades_at_the_same_time_are_one(old):
    before = rows(old)
    with ThreadPoolExecutor(4) as pool:
        done = [*pool.map(upgrade_registry, [old] * 4)]
    assert sorted(one.before for one in done) == ["0001", "0002", "0002", "0002"]
    assert rows(old) == before


# odd names, and what is half there


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    "name", ["a?b.sqlite", "a%20b", "a b.sqlite", "x?mode=memory&uri=true", "a#b", "$(id)'\";&"]
)
def test_a_path_is_that_file_whatever_its_name(tmp_path, name):
    folder = tmp_path / "folder with spaces"
    folder.mkdir()
    path = old_file(folder / name)
    with pytest.raises(SettingsError) as caught:
        Database(path)
    assert caught.value.reason == "older_registry"
    assert reason(lambda: Database(str(path))) == "older_registry"
    command = re.search("domostats (registry upgrade .*)", str(caught.value))[1]
    assert len(shlex.split(command)) == 3
    ran = CliRunner().invoke(app, shlex.split(command))
    assert ran.exit_code == 0, (ran.output, ran.exception)
    names = {one.name for one in folder.iterdir()}
    assert {one for one in names if not one.startswith(name)} == set()
    Database(path).get("dataset", id=1)


def test_a_file_with_a_name_like_a_key_is_a_file(tmp_path):
    path = old_file(tmp_path / "mB7nC4kL9pA6sD1fZq3vX0u1r8sT2wY5")
    assert upgrade_registry(str(path)).after == REVISIONS[-1]


def test_what_is_no_database_is_neither_opened_nor_upgraded(tmp_path):
    whole = old_file(tmp_path / "whole").read_bytes()
    for content in (b"x" * 5000, whole[:9000], whole[:4096] + b"\xaa" * (len(whole) - 4096)):
        path = tmp_path / "broken"
        path.write_bytes(content)
        assert reason(lambda: upgrade_registry(path)) == "no_registry"  # noqa: B023
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("change", "opened", "upgraded"),
    [
        ("DROP TABLE licence", "older_registry", "upgrade_failed"),
        ("UPDATE registry_schema SET version = 99", "newer_registry", "newer_registry"),
    ],
)
def test_a_registry_that_is_not_whole_is_refused_in_words(tmp_path, change, opened, upgraded):
    path = old_file(tmp_path / "registry.sqlite")
    with closing(sqlite3.connect(path)) as con, con:
        con.execute(change)
    before = sqlite_text(path)
    assert reason(lambda: Database(path)) == opened
    assert reason(lambda: upgrade_registry(path)) == upgraded
    assert sqlite_text(path) == before
    assert [one for one in tmp_path.iterdir() if ".0001-" in one.name] == []


def test_a_path_that_cannot_be_looked_at_is_refused_in_words(tmp_path, monkeypatch):
    path = old_file(tmp_path / "registry.sqlite")

    def refuse(_):
        raise PermissionError(13, "Permission denied")

    assert reason(lambda: Database("a\0b")) == "no_registry"
    assert reason(lambda: upgrade_registry("a\0b")) == "no_registry"
    monkeypatch.setattr(Path, "is_file", refuse)  # as in a folder of another user
    assert reason(lambda: upgrade_registry(path)) == "no_registry"


def test_a_number_that_is_none_is_refused_in_words(tmp_path):
    path = old_file(tmp_path / "registry.sqlite")
    with closing(sqlite3.connect(path)) as con, con:
        con.execute("DROP TABLE registry_schema")
        con.execute("CREATE TABLE registry_schema (version)")
        con.execute("INSERT INTO registry_schema VALUES ('odd')")
    assert reason(lambda: Database(path)) == "newer_registry"
    assert reason(lambda: upgrade_registry(path)) == "newer_registry"


def test_where_the_revision_is_lost_the_upgrade_finds_its_way(old):
    upgrade_registry(old)
    told, before = schema(old), rows(old)
    with registry_engine(old).begin() as con:
        con.execute(sa.text("DELETE FROM registry_revision"))
    assert reason(lambda: Database(old)) == "older_registry"
    assert upgrade_registry(old).after == REVISIONS[-1]
    Database(old)
    assert (schema(old), rows(old)) == (told, before)


# rows of any kind

TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.sampled_from(["a\0b", "x" * 300, "'; DROP TABLE licence; --", ""]),
)
JSON = st.sampled_from(["null", '{"x": NaN}', '{"x": 1180591620717411303424}', '{"x": "\\ud83d"}'])
RELEASE = st.tuples(TEXT, JSON, st.sampled_from([None, -5, 0, 2**62]), st.booleans())


@pytest.mark.slow
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(RELEASE, max_size=8), st.lists(TEXT, max_size=6, unique=True), st.integers(0, 6))
def test_any_rows_survive_as_they_are_and_no_id_is_given_twice(tmp_path, releases, names, gone):
    "Odd rows too, which 0.1.0 has let in, and with others of each kind deleted at the end."
    path = tmp_path / "any.sqlite"
    for left in tmp_path.glob("any.sqlite*"):
        left.unlink()
    old_file(path)
    now = "2026-01-01 00:00:00.000000"
    with closing(sqlite3.connect(path, isolation_level=None)) as con:
        con.execute("PRAGMA foreign_keys = ON")
        for name in names:
            con.execute(
                "INSERT INTO organisation (name, created, modified) VALUES (?, ?, ?)",
                (name, now, now),
            )
        for n, (text, extra, count, decided) in enumerate(releases):
            made = con.execute(
                """
                INSERT INTO dataset_release (dataset_id, release_key, position, state, dag_run_id,
                    extra, row_count, created, modified)
                VALUES (2, ?, ?, 'loaded', ?, ?, ?, ?, ?)
                """,
                (f"x{n}", str(n), text, extra, count, now, now),
            )
            if decided:
                con.execute(
                    """
                    INSERT INTO export_decision (dataset_release_id, purpose, allowed, why,
                        created, modified)
                    VALUES (?, ?, 1, 'x', ?, ?)
                    """,
                    (made.lastrowid, text, now, now),
                )
        con.execute("DELETE FROM organisation WHERE id > ? AND id > 1", (9 - gone,))
        con.execute("DELETE FROM dataset_release WHERE id > ?", (17 - gone,))
        last = dict(con.execute("SELECT name, seq FROM sqlite_sequence").fetchall())
    before = raw_rows(path)
    upgrade_registry(path)
    assert raw_rows(path) == before
    with closing(sqlite3.connect(path)) as con:
        assert dict(con.execute("SELECT name, seq FROM sqlite_sequence").fetchall()) == last
        assert con.execute("PRAGMA foreign_key_check").fetchall() == []
        assert con.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def raw_rows(path):
    "The bytes of every value, with its type."
    told = {}
    with closing(sqlite3.connect(path)) as con:
        con.text_factory = bytes
        for kind in KINDS:
            names = [row[1].decode() for row in con.execute(f"PRAGMA table_info({kind})")]
            columns = ", ".join(f"{name}, typeof({name})" for name in names)
            told[kind] = con.execute(f"SELECT {columns} FROM {kind} ORDER BY id").fetchall()
    return told


# an upgrade that fails


def statements_of_an_upgrade(tmp_path):
    "How many statements an upgrade of a file runs."
    path = old_file(tmp_path / "counted.sqlite")
    count = 0

    def counting(*_):
        nonlocal count
        count += 1

    sa.event.listen(sa.Engine, "before_cursor_execute", counting)
    try:
        upgrade_registry(path)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", counting)
    return count


class Broken(Exception):
    "A statement that does not come through."


def upgrade_that_breaks_at(number, url):
    "An upgrade whose statement of this number fails."
    left = number

    def breaking(*_):
        nonlocal left
        left -= 1
        if left < 0:
            raise Broken

    sa.event.listen(sa.Engine, "before_cursor_execute", breaking)
    try:
        with pytest.raises(Broken):
            upgrade_registry(url)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", breaking)


def everything(url):
    if not url.startswith("sqlite"):
        return rows(url), schema(url)
    path = Path(url.removeprefix("sqlite:///"))
    with closing(sqlite3.connect(path)) as con:
        return [*con.iterdump()]


def test_wherever_an_upgrade_breaks_everything_is_as_it_was(tmp_path):
    total = statements_of_an_upgrade(tmp_path)
    assert total > 100
    path = old_file(tmp_path / "registry.sqlite")
    url = f"sqlite:///{path}"
    before = everything(url)
    for number in {*range(0, total, total // 4), total - 1}:
        upgrade_that_breaks_at(number, url)
        assert everything(url) == before
        assert reason(lambda: Database(url)) == "older_registry"
    assert not [*tmp_path.glob("registry.sqlite.*")]  # no copy of what is as it was
    assert upgrade_registry(url).before == "0001"


def test_a_step_that_fails_is_undone_with_those_before_it(old, tmp_path, monkeypatch):
    folder = tmp_path / "revisions"
    shutil.copytree(REVISION_FILES.parent, folder)
    (folder / "versions" / "0003_broken.py").write_text(
        "from alembic import op\n"
        "revision, down_revision = '0003', '0002'\n"
        "def upgrade():\n"
        "    op.execute('DELETE FROM export_decision')\n"
        "    op.execute('UPDATE nothing SET nobody = 1')\n"
    )
    monkeypatch.setattr(migrations, "SCRIPTS", str(folder))
    before = everything(old)
    with pytest.raises(DestinationError) as caught:
        upgrade_registry(old)
    assert caught.value.reason == "no_registry" and "Nothing was changed" in str(caught.value)
    assert everything(old) == before


def test_a_step_that_leaves_rows_without_what_they_belong_to_is_undone(tmp_path, monkeypatch):
    folder = tmp_path / "revisions"
    shutil.copytree(REVISION_FILES.parent, folder)
    (folder / "versions" / "0003_orphans.py").write_text(
        "from alembic import op\n"
        "revision, down_revision = '0003', '0002'\n"
        "def upgrade():\n"
        "    op.execute('DELETE FROM workflow WHERE id = 1')\n"
    )
    monkeypatch.setattr(migrations, "SCRIPTS", str(folder))
    url = f"sqlite:///{old_file(tmp_path / 'registry.sqlite')}"
    before = everything(url)
    assert reason(lambda: upgrade_registry(url)) == "upgrade_failed"
    assert everything(url) == before


KILLED = """
import os, signal, sys
import sqlalchemy as sa
from domostats.tracking.registry.migrations import upgrade_registry
left = int(sys.argv[2])
def killing(*_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
sa.event.listen(sa.Engine, "before_cursor_execute", killing)
upgrade_registry(sys.argv[1])
"""


@pytest.mark.slow
def test_an_upgrade_that_is_killed_leaves_everything_as_it_was(tmp_path):
    total = statements_of_an_upgrade(tmp_path)
    path = old_file(tmp_path / "registry.sqlite")
    before = everything(f"sqlite:///{path}")
    for number in (20, total // 2, total - 1):
        done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(number)], cwd=ROOT)
        assert done.returncode == -9 and everything(f"sqlite:///{path}") == before
    assert upgrade_registry(path).before == "0001"


# the files of the revisions


def test_the_revisions_are_those_that_the_program_knows_and_stand_by_themselves():
    files = sorted(path for path in REVISION_FILES.glob("*.py") if path.name != "__init__.py")
    assert tuple(path.name[:4] for path in files) == REVISIONS
    for path in files:
        imported = re.findall(r"^(?:from|import) (\w+)", path.read_text(), re.M)
        assert {*imported} <= {"alembic", "sqlalchemy"}, path
