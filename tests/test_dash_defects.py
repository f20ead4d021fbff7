"""Defects that the published SDK of Comotion Dash has were looked for here, by what provokes them.

Those that are provoked where their subject is tested:

    a token and other time zones          test_dash_sign_in: test_a_token_is_renewed_before_its_end_in_every_time_zone
    files that are no CSV are garbage     test_dash_features: test_a_file_of_each_kind_is_sent_by_path_and_as_a_stream
    relative folders, and stray files     test_dash_features: test_a_folder_gives_all_its_files_by_a_relative_path_too
    a failed query is an empty source     test_dash_loads: test_a_failed_or_cancelled_query_is_never_loaded
    an index becomes a column             test_load_sources: test_the_index_of_a_sorted_frame_is_no_column
    rows are counted after their loss     test_dash_loads: test_a_lost_chunk_is_found_by_the_number_of_rows
    rows are counted twice                test_dash_features: test_a_source_has_a_key_of_its_own_that_stays_when_it_is_sent_again
    an error becomes the result           test_dash_loads: test_errors_of_a_result_are_raised_and_never_data
    the store's error becomes the result  test_dash_client: test_an_error_of_the_store_never_becomes_data
    one 503 ends everything               test_dash_loads: test_a_fault_in_any_phase_leaves_every_row_once_or_an_error_and_no_row
    nothing can be gone on with           test_dash_loads: test_what_arrived_is_not_sent_again
    attaching takes no local options      test_dash_loads: test_attaching_takes_local_options_and_refuses_the_four
    a function is applied twice           test_dash_loads: test_the_same_call_on_the_same_object_goes_on_too_and_modifies_once
    waiting has no limit                  test_dash_loads: test_waiting_has_a_limit_and_looking_does_not_wait
    errors of several are swallowed       test_dash_features: test_one_bad_table_stops_no_other_and_is_told_at_the_end
    a look at loads waits                 test_dash_features: test_how_loads_stand_is_told_without_waiting
    a failed load raises nothing          test_dash_features: test_check_sums_are_any_aggregates_and_a_wrong_one_is_told
    unknown states are errors             test_dash_loads: test_a_state_that_nobody_knew_is_shown
    messages that are objects             test_dash_loads: test_messages_that_are_objects_are_read_too
    keys that have expired                test_dash_client: test_keys_that_expired_on_the_way_are_replaced_once
    everything is read ahead              test_dash_loads: test_four_files_are_on_their_way_at_most
    any redirect signs in                 test_dash_sign_in: test_a_redirect_that_is_not_as_it_should_be_signs_nobody_in
    the listener is open to the network   test_dash_sign_in: test_the_listener_is_on_loopback_alone_on_both_addresses
    a denied sign-in ends well            test_dash_features: test_the_command_signs_in_or_ends_with_an_error
    a favicon uses up the sign-in         test_dash_sign_in: test_favicons_probes_and_strangers_do_not_use_up_the_sign_in
    a browser that blocks                 test_dash_sign_in: test_a_browser_that_blocks_does_not_hold_up_the_sign_in
    a rotated token is thrown away        test_dash_sign_in: test_who_has_signed_in_with_the_sdk_need_not_sign_in_again
    numbers of numpy crash                test_dash_features: test_a_commit_takes_numbers_of_any_kind_and_needs_one_unless_rows_are_counted
    a dry run needs the network           test_dash_loads: test_a_dry_run_needs_no_sign_in

Not here: what belongs to the first data model, to migrations and to the routine for Oracle.
"""  # noqa: E501

import http.server
import logging
import re
import subprocess
import sys
import threading
from pathlib import Path

import keyring
import pandas as pd
import pyarrow as pa
import pytest
from dash_support import new_load, refresh
from keyring.backend import KeyringBackend
from pyarrow import parquet

from domostats import dash, sandbox
from domostats.clients.dash import queries, results
from domostats.errors import CredentialsError, DomostatsError, SettingsError
from domostats.secrets import Secret

TESTS = Path(__file__).parent
pytest_plugins = "dash_support"


@pytest.fixture(scope="module")
def served():
    with sandbox.start_dash("defects", load_polls=0, queued_polls=0, running_polls=0) as box:
        yield box


@pytest.fixture
def box(served, own_folder):
    return refresh(served)


def files_of(folder):
    return [parquet.read_table(path) for path in sorted(folder.iterdir())]


def test_what_is_provoked_elsewhere_is_there():
    told = re.findall(r"(test_\w+): (test_\w+)", __doc__)
    assert len(told) >= 20
    for file, name in told:
        assert f"def {name}(" in (TESTS / f"{file}.py").read_text(), name


@pytest.mark.sampled(2)
@pytest.mark.parametrize("mode", ["rb", "r"])
@pytest.mark.parametrize("count", [3, 200_000])
def test_an_open_handle_loses_no_row(box, config, table, count, mode):
    "The SDK stored 178,126 of 200,000 rows, and its count of rows agreed with that."
    Path("rows.csv").write_text("id,code\n" + "".join(f"{n},{n:06}\n" for n in range(count)))
    load = new_load(config, table, chunksize=70_000)
    with Path("rows.csv").open(mode) as file:
        load.upload_file(file)
    load.commit({"count(*)": count})
    rows = box.table(table)
    assert rows.column_names == ["id", "code", "service_client_id"]
    assert sorted(rows.column("id").to_pylist()) == [*range(count)]
    assert rows.column("code").to_pylist().count("000002") == 1


def test_a_handle_that_was_read_from_is_sent_from_there(config, table, tmp_path):
    Path("rows.csv").write_text("a remark\nid\n1\n2\n")
    load = new_load(config, table, path_to_output_for_dryrun=tmp_path / "out")
    with Path("rows.csv").open("rb") as file:
        file.readline()
        load.upload_file(file)
    (rows,) = files_of(tmp_path / "out")
    assert rows.to_pydict() == {"id": [1, 2]}


def test_a_renewed_sign_in_goes_where_the_first_one_went(box, monkeypatch):
    "The SDK forgot another identity provider, the zone and the certificates with the first call."
    section = f"[instance.dash-own]\nurl = {box.url}\norgname = defects\n"
    Path("settings.ini").write_text(f"[domostats]\n{section}")
    secret = str(box.client_secret.reveal())
    auth = dash.Auth("defects", box.url, None, dash.Auth.APPLICATION, box.client_id, secret)
    config = dash.DashConfig(auth)
    connection = config.connection
    for _ in range(3):
        dash.Query(config, query_text="select 1").wait_to_complete()
        connection.auth._until = 0  # the token has ended
    assert len([call for call in box.log if call.path.endswith("/token")]) >= 3
    assert config.connection is connection and not any(call.status >= 400 for call in box.log)


def test_a_column_has_one_type_in_all_chunks_of_a_file(config, table, tmp_path):
    "The SDK made numbers of the first chunk and texts of the second, and 7 of 007."
    lines = [f"{n},1,007,,2024-01-0{n}" for n in range(1, 5)] + ["5,x,8,,", "6,2,,,2024-01-06"]
    Path("rows.csv").write_text("id,mixed,code,empty,day\n" + "\n".join(lines) + "\n")
    load = new_load(config, table, chunksize=2, path_to_output_for_dryrun=tmp_path / "out")
    load.upload_file("rows.csv")
    tables = files_of(tmp_path / "out")
    assert len(tables) == 3 and len({one.schema for one in tables}) == 1
    assert not any(pa.types.is_null(kind) for kind in tables[0].schema.types)
    rows = pa.concat_tables(tables)
    assert rows.column("mixed").to_pylist() == ["1", "1", "1", "1", "x", "2"]
    assert rows.column("code").to_pylist()[:2] == ["007", "007"]
    assert rows.column("id").to_pylist() == [*range(1, 7)]


def test_twenty_files_need_one_token(box, config, table):
    "The SDK asked for a token with every call."
    load = new_load(config, table, chunksize=1)
    load.upload_df(pd.DataFrame({"id": range(20)}))
    load.commit()
    assert len([call for call in box.log if call.path.endswith("/token")]) == 1


def test_a_failure_ends_the_rest_and_says_which_file_it_was(box, config, table):
    "The SDK sent all other chunks first, and did not say which one had failed."
    load = new_load(config, table, chunksize=1)
    box.fail("forbidden", f"/v2/load/{load.load_id}/file", times=None, after=3)
    with pytest.raises(DomostatsError) as failed:
        load.upload_df(pd.DataFrame({"id": range(200)}), file_key="rows")
    asked = [call for call in box.log if call.path.endswith("/file")]
    assert len(asked) < 40
    assert re.search(r"\brows_\d+\b", str(failed.value))


def test_no_more_threads_send_than_were_asked_for(box, config, table, monkeypatch):
    "The SDK had a pool for each file in a pool for all of them."
    from domostats.loading.dash import service_load as module

    put, lock, now, most = module.put_file, threading.Lock(), [0], [0]

    def counts(*arguments):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        try:
            put(*arguments)
        finally:
            with lock:
                now[0] -= 1

    monkeypatch.setattr(module, "put_file", counts)
    uploader = dash.DashBulkUploader(config=config)
    uploader.add_load(table, track_rows_uploaded=True, load_as_service_client_id="0", chunksize=2)
    for start in range(5):
        uploader.add_data_to_load(table, pd.DataFrame({"id": [*range(start * 10, start * 10 + 9)]}))
    uploader.execute_upload(table, max_workers=2)
    assert 1 <= most[0] <= 2 and box.table(table).num_rows == 45


class NobodyThere(KeyringBackend):
    "A key store that has nothing."

    priority = 1

    def get_password(self, service, account):
        return None

    def set_password(self, service, account, value):
        raise AssertionError("nothing is kept")


def test_who_has_not_signed_in_is_told_how(monkeypatch):
    "The SDK crashed with an attribute of None."
    before = keyring.get_keyring()
    keyring.set_keyring(NobodyThere())
    try:
        with pytest.raises(CredentialsError) as told:
            dash.Query(dash.DashConfig(dash.Auth("acme")), query_text="select 1")
    finally:
        keyring.set_keyring(before)
    assert told.value.reason == "missing_secret" and "dash-sign-in acme" in str(told.value)


def test_an_id_of_an_application_alone_is_no_sign_in():
    "With the SDK a person with another id had no id at all, and that was found out later."
    with pytest.raises(SettingsError) as refused:
        dash.Auth("acme", application_client_id="own-client")
    assert refused.value.reason == "bad_argument" and "APPLICATION" in str(refused.value)
    assert dash.Auth("acme", application_client_id="comotion_cli").entity_type == dash.Auth.USER


def test_nothing_is_printed_and_no_log_is_made_louder(box, config, table, capfd):
    "The SDK printed over thirty things, and made the root of all logs tell everything."
    before = logging.getLogger().level
    uploader = dash.DashBulkUploader(config=config)
    uploader.add_load(table, track_rows_uploaded=True, load_as_service_client_id="0")
    uploader.add_data_to_load(table, pd.DataFrame({"id": [1]}))
    uploader.execute_all_uploads()
    uploader.get_load_info()
    dash.Query(config, query_text="select 1").download_csv("x.csv")
    said = capfd.readouterr()
    assert (said.out, said.err) == ("", "") and logging.getLogger().level == before


def test_importing_says_nothing():
    code = "import domostats.dash; from domostats.dash import Auth, DashBulkUploader, Load, Query"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class Unmeasured(http.server.BaseHTTPRequestHandler):
    "A store that sends a result in chunks, and says nowhere how long it is."

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.write(b'4\r\n"n"\n\r\n')
        if "whole" in self.path:
            self.wfile.write(b'4\r\n"1"\n\r\n0\r\n\r\n')
        self.close_connection = True

    def log_message(self, *words):
        pass


@pytest.mark.parametrize("end", ["whole", "cut"])
def test_a_result_without_its_length_is_whole_or_an_error(box, config, monkeypatch, end):
    "The SDK ended in a TypeError, with a part of the result in the file."
    query = dash.Query(config, query_text="select 1 as n")
    query.wait_to_complete()
    store = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Unmeasured)
    thread = threading.Thread(target=store.serve_forever, daemon=True)
    thread.start()
    link = Secret(f"http://127.0.0.1:{store.server_port}/{end}")
    for module in (results, queries):
        monkeypatch.setattr(module, "result_link", lambda *_: link)
    try:
        found = query.download_csv("result.csv").read_text()
        assert end == "whole" and found == '"n"\n"1"\n'
    except DomostatsError:
        assert not [path for path in Path().rglob("*") if "result" in path.name]
    finally:
        store.shutdown()
        store.server_close()
        thread.join(10)


def test_a_download_that_breaks_off_leaves_what_was_there(box, config):
    Path("result.csv").write_text("what was there")
    query = dash.Query(config, query_text="select n from unnest(sequence(1, 3000)) as t(n)")
    query.wait_to_complete()
    box.fail("cut", "/results", times=None)
    with pytest.raises(DomostatsError):
        query.download_csv("result.csv")
    assert Path("result.csv").read_text() == "what was there"
    box.faults.heal()
    assert query.download_csv("result.csv").read_text().count("\n") == 3001


def test_what_the_texts_call_things_works(box, config, table):
    "Texts and code of the SDK disagree on names; both are taken."
    query = dash.Query(config=config, query_text="select 1 as id")
    assert isinstance(query.query_id, str)
    assert query.wait_to_complete().query_id == query.query_id
    load = new_load(config, table)
    load.upload_df(df=pd.DataFrame({"id": [2]}))
    load.upload_dash_query(data=query)
    load.commit(check_sum={"count(*)": 2})
    assert sorted(box.table(table).column("id").to_pylist()) == [1, 2]
    assert dash.Dashconfig is dash.DashConfig


def test_a_user_defined_key_store_is_asked(box, monkeypatch):
    "The SDK forgot the class of a key store with the first call."
    made = []

    class Kept:
        def __init__(self, issuer, orgname):
            self.names = issuer, orgname
            made.append(self)
            self.store = {"ada": str(box.realm.log_in("ada").reveal())}

        def get_current_user(self):
            return "ada"

        def get_refresh_token(self):
            return self.store["ada"]

        def set_refresh_token(self, user, token):
            self.store[user] = token

    section = f"[instance.dash-own]\nurl = {box.url}\norgname = defects\nissuer = {box.url}\n"
    Path("settings.ini").write_text(f"[domostats]\n{section}")
    config = dash.DashConfig(dash.Auth("defects", credentials_cache_class=Kept))
    before = None
    for _ in range(2):
        dash.Query(config, query_text="select 1").wait_to_complete()
        (kept,) = made
        assert kept.names == (box.url, "defects")
        assert kept.store["ada"] != before, "a rotated token is given back to it"
        before = kept.store["ada"]
        config.connection.auth._until = 0
        config.connection.auth.login.store.kept_access.kept.clear()
    assert {call.user for call in box.log if call.place == "api"} == {"ada"}
