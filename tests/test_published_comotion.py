"""The published comotion-sdk 1.2.2, unmodified, does at the sandbox what it does at the service. It
knows no addresses but the vendor's, so these lead to the sandbox, from outside of it.

Where it fails by a fault of its own, what came in was taken, and the sandbox has it on record."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from rebinding import IDENTITY, REBOUND, vendor_addresses

from domostats import sandbox

pytestmark = pytest.mark.slow
CLIENT = Path(__file__).parent / "comotion_client.py"
STEPS = (
    "sign_in",
    "first_model",
    "loads",
    "uploaders",
    "queries",
    "daily_runs",
    "commands",
    "other_program",
    "migrations",
    "defects",
)
PEOPLE = "select id, full_name from people order by id"
OURS = {"user": ("get-current-user",), "query": ("start-query", PEOPLE)}


@pytest.fixture(scope="module")
def told(peer, tmp_path_factory):
    "What each step gave, by the name of the step; `box` is the sandbox, still as it was left."
    folder, work = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("sdk")
    box = sandbox.start_dash("acme", rotate=False)
    with box, vendor_addresses(box, folder) as environment:
        asked = {
            "org": box.org,
            "client_id": box.client_id,
            "client_secret": box.client_secret.reveal(),
            "api_key": box.api_key.reveal(),
            "control": box.url,
            "other": [sys.executable, "-m", "domostats", "dash", "-o", box.org],
            "other_path": f"{REBOUND}:{ROOT}",
            "other_commands": OURS,
            "steps": STEPS,
        }
        done = subprocess.run(
            [peer("comotion-sdk"), CLIENT, work],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            env=environment,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        keys = json.loads((folder / "keys.json").read_text())
        yield {**found, "box": box, "keys": keys}


GOOD = {"LoadStatus": "SUCCESS", "ErrorType": None, "ErrorMessages": None}


def calls(box, path, method="POST"):
    "The statuses of the calls to the addresses that begin like this, in their order."
    return [one.status for one in box.log if one.method == method and one.path.startswith(path)]


def loads_of(box, table):
    return [load for load in box.loads.values() if load.table == table]


def test_an_application_and_a_user_sign_in(told):
    found, box = told["sign_in"], told["box"]
    assert found["application"] == box.client_id
    assert "unauthorized_client" in found["wrong_secret"]
    assert found["authenticate"][0] == 0, found["authenticate"]
    assert found["user"] == found["cli_token"] == "ada" and found["current_user"] == "0 ada"
    assert found["issuer"] == f"0 {IDENTITY}"
    (login,) = box.realm.logins
    assert login.user == "ada"
    realm = f"{IDENTITY}/auth/realms/acme"
    assert told["keys"] == {
        f"comotion auth api latest username ({IDENTITY})|acme": "ada",
        f"comotion auth api offline token ({realm})|ada": told["keys"][
            f"comotion auth api offline token ({realm})|ada"
        ],
    } | {name: value for name, value in told["keys"].items() if "domostats" in name}


def test_files_of_data_model_v1(told):
    found, box = told["first_model"], told["box"]
    assert found["forced"] == ["ok", "ok"] and found["found"] == ["ok"] and found["stream"] == "ok"
    assert found["wrong_key"].startswith("raised HTTPError: 403")
    assert [(one.table, one.client, one.rows) for one in box.first.files] == [
        ("ages", "901", 2),
        ("ages", "901", 1),
        ("found", "0", 1),
        ("ages", "0", 3),
    ]
    rows = box.first.rows_of("ages").to_pydict()
    assert rows["Id"] == ["001", "002", "003", "1", "2", "3"]
    assert rows["stamp"] == ["now"] * 3 + [None] * 3


def test_loads(told):
    found, box = told["loads"], told["box"]
    assert found["parts"] == found["large"] == found["as_user"] == GOOD
    assert found["wrong_sum"] == {
        "LoadStatus": "FAIL",
        "ErrorType": "CheckSumError",
        "ErrorMessages": ["Check sum failed: sum(id) expected 7, got 6"],
    }
    assert found["opened"] == found["attached"] == {**GOOD, "LoadStatus": "OPEN"}
    assert found["place"].endswith(".parquet") and "/opened/upload/" in found["place"]
    assert "ValidationError" in found["bad_name"]
    assert "mismatched input 'drop'" in found["bad_sum"] and "Load not found" in found["unknown"]
    (people,), (large,) = loads_of(box, "people"), loads_of(box, "large")
    assert (people.rows, people.partitions, large.rows) == (4, ["id"], 900_000)
    assert {"POST", "PUT"} == {
        one.method for one in box.log if one.place == "store" and "/large/" in one.path
    }, "a large file comes in parts"
    assert not loads_of(box, "1t") and loads_of(box, "wrong")[0].rows == 0
    users = {one.user for one in box.log if one.path == "/v2/load"}
    assert users == {"ada", f"service-account-{box.client_id}"}


def test_uploaders(told):
    found, box = told["uploaders"], told["box"]
    assert found == {"several": {"from_folder": GOOD, "from_sources": GOOD}, "one_call": GOOD}
    rows = {
        name: loads_of(box, name)[0].rows for name in ("from_folder", "from_sources", "one_call")
    }
    assert rows == {"from_folder": 3, "from_sources": 7, "one_call": 3}


def test_queries_and_their_results(told):
    found = told["queries"]
    lines = '"id","full_name"\n"001","Ada"\n"002","Bo"\n"003",""\n"004","Eve"\n'
    assert found["streamed"] == found["downloaded"] == lines
    info = found["info"]
    assert (info["query"], info["statementType"]) == (PEOPLE, "DML")
    assert info["status"]["state"] == found["as_user"] == "SUCCEEDED"
    page = found["page"]
    assert page["resultSet"]["Rows"][4] == {
        "Data": [{"VarCharValue": "004"}, {"VarCharValue": "Eve"}]
    }
    assert page["ResultSetMetaData"]["ColumnInfo"][0] == {"Name": "id", "Type": "varchar"}
    assert found["failed"]["state"] == "FAILED"
    assert "COLUMN_NOT_FOUND" in found["failed"]["stateChangeReason"]
    assert found["bad_sql"].startswith("raised ValueError: ")
    assert found["unknown"] == "raised ValueError: query_id cannot be found"
    assert found["stopped"] is None


def test_daily_runs(told):
    found = told["daily_runs"]
    assert found["enabled"] is True and found["disabled"] is False
    shown = {"stopDate": None}  # its models add that to whatever comes
    assert found["none"] == [
        {"executions": [], **shown},
        None,
        {"message": "There are no successful executions.", **shown},
    ]
    started, busy = found["started"], found["busy"]
    assert (started["started"], busy["started"]) == (True, False)
    assert busy["runningExecution"]["name"] == started["executionName"]
    assert busy["runningExecution"]["status"] == "RUNNING"
    listed, latest, successful = found["some"]
    assert [one["name"] for one in listed["executions"]] == [started["executionName"]]
    assert latest["status"] == "SUCCEEDED" and successful["stopDate"]


def test_commands(told):
    found, box = told["commands"], told["box"]
    assert found["query"] in box.queries and found["load"] in box.loads
    assert found["download"].startswith("0 ") and found["file"] == '"one"\n"1"\n'
    assert found["query_state"] == found["query_info"] == "0 SUCCEEDED"
    assert found["stop_query"] == "0 Query stopped"
    assert found["upload"].startswith("0 ") and found["commit"] == "0 Load committed"
    assert (found["processing"], found["load_info"]) == ("0 PROCESSING", "0 SUCCESS")
    load = box.loads[found["load"]]
    assert (load.rows, load.partitions, [*load.keys]) == (3, ["id"], ["part_1"])
    assert (found["enabled"], found["enable"]) == ("0 false", "0 true")
    assert found["runs"].startswith("0 {") and '"started": true' in found["run"]


def test_domostats_goes_on_with_the_sign_in_of_the_sdk_at_the_same_addresses(told):
    found, box = told["other_program"], told["box"]
    assert found["user"] == [0, "ada\n", ""]
    code, query, errors = found["query"]
    assert (code, errors) == (0, "") and box.queries[query.strip()].rows == 4


def test_migrations(told):
    found, box = told["migrations"], told["box"]
    assert "Full migration process: Not Run" in found["before"]
    assert found["flash"] is None and found["full"] is None
    busy = (
        "raised ValueError: Migration cannot be started. There may already be a migration running."
    )
    assert found["busy"] == found["second"] == busy
    assert found["flash_words"] == ["Started", "Completed"]
    assert found["full_words"] == ["Cleaning Up", "Started", "Completed"]
    assert found["by_command"].startswith("1")
    assert "Full migration process: Completed" in found["after"]
    assert found["v1_is_closed"].startswith("raised HTTPError: 400")
    assert found["found_v2"] == GOOD and box.table("after_all").num_rows == 3
    assert calls(box, "/v2/migration") == [202, 409, 202, 409, 409]


# --- its own faults, by their number in the list of what a better library must not do ---


def accepted(box, table):
    "The load of a table: it was opened, and every call and every file of it was taken."
    (load,) = loads_of(box, table)
    statuses = {one.status for one in box.log if load.id in one.path}
    assert statuses <= {200, 202}, statuses
    return load


def test_rows_lost_from_an_open_file_were_never_sent(told):
    "D1: the first piece of a handle is used up by a look at its kind; its own count agrees."
    load = accepted(told["box"], "d_handle")
    assert told["defects"]["handle"] == GOOD
    assert (load.state, 0 < load.rows < 20_000) == ("SUCCESS", True)


def test_other_kinds_of_files_are_not_read_as_what_they_are(told):
    "D4: Parquet is taken for CSV and given up before a file is sent; JSON is loaded as CSV."
    parquet, json_lines = accepted(told["box"], "d_parquet"), accepted(told["box"], "d_json")
    assert told["defects"]["parquet"].startswith("raised ValueError")
    assert (parquet.state, parquet.keys) == ("OPEN", {})
    assert told["defects"]["json"] == GOOD and json_lines.state == "SUCCESS"
    assert json_lines.rows == 0, "the whole file became the names of columns"


def test_parts_with_types_of_their_own_are_taken_and_fail_together(told):
    "D7: the type of a column is guessed for each part by itself."
    load = accepted(told["box"], "d_types")
    assert told["defects"]["types"]["ErrorType"] == load.error_type == "SchemaError"
    assert len(load.keys) == 2


def test_an_index_becomes_a_column(told):
    "D8: a frame in another order brings the numbers of its rows along."
    load = accepted(told["box"], "d_index")
    assert told["defects"]["index"] == GOOD
    assert told["box"].table(load.table).column_names == [
        "id",
        "full_name",
        "__index_level_0__",
        "service_client_id",
    ]


def test_a_number_of_numpy_in_a_check_sum_never_leaves_the_sdk(told):
    "D32: the file was taken, and no commit came."
    load = accepted(told["box"], "d_numpy")
    assert told["defects"]["numpy_sum"].startswith("raised AttributeError")
    assert (load.state, len(load.keys)) == ("OPEN", 1)


def test_a_refresh_token_that_was_replaced_is_used_again(told):
    "D30: the realm gave a new one, and the sdk came with the old one, as its record shows."
    box = told["box"]
    assert told["defects"]["first_refresh"] is True
    assert "credentials are not valid" in told["defects"]["second_refresh"]
    assert [one.status for one in box.log if one.place == "realm"][-2:] == [200, 400]
    (login,) = box.realm.logins
    assert len(login.spent) == 1
