"""domojupyter: the real one where it is, the stand-in with its rules elsewhere."""

import datetime as dt
import os
import subprocess
import sys

import pandas as pd
import pytest

from domostats import domojupyter as dj
from domostats.domojupyter import app_db, execution
from domostats.errors import DestinationError, DomostatsError, SettingsError
from domostats.loading.store import Store

HORSE = "correct-horse-battery"


def refused(call, *args, **kwargs):
    with pytest.raises(DomostatsError) as told:
        call(*args, **kwargs)
    return told.value


def python(code, *path):
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))},
        capture_output=True,
        text=True,
        timeout=60,
    )


# ---- the real one

REAL = [
    "read_dataframe",
    "write_dataframe",
    "get_account_property_keys",
    "get_account_property_value",
]
DOCUMENTS = [
    "get_documents",
    "get_document",
    "create_document",
    "create_documents",
    "update_document",
    "update_documents",
    "delete_document",
    "delete_documents",
]


@pytest.fixture
def real(tmp_path):
    "A folder with a domojupyter that does nothing but be there."
    package = tmp_path / "real" / "domojupyter"
    package.mkdir(parents=True)
    for file, names in (
        ("__init__", REAL),
        ("app_db", DOCUMENTS),
        ("execution", ["get_payload", "write_response"]),
    ):
        (package / f"{file}.py").write_text(
            "\n".join(
                f"def {name}(*args, **kwargs): raise LookupError('the real {name}')"
                for name in names
            )
        )
    with open(package / "__init__.py", "a") as file:
        file.write("\n__version__ = '9.9'\n")
    return package.parent


def test_inside_a_workspace_the_names_are_the_real_ones(real):
    code = f"""
import domojupyter as theirs, domojupyter.app_db, domojupyter.execution
from domostats import domojupyter as ours
from domostats.domojupyter import app_db, execution
assert ours.__version__ == '9.9'
for name in {REAL}: assert getattr(ours, name) is getattr(theirs, name), name
for name in {DOCUMENTS}: assert getattr(app_db, name) is getattr(theirs.app_db, name), name
for name in ('get_payload', 'write_response'):
    assert getattr(execution, name) is getattr(theirs.execution, name), name
assert ours.attach(inputs=['x'], accounts={{'y': {{'z': '{HORSE}'}}}}, payload={{'a': 1}}) is None
assert '{HORSE}' not in repr(vars(ours)) and not ours._PANELS
print('real')
"""
    shown = python(code, real)
    assert shown.stdout.strip() == "real", shown.stderr


def test_a_broken_real_module_says_what_it_lacks(real):
    (real / "domojupyter" / "__init__.py").write_text("import a_library_that_is_missing")
    shown = python("from domostats import domojupyter", real)
    assert shown.returncode and "No module named 'a_library_that_is_missing'" in shown.stderr


def test_an_old_real_module_has_no_execution(real):
    (real / "domojupyter" / "execution.py").unlink()
    shown = python(
        (
            "from domostats import domojupyter; print('ok'); "
            "from domostats.domojupyter import execution"
        ),
        real,
    )
    assert (
        shown.stdout.strip() == "ok" and "No module named 'domojupyter.execution'" in shown.stderr
    )


def test_the_import_is_cheap():
    shown = python(
        "import sys; from domostats import domojupyter; "
        "from domostats.domojupyter import app_db, execution; "
        "print([m for m in ('pandas', 'duckdb', 'pyarrow') if m in sys.modules])"
    )
    assert shown.stdout.strip() == "[]", shown.stderr


def test_the_package_brings_no_module_of_that_name():
    assert python("import domojupyter").returncode


# ---- attaching


@pytest.mark.parametrize(
    "call, kind",
    [
        (lambda: dj.read_dataframe("users"), "inputs"),
        (lambda: dj.write_dataframe(pd.DataFrame({"a": [1]}), "users"), "outputs"),
        (lambda: dj.get_account_property_keys("users"), "accounts"),
        (lambda: dj.get_account_property_value("users", "x"), "accounts"),
        (lambda: app_db.get_documents("users", 0, 50), "collections"),
        (lambda: app_db.create_document("users", {}), "collections"),
    ],
)
def test_what_is_not_attached(call, kind):
    dj.attach(**{kind: {"other one": {"p": HORSE}} if kind == "accounts" else ["other one"]})
    told = refused(call)
    assert isinstance(told, SettingsError) and told.reason == "not_attached"
    assert "'other one'" in str(told) and f"attach({kind}=" in str(told) and HORSE not in str(told)


def test_attaching_adds():
    dj.attach(outputs="a")
    dj.attach(outputs=["b"], inputs={"mine": "a"})
    for alias in ("a", "b"):
        assert dj.write_dataframe(pd.DataFrame({"id": [1]}), alias) is None
    assert dj.read_dataframe("mine")["id"].tolist() == [1]
    assert Store().names() == ["a", "b"]
    assert refused(dj.read_dataframe, "a").reason == "not_attached"  # an output is no input


def test_each_store_has_its_own_panel(tmp_path, monkeypatch):
    dj.attach(outputs="a")
    (tmp_path / "settings.ini").write_text("[domostats]\nstore = other.duckdb\n")
    assert refused(dj.write_dataframe, pd.DataFrame({"id": [1]}), "a").reason == "not_attached"


def test_an_input_that_was_never_written():
    dj.attach(inputs="ghost")
    assert refused(dj.read_dataframe, "ghost").reason == "no_dataset"


# ---- accounts


def test_accounts_and_their_secrets(tmp_path, capsys, caplog):
    dj.attach(
        accounts={"domo": {"username": "ada", "password": HORSE}}, outputs="a", collections="c"
    )
    assert dj.get_account_property_keys("domo") == ["username", "password"]
    value = dj.get_account_property_value("domo", "password")
    assert type(value) is str and value == HORSE
    told = refused(dj.get_account_property_value, "domo", "token")
    assert told.reason == "unknown_property" and "'password'" in str(told)
    dj.write_dataframe(pd.DataFrame({"id": [1]}), "a")
    app_db.create_document("c", {"x": 1})
    printed = capsys.readouterr()
    seen = [
        repr(dj._panel()),
        str(dj._panel()),
        repr(vars(dj)),
        str(told),
        repr(vars(told)),
        caplog.text,
        printed.out,
        printed.err,
        str(refused(dj.get_account_property_keys, "x")),
    ]
    assert not any(HORSE in text for text in seen)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert Store().path in files and not any(HORSE.encode() in path.read_bytes() for path in files)


# ---- data frames


@pytest.fixture
def accounts():
    dj.attach(outputs="accounts", inputs="accounts")
    dj.write_dataframe(
        pd.DataFrame(
            {
                "id": pd.Series([71, None], dtype="Int64"),
                "name": ["NA", None],
                "empty": ["", "x"],
                "valid": pd.Series([True, None], dtype="boolean"),
                "ratio": [1.5, None],
                "at": pd.to_datetime(["2024-05-01 09:30", None]).tz_localize("Europe/Berlin"),
                "day": [dt.date(2024, 5, 1), None],
            }
        ),
        "accounts",
    )
    return "accounts"


def test_types_come_from_the_dataset(accounts):
    frame = dj.read_dataframe(accounts)
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        "id": "Int64",
        "name": "string",
        "empty": "string",
        "valid": "boolean",
        "ratio": "float64",
        "at": "datetime64[us]",
        "day": "object",
    }
    assert [str(value) for value in frame.iloc[0]] == [
        "71",
        "NA",
        "",
        "True",
        "1.5",
        "2024-05-01 07:30:00",
        "2024-05-01",
    ]
    assert frame.iloc[1].drop("empty").isna().all()


def test_queries_are_asked_of_the_dataset(accounts):
    frame = dj.read_dataframe(accounts, "SELECT sum(id) AS total, count(*) AS n FROM table")
    assert [str(value) for value in frame.iloc[0]] == ["71", "2"] and set(
        map(str, frame.dtypes)
    ) == {"Int64"}
    assert dj.read_dataframe(accounts, query="SELECT id FROM table WHERE id IS NULL")[
        "id"
    ].isna().tolist() == [True]
    assert refused(dj.read_dataframe, accounts, "SELECT nonsense FROM table").reason == "bad_query"


def test_no_rows_keep_their_types(accounts):
    assert {
        str(dj.read_dataframe(accounts, "SELECT * FROM table WHERE id = 0", **kwargs)["id"].dtype)
        for kwargs in ({}, {"nrows": 5})
    } == {"Int64"}


def test_arguments_of_read_csv_win(accounts):
    def read(**kwargs):
        return dj.read_dataframe(accounts, **kwargs)

    assert (
        read(dtype={"id": str})["id"].tolist()[0] == "71"
        and str(read(dtype={"id": str})["valid"].dtype) == "boolean"
    )
    assert read(dtype=str)["ratio"].tolist()[0] == "1.5"
    assert read(nrows=1)["id"].tolist() == [71] and read(nrows=1)["at"].dtype == "datetime64[us]"
    assert read(usecols=["at", "id"]).columns.tolist() == ["id", "at"]
    assert read(nrows=2)["name"].tolist()[0] == "NA"  # a text, not a missing value
    assert read(na_values=["NA"])["name"].isna().tolist() == [True, True]
    assert read(na_filter=False)["name"].tolist() == ["NA", ""]
    assert read(parse_dates=["day"])["day"][0] == pd.Timestamp("2024-05-01")
    assert read(parse_dates=["at"])["at"][0] == pd.Timestamp("2024-05-01 07:30")
    assert read(index_col="id").index.tolist()[0] == 71
    with pytest.raises(TypeError):
        read(no_such_argument=1)


@pytest.mark.parametrize("data", [[{"a": 1}], {"a": [1]}, None, pd.Series([1])])
def test_only_a_data_frame_is_written(data):
    dj.attach(outputs="a")
    told = refused(dj.write_dataframe, data, "a")
    assert (
        isinstance(told, SettingsError)
        and told.reason == "not_a_dataframe"
        and Store().names() == []
    )


def test_the_last_method_sticks():
    dj.attach(outputs="a", inputs="a")
    for ids, call in (([1, 2], ()), ([2, 3], ("UPSERT", "id")), ([3, 4], ())):
        dj.write_dataframe(pd.DataFrame({"id": ids}), "a", *call)
    assert dj.read_dataframe("a")["id"].tolist() == [1, 2, 3, 4]
    assert refused(dj.write_dataframe, pd.DataFrame({"id": [1, 1]}), "a").reason == "duplicate_key"
    dj.write_dataframe(
        pd.DataFrame({"id": [9]}), "a", update_method="PARTITION", partition_name="p"
    )
    dj.write_dataframe(pd.DataFrame({"id": [8]}), "a", partition_name="p")
    assert sorted(dj.read_dataframe("a")["id"]) == [1, 2, 3, 4, 8]
    dj.write_dataframe(pd.DataFrame({"id": [5]}), "a", update_method="REPLACE")
    assert dj.read_dataframe("a")["id"].tolist() == [5]


# ---- documents


def test_documents_from_birth_to_death():
    dj.attach(collections={"c": "reviews", "d": "others"})
    first = app_db.create_document("c", {"n": 1, "text": "é\"'"})
    rest = app_db.create_documents("c", [{"n": 2}, {"n": 3}])
    app_db.create_document("d", {"n": 99})
    assert [d["content"]["n"] for d in app_db.get_documents("c", 0, 50)] == [1, 2, 3]
    assert (
        app_db.get_documents("c", 1, 1) == [rest[0]]
        and app_db.get_document("c", first["id"]) == first
    )
    read = app_db.get_document("c", first["id"])
    read["content"]["n"] = 10
    assert app_db.update_document("c", read) == read
    assert app_db.update_documents("c", [{**d, "content": {"n": 0}} for d in rest])[1][
        "content"
    ] == {"n": 0}
    assert [d["content"]["n"] for d in app_db.get_documents("c", 0, 50)] == [10, 0, 0]
    app_db.delete_document("c", first["id"])
    app_db.delete_documents("c", [d["id"] for d in rest])
    assert app_db.get_documents("c", 0, 50) == [] and len(app_db.get_documents("d", 0, 50)) == 1
    assert Store().names() == []  # documents are no dataset


def test_documents_all_or_none():
    dj.attach(collections="c")
    one = app_db.create_document("c", {"n": 1})
    ghost = {"id": "ghost", "content": {}}
    for call in (
        lambda: app_db.update_documents("c", [{**one, "content": {"n": 2}}, ghost]),
        lambda: app_db.delete_documents("c", [one["id"], "ghost"]),
        lambda: app_db.get_document("c", "ghost"),
        lambda: app_db.update_document("c", ghost),
        lambda: app_db.delete_document("c", "ghost"),
    ):
        told = refused(call)
        assert (
            isinstance(told, DestinationError)
            and told.reason == "not_found"
            and "'ghost'" in str(told)
        )
    assert refused(app_db.create_documents, "c", [{"n": 3}, {"n": object()}]).reason == "not_json"
    assert app_db.get_documents("c", 0, 50) == [one] and app_db.create_documents("c", []) == []


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), object(), {1, 2}, b"x", dt.date(2024, 5, 1)]
)
def test_what_json_cannot_say(value):
    dj.attach(collections="c")
    for call in (
        lambda: app_db.create_document("c", {"x": [value]}),
        lambda: execution.write_response(value),
        lambda: dj.attach(payload={"x": value}),
    ):
        told = refused(call)
        assert isinstance(told, DestinationError) and told.reason == "not_json"


@pytest.mark.parametrize("document", [[1], "x", None])
def test_a_document_is_a_dict(document):
    dj.attach(collections="c")
    assert refused(app_db.create_document, "c", document).reason == "bad_document"
    assert refused(app_db.update_document, "c", document).reason == "bad_document"
    assert refused(app_db.update_document, "c", {"content": {}}).reason == "bad_document"


# ---- a step of a workflow


def test_payload_and_response():
    assert execution.get_payload() == {} and execution.last_response() is None
    dj.attach(payload={"days": 7})
    execution.get_payload()["days"] = 8
    assert execution.get_payload() == {"days": 7}
    assert execution.write_response({"ok": [1, None]}) is None
    assert execution.last_response() == {"ok": [1, None]}
