"""The stand-in for domojupyter at its edges: what is attached, read and written, and by whom."""

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from domostats import domojupyter as dj
from domostats.domojupyter import ai, app_db, execution
from domostats.errors import DestinationError, DomostatsError, SettingsError
from domostats.loading.store import Store
from domostats.secrets import Secret

HORSE = "correct-horse-battery"


def refused(call, *args, **kwargs):
    with pytest.raises(DomostatsError) as told:
        call(*args, **kwargs)
    return told.value


def numbers(collection, offset=0, limit=50):
    return [one["content"]["n"] for one in app_db.get_documents(collection, offset, limit)]


# ---- attaching


def test_the_stand_in_says_that_it_is_one():
    assert dj.__version__ == "1.1.32+domostats" and dj.IN_WORKSPACE is False
    assert {"ai", "app_db", "execution", "attach", "read_dataframe"} <= {*dir(dj)}
    assert dj.app_db is app_db and dj.execution is execution and dj.ai is ai
    for module in (dj, app_db, execution):
        with pytest.raises(AttributeError) as told:
            module.no_such_name
        assert str(told.value) == f"module {module.__name__!r} has no attribute 'no_such_name'"


@pytest.mark.parametrize(
    "given, datasets",
    [
        ("a", {"a": "a"}),
        (["a", "b"], {"a": "a", "b": "b"}),
        (("a",), {"a": "a"}),
        ((name for name in ("a", "b")), {"a": "a", "b": "b"}),
        ({"a": "x", "b": "y"}, {"a": "x", "b": "y"}),
        ({"a": "x", "b": "x"}, {"a": "x", "b": "x"}),
        ([], {}),
    ],
)
def test_an_alias_stands_for_the_dataset_that_was_said(given, datasets):
    dj.attach(outputs=given)
    for alias, dataset in datasets.items():
        dj.write_dataframe(pd.DataFrame({"id": [1]}), alias)
        assert dataset in Store().names()
    assert Store().names() == sorted({*datasets.values()})
    assert refused(dj.write_dataframe, pd.DataFrame({"id": [1]}), "z").reason == "not_attached"


def test_what_is_attached_again_is_replaced_and_all_else_stays():
    dj.attach(outputs={"a": "first", "b": "b"}, collections="c", payload={"x": 1})
    dj.attach(outputs={"a": "second"}, accounts={"k": {"p": "1"}})
    dj.attach(accounts={"l": {"q": "2"}})
    dj.attach(accounts={"k": {"r": "3"}})
    for alias in ("a", "b"):
        dj.write_dataframe(pd.DataFrame({"id": [1]}), alias)
    assert Store().names() == ["b", "second"]
    assert dj.get_account_property_keys("k") == ["r"]
    assert dj.get_account_property_keys("l") == ["q"]
    assert app_db.get_documents("c", 0, 50) == [] and execution.get_payload() == {"x": 1}


@pytest.mark.parametrize(
    "kind, call, example",
    [
        ("inputs", lambda: dj.read_dataframe("users"), "inputs=['users']"),
        ("outputs", lambda: dj.write_dataframe(pd.DataFrame(), "users"), "outputs=['users']"),
        ("collections", lambda: app_db.get_document("users", "1"), "collections=['users']"),
        ("accounts", lambda: dj.get_account_property_keys("users"), "accounts={'users': {...}}"),
    ],
)
def test_what_is_said_of_an_alias_that_is_not_attached(kind, call, example):
    for others, named in (((), "nothing"), (("b", "a"), "'b', 'a'")):
        has = {"p": HORSE} if kind == "accounts" else "a name"
        dj.attach(**{kind: dict.fromkeys(others, has)})
        told = refused(call)
        assert isinstance(told, SettingsError) and told.reason == "not_attached"
        assert str(told) == (
            f"'users' is not attached. The {kind} attached to this process are: {named}. In a "
            f"workspace add it in the settings panel; here call domojupyter.attach({example})."
        )


def test_each_store_has_its_own_panel(tmp_path):
    dj.attach(outputs="a", accounts={"k": {"p": "1"}}, payload={"x": 1})
    settings = tmp_path / "work" / "settings.ini"
    settings.write_text("[domostats]\nstore = other.duckdb\n")
    assert refused(dj.write_dataframe, pd.DataFrame({"id": [1]}), "a").reason == "not_attached"
    assert refused(dj.get_account_property_keys, "k").reason == "not_attached"
    assert execution.get_payload() == {} and not (tmp_path / "work" / "other.duckdb").exists()
    settings.unlink()
    assert dj.get_account_property_keys("k") == ["p"] and execution.get_payload() == {"x": 1}


def test_stores_of_one_name_in_the_folders_of_two_customers_share_nothing(monkeypatch):
    for customer in ("acme", "globex"):
        folder = Path(customer)
        folder.mkdir()
        (folder / "settings.ini").write_text("[domostats]\nstore = data.duckdb\n")
    acme, globex = Path("acme").resolve(), Path("globex").resolve()
    monkeypatch.chdir(acme)
    dj.attach(inputs="users", accounts={"keys": {"password": HORSE}}, payload={"of": "acme"})
    monkeypatch.chdir(globex)
    told = refused(dj.get_account_property_value, "keys", "password")
    assert told.reason == "not_attached"
    assert "The accounts attached to this process are: nothing." in str(told)
    assert refused(dj.read_dataframe, "users").reason == "not_attached"
    assert execution.get_payload() == {}
    dj.attach(accounts={"keys": {"password": "of globex"}})
    assert dj.get_account_property_value("keys", "password") == "of globex"
    monkeypatch.chdir(acme)
    assert dj.get_account_property_value("keys", "password") == HORSE
    assert execution.get_payload() == {"of": "acme"}


# ---- accounts


def test_the_properties_of_an_account_come_in_their_order_and_in_plain_text():
    dj.attach(accounts={"k": {"z": Secret("1"), "a": HORSE, "n": 7, "b": b"x"}, "empty": {}})
    assert dj.get_account_property_keys("k") == ["z", "a", "n", "b"]
    values = [dj.get_account_property_value("k", name) for name in ("z", "a", "n", "b")]
    assert values == ["1", HORSE, "7", "x"] and {type(one) for one in values} == {str}
    assert [repr(one) for one in values][1] == f"'{HORSE}'"
    assert dj.get_account_property_keys("empty") == []


def test_what_is_said_of_a_property_that_is_not_there():
    dj.attach(accounts={"k": {"user": "ada", "password": HORSE}, "empty": {}})
    told = refused(dj.get_account_property_value, "k", "Password")
    assert isinstance(told, SettingsError) and told.reason == "unknown_property"
    assert str(told) == ("The account 'k' has no property 'Password'. It has: 'user', 'password'.")
    told = refused(dj.get_account_property_value, "empty", "user")
    assert str(told) == "The account 'empty' has no property 'user'. It has: none."


# ---- data frames


@pytest.fixture
def table():
    dj.attach(outputs="t", inputs="t")
    dj.write_dataframe(
        pd.DataFrame(
            {
                "big": pd.Series([2**63, None], dtype="UInt64"),
                "small": pd.Series([1, -2], dtype="int8"),
                "flag": [True, False],
                "text": ["1", None],
                "at": pd.to_datetime(["2024-05-01 09:30:00.000001", None]),
            }
        ),
        "t",
    )
    return "t"


def types(frame):
    return {name: str(kind) for name, kind in frame.dtypes.items()}


TYPES = {
    "big": "UInt64",
    "small": "Int64",
    "flag": "boolean",
    "text": "string",
    "at": "datetime64[us]",
}


def test_the_types_are_those_of_the_dataset_by_either_way(table):
    for frame in (dj.read_dataframe(table), dj.read_dataframe(table, nrows=5)):
        assert types(frame) == TYPES
        assert frame.iloc[0].tolist() == [
            2**63, 1, True, "1", pd.Timestamp("2024-05-01 09:30:00.000001"),
        ]  # fmt: skip
        assert frame["small"].tolist() == [1, -2] and frame["flag"].tolist() == [True, False]
        assert frame.iloc[1][["big", "text", "at"]].isna().all()
    asked = dj.read_dataframe(table, "SELECT * FROM table ORDER BY small", nrows=1)
    assert asked["small"].tolist() == [-2] and types(asked) == TYPES


def test_a_type_that_a_user_gives_counts_for_its_column_alone(table):
    frame = dj.read_dataframe(table, dtype={"text": "float64", "at": str})
    assert types(frame) | {"at": "?"} == {**TYPES, "text": "float64", "at": "?"}
    assert frame["at"][0] == "2024-05-01 09:30:00.000001"
    frame = dj.read_dataframe(table, dtype="object")
    assert {*types(frame).values()} == {"object"} and frame["small"].tolist() == ["1", "-2"]
    frame = dj.read_dataframe(table, parse_dates=[])
    assert frame["at"][0] == "2024-05-01 09:30:00.000001"


def test_names_and_a_header_of_ones_own(table):
    frame = dj.read_dataframe(table, names=["a", "b", "c", "d", "e"], header=0)
    assert [*frame.columns] == ["a", "b", "c", "d", "e"] and frame["b"].tolist() == [1, -2]
    frame = dj.read_dataframe(table, names=["a", "b", "c", "d", "at"], header=0)
    assert frame["at"][0] == "2024-05-01 09:30:00.000001"
    assert len(dj.read_dataframe(table, names=["a", "b", "c", "d", "e"])) == 3
    assert len(dj.read_dataframe(table, header=None)) == 3


def test_what_counts_as_missing():
    dj.attach(outputs="m", inputs="m")
    dj.write_dataframe(pd.DataFrame({"t": ["NA", "null", "", None, "-"]}), "m")
    for options, expected in (
        ({}, [False, False, False, True, False]),
        ({"nrows": 9}, [False, False, True, True, False]),
        ({"na_values": ["-"]}, [True, True, True, True, True]),
        ({"na_values": ["-"], "keep_default_na": False}, [False, False, False, False, True]),
        ({"na_filter": False}, [False, False, False, False, False]),
    ):
        frame = dj.read_dataframe("m", **options)
        assert frame["t"].isna().tolist() == expected, options


@pytest.mark.parametrize("piece, value", [("chunksize", 1), ("iterator", True)])
def test_a_reader_in_pieces_is_refused(table, piece, value):
    told = refused(dj.read_dataframe, table, **{piece: value})
    assert isinstance(told, SettingsError) and told.reason == "bad_argument"
    assert str(told) == (
        f"read_dataframe gives one data frame, so {piece} cannot be given. Leave it out; for a "
        "part of the rows ask for it: read_dataframe(alias, 'SELECT ... FROM table LIMIT 1000')."
    )
    nothing = {piece: None if piece == "chunksize" else False}
    assert len(dj.read_dataframe(table, **nothing)) == 2


def test_arguments_that_pandas_refuses_are_told(table):
    told = refused(dj.read_dataframe, table, dtype={"text": "no such type"}, nrows=1)
    assert isinstance(told, SettingsError) and told.reason == "bad_argument"
    assert str(told).startswith(
        "pandas.read_csv refuses these arguments (dtype, nrows) for big, small, flag, text, at: "
    )
    assert "without any the dataset is read with its own types" in str(told)
    with pytest.raises(TypeError) as error:
        dj.read_dataframe(table, nrow=1)
    assert str(error.value) == "read_dataframe() got an unexpected keyword argument 'nrow'"


def test_only_a_frame_is_written_and_the_old_rows_stay(table):
    told = refused(dj.write_dataframe, {"id": [1]}, table)
    assert told.reason == "not_a_dataframe"
    assert str(told) == (
        "write_dataframe takes a pandas DataFrame, not a dict. Make one with pandas.DataFrame(...)."
    )
    assert len(dj.read_dataframe(table)) == 2


def test_the_ways_to_write_as_domo_has_them():
    dj.attach(outputs="w", inputs="w")

    def write(ids, *call, **named):
        dj.write_dataframe(pd.DataFrame({"id": ids, "n": range(len(ids))}), "w", *call, **named)
        frame = dj.read_dataframe("w")
        return sorted(zip(frame["id"], frame["n"], strict=True))

    assert write([1, 2]) == [(1, 0), (2, 1)]
    assert write([3]) == [(3, 0)]  # REPLACE at first
    assert write([3], "APPEND") == [(3, 0), (3, 0)]
    assert write([4]) == [(3, 0), (3, 0), (4, 0)]  # the last way sticks
    assert write([5, 6], "REPLACE") == [(5, 0), (6, 1)]
    assert write([7, 6], update_method="UPSERT", update_key="id") == [(5, 0), (6, 1), (7, 0)]
    assert refused(write, [8, 8], "UPSERT", "id").reason == "duplicate_key"
    assert refused(write, [8], "UPSERT", "no such column").reason
    assert refused(write, [8], "MERGE").reason == "bad_update_method"
    assert write([1], "REPLACE") == [(1, 0)]
    assert write([2], "PARTITION", partition_name="p") == [(1, 0), (2, 0)]
    assert write([3], "PARTITION", partition_name="q") == [(1, 0), (2, 0), (3, 0)]
    assert write([4, 5], "PARTITION", None, "p") == [(1, 0), (3, 0), (4, 0), (5, 1)]


# ---- documents


@pytest.fixture
def two():
    "Two collections, with three documents and with two."
    dj.attach(collections={"c": "reviews", "d": "others", "again": "reviews"})
    mine = [app_db.create_document("c", {"n": 1})]
    others = app_db.create_documents("d", [{"n": 11}, {"n": 12}])
    mine += app_db.create_documents("c", [{"n": 2}, {"n": 3}])
    return mine, others


def test_a_document_is_deleted_in_its_collection_only(two):
    mine, others = two
    for call in (
        lambda: app_db.delete_document("d", mine[0]["id"]),
        lambda: app_db.delete_documents("d", [others[0]["id"], mine[0]["id"]]),
        lambda: app_db.delete_documents("c", [mine[0]["id"], others[0]["id"]]),
    ):
        told = refused(call)
        assert isinstance(told, DestinationError) and told.reason == "not_found"
        assert numbers("c") == [1, 2, 3] and numbers("d") == [11, 12]
    app_db.delete_documents("d", [one["id"] for one in others])
    assert numbers("c") == [1, 2, 3] and numbers("d") == []
    app_db.delete_document("c", mine[1]["id"])
    assert numbers("c") == [1, 3]
    app_db.delete_documents("c", [])
    assert numbers("c") == [1, 3]


def test_of_two_documents_with_one_id_only_the_one_of_the_collection_goes(two):
    mine, others = two
    with Store().open() as con:
        con.execute(
            "UPDATE kit.documents SET id = ? WHERE id = ?", [mine[0]["id"], others[0]["id"]]
        )
        con.commit()
        con.begin()
    app_db.update_document("d", {"id": mine[0]["id"], "content": {"n": 99}})
    assert numbers("c") == [1, 2, 3] and numbers("d") == [99, 12]
    assert app_db.get_document("c", mine[0]["id"])["content"] == {"n": 1}
    assert app_db.get_document("d", mine[0]["id"])["content"] == {"n": 99}
    app_db.delete_document("d", mine[0]["id"])
    assert numbers("c") == [1, 2, 3] and numbers("d") == [12]


def test_a_document_is_read_and_changed_in_its_collection_only(two):
    mine, others = two
    change = {"id": others[0]["id"], "content": {"n": 0}}
    for call in (
        lambda: app_db.get_document("c", others[0]["id"]),
        lambda: app_db.update_document("c", change),
        lambda: app_db.update_documents("c", [{**mine[0], "content": {"n": 0}}, change]),
    ):
        told = refused(call)
        assert told.reason == "not_found"
        assert str(told) == (
            f"The collection 'c' has no document {others[0]['id']!r}. Read the ids with "
            "get_documents; nothing was changed."
        )
    assert numbers("c") == [1, 2, 3] and numbers("d") == [11, 12]


def test_two_aliases_of_one_collection_show_the_same(two):
    assert numbers("again") == [1, 2, 3]
    app_db.create_document("again", {"n": 4})
    assert numbers("c") == [1, 2, 3, 4]


def test_pages_of_documents_come_in_the_order_of_their_making(two):
    mine, _ = two
    app_db.update_document("c", {"id": mine[0]["id"], "content": {"n": 10}})
    app_db.create_document("d", {"n": 13})
    app_db.create_document("c", {"n": 4})
    pages = {(0, 2): [10, 2], (2, 2): [3, 4], (3, 9): [4], (4, 1): [], (0, 0): [], (1, 1): [2]}
    for (offset, limit), expected in pages.items():
        assert numbers("c", offset, limit) == expected, (offset, limit)
    app_db.delete_document("c", app_db.get_documents("c", 3, 1)[0]["id"])
    app_db.create_documents("c", [{"n": 5}, {"n": 6}])
    assert numbers("c") == [10, 2, 3, 5, 6]


def test_what_is_made_after_a_deletion_comes_last():
    dj.attach(collections="c")
    first = app_db.create_documents("c", [{"n": 1}, {"n": 2}, {"n": 3}])
    app_db.delete_documents("c", [first[0]["id"], first[1]["id"]])
    app_db.create_document("c", {"n": 4})
    assert numbers("c") == [3, 4]
    app_db.create_documents("c", [{"n": 5}, {"n": 6}])
    pages = [numbers("c", offset, 1) for offset in range(5)]
    assert pages == [[3], [4], [5], [6], []]


def test_what_is_made_comes_back_as_it_was_given(two):
    content = {"ö": ["é\"'", None, True, 1.5, {"deep": {}}], "id": "mine"}
    made = app_db.create_document("c", content)
    assert {*made} == {"id", "content"} and made["content"] == content
    assert made["id"] != "mine" and app_db.get_document("c", made["id"]) == made
    together = app_db.create_documents("c", [{"n": 7}, {"n": 8}])
    assert [one["content"] for one in together] == [{"n": 7}, {"n": 8}]
    assert len({one["id"] for one in (made, *together, *two[0], *two[1])}) == 8
    changed = app_db.update_documents("c", [{**made, "content": {"n": 1}, "more": "left out"}])
    assert changed == [{"id": made["id"], "content": {"n": 1}}]


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: app_db.create_document("c", ["n"]), "A document is a dict, not a list."),
        (lambda: app_db.update_document("c", {"id": "1", "content": "n"}), "not a str."),
        (lambda: app_db.update_document("c", {"id": "1"}), "There is no 'content' in this one."),
        (lambda: app_db.update_document("c", {"content": {}}), "There is no 'id' in this one."),
        (lambda: app_db.update_document("c", "1"), "a dict with 'id' and 'content'."),
    ],
)
def test_what_is_said_of_a_document_that_is_none(two, call, words):
    told = refused(call)
    assert isinstance(told, SettingsError) and told.reason == "bad_document" and words in str(told)
    assert numbers("c") == [1, 2, 3]


def test_what_json_cannot_say_is_told_and_nothing_is_changed(two):
    told = refused(app_db.create_documents, "c", [{"n": 4}, {"n": dt.date(2024, 1, 1)}])
    assert isinstance(told, DestinationError) and told.reason == "not_json"
    assert str(told) == (
        "This cannot be written as JSON: Object of type date is not JSON serializable. Use dict, "
        "list, str, numbers (no NaN), True, False and None."
    )
    update = [{**two[0][0], "content": {"n": 5}}, {**two[0][1], "content": {"n": float("inf")}}]
    assert refused(app_db.update_documents, "c", update).reason == "not_json"
    assert numbers("c") == [1, 2, 3]
    circle = {}
    circle["circle"] = circle
    assert refused(app_db.create_document, "c", circle).reason == "not_json"


def test_another_process_finds_the_documents(two):
    code = """
from domostats import domojupyter as dj
from domostats.domojupyter import app_db
dj.attach(collections={"x": "reviews"})
app_db.create_document("x", {"n": 4})
print([one["content"]["n"] for one in app_db.get_documents("x", 0, 9)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[1, 2, 3, 4]", done.stderr
    assert numbers("c") == [1, 2, 3, 4] and numbers("d") == [11, 12]


# ---- a step of a workflow


def test_a_payload_is_a_copy_of_what_was_given():
    given = {"days": [1, 2], "ö": None}
    dj.attach(payload=given)
    given["days"].append(3)
    assert execution.get_payload() == {"days": [1, 2], "ö": None}
    dj.attach(payload={})
    assert execution.get_payload() == {}
    dj.attach(payload=["any", "form"])
    assert execution.get_payload() == ["any", "form"]


@pytest.mark.parametrize("answer", [{"a": [1, None, "ö"]}, [], 0, False, "", None])
def test_the_last_response_counts(answer):
    execution.write_response({"first": 1})
    given = [answer]
    execution.write_response(given)
    given.append("later")
    assert execution.last_response() == [answer]
    execution.write_response(answer)
    assert execution.last_response() == answer
    assert refused(execution.write_response, {1, 2}).reason == "not_json"
    assert execution.last_response() == answer


# ---- what works in a workspace only


@pytest.mark.parametrize(
    "name",
    [
        "generate_text",
        "summarize",
        "text_to_sql",
        "PromptTemplate",
        "ChunkingConfiguration",
        "SizeBoundary",
        "SummarizationOutputStyle",
        "DataSourceSchema",
        "Column",
        "Metric",
        "ModelTrainingInformation",
        "ModelTask",
        "ModelTaskType",
        "CSVModelIOConfiguration",
        "ModelIOConfiguration",
        "SchemaObject",
        "model",
    ],
)
def test_each_name_of_ai_says_where_it_works(name):
    thing = getattr(ai, name)
    assert repr(thing) == f"<ai.{name}, in a workspace only>"
    for use in (lambda: thing("x", y=1), lambda: thing.BULLETED):
        told = refused(use)
        assert isinstance(told, SettingsError) and told.reason == "only_in_workspace"
        assert str(told) == (
            f"ai.{name} asks the models that run in Domo, so it works inside of a DomoJupyter "
            "workspace only. Leave this cell out here."
        )
    assert thing.__name__ == f"ai.{name}" and not hasattr(thing, "_hidden")


def test_no_other_name_is_in_ai():
    with pytest.raises(AttributeError) as told:
        ai.generate_texts
    assert str(told.value) == (
        "module 'domostats.domojupyter.ai' has no attribute 'generate_texts'"
    )
