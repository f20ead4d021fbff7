"""What stands in which column: every formatter of every report, on single records and over HTTP.

The records and rows are those of `tests/expected`. Every value of a record is another one, so that
a column made from the wrong field is seen. Where a column has two values only (true or false, Yes
or No), no two columns have the same over all rows."""

import json
import threading
import warnings
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import pytest
from conftest import ROOT
from expected import HERE, expectations, utc
from expected.activity_log import EVENT
from expected.calls import ALL_OF_CALLS
from expected.datasets import SALES
from expected.oauth_configurations import APP_REPLIES
from expected.page_access import ACCESS, PAGE_REPLIES
from expected.users import PEOPLE

from domostats import reports
from domostats.instances import Instance
from domostats.transport.pages import Page

FIXTURES = ROOT / "tests" / "fixtures" / "domo"
REPORTS = expectations()
NAMES = [*REPORTS]
SHAPES = [(name, shape) for name, one in REPORTS.items() for shape in one.columns]


def expected_rows(name, shape, address=""):
    "The rows as the expectations have them, of an instance at this address."
    columns = [column for column, *_ in REPORTS[name].columns[shape]]
    values = [cells for _, _, *cells in REPORTS[name].columns[shape]]
    return [
        {
            column: cell.replace(HERE, address) if isinstance(cell, str) else cell
            for column, cell in zip(columns, row, strict=True)
        }
        for row in zip(*values, strict=True)
    ]


class Desk(BaseHTTPRequestHandler):
    "Answers with the replies of the expectations; a list has one page."

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body go in one piece
    replies = {
        "/api/content/v2/users/me": {"id": 101, "roleId": 2},
        "/api/content/v2/users/101": {"id": 101, "roleId": 2},
        "/api/authorization/v1/roles/2/authorities": sorted(
            {grant for one in REPORTS.values() for grant in (one.needs + one.guessed)[:1]}
        ),
    }

    failures = {}  # path: the statuses that come before its reply

    def do_GET(self):
        address = urlsplit(self.path)
        body = json.loads(self.rfile.read(int(self.headers["content-length"] or 0)) or b"{}")
        asked = dict(parse_qsl(address.query)) | (body if isinstance(body, dict) else {})
        reply = self.replies.get(address.path)
        if (
            any(int(asked.get(name, 0)) > 0 for name in ("offset", "skip"))
            or asked.get("pageNumber", 1) > 1
        ):
            reply = self.without_rows(reply)
        content = json.dumps(reply).encode()
        failures = self.failures.get(address.path)
        self.send_response(failures.pop() if failures else 404 if reply is None else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    do_POST = do_GET

    @staticmethod
    def without_rows(reply):
        if isinstance(reply, list):
            return []
        return {name: [] if isinstance(value, list) else value for name, value in reply.items()}

    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def server():
    class Served(Desk):
        replies = dict(Desk.replies)

    with ThreadingHTTPServer(("127.0.0.1", 0), Served) as running:
        running.daemon_threads = True
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield running
        running.shutdown()


def served(server, name):
    "The instance whose replies are those of this report."
    server.RequestHandlerClass.replies = Desk.replies | REPORTS[name].replies
    platform = REPORTS[name].platform or "domo"
    return Instance(f"{platform}-desk", f"http://127.0.0.1:{server.server_port}")


def generated(server, name, **how):
    "The report over HTTP, and what it warns of."
    if name == "activity_log":
        how["since"] = datetime(2024, 1, 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = reports.find(name).generate(served(server, name), "a-token", **how)
    return made, [str(one.message) for one in caught]


def rows_of(frame):
    "The rows of a data frame as dicts, its nulls as None."
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


@pytest.mark.parametrize("name", NAMES)
def test_every_format_is_written_out_and_the_first_is_the_usual_one(name):
    assert [*REPORTS[name].columns] == [*reports.find(name).formatters]


@pytest.mark.parametrize("name", NAMES)
def test_what_each_report_says_that_a_row_is(name):
    assert repr(reports.find(name)) == f"<report {name}: {REPORTS[name].grain}>"


@pytest.mark.parametrize("name", NAMES)
def test_a_column_that_is_always_empty_says_why(name):
    found = {}
    for shape, formatter in reports.find(name).formatters.items():
        for line in repr(formatter).splitlines():
            column, _, source = line.partition(" ← ")
            if source.startswith("nothing: "):
                found[shape, column] = source.removeprefix("nothing: ")
    assert found == REPORTS[name].always_empty


@pytest.mark.parametrize("name, shape", SHAPES)
def test_a_single_record_becomes_the_row_that_is_written_out(name, shape):
    formatter = reports.find(name).formatters[shape]
    rows = REPORTS[
        name
    ].rows  # those of the flat list stand last, and have no row in the other formats
    for records, expected in zip(rows, expected_rows(name, shape), strict=False):
        made = formatter(**records)
        assert [*made.items()] == [*expected.items()]
        assert [type(cell) for cell in made.values()] == [type(cell) for cell in expected.values()]


@pytest.mark.parametrize("name, shape", SHAPES)
def test_a_field_that_is_null_makes_the_row_of_one_that_is_missing(name, shape):
    formatter, rows = reports.find(name).formatters[shape], REPORTS[name].rows
    known = {keyword: dict.fromkeys(record or {}) for keyword, record in rows[0].items()}
    for records, expected in zip(rows, expected_rows(name, shape), strict=False):
        padded = {
            keyword: record if record is None else known[keyword] | record
            for keyword, record in records.items()
        }
        assert formatter(**padded) == expected


@pytest.mark.parametrize("name, shape", SHAPES)
def test_no_two_columns_are_alike_by_chance(name, shape):
    "Of two columns that are alike nobody would see that one is made from the field of the other."
    seen = {}
    for column, type, *cells in REPORTS[name].columns[shape]:
        if column not in REPORTS[name].alike and any(cell is not None for cell in cells):
            assert seen.setdefault((type, *cells), column) == column


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name, shape", [one for one in SHAPES if REPORTS[one[0]].replies])
def test_a_data_frame_over_http_holds_what_is_written_out(server, name, shape):
    usual = shape == next(iter(REPORTS[name].columns))
    frame, told = generated(server, name, **({} if usual else {"format_fn": shape}))
    assert [(column, str(type)) for column, type in frame.dtypes.items()] == [
        (column, type) for column, type, *_ in REPORTS[name].columns[shape]
    ]
    assert rows_of(frame) == expected_rows(name, shape, f"http://127.0.0.1:{server.server_port}")
    assert not told and not frame.attrs["domostats"]["incomplete"]


def test_plain_rows_over_http_hold_it_too(server):
    rows, told = generated(server, "page_access", is_dataframe=False)
    expected = expected_rows("page_access", "domostats")
    assert [[*row.items()] for row in rows] == [[*row.items()] for row in expected] and not told


def recorded(name):
    return json.loads((FIXTURES / f"{name}.json").read_text())


def test_recorded_records_become_the_rows_of_the_connector():
    "Whole replies as they were recorded, with every field that the services send."
    stream = recorded("stream_detail")
    own_name = "00000000-0000-4000-8000-000000000081"
    (row,) = reports.find("datasets").format(
        [stream["dataSource"]], is_dataframe=False, stream_obj=[stream], document_obj=[]
    )
    assert row == {
        "ID": "00000000-0000-4000-8000-000000000082",
        "Name": "Example Governance Datasets",
        "Link": "/datasources/00000000-0000-4000-8000-000000000082/details/overview",
        "Owner_User_ID": "100000001",
        "Created_Date": utc("2022-11-02 20:26:22"),
        "Last_Run_Date": utc("2023-11-16 00:50:10.118"),
        "Status": "Error",
        "Schedule": "Day",
        "Import_Type": f"domo-governance-{own_name}",
        "Data_Provider": f"domo-governance-{own_name}",
        "Source_Type": f"com.example.connector.{own_name}",
        "Cards_Powered": 0,
        "Row Count": 1188,
        "Column Count": 18,
        "PDP Enabled": None,
        "Shared": None,
        "Materialized": None,
        "Account_ID": "5",
        "Data_Warehouse": "Domo",
        "Cloud_Engine": "domo",
    }
    (row,) = reports.find("users").format(
        recorded("users_identity_v1_list")["users"],
        is_dataframe=False,
        old_user_obj=recorded("users_v2"),
        role_obj=recorded("roles"),
    )
    assert row == dict.fromkeys(column for column, *_ in PEOPLE) | {
        "Department": "Example Department",
        "Display Name": "Ada Example",
        "Role": "Privileged",
        "Title": "Example Title",
        "Email": "ada@example.com",
        "Profile Picture URL": "/api/content/v1/avatar/USER/100000001",
        "Phone Number": "000-000-0000",
        "Employee Number": 1,
        "Employee ID": "1",
        "Timezone": "UTC",
        "Role ID": 2,
        "User ID": "100000001",
        "Profile Picture": "false",
        "Org Chart": "true",
        "Created Date": utc("2025-01-01"),
        "Last Updated Date": utc("2025-01-01"),
        "Reports To": "100000002",
    }
    rows = reports.find("groups").format(
        recorded("groups_list"),
        "with_creator",
        is_dataframe=False,
        detail_obj=[{"parent": 200000001, "reply": recorded("group_by_id_deleted")}],
    )
    assert [[*row.values()] for row in rows] == [
        [
            *("200000001", "Example Group", None, None, "open"),
            *(utc("2023-06-08 20:59:05"), "100000001", "false"),
        ],
        [
            *("200000002", "Grant: Manage all groups", None, None, "system"),
            *(utc("2022-01-15 10:11:12"), None, None),
        ],
    ]
    rows = reports.find("page_access").format(
        [{"parent": 300000001, "reply": recorded("page_access_list")}],
        is_dataframe=False,
        page_obj=recorded("pages_adminsummary")["pageAdminSummaries"],
    )
    page = ("300000001", "Example Top Page", "page", "100000001", "Ada Example", *5 * [None])
    assert [[*row.values()] for row in rows] == [
        [*page, "100000002", "Ben Sample", None, None],
        [*page, None, None, "200000001", "Example Group"],
        [*page, None, None, "200000002", "Example Group Two"],
    ]
    rows = reports.find("activity_log").format(recorded("activity_log_events"), is_dataframe=False)
    assert [[*row.values()] for row in rows] == [
        [
            *("example_job", "100000001", "100000001", "Ada Example", "EXECUTED", "EXECUTOR_JOB"),
            *("00000000-0000-4000-8000-000000000101", "USER", utc("2024-03-23 18:20:47.106")),
            *("DEV_TOKEN", None, None, None, rows[0]["Event_ID"], None, None, None),
        ],
        [
            *("example token", "100000001", "100000001", "Ada Example", "DELETED", "ACCESS_TOKEN"),
            *("100103", "USER", utc("2024-03-23 18:20:00.296")),
            *("DEV_TOKEN", None, None, None, rows[1]["Event_ID"], None, None, None),
        ],
    ]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_what_was_fetched_before_makes_these_rows_whatever_stands_beside_it(name):
    report, (own, *lookups) = reports.find(name), REPORTS[name].lists.items()
    for shape in REPORTS[name].columns:
        for records in (own[1], [5, REPORTS[name].neighbour, None, *own[1]]):
            rows = report.format(records, shape, is_dataframe=False, **dict(lookups))
            assert rows == expected_rows(name, shape), (shape, len(records))


def run_of(name, *pages):
    "The run of a report over pages of records."
    arrays = [json.dumps(page).encode() for page in pages]
    pages = [Page(number, array, 0) for number, array in enumerate(arrays, 1)]
    report = reports.find(name)
    lookups = {lookup.keyword: [] for lookup in report.lookups}
    return report.over(report.formatter("all"), {report.source.keyword: pages} | lookups)


@pytest.mark.parametrize(
    "part, columns",
    [
        ("owner", ["owner_id", "owner_name", "owner_type", "owner_group"]),
        ("cardInfo", ["card_info_card_count", "card_info_card_view_count"]),
        ("properties", ["beast_mode_count"]),
        (
            "certification",
            [
                *("certification_state", "certification_last_updated", "certification_user_id"),
                *("certification_process_type", "certification_process_name"),
                *("certification_approval_request_id", "certification_admin_certified"),
            ],
        ),
    ],
)
def test_a_part_of_a_dataset_that_is_none_is_null_in_its_own_columns(part, columns):
    run = run_of("datasets", [SALES | {part: [5]}])
    assert run.rows == [expected_rows("datasets", "all")[0] | dict.fromkeys(columns)]
    assert {cell["column"] for cell in run.uncertain.to_pylist()} == {*columns}
    absent = run_of("datasets", [SALES | {part: None}])
    counts = {"beast_mode_count": 0} if part == "properties" else {}
    assert absent.rows == [expected_rows("datasets", "all")[0] | dict.fromkeys(columns) | counts]
    assert not absent.findings and len(absent.uncertain) == 0


@pytest.mark.parametrize("name, count", [("page_access", 2), ("page_people", 3)])
@pytest.mark.parametrize(
    "odd, field",
    [
        ({"parent": 306}, "pageId"),
        ({"reply": {"users": [], "groups": []}}, "pageId"),
        ({"parent": 306, "reply": 5}, "pageId"),
        ({"parent": 306, "reply": {"users": []}}, "pageId"),
        ({"parent": 306, "reply": {"groups": [], "users": None}}, "pageId"),
        ({"parent": 306, "reply": {"groups": [], "users": 5}}, ""),
        ({"parent": 306, "reply": {"groups": [], "users": [[]]}}, ""),
        ({"parent": 306, "reply": {"groups": [7], "users": []}}, ""),
        (5, ""),
    ],
)
def test_what_is_no_access_list_is_rejected_beside_others(name, count, odd, field):
    whole = {"parent": 301, "reply": PAGE_REPLIES[f"{ACCESS}301"]}
    run = run_of(name, [odd, whole])
    assert [row["page_id"] for row in run.rows] == count * ["301"]
    assert [(one.page, one.row, one.field) for one in run.violations] == [(1, 1, field)]
    assert run.incomplete


def test_a_group_is_told_by_a_whole_id_only():
    groups = [{"id": id, "users": [{"id": n}]} for n, id in enumerate((7.0, "8", True, 1.5, None))]
    run = run_of("page_people", [{"parent": 301, "reply": {"users": [], "groups": groups}}])
    assert [(row["user_id"], row["via_group_id"]) for row in run.rows] == [("0", "7"), ("1", "8")]
    assert [(one.row, one.field, one.met) for one in run.violations] == [
        (3, "viaGroupId", "true or false"),
        (4, "viaGroupId", "number"),
        (5, "viaGroupId", "null"),
    ]
    assert run.spellings == {"person_obj.viaGroupId": 1}


def test_events_that_are_the_same_are_told_apart_by_a_number():
    twin, other = EVENT | {"eventText": "is no part of the key"}, EVENT | {"objectId": "other"}
    later = EVENT | {"time": 1704240000052}
    run = run_of("activity_log", [later, EVENT, other], [twin, other, EVENT], [{}])  # newest first
    assert [row["event_key"] for row in run.rows] == [
        "f485a6edd94e46e9cd74c835-1",
        "43d8d9aac337c2c885db35c3-1",
        "c24ed15f65849f9a5c44753a-1",
        "43d8d9aac337c2c885db35c3-2",
        "c24ed15f65849f9a5c44753a-2",
        "43d8d9aac337c2c885db35c3-3",
        "3f8f1e8ee83b7051a9750918-1",
    ]
    assert run.repeated == 0


def test_the_calls_of_a_run_over_http(server):
    place = served(server, "oauth_configurations")
    path = "/api/data/v1/accounts/templates/user/extended"
    server.RequestHandlerClass.failures = {path: [503]}
    before = datetime.now(timezone.utc)
    reports.find("oauth_configurations").generate(place, "of-the-calls")
    frame = reports.find("calls").generate(place, "of-the-calls")
    after = datetime.now(timezone.utc)
    assert [(column, str(type)) for column, type in frame.dtypes.items()] == [
        (column, type) for column, type, *_ in ALL_OF_CALLS
    ]
    rows = rows_of(frame.drop(columns=["id", "at", "seconds"]))
    grants = "/api/authorization/v1/roles/2/authorities"
    assert [tuple(row.values()) for row in rows] == [
        # method, path, status, reason, bytes, attempt, rows and what is left of the budget
        ("GET", "/api/content/v2/users/me", 200, "", 24, 1, None, None),
        ("GET", "/api/content/v2/users/101", 200, "", 24, 1, None, None),
        ("GET", grants, 200, "", len(json.dumps(Desk.replies[grants])), 1, None, None),
        ("GET", path, 503, "", len(json.dumps(APP_REPLIES[path])), 1, None, None),
        ("GET", path, 200, "", len(json.dumps(APP_REPLIES[path])), 2, 3, None),
    ]
    assert frame["id"].is_unique and frame["at"].is_monotonic_increasing
    assert before <= frame["at"].min() + timedelta(milliseconds=1)
    assert frame["at"].max() <= after + timedelta(milliseconds=1)
    assert (frame["seconds"] > 0).all()
