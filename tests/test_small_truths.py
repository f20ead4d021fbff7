"""Small things that were not quite true: moments, ids, grants, sign-ins, deleted users, types of
columns."""

import warnings
from datetime import datetime, timezone

import pandas as pd
import pyarrow as pa
import pytest
from expected import expectations

from domostats import reports, sandbox
from domostats.clients.domo.credentials import AccessToken
from domostats.clients.domo.users import (
    get_current_user,
    get_identity_users,
    get_my_grants,
    get_user_by_id,
)
from domostats.reports import accounts, activity_log, groups, page_access, users
from domostats.rows.formatter import Formatter
from domostats.rows.rowtype import columns_of
from domostats.rows.rules import number
from domostats.sandbox.domo.data import given_accounts

REPORTS = expectations()
DAY = "2024-04-01"
ZERO = datetime(1970, 1, 1, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def one():
    "A sandbox that no test of this file changes."
    with sandbox.start(today=DAY, users=40, accounts=40, groups=20, datasets=30, pages=12) as box:
        yield box


@pytest.fixture
def limited(one):
    "The token of a user without rights."
    return AccessToken(one.limited.access_token, instance=one)


def quiet(report, *given, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return report.run(*given, **how)


# moments


@pytest.mark.parametrize("report", [activity_log, page_access])
@pytest.mark.parametrize("since", [ZERO, "1970-01-01", datetime(1960, 1, 1)])
def test_since_1970_is_a_moment_like_any_other(one, report, since):
    run = quiet(report.report, one, since=since)
    first = datetime(1960, 1, 1, tzinfo=timezone.utc) if since == datetime(1960, 1, 1) else ZERO
    assert run.window == (first, None)
    assert len(run.rows) == len(quiet(report.report, one).rows)


def test_a_run_until_1970_has_nothing(one):
    run = quiet(activity_log.report, one, until=ZERO)
    assert run.rows == [] and run.window == (None, ZERO)


# ids


def with_list(box, *ids):
    "What the sandbox answers for its provider list, with accounts of these ids."
    known = {"name": "x", "userId": "27", "displayName": "x", "type": "data", "valid": True}
    rows = [{"id": id, "dataProviderType": "mysql"} | known for id in ids]
    box.serve(
        "/api/data/v2/datasources/providers",
        [{"key": "mysql", "name": "MySQL", "authenticationScheme": "fields", "accounts": rows}],
    )


def with_flat(box, *ids):
    rows = [
        {"id": id, "userId": 27, "createdAt": 1_600_000_000_000, "configurations": {}} for id in ids
    ]
    box.serve("/api/data/v1/accounts", rows)


@pytest.mark.parametrize("spelled", ["0031", "31", 31, "000000000000000000000031"])
def test_an_id_with_zeros_joins_once(box, spelled):
    with_list(box, spelled)
    with_flat(box, 31)
    frame = accounts.generate(box)
    assert frame["Account_Id"].tolist() == [31]
    assert frame["Created_Date"].notna().all() and frame["Account_Id_text"].tolist() == ["31"]


@pytest.mark.parametrize("digits", ["1234567890123456789", "9223372036854775807"])
def test_an_id_of_19_digits_is_an_id(box, digits):
    with_list(box, digits)
    with_flat(box, int(digits))
    run = accounts.report.run(box)
    assert [row["Account_Id"] for row in run.rows] == [int(digits)]
    assert not run.violations and not run.spellings
    assert [row.id for row in given_accounts(box_list(digits), 1)] == [int(digits)]


def box_list(digits):
    return [{"key": "mysql", "accounts": [{"id": digits, "userId": "1"}]}]


def test_a_text_that_is_too_large_for_64_bits_is_no_number():
    rule = number("x")
    column = pa.array(["9223372036854775807", "9223372036854775808", "-12", "007", "x", None])
    found = rule.compute(column, rows=6).to_pylist()
    assert found == [9_223_372_036_854_775_807, None, -12, 7, None, None]


@pytest.mark.parametrize("spelled", ["236686698", 236686698])
def test_who_i_am_may_be_told_as_text(box, spelled):
    me = get_current_user(box).response
    box.serve("/api/content/v2/users/me", me | {"id": spelled})
    user = get_user_by_id(box, user_id=me["id"]).response
    box.serve(f"/api/content/v2/users/{me['id']}", user | {"id": spelled, "roleId": "1"})
    assert "account.admin" in get_my_grants(box)
    assert not accounts.report.run(box).incomplete


# grants


@pytest.mark.parametrize("name", ["users", "groups"])
def test_a_guess_about_a_grant_makes_no_run_partial(one, limited, name):
    report = reports.find(name)
    whole, seen = quiet(report, one), quiet(report, one, limited)
    assert seen.table.num_rows == whole.table.num_rows
    assert not seen.incomplete and not seen.doubts and seen.rows == whole.rows
    assert [note for note in seen.notes if "nobody has recorded" in note]
    assert not whole.notes


@pytest.mark.parametrize("name", [name for name, one in REPORTS.items() if one.all_and_own])
def test_what_is_recorded_about_grants_still_counts(one, limited, name):
    report = reports.find(name)
    seen = quiet(report, one, limited)
    assert seen.incomplete and seen.table.num_rows < quiet(report, one).table.num_rows


# sign-ins and deleted users


def test_the_last_login_is_there(one):
    frame = users.generate(one)
    when = frame["Last Login"]
    assert str(when.dtype) == "datetime64[us, UTC]" and when.notna().sum() > 20
    assert when.isna().any()  # who never signed in
    whole = users.generate(one, format_fn="all")
    both = whole[whole["last_login_at"].notna()]
    assert (both["last_login_at"] <= both["last_activity_at"]).all()
    assert (both["last_login_at"] >= both["created_at"]).all()


def test_the_log_knows_nobody_who_came_later_than_the_list_says(one):
    log = activity_log.generate(one, format_fn="all")
    seen = users.generate(one, format_fn="all").set_index("user_id")
    last = log.groupby("user_id")["event_at"].max()
    assert (seen.loc[last.index, "last_activity_at"] >= last).all()
    logins = log[log["action_type"] == "LOGGEDIN"].groupby("user_id")["event_at"].max()
    assert len(logins) and (seen.loc[logins.index, "last_login_at"] >= logins).all()


def test_deleted_users_come_on_request(one):
    known = get_identity_users(one).response
    everybody = get_identity_users(one, include_deleted=True).response
    gone = {user["id"]: user for user in everybody[len(known) :]}
    assert everybody[: len(known)] == known and gone
    for user in gone.values():
        told = {pair["key"]: pair["values"][0] for pair in user["attributes"]}
        assert told["isActive"] is False and user["displayName"]
    owners = accounts.generate(one, format_fn="v2")["user_id"]
    everybody = {str(user["id"]) for user in everybody}
    assert set(owners) <= everybody and not set(owners) <= {str(user["id"]) for user in known}


# types of columns


PEOPLE = {"Role ID": "Int64", "Employee Number": "Int64"} | dict.fromkeys(
    ("Last Login", "Password Created", "Created Date", "Last Updated Date"), "datetime64[us, UTC]"
)
ACCOUNTS = {"Account_Id": "Int64", "Owner_Id": "Int64"} | dict.fromkeys(
    ("Created_Date", "Modified_Date"), "datetime64[us, UTC]"
)
GROUPS = {"Created": "datetime64[us, UTC]"}
EVENTS = {"Event_Time": "datetime64[us, UTC]", "_BATCH_LAST_RUN_": "datetime64[us, UTC]"}


@pytest.mark.parametrize(
    "report, formatter, types",
    [
        (users, "domostats", PEOPLE),
        (accounts, "domostats", ACCOUNTS),
        (groups, "domostats", GROUPS),
        (groups, "with_creator", GROUPS),
        (activity_log, "domostats", EVENTS),
    ],
)
def test_columns_have_the_types_of_the_connector(one, report, formatter, types):
    "Text, unless the connector says otherwise; true and false too."
    frame = report.generate(one, format_fn=formatter)
    for name, dtype in frame.dtypes.items():
        wanted = types.get(name)
        assert (str(dtype) == wanted) if wanted else pd.api.types.is_string_dtype(dtype), name


def test_truths_are_texts_and_their_spelling_is_said_to_be_a_guess(one):
    assert set(accounts.generate(one)["Valid"].dropna()) == {"true", "false"}
    assert set(groups.generate(one, format_fn="with_creator")["Is Default"]) == {"true", "false"}
    for formatter, name in (
        (accounts.format_domostats, "Valid"),
        (users.format_people, "Org Chart"),
        (groups.format_with_creator, "Is Default"),
    ):
        assert isinstance(formatter, Formatter) and "guess" in formatter.rules[name].label


def test_the_end_of_credentials_has_its_types(one):
    frame = accounts.generate(one, format_fn="v2")
    dtypes = {name: str(frame[name].dtype) for name in frame.columns}
    assert dtypes["date_of_expiration"] == "datetime64[us, UTC]"
    assert dtypes["days_to_expiry"] == "Int64" and dtypes["expired"] == "boolean"
    told = frame[frame["days_to_expiry"].notna()]
    assert len(told) == 1 and not told["expired"].any()
    today = pd.Timestamp(DAY, tz="UTC")
    assert ((told["date_of_expiration"] - today).dt.days == told["days_to_expiry"]).all()


def test_the_end_of_credentials_has_its_types_where_nobody_tells(box):
    with_list(box, 1, 2)
    frame = accounts.generate(box, format_fn="v2")
    assert str(frame["date_of_expiration"].dtype) == "datetime64[us, UTC]"
    assert str(frame["days_to_expiry"].dtype) == "Int64"
    kinds = {name: column.arrow for name, column in columns_of(accounts.AccountRecord).items()}
    assert kinds["daysToExpiry"] == pa.int64() and kinds["expired"] == pa.bool_()


def test_an_oauth_configuration_has_the_columns_of_an_account_and_a_type_of_its_own():
    with sandbox.start(accounts=40, today="2024-04-01") as one:
        accounts = reports.accounts.generate(one, format_fn="domostats")
        apps = reports.oauth_configurations.generate(one)
        assert [*apps] == [*accounts] and len(apps) == 4
        assert set(accounts["Account_Type"]) == {"AUTHORIZATION"}
        assert set(apps["Account_Type"]) == {"OAUTH_CONFIGURATION"}
        one.serve(
            "/api/data/v1/accounts/templates/user/extended",
            [{"id": 7, "owner": 5, "dataProviderType": "x"}, {"id": "8", "dataProviderKey": "y"}],
        )
        older, newer = reports.oauth_configurations.generate(one, fresh=True).to_dict("records")
        assert (older["Account_Id"], older["Owner_Id"], older["Data_Provider"]) == (7, 5, "x")
        assert (newer["Account_Id"], newer["Account_Id_text"], newer["Data_Provider"]) == (
            8,
            "8",
            "y",
        )


def test_a_warning_from_within_a_with_block_of_the_kit_points_at_the_line_of_the_user(tmp_path):
    from domostats.transport.journal_file import open_database
    from domostats.transport.state_folder import folder_of, make_folder
    from domostats.transport.take_up import open_journal

    folder = make_folder(folder_of("work", "https://a.domo.com", "record"))
    open_database(folder, 0).close()
    path = folder / "record.sqlite"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.warns(UserWarning, match="is damaged") as caught:
        with open_journal("https://a.domo.com", "process", ["1"]):
            pass
    assert [one.filename for one in caught] == [__file__]
