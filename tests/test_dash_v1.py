"""Data Model v1 can only append, so each part goes there at most once, and what nobody knows is
said; and the way from v1 to v2.

What programs may count on, and where it is shown:

    it is imported without a word         test_dash_defects: test_importing_says_nothing
    and without what is optional          test_dash_v1: test_an_upload_to_v1_needs_nothing_that_is_optional
    a CSV file by its path                test_dash_v1: test_a_file_is_sent_by_path_and_as_a_stream
    parts of rows, and of two megabytes   test_dash_v1: test_wide_rows_make_parts_smaller_and_none_passes_two_megabytes
    a function changes each part          test_dash_v1: test_a_function_changes_each_chunk_once_in_place_or_by_what_it_gives
    texts stay as they are                test_dash_v1: test_texts_stay_as_they_stand_in_the_file
    a dry run                             test_dash_v1: test_a_dry_run_needs_no_network_and_writes_what_would_be_sent
    two functions for a loop of one's own test_dash_v1: test_a_loop_of_ones_own_sends_what_sql_reads_piece_by_piece
    a database in flat memory             test_dash_v1: test_four_times_the_rows_of_a_database_take_no_more_memory
    every kind of source for v2           test_dash_v1: test_every_kind_of_source_becomes_one_load_of_v2
    v1 or v2 is said or asked for         test_dash_v1: test_the_state_of_the_migration_decides_and_every_word_is_understood
    no answer is an error, never v1       test_dash_v1: test_a_question_without_an_answer_is_an_error_and_no_upload
    the ETL of v1 becomes one of v2       test_dash_v1: test_the_change_of_an_etl_from_v1_to_v2_runs_as_it_stands
    a flash schema migration              test_dash_v1: test_a_migration_is_started_as_it_was_recorded
    a full one, with what was there       test_dash_v1: test_a_full_migration_onto_rows_fails_and_says_so
    a full one, once, and v1 is closed    test_dash_v1: test_a_full_migration_is_done_once_and_closes_v1
    how a migration stands                test_dash_v1: test_the_state_of_the_migration_decides_and_every_word_is_understood
    signing in from the terminal          test_dash_commands: test_authenticate_signs_in_or_ends_with_an_error
    which organisation is meant           test_dash_commands: test_the_organisation_is_an_option_or_in_the_environment_or_asked_for

And defects of the published SDK in this half:

    an error of the question became v1    test_dash_v1: test_a_question_without_an_answer_is_an_error_and_no_upload
    a repetition stored parts twice       test_dash_v1: test_a_fault_in_any_part_doubles_none_and_what_is_not_known_is_said
    options were dropped on the way to v2 test_dash_v1: test_options_and_handles_reach_a_load_of_v2
    waiting had no end                    test_dash_v1: test_waiting_for_a_migration_has_a_limit
    an unknown word was an error          test_dash_v1: test_the_state_of_the_migration_decides_and_every_word_is_understood
    a failed load was exit code 0         test_dash_commands: test_a_failed_load_is_no_success
"""  # noqa: E501

import contextlib
import gzip
import io
import json
import logging
import os
import random
import re
import sqlite3
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pandas as pd
import pytest
from conftest import KILLS, ROOT
from dash_support import BLOCKS, guide_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from secret_search import leaks

from domostats import dash, sandbox
from domostats.clients.dash.auth import sign_in
from domostats.errors import (
    AccessError,
    CredentialsError,
    DataError,
    DomostatsError,
    RetryLaterError,
    SettingsError,
)
from domostats.loading.dash.v1_parts import pack_parts
from domostats.loading.dash.v1_upload import upload_v1

PATH = "/v1/data-input-file"
pytest_plugins = "dash_support"


@pytest.fixture(scope="module")
def one_box():
    with sandbox.start_dash("first") as running:
        yield running


@pytest.fixture
def box(one_box, own_folder):
    "A sandbox that every test finds healthy, before any migration, and without a table."
    one_box.heal()
    wipe(one_box)
    one_box.log.clear()
    return one_box


def wipe(box):
    for schema in (f"{box.org}-lake-v1", f"{box.org}-lake"):
        con = box.service.world.loads.lake.cursor()
        for (name,) in con.execute(
            "SELECT table_name FROM duckdb_tables() WHERE schema_name = ?", [schema]
        ).fetchall():
            con.execute(f'DROP TABLE "{schema}"."{name}"')
        con.close()
    box.first.files.clear()
    box.first.closed = False
    move = box.migration
    move.flash, move.full, move.ahead = "Not Run", "Not Run", []
    move.messages = {"flash": None, "full": None}


def rows_of(box, table="ages"):
    found = box.first.rows_of(table)
    return found.drop_columns(["service_client_id"]).to_pydict() if found.num_columns else {}


def test_what_is_shown_is_there():
    told = re.findall(r"(test_\w+): (test_\w+)", __doc__)
    assert len(told) >= 25
    for file, name in told:
        assert f"def {name}(" in (ROOT / "tests" / f"{file}.py").read_text(), name


def send(box, data, table="ages", **more):
    return dash.read_and_upload_file_to_dash(
        data, table, box, dash_api_key=box.api_key, data_model_version="v1", **more
    )


# --- what arrives ---

texts = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=12)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.lists(st.tuples(texts, texts), max_size=40),
    st.integers(1, 50),
    st.integers(90, 400),
)
def test_every_text_arrives_in_its_order_in_parts_that_are_small_enough(rows, most, size):
    from domostats.loading.dash.v1_record import V1Facts, V1Record
    from domostats.loading.dash.v1_sending import V1Sending
    from domostats.loading.uploads.sources import open_sources

    frame = pd.DataFrame(rows, columns=["a", "ü b"], dtype=str)
    got = []
    record = V1Record(None, "t", V1Facts(""))
    sending = V1Sending(record, "t", lambda n, content: got.append((n, content)) or "", most)
    sending.run(open_sources(frame))
    assert [n for n, _ in got] == [*range(1, len(got) + 1)]
    parts = [
        pd.read_csv(io.BytesIO(gzip.decompress(part)), dtype=str, keep_default_na=False)
        for _, part in got
    ]
    assert all(len(part) <= most for part in parts)
    back = [tuple(row) for part in parts for row in part.itertuples(index=False)]
    # a reader takes a lone carriage return for the end of a line, in quotes it is one of the text
    assert back == [(a, b) for a, b in rows]
    small = list(pack_parts(frame, max(size, 300)))
    assert sum(part.rows for part in small) == len(rows)
    assert all(len(part.content) <= max(size, 300) for part in small)


def test_texts_stay_as_they_stand_in_the_file(box):
    Path("ages.csv").write_text(
        'id,long,note\n001,12345678901234567890,"a ""b"", c"\n002,1.50,NA\n003,,"two\nlines"\n',
        encoding="utf-8",
    )
    assert send(box, "ages.csv") == ["ok"]
    assert rows_of(box) == {
        "id": ["001", "002", "003"],
        "long": ["12345678901234567890", "1.50", ""],
        "note": ['a "b", c', "NA", "two\nlines"],
    }


@pytest.mark.parametrize("kind", ["path", "text", "bytes", "encoding"])
def test_a_file_is_sent_by_path_and_as_a_stream(box, kind):
    lines = "id,name\n" + "".join(f"{n:05},né{n}\n" for n in range(2000))
    content = lines.encode("latin-1" if kind == "encoding" else "utf-8")
    Path("ages.csv").write_bytes(content)
    data = {
        "path": "ages.csv",
        "text": io.StringIO(lines),
        "bytes": io.BytesIO(content),
        "encoding": "ages.csv",
    }[kind]
    more = {"encoding": "latin-1"} if kind == "encoding" else {}
    assert send(box, data, chunksize=700, **more) == ["ok"] * 3
    assert rows_of(box)["id"] == [f"{n:05}" for n in range(2000)]
    assert rows_of(box)["name"][7] == "né7"
    assert [file.rows for file in box.first.files] == [700, 700, 600]


def test_wide_rows_make_parts_smaller_and_none_passes_two_megabytes(box):
    draw = random.Random(1)
    frame = pd.DataFrame({"n": [f"{n:04}" for n in range(60)]})
    frame["wide"] = [draw.randbytes(60_000).hex() for _ in range(60)]
    send(box, frame)
    assert len(box.first.files) > 1
    assert max(file.size for file in box.first.files) <= 2_000_000
    assert rows_of(box)["n"] == frame["n"].tolist()
    assert rows_of(box)["wide"] == frame["wide"].tolist()


def test_a_row_that_is_too_large_is_told_with_what_is_stored(box):
    frame = pd.DataFrame({"a": ["small", random.Random(1).randbytes(2_500_000).hex()]})
    with pytest.raises(DataError) as failed:
        send(box, frame, chunksize=1)
    assert failed.value.reason == "too_large" and "1 rows before it are stored" in str(failed.value)
    assert rows_of(box) == {"a": ["small"]}


def test_a_function_changes_each_chunk_once_in_place_or_by_what_it_gives(box):
    Path("ages.csv").write_text("id\n" + "".join(f"{n:04}\n" for n in range(50)))
    seen = []

    def in_place(frame):
        seen.append([*frame["id"]])
        assert "stamp" not in frame
        frame["stamp"] = "now"

    send(box, "ages.csv", chunksize=20, modify_lambda=in_place)
    assert [len(one) for one in seen] == [20, 20, 10] and seen[0][1] == "0001"
    assert rows_of(box)["stamp"] == ["now"] * 50
    send(box, "ages.csv", "other", modify_lambda=lambda f: f[f["id"] > "0044"].assign(stamp="x"))
    assert rows_of(box, "other") == {"id": [f"{n:04}" for n in range(45, 50)], "stamp": ["x"] * 5}
    with pytest.raises(SettingsError) as failed:
        send(box, "ages.csv", "third", modify_lambda=len)
    assert failed.value.reason == "not_a_table" and rows_of(box, "third") == {}


def test_a_dry_run_needs_no_network_and_writes_what_would_be_sent(box, tmp_path):
    Path("ages.csv").write_text("id\n" + "".join(f"{n:04}\n" for n in range(50)))
    given = dash.read_and_upload_file_to_dash(
        "ages.csv",
        "ages",
        "nobody-knows",
        dash_api_key="key",
        chunksize=20,
        path_to_output_for_dryrun=tmp_path / "out",
    )
    assert given == [] and not box.log
    files = sorted((tmp_path / "out").iterdir())
    assert [file.name for file in files] == [f"ages.{n}.csv.gz" for n in (1, 2, 3)]
    sent = []
    take = box.first.take

    def keep(headers, body):
        sent.append(body)
        take(headers, body)

    box.first.take = keep
    try:
        send(box, "ages.csv", chunksize=20)
    finally:
        del box.first.take
    assert [file.read_bytes() for file in files] == sent


def test_a_loop_of_ones_own_sends_what_sql_reads_piece_by_piece(box):
    con = sqlite3.connect("source.db")
    con.execute("CREATE TABLE my_table (id INTEGER, name TEXT)")
    con.executemany("INSERT INTO my_table VALUES (?, ?)", [(n, f"{n:04}") for n in range(250)])
    for df in pd.read_sql("SELECT * FROM my_table ORDER BY id", con, chunksize=100):
        df["snapshot"] = "2026"
        stream = dash.create_gzipped_csv_stream_from_df(df)
        response = dash.upload_csv_to_dash(box, box.api_key, "ages", stream)
        assert (response.status_code, response.text) == (200, "ok")
    con.close()
    assert rows_of(box)["id"] == [str(n) for n in range(250)]
    assert rows_of(box)["name"] == [f"{n:04}" for n in range(250)]
    assert {*rows_of(box)["snapshot"]} == {"2026"}


def test_a_service_client_is_said_in_its_header(box):
    send(box, pd.DataFrame({"id": ["1"]}), service_client_id="901")
    assert box.first.rows_of("ages").column("service_client_id").to_pylist() == ["901"]


@pytest.mark.parametrize(
    ("reason", "more"),
    [
        ("bad_token", {"dash_api_key": "guessed-key"}),
        ("bad_name", {"dash_table": "a\r\nb: c"}),
        ("bad_id", {"service_client_id": "a b"}),
        ("bad_size", {"chunksize": 0}),
        ("bad_argument", {"data_model_version": "v3"}),
        ("bad_argument", {"check_sum": {"count(*)": 1}}),
        ("bad_argument", {"partitions": ["day(x)"]}),
        ("no_file", {"file": "nothing.csv"}),
    ],
)
def test_what_cannot_be_sent_is_refused_and_leaves_no_row(box, reason, more):
    given = {
        "file": pd.DataFrame({"id": ["1"]}),
        "dash_table": "ages",
        "dash_orgname": box,
        "dash_api_key": box.api_key,
        "data_model_version": "v1",
        **more,
    }
    with pytest.raises(DomostatsError) as failed:
        dash.read_and_upload_file_to_dash(**given)
    assert failed.value.reason == reason and not box.first.files
    assert "guessed-key" not in str(failed.value)
    send(box, pd.DataFrame({"id": ["1"]}))  # nothing was left open that stands in the way
    assert rows_of(box) == {"id": ["1"]}


# --- at most once ---

UNKNOWN = [
    "drop",
    "drop_after",
    "refused_after",
    "server_error",
    "server_error_after",
    "bad_gateway",
    "unavailable",
    "unavailable_after",
    "html",
    "cut",
    "reset",
]
REFUSED = ["forbidden", "unauthorized"]
PASSES = ["rate_limited", "truncated"]


@pytest.mark.sampled(8)
@pytest.mark.parametrize("part", [0, 1, 2, 3])
@pytest.mark.parametrize("fault", UNKNOWN + REFUSED + PASSES)
def test_a_fault_in_any_part_doubles_none_and_what_is_not_known_is_said(box, fault, part):
    frame = pd.DataFrame({"id": [f"{n:03}" for n in range(8)]})
    box.fail(fault, PATH, after=part)
    upload(box, frame, fault, part)


def upload(box, frame, fault, part):
    "Upload eight rows in four parts, looking where it is said, until everything is there."
    arrived, unknown = None, 0
    for _ in range(4):
        before = len(box.first.files)
        try:
            send(box, frame, chunksize=2, arrived=arrived)
            break
        except RetryLaterError as e:
            assert e.reason == "unknown_outcome" and e.parts == [part + 1]
            assert f"part {part + 1}" in str(e) and "select count(*) from ages" in str(e)
            unknown += 1
        except (AccessError, CredentialsError):
            assert fault in REFUSED and len(box.first.files) == before + part
            continue
        found = rows_of(box).get("id", [])
        assert len({*found}) == len(found)
        if unknown == 2:  # the second time everything else is there
            assert len(box.first.files) in (3, 4)
            arrived = {part + 1: frame["id"][2 * part] in found}
    assert sorted(rows_of(box)["id"]) == frame["id"].tolist()
    assert len(box.first.files) == 4
    assert unknown == (2 if fault in UNKNOWN else 0)


def test_what_was_stored_is_not_sent_again_and_the_next_upload_is_a_new_one(box, caplog):
    frame = pd.DataFrame({"id": ["1", "2", "3"]})
    box.fail("forbidden", PATH, after=1)
    with pytest.raises(CredentialsError):
        send(box, frame, chunksize=1)
    with caplog.at_level(logging.INFO):
        assert send(box, frame, chunksize=1) == ["ok"] * 3
    assert "1 rows" in caplog.text and [file.rows for file in box.first.files] == [1, 1, 1]
    send(box, frame)
    assert rows_of(box)["id"] == ["1", "2", "3"] * 2


def test_other_rows_or_options_under_the_same_name_stop(box):
    frame = pd.DataFrame({"id": ["1", "2", "3"]})
    box.fail("forbidden", PATH, after=1)
    with pytest.raises(CredentialsError):
        send(box, frame, chunksize=1)
    unsent = pd.DataFrame({"id": ["1", "2", "9"]})  # another row, which was not sent yet
    for other, more in (
        (frame.iloc[::-1], {"chunksize": 1}),
        (frame, {"chunksize": 2}),
        (unsent, {"chunksize": 1}),
    ):
        with pytest.raises(SettingsError) as failed:
            send(box, other, **more)
        assert failed.value.reason == "other_source"
    for pieces in (["1"], ["9", "2", "3"]):
        with pytest.raises(SettingsError) as failed:
            send(box, (pd.DataFrame({"id": [piece]}) for piece in pieces), chunksize=1)
        assert failed.value.reason == "other_source"
    assert len(box.first.files) == 1
    send(box, frame, chunksize=2, fresh=True)
    assert rows_of(box)["id"] == ["1", "1", "2", "3"]


def test_other_rows_stop_also_where_the_first_run_has_not_come(box, monkeypatch):
    monkeypatch.setattr("domostats.loading.dash.v1_sending.SIZE", 100)  # a row is a chunk
    rows = [letter * 90 for letter in "abcd"]
    box.fail("forbidden", PATH, after=1)
    with pytest.raises(CredentialsError):
        send(box, pd.DataFrame({"text": rows}))
    with pytest.raises(SettingsError) as failed:
        send(box, pd.DataFrame({"text": [*rows[:3], "e"]}))
    assert failed.value.reason == "other_source" and len(box.first.files) == 1
    send(box, pd.DataFrame({"text": rows}))
    assert rows_of(box)["text"] == rows


def test_a_function_that_makes_other_rows_the_second_time_stops(box):
    draw = random.Random(1)
    frame = pd.DataFrame({"wide": [draw.randbytes(900_000).hex() for _ in range(4)]})
    box.fail("forbidden", PATH, after=1)
    with pytest.raises(CredentialsError):
        send(box, frame, modify_lambda=lambda f: f)
    stored = len(box.first.files)
    with pytest.raises(DataError) as failed:
        send(box, frame, modify_lambda=lambda f: f.head(3))
    assert failed.value.reason == "changed_meanwhile" and len(box.first.files) == stored
    send(box, frame, modify_lambda=lambda f: f.assign(stamp="later"))
    assert rows_of(box)["wide"] == frame["wide"].tolist()


def test_somebody_who_looked_speaks_of_parts_that_are_not_known(box):
    with pytest.raises(SettingsError) as failed:
        send(box, pd.DataFrame({"id": ["1"]}), arrived={1: True})
    assert failed.value.reason == "bad_argument" and not box.first.files


PROGRAM = """
import sys
import pandas as pd
from domostats.loading.dash.v1_upload import upload_v1

print("ready", flush=True)
sys.stdin.readline()
frame = pd.DataFrame({"id": [f"{n:04}" for n in range(400)]})
upload_v1(frame, "ages", "dash", rows=10)
"""


UPLOADS = """
import json, resource, sqlite3, sys
import pandas as pd
from domostats.loading.dash.v1_upload import upload_v1

rows, orgname = json.load(sys.stdin)
con = sqlite3.connect("source.db")
sql = "SELECT * FROM source LIMIT ?"
upload_v1(pd.read_sql(sql, con, params=[rows], chunksize=30_000), "ages", orgname)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_four_times_the_rows_of_a_database_take_no_more_memory(box, monkeypatch):
    """1 500 000 rows more than 500 000 have 120 megabytes as texts: who holds them, or a tenth of
    them, grows by more than is allowed here."""
    con = sqlite3.connect("source.db")
    con.execute("CREATE TABLE source (id INTEGER, code TEXT, name TEXT, amount REAL)")
    con.execute(
        """
        WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers LIMIT 2000000)
        INSERT INTO source
        SELECT n, printf('%012d', n), 'a name of some length ' || n % 977, n / 7.0 FROM numbers
        """
    )
    con.commit()
    con.close()
    section = f"[instance.dash-old]\nurl = {box.url}\norgname = {box.org}\n"
    Path("settings.ini").write_text(f"[domostats]\n{section}")
    monkeypatch.setenv("DOMOSTATS_DASH_API_KEY", str(box.api_key.reveal()))
    counted = []
    monkeypatch.setattr(box.first, "take", lambda headers, body: counted.append(lines_in(body)))
    peaks = {}
    for rows in (500_000, 2_000_000):
        counted.clear()
        done = subprocess.run(
            [sys.executable, "-c", UPLOADS],
            input=json.dumps([rows, box.org]),
            capture_output=True,
            text=True,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        assert sum(counted) == rows
        peaks[rows] = int(done.stdout) // 1024
    print(f"peak memory in MB by rows: {peaks}")
    assert peaks[2_000_000] - peaks[500_000] < 12, peaks


def lines_in(body):
    "How many rows the file of a part has."
    return gzip.decompress(body).count(b"\n") - 1


@pytest.mark.slow
def test_killed_at_any_moment_no_part_is_there_twice(own_folder, draws):
    "A process that is killed may leave one part of which nobody knows, and never two."
    Path("program.py").write_text(PROGRAM)
    with sandbox.start_dash("killed") as box:
        for turn in range(KILLS):
            wipe(box)
            with subprocess.Popen(
                [sys.executable, "program.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as child:
                assert child.stdout.readline() == b"ready\n"
                child.stdin.write(b"\n")
                child.stdin.flush()
                least = draws.randrange(1, 35)
                until = time.monotonic() + 60
                while len(box.first.files) < least and time.monotonic() < until:
                    time.sleep(0.001)
                child.kill()
            frame = pd.DataFrame({"id": [f"{n:04}" for n in range(400)]})
            arrived = None
            for _ in range(3):
                try:
                    upload_v1(frame, "ages", box, rows=10, arrived=arrived)
                    break
                except RetryLaterError as e:
                    (part,) = e.parts
                    there = frame["id"][10 * (part - 1)] in rows_of(box)["id"]
                    arrived = {part: there}
            assert sorted(rows_of(box)["id"]) == frame["id"].tolist(), turn


def test_no_key_is_in_the_record_or_in_what_is_shown(box, capsys, caplog):
    box.fail("drop", PATH)
    with pytest.raises(RetryLaterError):
        send(box, pd.DataFrame({"id": ["1"]}))
    shown = capsys.readouterr()
    key = str(box.api_key.reveal())
    assert key not in shown.out + shown.err + caplog.text
    assert not leaks(Path(os.environ["XDG_STATE_HOME"]), [key])


# --- one call for both models ---


@pytest.mark.parametrize(
    ("word", "model"),
    [
        ("Not Run", "v1"),
        ("Started", "v1"),
        ("Completed", "v2"),
        ("Complete", "v2"),
        ("Failed", "v1"),
        ("Rerunnable", "v1"),
        ("Cleaning Up", "v1"),
        ("Thawing", "v1"),  # a word that nobody knew
    ],
)
def test_the_state_of_the_migration_decides_and_every_word_is_understood(box, word, model):
    box.migration.full = word
    frame = pd.DataFrame({"id": ["1"]})
    said = dash.read_and_upload_file_to_dash(frame, "ages", box, dash_api_key=box.api_key)
    if model == "v1":
        assert said == ["ok"] and rows_of(box) == {"id": ["1"]}
    else:
        assert said.get_load_info()["ages"].load_status == "SUCCESS" and not box.first.files
    state = dash.Migration(sign_in(box)).status()
    assert state.full_migration_status == word and word in str(state)


@pytest.mark.parametrize("fault", ["server_error", "html", "forbidden", "unauthorized", "refused"])
def test_a_question_without_an_answer_is_an_error_and_no_upload(box, fault):
    box.fail(fault, "/v2/migration", times=None)
    frame = pd.DataFrame({"id": ["1"]})
    for key in (box.api_key, None):
        with pytest.raises(DomostatsError) as failed:
            dash.read_and_upload_file_to_dash(frame, "ages", box, dash_api_key=key)
        told = "data_model_version='v1'" in str(failed.value)
        assert told == bool(key), "v1 without a key would fail as well"
    assert not box.first.files and not any(call.path == PATH for call in box.log)


def test_who_has_a_key_and_no_sign_in_is_told_of_v1(box, monkeypatch):
    "Whoever used v1 alone has never signed in, and the question needs that."
    section = f"[instance.dash-old]\nurl = {box.url}\norgname = {box.org}\nissuer = {box.url}\n"
    Path("settings.ini").write_text(f"[domostats]\n{section}")
    frame = pd.DataFrame({"id": ["1"]})
    given = {"dash_orgname": box.org, "dash_api_key": str(box.api_key.reveal())}
    with pytest.raises(CredentialsError) as failed:
        dash.read_and_upload_file_to_dash(frame, "ages", **given)
    assert "data_model_version='v1'" in str(failed.value) and not box.log
    told = dash.read_and_upload_file_to_dash(frame, "ages", data_model_version="v1", **given)
    assert told == ["ok"] and rows_of(box) == {"id": ["1"]}
    listed = dash.list_v1_uploads(box.org).to_pylist()
    assert [(one["name"], one["rows"], one["record"]) for one in listed] == [("ages", 1, "ended")]


WITHOUT_EXTRAS = """
import json, sys
for name in ("authlib", "joserfc", "keyring", "python_calamine", "openpyxl", "sqlalchemy"):
    sys.modules[name] = None  # an import of it fails
import pandas as pd
from domostats import dash

given = json.load(sys.stdin)
frame = pd.DataFrame({"id": ["001", "002"]})
print(dash.read_and_upload_file_to_dash(frame, "ages", data_model_version="v1", **given))
try:
    dash.read_and_upload_file_to_dash("book.xlsx", "ages", data_model_version="v1", **given)
except Exception as e:
    print(type(e).__name__, e)
"""


def test_an_upload_to_v1_needs_nothing_that_is_optional(box):
    Path("book.xlsx").write_bytes(b"PK")  # nobody comes to read it
    section = f"[instance.dash-old]\nurl = {box.url}\norgname = {box.org}\n"
    Path("settings.ini").write_text(f"[domostats]\n{section}")
    given = {"dash_orgname": box.org, "dash_api_key": str(box.api_key.reveal())}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", WITHOUT_EXTRAS],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    first, second = done.stdout.splitlines()
    assert first == "['ok']" and rows_of(box) == {"id": ["001", "002"]}
    assert second.startswith("SettingsError") and "domostats[excel]" in second


def frames(kind, config, box):
    "A source of each kind with the same two rows, and how it is to be read."
    frame = pd.DataFrame({"id": ["001", "002"], "age": [35, 40]})
    if kind == "csv":
        frame.to_csv("ages.csv", index=False)
    elif kind == "excel":
        pytest.importorskip("openpyxl")
        frame.to_excel("ages.xlsx", index=False)
        return "ages.xlsx"
    elif kind == "json":
        frame.to_json("ages.json", orient="records")
        return "ages.json"
    elif kind == "parquet":
        frame.to_parquet("ages.parquet", index=False)
        return "ages.parquet"
    elif kind == "folder":
        Path("ages").mkdir()
        for n in (0, 1):
            frame.iloc[n : n + 1].to_csv(f"ages/{n}.csv", index=False)
        return "ages"
    elif kind == "frame":
        return frame
    elif kind == "query":
        import pyarrow as pa

        box.put_table("source", pa.Table.from_pandas(frame, preserve_index=False))
        return dash.Query(config, query_text="select * from source")
    return "ages.csv"


@pytest.mark.parametrize("kind", ["csv", "excel", "json", "parquet", "folder", "frame", "query"])
def test_every_kind_of_source_becomes_one_load_of_v2(box, kind):
    config = dash.DashConfig(sign_in(box))
    data = frames(kind, config, box)
    uploader = (
        dash.read_and_upload_file_to_dash(
            data,
            "ages",
            box,
            data_model_version="v2",
            check_sum={"sum(age)": 75},
            dtype={"id": "string", "age": "int64"},
        )
        if kind != "frame"
        else dash.read_and_upload_file_to_dash(
            data, "ages", box, data_model_version="v2", check_sum={"sum(age)": 75}
        )
    )
    assert isinstance(uploader, dash.DashBulkUploader)
    assert uploader.get_load_info()["ages"].load_status == "SUCCESS"
    table = box.table("ages").sort_by("id")
    assert table.column("id").to_pylist() == ["001", "002"]
    assert table.column("age").to_pylist() == [35, 40]
    assert not box.first.files


@pytest.mark.parametrize("kind", ["path", "bytes", "text"])
def test_options_and_handles_reach_a_load_of_v2(box, kind):
    "The SDK forgot the encoding, had no types and no zone, and took no open file."
    content = "id;name\n001;Müller\n002;Ada\n"
    Path("ages.csv").write_bytes(content.encode("latin-1"))
    data = {
        "path": Path("ages.csv"),
        "bytes": io.BytesIO(content.encode("latin-1")),
        "text": io.StringIO(content),
    }[kind]
    dash.read_and_upload_file_to_dash(
        data,
        "ages",
        box,
        data_model_version="v2",
        zone="main",
        encoding="latin-1",
        sep=";",
        dtype={"id": "int32"},
    )
    table = box.table("ages").sort_by("id")
    assert table.column("name").to_pylist() == ["Müller", "Ada"]
    assert str(table.schema.field("id").type) == "int32"
    with pytest.raises(SettingsError) as failed:
        send(box, "ages.csv", zone="main")
    assert failed.value.reason == "bad_argument" and "zone" in str(failed.value)


def test_a_service_client_that_is_said_twice_is_told(box):
    frame = pd.DataFrame({"id": [1], "service_client_id": ["7"]})
    with pytest.warns(UserWarning, match="service client 0 besides"):
        dash.read_and_upload_file_to_dash(frame, "ages", box, data_model_version="v2")
    dash.read_and_upload_file_to_dash(
        frame, "other", box, data_model_version="v2", service_client_id=None
    )
    assert box.table("other").column("service_client_id").to_pylist() == ["7"]


def test_loads_of_v2_and_uploads_to_v1_stand_in_one_list(box):
    config = dash.DashConfig(sign_in(box))
    frame = pd.DataFrame({"id": ["1", "2", "3"]})
    dash.Load(config, table_name="claims", load_as_service_client_id="0").close()
    send(box, frame, "done")
    box.fail("drop_after", PATH, after=1)
    with pytest.raises(RetryLaterError):
        send(box, frame, "left", chunksize=1)
    listed = {row["name"]: row for row in dash.list_loads(config).to_pylist()}
    assert {name: row["model"] for name, row in listed.items()} == {
        "claims": "v2",
        "done": "v1",
        "left": "v1",
    }
    assert listed["claims"]["state"] == "OPEN" and listed["done"]["state"] is None
    left, done = listed["left"], listed["done"]
    assert (done["record"], done["rows"], done["files"]) == ("ended", 3, 1)
    assert not done["resume_with"] and left["resume_with"]
    assert (left["record"], left["rows"], left["unknown_parts"]) == ("open", 1, 1)
    assert len({row["load_id"] for row in listed.values()}) == 3
    assert dash.list_v1_uploads(box).to_pylist() == [done, left]


def test_a_load_of_v2_whose_sum_is_wrong_is_raised(box):
    with pytest.raises(DataError) as failed:
        dash.read_and_upload_file_to_dash(
            pd.DataFrame({"age": [1]}),
            "ages",
            box,
            data_model_version="v2",
            check_sum={"sum(age)": 2},
        )
    assert failed.value.reason == "check_sum_failed" and box.table("ages").num_rows == 0


# --- migration and daily runs ---


def test_a_migration_is_started_as_it_was_recorded(box):
    move = dash.Migration(sign_in(box))
    assert move.start() == "Successfully Started Migration"
    move.wait_to_complete()
    move.start("FULL_MIGRATION", clear_out_new_lake=True)
    sent = [
        json.loads(call.body) for call in box.log if call.method == "POST" and call.body[:1] == "{"
    ]
    assert sent == [
        {"migration_type": "FLASH_SCHEMA", "clear_out_new_lake": "DO_NOT_CLEAR_OUT"},
        {"migration_type": "FULL_MIGRATION", "clear_out_new_lake": "CLEAR_OUT"},
    ]
    with pytest.raises(DataError) as failed:
        move.start()
    assert failed.value.reason == "not_now" and "one runs" in str(failed.value)


def test_a_full_migration_is_done_once_and_closes_v1(box):
    send(box, pd.DataFrame({"id": ["001", "002"]}))
    move = dash.Migration(sign_in(box))
    assert move.start("FULL_MIGRATION")
    assert move.wait_to_complete().is_complete
    assert box.table("ages").column("id").to_pylist() == ["001", "002"]
    for clear in (False, True):
        with pytest.raises(DataError) as failed:
            move.start("FULL_MIGRATION", clear_out_new_lake=clear)
        assert failed.value.reason == "not_now" and "data_model_version='v2'" in str(failed.value)
    with pytest.raises(DataError) as failed:
        send(box, pd.DataFrame({"id": ["003"]}))
    assert failed.value.reason == "bad_request" and "data_model_version='v2'" in str(failed.value)
    assert len(box.first.files) == 1


def test_a_full_migration_onto_rows_fails_and_says_so(box):
    send(box, pd.DataFrame({"id": ["1"]}))
    dash.read_and_upload_file_to_dash(
        pd.DataFrame({"id": ["2"]}), "other", box, data_model_version="v2"
    )
    move = dash.Migration(sign_in(box))
    move.start("FULL_MIGRATION")
    with pytest.raises(DataError) as failed:
        move.wait_to_complete()
    assert failed.value.reason == "migration_failed" and "data in the new lake" in str(failed.value)
    move.start("FULL_MIGRATION", clear_out_new_lake=True)
    assert move.wait_to_complete().is_complete
    assert box.table("other").num_rows == 0 and box.table("ages").num_rows == 1


@pytest.mark.parametrize("fault", ["drop", "drop_after", "unavailable_after", "server_error"])
@pytest.mark.parametrize("kind", ["FLASH_SCHEMA", "FULL_MIGRATION"])
def test_a_start_whose_answer_was_lost_is_looked_up(box, fault, kind):
    box.rules.migration_polls = 5
    box.fail(fault, "/v2/migration", after=1)
    assert dash.Migration(sign_in(box)).start(kind)
    posts = [call for call in box.log if call.path == "/v2/migration" and call.method == "POST"]
    assert len(posts) == (1 if fault.endswith("after") else 2)
    assert box.migration.ahead


def test_waiting_for_a_migration_has_a_limit(box):
    box.rules.migration_polls = 10**6
    move = dash.Migration(sign_in(box))
    move.start()
    with pytest.raises(RetryLaterError) as late:
        move.wait_to_complete(timeout=1)
    assert late.value.reason == "not_in_time"


def test_a_migration_of_no_kind_costs_no_call(box):
    way = sign_in(box)
    with pytest.raises(SettingsError):
        dash.Migration(way).start("EVERYTHING")
    assert not [call for call in box.log if "migration" in call.path]


def test_daily_runs_are_switched_started_and_looked_at(box):
    daily = dash.DailyRun(sign_in(box))
    assert daily.get_daily_run_enabled() is True
    assert daily.update_daily_run_enabled(False) is False
    assert daily.get_execution_info("latest") == []
    assert daily.get_execution_info("last_successful") == []
    first = daily.start_execution()
    second = daily.start_execution()
    assert first.started and not second.started and second.run.name == first.run.name
    assert daily.get_execution_info("list", 1)[0].status == "RUNNING"
    assert daily.get_execution_info("last_successful")[0].stop_date
    box.daily.executions.insert(0, {**box.daily.executions[0], "status": "FAILED"})
    found = [len(daily.get_execution_info("last_successful", limit)) for limit in (1, 2)]
    assert found == [0, 1], "so many of the latest are looked at"
    for wrong in (("all", 50), ("list", 0), ("list", 201)):
        with pytest.raises(SettingsError):
            daily.get_execution_info(*wrong)
    with pytest.raises(SettingsError):
        dash.DailyRun(sign_in(box), dns_suffix="example.com")
    box.daily.executions.clear()


# --- the guide ---


@pytest.fixture
def guide(monkeypatch):
    "Runs the blocks about Data Model v1 and the way to v2."
    with guide_of("dash_v1", monkeypatch) as blocks:
        for path in ("path/to/csv/file.csv", "path/to/file.csv"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text("id,name\n001,Ada\n002,\n")
        yield blocks


def test_the_blocks_of_v1_run_as_they_stand(guide, capsys):
    box = guide.boxes["my_org_name"]
    guide.run("import", {})
    guide.run("upload", {})
    assert rows_of(box, "my_table_name") == {"id": ["001", "002"], "name": ["Ada", ""]}
    names = guide.run("modify", {})
    stamps = rows_of(box, "my_table_name")["snapshot_timestamp"]
    assert stamps[2:] == [names["myTimeStamp"]] * 2
    before = len(box.log)
    guide.run("dry_run", {})
    (file,) = Path("outputpath").iterdir()
    assert file.name == "my_table_name.1.csv.gz" and len(box.log) == before
    assert gzip.decompress(file.read_bytes()) == b'"id","name"\n"001","Ada"\n"002",""\n'


def test_the_loop_over_a_database_runs_but_for_its_address_and_a_slip(guide):
    pytest.importorskip("sqlalchemy")
    frame = pd.DataFrame({"id": range(70_000), "code": [f"{n:05}" for n in range(70_000)]})
    with contextlib.closing(sqlite3.connect("source.db")) as con:
        frame.to_sql("my_table", con, index=False)
    address = "'postgresql://username:password@address.of.db:5432/mydatabase'"
    edits = [
        (address, "con='sqlite:///source.db'"),
        ("import pandas as pd", "import pandas as pd\nfrom datetime import datetime"),
    ]
    names = guide.run("database", {}, edits)
    found = rows_of(guide.boxes["my_org_name"], "my_table_in_dash")
    assert found["code"] == frame["code"].tolist()
    assert {*found["snapshot_timestamp"]} == {names["myTimeStamp"]}
    assert [file.rows for file in guide.boxes["my_org_name"].first.files] == [
        30_000,
        30_000,
        10_000,
    ]


def test_the_change_of_an_etl_from_v1_to_v2_runs_as_it_stands(guide):
    box = guide.boxes["my_dash_orgname"]
    box.first.keys.append(type(box.api_key)("my_api_key"))
    names = guide.run("etl_v1", {})
    assert names["upload_response"] == ["ok"]
    found = rows_of(box, "my_lake_table_name")
    assert found["id"] == ["001", "002"] and all(found["upload_timestamp"])
    names = guide.run("etl_v2", {})
    state = names["upload_response"].get_load_info()["my_lake_table_name"]
    assert state.load_status == "SUCCESS"
    table = box.table("my_lake_table_name")
    assert table.column("id").to_pylist() == ["001", "002"]
    assert all(table.column("upload_timestamp").to_pylist())
    assert all(table.column("data_import_batch").to_pylist())


def test_the_migration_of_the_guide_runs_as_it_stands(guide, capsys):
    box = guide.boxes["myorgname"]
    upload_v1(pd.DataFrame({"id": ["001", "002"]}), "ages", "myorgname", box.api_key)
    names = guide.run("migration", {})
    names["migration"].wait_to_complete()
    assert box.table("ages").num_rows == 1
    guide.run("full_migration", names)
    names["migration"].wait_to_complete()
    guide.run("status", names)
    assert "full migration: Completed" in capsys.readouterr().out
    assert box.table("ages").column("id").to_pylist() == ["001", "002"]


SEARCH = r'guide\.run\("(\w+)"|for name in \(([^)]+)\):\n +guide\.run'


def test_every_block_of_the_guide_is_run_by_a_test():
    "It has 24 blocks of Python; of one, which is no Python as it stands, a test mends the line."
    for folder, file, count in (("dash", "test_dash_loads", 14), ("dash_v1", "test_dash_v1", 10)):
        text = (ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8")
        run = {name for pair in re.findall(SEARCH, text) for name in re.findall(r"\w+", str(pair))}
        names = {path.stem[3:] for path in BLOCKS[folder].glob("*.txt")}
        assert len(names) == count and names <= run, names - run
    odd = []
    for path in sorted(path for folder in BLOCKS.values() for path in folder.glob("*.txt")):
        try:
            compile(textwrap.dedent(path.read_text(encoding="utf-8")), path.name, "exec")
        except SyntaxError:
            odd.append(path.stem)
    assert odd == ["05_database"]
