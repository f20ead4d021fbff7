"""Rules on one row and on a whole table agree, names are tidy, and one bad record harms no
other."""

import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domostats.errors import DataError, SettingsError
from domostats.reports import accounts as report
from domostats.rows import formatter, rules
from domostats.rows.columns import arrow_columns
from domostats.rows.formatter import Formatter
from domostats.rows.naming import flatten_list_of_lists, format_keys, format_str_camel_case
from domostats.rows.records import Records
from domostats.rows.rowtype import Millis, NumberId, Seconds, TextId, named
from domostats.rows.rules import constant, first, number, text
from domostats.rows.table import table_of_rows, to_dataframe


@pytest.mark.parametrize(
    "name, tidy",
    [
        ("userId", "user_id"),
        ("domoURL", "domo_url"),
        ("HTTPStatusCode", "http_status_code"),
        ("doesThisWork?", "does_this_work?"),
        ("what about This?", "what_about_this?"),
        ("Owner_User_ID", "owner_user_id"),
        ("_BATCH_ID_", "batch_id"),
        ("userIDs", "user_ids"),
        ("cardURLs", "card_urls"),
        ("dataSource.id", "data_source_id"),
        ("A/B test", "a_b_test"),
        ("data-provider type", "data_provider_type"),
        ("userIDsList", "user_ids_list"),
        ("isSSOEnabled", "is_sso_enabled"),
        ("S3Bucket", "s3_bucket"),
        ("id", "id"),
        ("userID?", "user_id?"),
        ("", ""),
        ("already_snake_case", "already_snake_case"),
    ],
)
def test_names(name, tidy):
    assert format_str_camel_case(name) == tidy


@given(st.text())
def test_a_tidy_name_stays_as_it_is(name):
    assert format_str_camel_case(format_str_camel_case(name)) == format_str_camel_case(name)


@given(st.lists(st.lists(st.integers())))
def test_flattening_keeps_every_member_in_its_order(lists):
    assert flatten_list_of_lists(lists) == sum(lists, [])


def test_two_fields_with_one_name_are_an_error():
    with pytest.raises(DataError) as caught:
        format_keys({"userId": 1, "user_id": 2})
    assert caught.value.reason == "name_clash" and caught.value.column == "user_id"


# --- one row and a table --------------------------------------------------------------------------

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ids = st.one_of(st.integers(-(2**63), 2**63 - 1), st.from_regex(r"-?[0-9]{1,18}", fullmatch=True))


def maybe(strategy):
    return st.one_of(st.none(), strategy)


text_ids = maybe(st.one_of(st.integers(-(2**63), 2**63 - 1), words))
times = maybe(st.integers(-62_135_596_800_000, 253_402_300_799_999))
anything = st.recursive(
    maybe(st.one_of(st.booleans(), st.integers(-(2**53), 2**53), words)),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(words, inner, max_size=2),
    max_leaves=3,
)


def record(required, **optional):
    return st.fixed_dictionaries(required, optional=optional)


accounts = record(
    {"id": ids},
    name=maybe(words),
    userId=text_ids,
    displayName=maybe(words),
    type=maybe(words),
    valid=maybe(st.booleans()),
    dataProviderType=maybe(words),
    dataSourceCount=maybe(st.integers(-(2**63), 2**63 - 1)),
    dateOfExpiration=anything,
    daysToExpiry=anything,
    expired=anything,
)
flats = record(
    {"id": ids},
    userId=text_ids,
    name=maybe(words),
    credentialsType=maybe(words),
    createdAt=times,
    modifiedAt=times,
    valid=maybe(st.booleans()),
)
providers = record({}, key=maybe(words), name=maybe(words), authenticationScheme=maybe(words))
owners = record({"id": text_ids.filter(lambda id: id is not None)}, displayName=maybe(words))
rows = st.lists(
    st.fixed_dictionaries(
        {
            "account_obj": accounts,
            "dataprovider_obj": providers,
            "flat_obj": maybe(flats),
            "owner_obj": maybe(owners),
        }
    ),
    min_size=1,
    max_size=5,
)


def whole_table(formatter, rows):
    "All rows in one go."
    columns = {}
    for keyword in formatter.keywords:
        records, index = Records(formatter.objects[keyword]), []
        for row in rows:
            index.append(None if row[keyword] is None else len(records))
            if row[keyword] is not None:
                assert records.read([json.dumps(row[keyword]).encode()]) == [0]
        columns.update(arrow_columns(records, keyword, index))
    return formatter.format(pa.table(columns)).to_pylist()


@pytest.mark.sampled(2)
@pytest.mark.parametrize("name", list(report.report.formatters))
@settings(max_examples=60, deadline=None)
@given(rows=rows)
def test_one_row_and_a_whole_table_agree(name, rows):
    formatter = report.report.formatters[name]
    assert [formatter(**row) for row in rows] == whole_table(formatter, rows)


@settings(max_examples=60, deadline=None)
@given(row=accounts)
def test_the_formatters_do_what_the_workshop_does_by_hand(row):
    "The workshop's function, written out, is the peer: dict operations on one record."
    whole = {
        name: row.get(name)
        for name in (
            "id",
            "name",
            "userId",
            "displayName",
            "type",
            "dataProviderType",
            "valid",
            "dateOfExpiration",
            "dataSourceCount",
            "daysToExpiry",
            "expired",
        )
    }
    by_hand = {**whole, "data_provider_name": "the provider"}
    by_hand["account_id"], by_hand["account_name"] = by_hand.pop("id"), by_hand.pop("displayName")
    for name in ("name", "valid"):
        by_hand.pop(name)
    by_hand = format_keys(by_hand)
    made = report.format_account_v2(account_obj=row, dataprovider_obj={"name": "the provider"})
    assert list(made) == list(by_hand)
    plain = [
        name
        for name in made
        if name not in ("account_id", "user_id", "date_of_expiration", "days_to_expiry", "expired")
    ]
    assert {name: made[name] for name in plain} == {name: by_hand[name] for name in plain}
    assert made["account_id"] == int(by_hand["account_id"]) and made["user_id"] == (
        None if by_hand["user_id"] is None else str(by_hand["user_id"])
    )


def test_the_row_a_formatter_is_given_stays_as_it_was():
    row, provider = {"id": 71, "name": "n"}, {"name": "p"}
    report.format_account_v1(account_obj=row, dataprovider_obj=provider)
    assert row == {"id": 71, "name": "n"} and provider == {"name": "p"}


@dataclass
class Thing:
    "A record with one field of every type."

    id: NumberId
    owner: TextId | None = None
    made: Seconds | None = None
    seen: Millis | None = None
    size: float | None = None
    domo_url: str | None = named("domoURL")
    anything: Any = None


@pytest.mark.parametrize(
    "raw, field, met",
    [
        ({"id": "x"}, "id", "text"),
        ({"id": None}, "id", "null"),
        ({}, "id", "nothing"),
        ({"id": True}, "id", "true or false"),
        ({"id": 1.5}, "id", "number"),
        ({"id": 2**70}, "id", "number"),
        ([], "", "array"),
        ("text", "", "text"),
        (None, "", "null"),
    ],
)
def test_what_is_no_such_record_is_set_aside_and_named(raw, field, met):
    records = Records(Thing)
    good = records.read([b'{"id": 1}', json.dumps(raw).encode(), b'{"id": "2"}'], page=4)
    (bad,) = records.violations
    assert (
        good == [0, 2]
        and (bad.page, bad.row, bad.field, bad.met) == (4, 2, field, met)
        and bad.raw == json.dumps(raw).encode()
    )


@pytest.mark.parametrize(
    "raw, field, met",
    [
        ({"id": 1, "owner": []}, "owner", "array"),
        ({"id": 1, "made": 10**15}, "made", "number"),
        ({"id": 1, "seen": "2024"}, "seen", "text"),
        ({"id": 1, "domoURL": {}}, "domoURL", "object"),
    ],
)
def test_a_value_that_cannot_be_converted_is_null_in_its_field_alone(raw, field, met):
    records = Records(Thing)
    assert records.read([b'{"id": 5}', json.dumps(raw).encode()], page=4) == [0, 1]
    (one,) = records.deviations
    assert (one.kind, one.page, one.row, one.field, one.met) == ("null", 4, 2, field, met)
    assert not records.violations and records.nulls == {field: 1} and records.lost == {field: [1]}
    assert pa.table(arrow_columns(records, "t"))[f"t.{field}"].null_count == 2


def test_values_that_are_let_in():
    records = Records(Thing)
    records.read(
        [
            json.dumps(
                {
                    "id": "71",
                    "owner": 0,
                    "made": 1,
                    "seen": 1,
                    "size": 2,
                    "domoURL": "u",
                    "anything": {"a": [1]},
                }
            ).encode()
        ]
    )
    table = pa.table(arrow_columns(records, "t", [0]))
    row = {name.removeprefix("t."): value for name, value in table.to_pylist()[0].items()}
    assert (
        row["id"] == 71
        and row["owner"] == "0"
        and row["made"].year == 1970
        and row["seen"].microsecond == 1000
    )
    assert row["size"] == 2.0 and row["domoURL"] == "u" and row["anything"] == '{"a":[1]}'


def test_new_fields_are_counted_however_many_and_whatever_they_are_called():
    records = Records(Thing)
    assert records.read(
        [json.dumps({"id": 1, 'quote " and \\': 1, "new": None}).encode(), b'{"id": 2, "new": 1}']
    ) == [0, 1]
    assert records.unknown["new"] == 2
    many = Records(Thing)
    assert (
        len(many.read([json.dumps({"id": n, f"field {n}": n}).encode() for n in range(500)])) == 500
        and len(many.unknown) <= 100
    )


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda f: f.add(x="nothing"), "unknown_field"),
        (lambda f: f.add(x="owner_obj.nothing"), "unknown_field"),
        (lambda f: f.add(type="name"), "column_exists"),
        (lambda f: f.drop("nothing"), "unknown_column"),
        (lambda f: f.rename(nothing="x"), "unknown_column"),
        (lambda f: f.rename(type="user_id"), "column_exists"),
    ],
)
def test_a_wrong_rule_is_an_error_where_it_is_written(change, reason):
    with pytest.raises(SettingsError) as caught:
        change(report.format_account_v2)
    assert caught.value.reason == reason


def test_a_formatter_says_what_it_lacks():
    with pytest.raises(TypeError, match="dataprovider_obj"):
        report.format_account_v1(account_obj={"id": 1})


def test_small_rules():
    shape = Formatter(
        {"a": Thing}, {"n": number(first("owner", "domoURL")), "t": text("id"), "c": constant(5)}
    )
    assert (
        shape(a={"id": 1, "domoURL": "17"}) == {"n": 17, "t": "1", "c": 5}
        and shape(a={"id": 1, "owner": "x"})["n"] is None
    )
    assert shape(a=None) == {"n": None, "t": None, "c": 5}


# --- plain rows -----------------------------------------------------------------------------------


def test_a_column_is_typed_from_all_its_rows():
    table = table_of_rows([{"a": None}] * 2000 + [{"a": "late", "b": 1}])
    assert table.schema.types == [pa.string(), pa.int64()] and table.num_rows == 2001
    assert table_of_rows([]).num_columns == 0 and table_of_rows([{"a": None}]).schema.types == [
        pa.string()
    ]


@pytest.mark.parametrize(
    "rows, reason",
    [
        ([{"a": 1}, {"a": "x"}], "mixed_column"),
        ([{"a": 2**80}], "mixed_column"),
        ([None], "not_a_row"),
        ([{"a": 1}, [1]], "not_a_row"),
    ],
)
def test_rows_that_make_no_table(rows, reason):
    with pytest.raises(DataError) as caught:
        table_of_rows(rows)
    assert caught.value.reason == reason


def test_a_data_frame_keeps_whole_numbers_beside_nulls():
    frame = to_dataframe(table_of_rows([{"id": 2**62 + 1, "ok": True}, {"id": None, "ok": None}]))
    assert (
        str(frame.dtypes["id"]) == "Int64"
        and str(frame.dtypes["ok"]) == "boolean"
        and frame["id"][0] == 2**62 + 1
    )


@pytest.mark.parametrize("name", ["constant", "first", "number", "text"])
def test_a_rule_can_still_be_imported_from_the_module_of_formatters(name):
    assert getattr(formatter, name) is getattr(rules, name)
