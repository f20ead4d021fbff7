"""The accounts report over real HTTP: what services really send, and what comes out of it."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest

from domostats import reports, sandbox
from domostats.clients.domo.accounts import ACCOUNTS, get_accounts
from domostats.clients.domo.auth import get_session_token
from domostats.clients.domo.users import get_users
from domostats.errors import CredentialsError, DataError, RetryLaterError, SettingsError
from domostats.reports import accounts
from domostats.reports.declaration import Source
from domostats.reports.keys import key_columns
from domostats.reports.report import Report

SAMPLES = Path(__file__).parent / "fixtures" / "domo"
PROVIDERS = "/api/data/v2/datasources/providers"
FLAT = "/api/data/v1/accounts"


def account(id, **fields):
    return {
        "id": id,
        "name": "n",
        "userId": "27",
        "displayName": f"account {id}",
        "type": "data",
        "dataProviderType": "k",
        "valid": True,
        "dateOfExpiration": None,
        "dataSourceCount": 0,
        "daysToExpiry": None,
        "expired": None,
        **fields,
    }


def provider(*accounts, **fields):
    return {
        "key": "k",
        "name": "Provider",
        "authenticationScheme": "fields",
        "unassociatedDataSourceCount": 0,
        "accounts": list(accounts),
        **fields,
    }


def run(box, providers, format_fn="v1"):
    "The report on this provider list, served over HTTP."
    box.serve(PROVIDERS, providers)
    return accounts.report.run(box, format_fn=format_fn)


def ids(result, column="account_id"):
    return [row[column] for row in result.rows]


def test_a_provider_without_accounts_gives_no_row(box):
    lacking = provider()
    del lacking["accounts"]
    result = run(box, [lacking, provider(account(1)), provider(), provider(accounts=None)])
    assert ids(result) == [1] and not result.findings


def test_a_new_field_is_kept_out_and_counted(box):
    result = run(
        box,
        [
            provider(
                account(1, color="red"),
                account(2),
                account(3, color=None, shape={"a": 1}),
                region="x",
            )
        ],
    )
    assert ids(result) == [1, 2, 3] and result.unknown == {"color": 2, "shape": 1, "region": 1}
    assert "color" not in result.rows[0] and any(
        "color (2 times)" in line for line in result.findings
    )


def test_a_missing_field_is_null(box):
    result = run(box, [provider({"id": 1})])
    assert result.rows == [
        {
            "user_id": None,
            "data_provider_type": None,
            "date_of_expiration": None,
            "data_source_count": None,
            "data_provider_name": "Provider",
            "account_id": 1,
            "account_name": None,
        }
    ]


def test_an_id_may_come_as_text(box):
    result = run(box, [provider(account("71"), account(72))])
    assert (
        ids(result) == [71, 72]
        and str(result.dataframe().dtypes["account_id"]) == "Int64"
        and not result.findings
    )


def test_a_function_gets_ids_of_the_declared_type_too(box):
    result = run(
        box,
        [provider(account("71"), account(72, userId=27))],
        lambda account_obj: {"id": account_obj["id"], "user": account_obj["userId"]},
    )
    assert result.rows == [{"id": 71, "user": "27"}, {"id": 72, "user": "27"}]


@pytest.mark.parametrize(
    "bad, met",
    [
        ("seventy-one", "text"),
        (7.5, "number"),
        (None, "null"),
        (True, "true or false"),
        ([1], "array"),
    ],
)
def test_an_id_that_is_no_number_sets_its_row_aside_and_no_other(box, bad, met):
    result = run(box, [provider(account(1)), provider(account(2), account(bad), account(3))])
    assert ids(result) == [1, 2, 3]
    (violation,) = result.violations
    assert (violation.page, violation.row, violation.field, violation.met) == (
        1,
        3,
        "id",
        met,
    ) and json.loads(violation.raw)["id"] == bad
    assert "page 1, row 3, field 'id'" in result.findings[0]


def test_the_data_frame_warns_and_carries_its_findings(box):
    box.serve(PROVIDERS, [provider(account("x"), account(1, color=1), account(1))])
    with pytest.warns(UserWarning, match="set aside"):
        frame = accounts.generate(box, format_fn="v1")
    assert (
        frame.attrs["domostats"]["unknown"] == {"color": 1}
        and len(frame.attrs["domostats"]["violations"]) == 1
        and frame.attrs["domostats"]["repeated"] == 1
    )


@pytest.mark.parametrize("size", [0, 10_000])
def test_a_list_may_be_empty_or_long(size):
    with sandbox.start(accounts=size, users=50) as box:
        given = sum(len(entry["accounts"]) for entry in get_accounts(box).response)
        frame = accounts.generate(box, format_fn="v1")
        assert len(frame) == given and given >= size * 0.8 and frame["account_id"].is_unique
        assert list(frame.columns) == list(accounts.format_account_v1.rules)
        assert len(accounts.generate(box)) >= given


@pytest.mark.parametrize(
    "value, kind, reason",
    [
        (b'[{"key": "k", "accounts": [{"id": 1}, {"i', DataError, "truncated"),
        (b"<html><body>maintenance</body></html>", DataError, "html"),
        (b"", DataError, "empty"),
        (b"upstream unavailable", DataError, "not_json"),
        ({"providers": []}, DataError, "not_a_list"),
        (5, DataError, "not_a_list"),
    ],
)
def test_a_reply_that_is_no_list_is_an_error(box, value, kind, reason):
    with pytest.raises(kind) as caught:
        run(box, value)
    assert caught.value.reason == reason


def test_records_that_are_no_records(box):
    result = run(
        box,
        [provider(5, "x", None, account(1)), "no provider", 7, None, provider(accounts={"a": 1})],
    )
    assert ids(result) == [1] and len(result.violations) == 7


def test_a_session_that_expires_between_two_calls_is_renewed(box):
    session = get_session_token(box, box.username, box.password)
    before = accounts.generate(box, session, is_dataframe=False)
    box.expire()
    assert accounts.generate(box, session, is_dataframe=False) == before
    box.fail("expired", FLAT)
    assert accounts.generate(box, session, is_dataframe=False) == before


def test_without_the_password_an_expired_session_is_an_error(box):
    token = get_session_token(box, box.username, box.password)._secret.reveal()
    box.fail("expired", FLAT)
    with pytest.raises(CredentialsError) as caught:
        accounts.generate(box, token)
    assert caught.value.reason == "expired_session"


# --- both lists -----------------------------------------------------------------------------------


def test_an_account_in_one_list_only_keeps_its_row(box):
    box.serve(PROVIDERS, [provider(account(1), account(2))])
    box.serve(
        FLAT,
        [
            {"id": 3, "userId": 5, "displayName": "three", "createdAt": 1664924354000},
            {"id": "2", "userId": 28, "displayName": "renamed"},
        ],
    )
    rows = {row["Account_Id"]: row for row in accounts.report.run(box, format_fn="domostats").rows}
    assert list(rows) == [1, 2, 3]
    assert (
        rows[1]["Display_Name"] == "account 1"
        and rows[1]["Created_Date"] is None
        and rows[1]["Credentials_Type"] is None
    )
    assert (
        rows[2]["Display_Name"] == "renamed"
        and rows[2]["Owner_Id"] == 28
        and rows[2]["Owner_Id_text"] == "28"
        and rows[2]["Name"] == "n"
    )
    assert (
        rows[3]["Display_Name"] == "three"
        and rows[3]["Data_Provider"] is None
        and rows[3]["Created_Date"].year == 2022
    )
    assert {row["Account_Type"] for row in rows.values()} == {"AUTHORIZATION"}


def test_the_columns_are_those_of_the_connector(box):
    frame = accounts.generate(box)
    assert list(frame.columns) == [
        "Account_Id",
        "Owner_Id",
        "Name",
        "Display_Name",
        "Type",
        "Valid",
        "Data_Provider",
        "Credentials_Type",
        "Created_Date",
        "Modified_Date",
        "Account_Id_text",
        "Owner_Id_text",
        "Account_Type",
    ]
    assert [str(kind) for kind in frame.dtypes] == [
        "Int64",
        "Int64",
        "string",
        "string",
        "string",
        "string",
        "string",
        "string",
        "datetime64[us, UTC]",
        "datetime64[us, UTC]",
        "string",
        "string",
        "string",
    ]


def test_the_report_runs_on_recorded_replies(box):
    recorded = {
        name: json.loads((SAMPLES / f"{name}.json").read_text())
        for name in ("account_providers", "accounts_v1", "users_v2")
    }
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = accounts.format_domostats_accounts(
            recorded["account_providers"], is_dataframe=False, flat_obj=recorded["accounts_v1"]
        )
        owners = accounts.format_domostats_accounts(
            recorded["account_providers"],
            "owners",
            is_dataframe=False,
            owner_obj=recorded["users_v2"],
        )
    assert [row["Account_Id"] for row in rows] == [71, 87, 45, 1]
    assert (
        rows[0]["Owner_Id"] == 100000002
        and rows[0]["Modified_Date"].isoformat() == "2024-03-23T18:26:26+00:00"
    )
    assert [row["owner_name"] for row in owners] == [None, "Ben Sample", None]


# --- the shapes -----------------------------------------------------------------------------------


def test_a_shape_fetches_only_what_it_reads(box):
    for shape, paths in {"v1": 1, "v2": 1, "domostats": 2, "owners": 2}.items():
        before = len(box.calls)
        accounts.generate(box, format_fn=shape)
        assert len(asked(box, before)) == paths, shape


def asked(box, before=0):
    "The paths of the calls since, but for those that ask who I am and what I may see."
    return [
        path
        for _, path, _ in box.calls[before:]
        if path in (PROVIDERS, FLAT, "/api/content/v2/users")
    ]


def test_owners_cost_one_call_for_all_rows():
    with sandbox.start(accounts=500) as box:
        rows = accounts.generate(box, format_fn="owners", is_dataframe=False)
        assert len(asked(box)) == 2
        names = {str(user["id"]): user["displayName"] for user in get_users(box).response}
        assert [row["owner_name"] for row in rows] == [
            names.get(row["user_id"]) for row in rows
        ] and None in [row["owner_name"] for row in rows]


def test_a_function_is_as_good_as_a_formatter(box):
    def owners(account_obj, owner_obj, **kwargs):
        return {
            "id": account_obj["id"],
            "owner": owner_obj and owner_obj["displayName"],
            "others": sorted(kwargs),
        }

    rows = accounts.generate(box, format_fn=owners, is_dataframe=False)
    ours = accounts.generate(box, format_fn="owners", is_dataframe=False)
    assert [row["owner"] for row in rows] == [row["owner_name"] for row in ours] and rows[0][
        "others"
    ] == ["dataprovider_obj"]


def test_a_function_that_fails_names_the_row(box):
    seen = []

    def third_fails(account_obj):
        seen.append(1)
        return {"x": account_obj["nothing"]} if len(seen) == 3 else {"x": 1}

    with pytest.raises(DataError) as caught:
        accounts.generate(box, format_fn=third_fails)
    assert (
        caught.value.reason == "formatter_failed"
        and caught.value.row == 3
        and isinstance(caught.value.__cause__, KeyError)
    )


@pytest.mark.parametrize(
    "format_fn, reason",
    [
        ("v3", "unknown_formatter"),
        (lambda row: row, "bad_formatter"),
        (lambda: {}, "bad_formatter"),
    ],
)
def test_a_wrong_shape_is_refused_before_anything_is_fetched(box, format_fn, reason):
    with pytest.raises(SettingsError) as caught:
        accounts.generate(box, format_fn=format_fn)
    assert caught.value.reason == reason and not box.calls


def test_what_was_fetched_before_can_be_formatted(box):
    providers = get_accounts(box).response
    assert accounts.format_domostats_accounts(
        providers, format_fn="v2", is_dataframe=False
    ) == accounts.generate(box, format_fn="v2", is_dataframe=False)
    with pytest.raises(SettingsError) as caught:
        accounts.format_domostats_accounts(providers)
    assert caught.value.reason == "missing_source" and "flat_obj" in str(caught.value)


def test_every_formatter_has_a_column_for_the_key():
    columns = {
        name: key_columns(accounts.report, formatter)
        for name, formatter in accounts.report.formatters.items()
    }
    assert columns == {
        "domostats": ["Account_Id"],
        "v1": ["account_id"],
        "v2": ["account_id"],
        "owners": ["account_id"],
    }
    with pytest.raises(SettingsError) as caught:
        key_columns(accounts.report, lambda account_obj: {})
    assert caught.value.reason == "unknown_key"


def test_a_slip_in_a_declaration_is_told_where_it_is_made():
    @dataclass
    class Odd:
        "A record with a type that no row type knows."

        id: set

    for make, reason in (
        (
            lambda: Report(
                "r", "one thing", "number", Source("account_obj", ACCOUNTS, accounts.AccountRecord)
            ),
            "unknown_key",
        ),
        (lambda: Report("r", "one thing", "id", Source("odd_obj", ACCOUNTS, Odd)), "unknown_type"),
    ):
        with pytest.raises(SettingsError) as caught:
            make()
        assert caught.value.reason == reason
    assert list(
        Report(
            "r", "one thing", "id", Source("account_obj", ACCOUNTS, accounts.AccountRecord)
        ).formatters
    ) == ["all"]


def test_a_formatter_takes_its_records_in_order_too():
    assert accounts.format_account_v1({"id": 1}, {"name": "p"}) == accounts.format_account_v1(
        account_obj={"id": 1}, dataprovider_obj={"name": "p"}
    )


def test_a_warning_points_at_the_line_of_the_user(box):
    box.serve(PROVIDERS, [provider(account("x"), account(1))])
    with pytest.warns(UserWarning) as caught:
        accounts.generate(box, format_fn="v1")
    with pytest.warns(UserWarning) as again:
        accounts.format_domostats_accounts([provider(account("x"), account(1))], "v1")
    ours = [
        [one.filename for one in found if one.category is UserWarning] for found in (caught, again)
    ]  # a collector may warn of something else meanwhile
    assert ours == [[__file__], [__file__]]


def test_the_raw_reply_can_be_had(box):
    assert accounts.generate(box, return_raw=True) == get_accounts(box).response


def test_the_names_of_the_workshop_are_the_same_things():
    assert (
        accounts.generate is accounts.generate_monit_instance_accounts
        and reports.find("accounts") is accounts.report
    )
    assert (
        reports.accounts is accounts
        and "accounts" in reports.names()
        and "report" not in reports.names()
    )
    with pytest.raises(SettingsError) as caught:
        reports.find("acounts")
    assert caught.value.reason == "unknown_report"


def test_a_service_that_is_down_leaves_nothing_half_done(box):
    box.fail("unavailable", FLAT, times=None)
    with pytest.raises(RetryLaterError):
        accounts.generate(box)
    box.heal()
    assert len(accounts.generate(box)) > 0
