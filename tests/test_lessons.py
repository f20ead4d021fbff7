"""The lessons: solutions pass, untouched exercises run to their end, and wrong answers of every
kind are told so, politely."""

import contextlib
import importlib.util
import re
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pytest

from domostats import domojupyter as dj
from domostats import sandbox
from domostats.clients.domo.accounts import get_accounts
from domostats.clients.domo.auth import get_session_token
from domostats.clients.domo.users import get_user_by_id, get_users
from domostats.lessons import (
    account_datasets,
    account_formatters,
    accounts,
    accounts_data,
    browser,
    module,
    pages,
    stream_jobs,
    streams,
    tokens,
    trials,
)
from domostats.lessons.catalogue import LESSONS as CATALOGUE
from domostats.reports import accounts as kit
from domostats.rows import naming

nbformat = pytest.importorskip("nbformat", reason="lessons need the notebook tools, Python 3.11 on")

ROOT = Path(__file__).resolve().parent.parent
SOLUTION = ROOT / "tutorials" / "solutions" / "1_accounts.ipynb"
STREAMS = ROOT / "tutorials" / "solutions" / "6_streams.ipynb"
TASKS = {  # check: the names it is handed
    "grain": ["one_row", "rows"],
    "stubs": ["format_account", "format_accounts"],
    "flatten": ["flatten_list_of_lists"],
    "snake_case": ["format_str_camel_case"],
    "account_v1": ["format_account_v1"],
    "account_v2": ["format_account_v2"],
    "dataset": ["format_domostats_accounts"],
    "short": ["format_account_short"],
    "generate": ["generate_monit_instance_accounts"],
    "main": ["main"],
    "owners": ["accounts_with_owners"],
}
TASKS_2 = {
    "cost": ["cost"],
    "blocks": ["blocks"],
    "groups": ["grouped"],
    "lost": ["lost_job"],
    "sorting": ["sorted_out"],
    "failures": ["failures"],
}
BROWSER = ROOT / "tutorials" / "solutions" / "2_browser.ipynb"
TASKS_BROWSER = {
    "request": ["method", "path", "credential"],
    "reply": ["Reply"],
    "accounts": ["get_accounts"],
    "sign_in": ["get_session_token"],
    "beliefs": ["test_wrong"],
}
PAGES = ROOT / "tutorials" / "solutions" / "3_pages.ipynb"
TASKS_3 = {
    "all_rows": ["all_rows"],
    "whole": ["check_whole", "TooLong", "Incomplete"],
    "patient": ["patient"],
    "nightly": ["nightly"],
    "tests": ["test_hidden"],
}
MODULE = ROOT / "tutorials" / "solutions" / "4_module.ipynb"
TASKS_4 = {
    "leaks": ["leaks"],
    "read_account": ["read_account"],
    "module": ["monit_accounts"],
    "program": ["nightly"],
}
TOKENS = ROOT / "tutorials" / "solutions" / "5_tokens.ipynb"
TASKS_5 = {
    "days_left": ["days_left"],
    "account_body": ["account_body"],
    "find_account": ["find_account"],
    "rotate": ["rotate"],
    "token_rows": ["token_rows"],
}
LESSONS = {
    SOLUTION: (accounts, TASKS),
    BROWSER: (browser, TASKS_BROWSER),
    PAGES: (pages, TASKS_3),
    MODULE: (module, TASKS_4),
    TOKENS: (tokens, TASKS_5),
    STREAMS: (streams, TASKS_2),
}
CHECKS = [
    (module, check, names) for module, tasks in LESSONS.values() for check, names in tasks.items()
]
each_lesson = pytest.mark.parametrize("solution", LESSONS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("lessons_tool", ROOT / "tools" / "lessons.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(path):
    return nbformat.read(path, as_version=4)


def code(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def said(notebook):
    "What the outputs of a notebook say, as one text."
    outputs = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    ]
    return "\n".join(
        output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs
    )


# The notebooks


def exercise_of(solution):
    return solution.parent.parent / "exercises" / solution.name


@pytest.mark.slow
@each_lesson
def test_the_solution_gives_the_outputs_that_are_stored(solution, tmp_path):
    shutil.copy(solution, tmp_path)  # a lesson may write files beside itself
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "nbval.plugin",
        "--nbval",
        "--nbval-current-env",
        "--nbval-cell-timeout",
        "120",
        "-p",
        "no:cacheprovider",
        "-c",
        str(ROOT / "pyproject.toml"),
        str(tmp_path / solution.name),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]


@each_lesson
def test_every_check_has_passed_in_the_solution(solution):
    text = said(read(solution))
    assert (
        text.count("passed (task ") == len(LESSONS[solution][1])
        and "not yet" not in text
        and "kit's own" not in text
    )


@each_lesson
def test_every_check_has_a_cell_in_the_lesson(solution):
    module, tasks = LESSONS[solution]
    called = re.findall(r"check\.(\w+)\(", "\n".join(cell.source for cell in code(solution)))
    assert [name for name in called if name in module.checks.names] == list(tasks)
    assert [task.name for task in module.checks.lesson.tasks] == list(tasks)


@each_lesson
def test_the_exercise_is_made_from_the_solution(tool, solution):
    made = tool.exercise(read(solution))
    kept = read(exercise_of(solution))
    assert [cell.source for cell in made.cells] == [cell.source for cell in kept.cells]
    lesson = CATALOGUE[kept.metadata["domostats"]["lesson"]]
    assert lesson.file == solution.name
    assert lesson.version == kept.metadata["domostats"]["version"]
    clean = read(solution.parent.parent / "clean" / solution.name)
    assert [cell.source for cell in clean.cells] == [
        cell.source for cell in kept.cells if cell.cell_type == "code"
    ]
    tool.check()


@each_lesson
def test_every_task_has_a_heading_a_hint_and_a_title(solution):
    text = "\n".join(cell.source for cell in read(solution).cells if cell.cell_type == "markdown")
    tasks = LESSONS[solution][1]
    headings = re.findall(r"^### Task (\d+)$", text, re.MULTILINE)
    assert headings == [str(number) for number in range(1, len(tasks) + 1)]
    lesson = next(one for one in CATALOGUE.values() if one.file == solution.name)
    assert [task.name for task in lesson.tasks] == list(tasks)
    assert text.startswith(f"# Lesson {lesson.number}: ")
    parts = re.split(r"^### Task \d+$", text, flags=re.MULTILINE)[1:]
    without = [number for number, part in enumerate(parts, 1) if "<details><summary>" not in part]
    assert not without


@each_lesson
def test_the_exercise_shows_no_solution(solution):
    text = exercise_of(solution).read_text(encoding="utf-8")
    shown = {
        line.strip()
        for cell in code(solution)
        if "# BEGIN SOLUTION" not in cell.source
        for line in cell.source.splitlines()
    }
    solved = [
        line for cell in code(solution) for line in solution_lines(cell.source) if line not in shown
    ]
    assert (
        "SOLUTION" not in text
        and "STUB" not in text
        and 'outputs": [\n' not in text
        and len(solved) > 12
    )
    sources = [
        line.strip() for cell in code(exercise_of(solution)) for line in cell.source.splitlines()
    ]
    assert not [line for line in solved if line in sources]


@pytest.mark.slow
@each_lesson
def test_the_untouched_exercise_runs_to_its_end(tool, tmp_path, solution):
    tasks = LESSONS[solution][1]
    ran = tool.executed(read(exercise_of(solution)), tmp_path)
    text = said(ran)
    outputs = [output for cell in ran.cells for output in cell.get("outputs", ())]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    ours = re.findall(r"the\s+kit's\s+own\s+(\w+)\.", text)
    assert text.count("not yet (task ") == len(tasks) and "passed (" not in text
    assert ours == [
        names[0]
        for check, names in tasks.items()
        if check not in ("grain", "stubs", "request", "tests", "beliefs")
    ]


@each_lesson
def test_no_line_of_an_exercise_is_wider_than_a_page_of_jupyterlab(solution):
    lines = [line for cell in code(exercise_of(solution)) for line in cell.source.splitlines()]
    assert not [line for line in lines if len(line) > 94]


def test_the_sentence_of_a_check_is_broken_between_words():
    says = accounts.grain(..., ...).says
    lines = repr(accounts.grain(..., ...)).split("\n")
    assert len(lines) > 1 and max(map(len, lines)) <= 72
    assert " ".join(lines) == f"not yet (task 1 of 11): {says}"


# The generator


def notebook(*sources, tags=()):
    cells = [nbformat.v4.new_code_cell(source, id=f"cell{n}") for n, source in enumerate(sources)]
    for cell in cells:
        cell.metadata["tags"] = list(tags)
    return nbformat.v4.new_notebook(cells=cells)


def test_a_region_becomes_its_stub(tool):
    made = tool.exercise(
        notebook(
            (
                "def f():\n    # TODO: all of it\n    # BEGIN SOLUTION\n    x = 1\n"
                "    return x\n    # END SOLUTION"
            ),
            (
                "# BEGIN SOLUTION\na = 5\n# STUB: a = ...\n# STUB:\n# STUB: b = ...\n"
                "# END SOLUTION\nc = 1"
            ),
        )
    )
    assert [cell.source for cell in made.cells] == [
        "def f():\n    # TODO: all of it\n    ...",
        "a = ...\n\nb = ...\nc = 1",
    ]
    assert [cell.id for cell in made.cells] == ["cell0", "cell1"]


@pytest.mark.parametrize(
    "source",
    [
        "# BEGIN SOLUTION\n# BEGIN SOLUTION\n# END SOLUTION\n# END SOLUTION",
        "# BEGIN SOLUTION\nx = 1",
        "# END SOLUTION",
        "x = 1",
    ],
    ids=["nested", "unclosed", "unopened", "none"],
)
def test_a_broken_region_is_refused(tool, source):
    with pytest.raises(tool.LessonError):
        tool.exercise(notebook(source))


def test_cells_for_teachers_are_left_out_and_outputs_cleared(tool):
    region = "# BEGIN SOLUTION\nx = 1\n# END SOLUTION"
    solution = notebook(region, "x")
    solution.cells += notebook("secret = 1", tags=["solution-only"]).cells
    solution.cells[1].outputs, solution.cells[1].execution_count = (
        [nbformat.v4.new_output("stream", text="1")],
        7,
    )
    made = tool.exercise(solution)
    assert (
        [cell.source for cell in made.cells] == ["...", "x"]
        and made.cells[1].outputs == []
        and made.cells[1].execution_count is None
    )
    assert solution.cells[1].outputs


def test_what_differs_from_run_to_run_is_tidied(tool):
    messy = notebook("print(1)", "never run", "object()")
    messy.cells[0].execution_count, messy.cells[2].execution_count = 17, 44
    messy.cells[0].outputs = [
        nbformat.v4.new_output("stream", text="1"),
        nbformat.v4.new_output("stream", text="\n"),
    ]
    messy.cells[2].outputs = [
        nbformat.v4.new_output(
            "execute_result",
            {"text/plain": "<object at 0x7f00>", tool.WIDGET: {"model_id": "1"}},
            execution_count=44,
        )
    ]
    messy.cells[0].metadata["execution"] = {"started": "now"}
    tidied = tool.tidy(messy)
    assert (
        [cell.execution_count for cell in tidied.cells] == [1, None, 2]
        and tidied.cells[0].outputs[0].text == "1\n"
        and len(tidied.cells[0].outputs) == 1
    )
    assert (
        tidied.cells[2].outputs[0].data == {"text/plain": "<object>"}
        and tidied.cells[2].outputs[0].execution_count == 2
    )
    assert "execution" not in tidied.cells[0].metadata


def test_a_stale_a_missing_and_a_stray_exercise_are_noticed(tool, tmp_path):
    for folder in ("solutions", "exercises"):
        (tmp_path / folder).mkdir()
    nbformat.write(
        notebook("# BEGIN SOLUTION\nx = 1\n# END SOLUTION"), tmp_path / "solutions" / "02.ipynb"
    )
    with pytest.raises(SystemExit, match="02.ipynb"):
        tool.check(tmp_path)
    tool.make(tmp_path)
    tool.check(tmp_path)
    made = tmp_path / "exercises" / "02.ipynb"
    made.write_text(made.read_text().replace("...", "x = 1"))
    with pytest.raises(SystemExit, match="lessons.py make"):
        tool.check(tmp_path)
    tool.make(tmp_path)
    (tmp_path / "exercises" / "03.ipynb").write_text("{}")
    with pytest.raises(SystemExit, match="03.ipynb"):
        tool.check(tmp_path)


# The checks: right answers


def solution_lines(source):
    "The lines of the solution regions of a cell that give something away."
    regions = re.findall(r"# BEGIN SOLUTION\n(.*?)# END SOLUTION", source, re.DOTALL)
    return [
        line.strip()
        for region in regions
        for line in region.splitlines()
        if len(line.strip()) > 12 and "STUB" not in line
    ]


SECRETS = [line for cell in code(SOLUTION) for line in solution_lines(cell.source)]


@pytest.fixture(params=[(1, 2), (2, 3)], ids=["seed 1", "seed 2"])
def seeds(request, monkeypatch):
    "The checks on two pairs of worlds: the one that is shown, and the one that is not."
    monkeypatch.setattr(accounts_data, "SEEDS", request.param)
    return request.param


@pytest.fixture
def shown(seeds):
    "The instance that a learner has before them, and its session."
    with sandbox.start(seed=seeds[0]) as box:
        yield box, get_session_token(box, box.username, box.password)


def solved(providers):
    "The learner's names after every task of the lesson has been done as in the solution."
    names = {"providers": providers, "get_accounts": get_accounts, "get_users": get_users, "dj": dj}
    names |= {"re": re, "pd": pd}
    for cell in code(SOLUTION):
        if "# BEGIN SOLUTION" in cell.source:
            exec(cell.source, names)
    return names


@pytest.mark.sampled(4)
@pytest.mark.parametrize("check", TASKS)
def test_the_solution_passes(check, seeds):
    names = solved(accounts_data.provider_lists()[0])
    outcome = getattr(accounts, check)(*(names[name] for name in TASKS[check]))
    assert outcome.passed, outcome
    assert repr(outcome).startswith("passed (task ") and outcome.use() is names[TASKS[check][0]]


@pytest.mark.parametrize("check", TASKS_2)
def test_the_solution_of_a_thousand_streams_passes(check):
    names = {}
    for cell in code(STREAMS):
        if "# BEGIN SOLUTION" in cell.source:
            exec(cell.source, names)
    outcome = getattr(streams, check)(*(names[name] for name in TASKS_2[check]))
    assert outcome.passed, outcome
    assert outcome.use() is names[TASKS_2[check][0]]


# Wrong answers: for each task, by what is wrong with them


def row_like(ours, change):
    "A formatter that makes our row and then changes it."
    return lambda account_obj, dataprovider_obj, **kwargs: change(
        ours(account_obj=account_obj, dataprovider_obj=dataprovider_obj)
    )


def renamed(row, old, new):
    return {new if name == old else name: value for name, value in row.items()}


def wrong_grains(box, session):
    n = sum(len(provider["accounts"]) for provider in accounts_data.provider_lists()[0])
    return {
        "a row for a provider": ("a provider", n),
        "a row for an owner": ("an owner", n),
        "a row for a dataset": ("a dataset", n),
        "providers counted": ("an account", 16),
        "number as text": ("an account", str(n)),
        "number as float": ("an account", float(n)),
        "one too few": ("an account", n - 1),
        "one too many": ("an account", n + 1),
        "a list of rows": ("an account", [None] * n),
        "swapped": (n, "an account"),
        "another phrase": ("accounts", n),
        "half open": ("an account", ...),
    }


def wrong_stubs(box, session):
    def row(account_obj, dataprovider_obj) -> dict: ...
    def rows(api_response, format_fn) -> list: ...
    def no_promise(account_obj, dataprovider_obj): ...
    def list_promised(account_obj, dataprovider_obj) -> list: ...
    def swapped(dataprovider_obj, account_obj) -> dict: ...
    def one_only(account_obj) -> dict: ...
    def other_names(account, provider) -> dict: ...
    def called(api_response, formatted_rows) -> list: ...
    def one_row_promised(api_response, format_fn) -> dict: ...
    def nothing(): ...

    return {
        "both empty": (nothing, nothing),
        "no promise": (no_promise, rows),
        "a list promised for a row": (list_promised, rows),
        "parameters swapped": (swapped, rows),
        "the provider forgotten": (one_only, rows),
        "other names": (other_names, rows),
        "takes the result, not the function": (row, called),
        "a row promised for rows": (row, one_row_promised),
        "the two swapped": (rows, row),
        "a dict, not a function": ({}, rows),
    }


def wrong_flattens(box, session):
    def one_list_changed(lists):
        first = lists[0] if lists else []
        for other in lists[1:]:
            first.extend(other)
        return first

    def emptied(lists):
        flat = []
        while lists:
            flat += lists.pop(0)
        return flat

    def without_doubles(lists):
        flat = []
        for x in naming.flatten_list_of_lists(lists):
            if x not in flat:
                flat.append(x)
        return flat

    def printed(lists):
        print([x for rows in lists for x in rows])

    def no_return(lists):
        flat = [x for rows in lists for x in rows]  # noqa: F841

    return {
        "hard-coded": lambda lists: ["a", "b", 1, 2, "c"],
        "changes its input": one_list_changed,
        "empties its input": emptied,
        "printed": printed,
        "no return": no_return,
        "unchanged": lambda lists: lists,
        "a generator": lambda lists: (x for rows in lists for x in rows),
        "a tuple": lambda lists: tuple(x for rows in lists for x in rows),
        "a set": lambda lists: {str(x) for rows in lists for x in rows},
        "nothing kept": lambda lists: [x for rows in lists for x in rows if x],
        "None dropped": lambda lists: [x for rows in lists for x in rows if x is not None],
        "wrong order": lambda lists: [x for rows in lists[::-1] for x in rows],
        "sorted": lambda lists: sorted([x for rows in lists for x in rows], key=str),
        "everything text": lambda lists: [str(x) for rows in lists for x in rows],
        "too deep": lambda lists: [
            y for rows in lists for x in rows for y in (x if isinstance(x, list) else [x])
        ],
        "without doubles": without_doubles,
        "the first list only": lambda lists: list(lists[0]) if lists else [],
        "wrong parameters": lambda one, two: one + two,
        "called, not handed over": ["a", "b"],
        "a data frame": lambda lists: pd.DataFrame([x for rows in lists for x in rows]),
    }


def wrong_snakes(box, session):
    table = {name: naming.format_str_camel_case(name) for name in accounts.SHOWN_NAMES}

    def printed(text):
        print(naming.format_str_camel_case(text))

    return {
        "hard-coded": lambda text: table.get(text, text),
        "lower only": str.lower,
        "every capital": lambda text: re.sub("([A-Z])", r"_\1", text).lower(),
        "capitals kept": lambda text: re.sub("([A-Z]+)", r"_\1", text),
        "spaces kept": lambda text: re.sub("(?<=[a-z])([A-Z]+)", r"_\1", text).lower(),
        "hyphens kept": lambda text: "_".join(re.sub("([A-Z]+)", r" \1", text).split()).lower(),
        "hyphens, not underscores": lambda text: naming.format_str_camel_case(text).replace(
            "_", "-"
        ),
        "signs dropped": lambda text: re.sub(r"\W", "", naming.format_str_camel_case(text)),
        "a list of words": lambda text: naming.format_str_camel_case(text).split("_"),
        "printed": printed,
        "no return": lambda text: None,
        "bytes": lambda text: naming.format_str_camel_case(text).encode(),
        "a word": "user_id",
    }


def wrong_rows(ours, last):
    "Wrong formatters for one of the two shapes; `last` is a column of it."
    account, provider = accounts_data.accounts_with_providers()[0]
    answer = ours(account_obj=account, dataprovider_obj=provider)

    def changes(account_obj, dataprovider_obj, **kwargs):
        row = ours(account_obj=account_obj, dataprovider_obj=dataprovider_obj)
        account_obj.pop("valid")
        return row

    def adds_to_provider(account_obj, dataprovider_obj, **kwargs):
        row = ours(account_obj=account_obj, dataprovider_obj=dataprovider_obj)
        dataprovider_obj["seen"] = True
        return row

    def printed(account_obj, dataprovider_obj, **kwargs):
        print(ours(account_obj=account_obj, dataprovider_obj=dataprovider_obj))

    def no_return(account_obj, dataprovider_obj, **kwargs):
        row = {**account_obj}  # noqa: F841

    return {
        "hard-coded": lambda **kwargs: answer,
        "changes the account": changes,
        "changes the provider": adds_to_provider,
        "printed": printed,
        "no return": no_return,
        "id as text": row_like(ours, lambda row: {**row, "account_id": str(row["account_id"])}),
        "user as number": row_like(ours, lambda row: {**row, "user_id": int(row["user_id"])}),
        "wrong name": row_like(ours, lambda row: renamed(row, "account_name", "name")),
        "camelCase": row_like(ours, lambda row: renamed(row, "user_id", "userId")),
        "wrong order": row_like(ours, lambda row: dict(reversed(row.items()))),
        "nulls left out": row_like(
            ours, lambda row: {k: v for k, v in row.items() if v is not None}
        ),
        "empty values left out": row_like(ours, lambda row: {k: v for k, v in row.items() if v}),
        "nulls as text": row_like(ours, lambda row: {k: v or "" for k, v in row.items()}),
        "a column too many": row_like(ours, lambda row: {**row, "valid": True}),
        "a column too few": row_like(ours, lambda row: {k: v for k, v in row.items() if k != last}),
        "a list of values": row_like(ours, lambda row: list(row.values())),
        "a list with the row": row_like(ours, lambda row: [row]),
        "a data frame": row_like(ours, lambda row: pd.DataFrame([row])),
        "key of the provider, not its name": lambda account_obj, dataprovider_obj, **kw: {
            **ours(account_obj=account_obj, dataprovider_obj=dataprovider_obj),
            "data_provider_name": dataprovider_obj["key"],
        },
        "another account's name": lambda account_obj, dataprovider_obj, **kw: {
            **ours(account_obj=account_obj, dataprovider_obj=dataprovider_obj),
            "account_name": account_obj["name"],
        },
        "an account of the notebook": lambda account_obj, dataprovider_obj, **kwargs: ours(
            account_obj=account, dataprovider_obj=dataprovider_obj
        ),
        "names in capitals lowered": row_like(
            ours, lambda row: {**row, "account_name": row["account_name"].lower()}
        ),
        "no **kwargs": lambda account_obj, dataprovider_obj: ours(
            account_obj=account_obj, dataprovider_obj=dataprovider_obj
        ),
        "the untouched record": lambda account_obj, dataprovider_obj, **kwargs: {**account_obj},
        "called, not handed over": answer,
    }


def wrong_shorts(box, session):
    account, provider = accounts_data.accounts_with_providers()[0]
    right = account_formatters.format_account_short

    def changes(account_obj, **kwargs):
        return {"account_id": account_obj.pop("id"), "account_name": account_obj.pop("displayName")}

    return {
        "no **kwargs": lambda account_obj: right(account_obj),
        "the provider only": lambda account_obj, dataprovider_obj: right(account_obj),
        "the owner is needed": lambda account_obj, owner_obj, **kwargs: right(account_obj),
        "hard-coded": lambda account_obj, **kwargs: right(account),
        "changes its input": changes,
        "id as text": lambda account_obj, **kwargs: {
            **right(account_obj),
            "account_id": str(account_obj["id"]),
        },
        "wrong name": lambda account_obj, **kwargs: renamed(
            right(account_obj), "account_name", "name"
        ),
        "wrong order": lambda account_obj, **kwargs: dict(reversed(right(account_obj).items())),
        "*args instead": lambda account_obj, *args: right(account_obj),
        "all of kwargs in the row": lambda account_obj, **kwargs: {**right(account_obj), **kwargs},
        "printed": lambda account_obj, **kwargs: print(right(account_obj)),
        "called": right(account),
    }


def table(api_response, format_fn, is_dataframe=True, keep=lambda account: True):
    rows = [
        format_fn(account_obj=account, dataprovider_obj=provider)
        for provider in api_response
        for account in provider["accounts"]
        if keep(account)
    ]
    return pd.DataFrame(rows) if is_dataframe else rows


def wrong_datasets(box, session):
    providers = accounts_data.provider_lists()[0]

    def v1(account_obj, dataprovider_obj, **kwargs):
        return kit.format_account_v1(account_obj=account_obj, dataprovider_obj=dataprovider_obj)

    def changes(api_response, format_fn, is_dataframe=True):
        made = table(api_response, format_fn, is_dataframe)
        api_response[:] = [provider for provider in api_response if provider["accounts"]]
        return made

    def per_provider(api_response, format_fn, is_dataframe=True):
        rows = [
            format_fn(account_obj=provider["accounts"][0], dataprovider_obj=provider)
            for provider in api_response
            if provider["accounts"]
        ]
        return pd.DataFrame(rows) if is_dataframe else rows

    def nested(api_response, format_fn, is_dataframe=True):
        rows = [
            [format_fn(account_obj=a, dataprovider_obj=p) for a in p["accounts"]]
            for p in api_response
        ]
        return pd.DataFrame(rows) if is_dataframe else rows

    def early(
        api_response, format_fn=v1(*accounts_data.accounts_with_providers()[0]), is_dataframe=True
    ):
        return table(api_response, lambda **kwargs: format_fn, is_dataframe)

    def returned_in_the_loop(api_response, format_fn, is_dataframe=True):
        for provider in api_response:
            rows = [
                format_fn(account_obj=account, dataprovider_obj=provider)
                for account in provider["accounts"]
            ]
            return pd.DataFrame(rows) if is_dataframe else rows
        return None

    return {
        "hard-coded": lambda api_response, format_fn, is_dataframe=True: table(
            providers, format_fn, is_dataframe
        ),
        "its own formatter": lambda api_response, format_fn, is_dataframe=True: table(
            api_response, v1, is_dataframe
        ),
        "changes its input": changes,
        "one row a provider": per_provider,
        "nested": nested,
        "formatter called at definition": early,
        "returns in the loop": returned_in_the_loop,
        "always a frame": lambda api_response, format_fn, is_dataframe=True: table(
            api_response, format_fn
        ),
        "always a list": lambda api_response, format_fn, is_dataframe=True: table(
            api_response, format_fn, False
        ),
        "a tuple": lambda api_response, format_fn, is_dataframe=True: tuple(
            table(api_response, format_fn, False)
        ),
        "a generator": lambda api_response, format_fn, is_dataframe=True: iter(
            table(api_response, format_fn, False)
        ),
        "drops id 0": lambda api_response, format_fn, is_dataframe=True: table(
            api_response, format_fn, is_dataframe, lambda account: account["id"]
        ),
        "drops invalid ones": lambda api_response, format_fn, is_dataframe=True: table(
            api_response, format_fn, is_dataframe, lambda account: account["valid"]
        ),
        "wrong order": lambda api_response, format_fn, is_dataframe=True: table(
            api_response[::-1], format_fn, is_dataframe
        ),
        "no is_dataframe": lambda api_response, format_fn: table(api_response, format_fn),
        "printed": lambda api_response, format_fn, is_dataframe=True: print(
            table(api_response, format_fn)
        ),
        "text in the frame": lambda api_response, format_fn, is_dataframe=True: (
            table(api_response, format_fn).astype(str)
            if is_dataframe
            else table(api_response, format_fn, False)
        ),
        "columns sorted": lambda api_response, format_fn, is_dataframe=True: (
            table(api_response, format_fn).sort_index(axis=1)
            if is_dataframe
            else table(api_response, format_fn, False)
        ),
        "called, not handed over": table(providers, v1),
    }


def generated(
    session_token, domo_instance, format_fn, is_dataframe=True, return_raw=False, debug_api=False
):
    reply = get_accounts(domo_instance, session_token, debug_api=debug_api).response
    return reply if return_raw else table(reply, format_fn, is_dataframe)


def wrong_generates(box, session):
    def often(
        session_token,
        domo_instance,
        format_fn,
        is_dataframe=True,
        return_raw=False,
        debug_api=False,
    ):
        get_accounts(domo_instance, session_token)
        return generated(
            session_token, domo_instance, format_fn, is_dataframe, return_raw, debug_api
        )

    def v1(account_obj, dataprovider_obj, **kwargs):
        return kit.format_account_v1(account_obj=account_obj, dataprovider_obj=dataprovider_obj)

    reply = get_accounts(box, session).response

    def hard_coded(
        session_token,
        domo_instance,
        format_fn,
        is_dataframe=True,
        return_raw=False,
        debug_api=False,
    ):
        return reply if return_raw else table(reply, format_fn, is_dataframe)

    return {
        "hard-coded": hard_coded,
        "the notebook's session": lambda session_token, domo_instance, **given: generated(
            session, domo_instance, **given
        ),
        "no session": lambda session_token, domo_instance, **given: generated(
            None, domo_instance, **given
        ),
        "the notebook's instance": lambda session_token, domo_instance, **given: generated(
            session_token, box, **given
        ),
        "both of the notebook": lambda session_token, domo_instance, **given: generated(
            session, box, **given
        ),
        "asks twice": often,
        "raw is not raw": lambda **given: generated(**{**given, "return_raw": False}),
        "the answer, not its response": lambda **given: get_accounts(
            given["domo_instance"], given["session_token"]
        ),
        "debug_api forgotten": lambda **given: generated(**{**given, "debug_api": False}),
        "always a frame": lambda **given: generated(**{**given, "is_dataframe": True}),
        "always v1": lambda **given: generated(**{**given, "format_fn": v1}),
        "printed": lambda **given: print(generated(**given)),
        "no return_raw": lambda session_token, domo_instance, format_fn, is_dataframe=True: 1,
        "called": generated(session, box, v1),
    }


def wrong_mains(box, session):
    def writing(*writes, **options):
        def main(session_token, domo_instance):
            for alias, shape in writes:
                dj.write_dataframe(
                    kit.generate(domo_instance, session_token, shape), alias, **options
                )

        return main

    def hard_coded(session_token, domo_instance):
        account_datasets.kit_main(session, box)

    def greedy(session_token, domo_instance):
        for _ in range(2):
            account_datasets.kit_main(session_token, domo_instance)

    def returned(session_token, domo_instance):
        return kit.generate(domo_instance, session_token, "v1"), kit.generate(
            domo_instance, session_token, "v2"
        )

    def a_list(session_token, domo_instance):
        dj.write_dataframe(
            kit.generate(domo_instance, session_token, "v1", is_dataframe=False), "accounts_v1"
        )

    return {
        "one only": writing(("accounts_v1", "v1")),
        "the second only": writing(("accounts_v2", "v2")),
        "swapped": writing(("accounts_v1", "v2"), ("accounts_v2", "v1")),
        "the same shape twice": writing(("accounts_v1", "v1"), ("accounts_v2", "v1")),
        "one output for both": writing(("accounts_v1", "v1"), ("accounts_v1", "v2")),
        "another output": writing(("my_accounts", "v1"), ("accounts_v2", "v2")),
        "appended": writing(("accounts_v1", "v1"), ("accounts_v2", "v2"), update_method="APPEND"),
        "upserted": writing(
            ("accounts_v1", "v1"),
            ("accounts_v2", "v2"),
            update_method="UPSERT",
            update_key="account_id",
        ),
        "hard-coded": hard_coded,
        "everything twice": greedy,
        "returned, not written": returned,
        "a list written": a_list,
        "another shape": writing(("accounts_v1", "domostats"), ("accounts_v2", "v2")),
        "no parameters": lambda: None,
        "not called": main_result,
    }


main_result = "main()"


def wrong_owners(box, session):
    def names(domo_instance, session_token):
        return {
            str(user["id"]): user["displayName"]
            for user in get_users(domo_instance, session_token).response
        }

    def with_names(name_of, keep=lambda row: True):
        def accounts_with_owners(session_token, domo_instance):
            known = names(domo_instance, session_token)
            rows = kit.generate(domo_instance, session_token, "v2", is_dataframe=False)
            return [
                {**row, "owner_name": name_of(row, known)}
                for row in rows
                if keep({**row, "owner_name": known.get(row["user_id"])})
            ]

        return accounts_with_owners

    def one_by_one(session_token, domo_instance):
        known = names(domo_instance, session_token)
        rows = kit.generate(domo_instance, session_token, "v2", is_dataframe=False)
        return [
            {
                **row,
                "owner_name": get_user_by_id(domo_instance, session_token, row["user_id"]).response[
                    "displayName"
                ]
                if row["user_id"] in known
                else None,
            }
            for row in rows
        ]

    right = with_names(lambda row, known: known.get(row["user_id"]))
    reply = account_datasets.kit_owners(session, box)
    return {
        "a request for each row": one_by_one,
        "hard-coded": lambda session_token, domo_instance: reply,
        "rows without an owner dropped": with_names(
            lambda row, known: known.get(row["user_id"]), lambda row: row["owner_name"]
        ),
        "the number where the name is unknown": with_names(
            lambda row, known: known.get(row["user_id"], row["user_id"])
        ),
        "a word where the name is unknown": with_names(
            lambda row, known: known.get(row["user_id"], "unknown")
        ),
        "text and number mixed up": with_names(
            lambda row, known: {int(id): name for id, name in known.items()}.get(row["user_id"])
        ),
        "fails for those who left": with_names(lambda row, known: known[row["user_id"]]),
        "a frame": lambda session_token, domo_instance: pd.DataFrame(
            right(session_token, domo_instance)
        ),
        "wrong order": lambda session_token, domo_instance: right(session_token, domo_instance)[
            ::-1
        ],
        "wrong name": lambda session_token, domo_instance: [
            renamed(row, "owner_name", "owner") for row in right(session_token, domo_instance)
        ],
        "the notebook's session": lambda session_token, domo_instance: right(
            session, domo_instance
        ),
        "printed": lambda session_token, domo_instance: print(right(session_token, domo_instance)),
        "called": reply,
    }


WRONG = {
    "grain": wrong_grains,
    "stubs": wrong_stubs,
    "flatten": wrong_flattens,
    "snake_case": wrong_snakes,
    "account_v1": lambda box, session: wrong_rows(kit.format_account_v1, "account_name"),
    "account_v2": lambda box, session: wrong_rows(kit.format_account_v2, "days_to_expiry"),
    "dataset": wrong_datasets,
    "short": wrong_shorts,
    "generate": wrong_generates,
    "main": wrong_mains,
    "owners": wrong_owners,
}


def told_politely(module, check, wrong):
    """Every one of these wrong answers (by what is wrong) is told so, in a sentence that helps
    and gives nothing away."""
    outcomes = {
        kind: getattr(module, check)(*(answer if isinstance(answer, tuple) else (answer,)))
        for kind, answer in wrong.items()
    }
    assert len(outcomes) >= 8 and not [kind for kind, outcome in outcomes.items() if outcome.passed]
    for kind, outcome in outcomes.items():
        assert repr(outcome).startswith("not yet (task ") and 30 < len(outcome.says) < 700, (
            kind,
            outcome,
        )
        assert "cannot make sense" not in outcome.says, (kind, outcome)
        assert not [line for line in SECRETS if line in outcome.says], (kind, outcome)


@pytest.fixture
def no_tripwire(monkeypatch):
    """Answers may call the kit: the wrong ones below are made from what it gives, and have to be
    told by what is wrong with them."""
    monkeypatch.setattr(trials, "no_help_from_the_kit", contextlib.nullcontext)


@pytest.mark.sampled(6)
@pytest.mark.parametrize("check", TASKS)
def test_wrong_answers_are_not_right_yet(check, shown, no_tripwire):
    told_politely(accounts, check, WRONG[check](*shown))


def one_day_more(start, end):
    return [(first, last + timedelta(1)) for first, last in streams.kit_blocks(start, end)]


def nearly_equal(start, end):
    "Parts of nearly equal length, as few as can be."
    days = (end - start).days + 1
    parts = -(-days // 10)
    lengths = [days // parts + (n < days % parts) for n in range(parts)]
    starts = [start + timedelta(sum(lengths[:n])) for n in range(parts)]
    return [
        (first, first + timedelta(length - 1))
        for first, length in zip(starts, lengths, strict=True)
    ]


def job_like(test):
    "A function that finds the first job that passes a test."
    return lambda jobs, newest, start, end: next(
        (job for job in jobs if test(job, newest, start, end)), None
    )


WRONG_2 = {
    "cost": {
        "without the workspaces": lambda workspaces, streams, users: (
            streams,
            streams / 60 / users,
        ),
        "a product": lambda workspaces, streams, users: (
            workspaces * streams,
            workspaces * streams / 60 / users,
        ),
        "users forgotten": lambda workspaces, streams, users: (
            workspaces + streams,
            (workspaces + streams) / 60,
        ),
        "seconds": lambda workspaces, streams, users: (
            workspaces + streams,
            (workspaces + streams) / users,
        ),
        "hours": lambda workspaces, streams, users: (
            workspaces + streams,
            (workspaces + streams) / 3600 / users,
        ),
        "one number": lambda workspaces, streams, users: workspaces + streams,
        "a list": lambda workspaces, streams, users: [
            workspaces + streams,
            (workspaces + streams) / 60 / users,
        ],
        "the wrong way round": lambda workspaces, streams, users: (
            (workspaces + streams) / 60 / users,
            workspaces + streams,
        ),
        "text": lambda workspaces, streams, users: ("1005", "16.75"),
        "printed": lambda workspaces, streams, users: print(workspaces + streams),
        "hard-coded": lambda workspaces, streams, users: (1005, 16.75),
        "divided by zero": lambda workspaces, streams, users: (workspaces + streams, streams / 0),
        "users multiplied": lambda workspaces, streams, users: (
            workspaces + streams,
            (workspaces + streams) / 60 * users,
        ),
    },
    "blocks": {
        "one block": lambda start, end: [(start, end)],
        "a day more": one_day_more,
        "nearly equal": nearly_equal,
        "overlapping": lambda start, end: [
            (first, first + timedelta(10)) for first, _ in streams.kit_blocks(start, end)
        ],
        "the last one too long": lambda start, end: [
            (first, first + timedelta(9)) for first, _ in streams.kit_blocks(start, end)
        ],
        "the end left out": lambda start, end: (
            streams.kit_blocks(start, end - timedelta(1)) if end > start else []
        ),
        "texts": lambda start, end: [
            (str(first), str(last)) for first, last in streams.kit_blocks(start, end)
        ],
        "lists": lambda start, end: [
            [first, last] for first, last in streams.kit_blocks(start, end)
        ],
        "a tuple": lambda start, end: tuple(streams.kit_blocks(start, end)),
        "backwards": lambda start, end: streams.kit_blocks(start, end)[::-1],
        "nothing": lambda start, end: [],
        "only starts": lambda start, end: [first for first, _ in streams.kit_blocks(start, end)],
        "printed": lambda start, end: print(start, end),
        "eleven days": lambda start, end: [
            (start + timedelta(n), min(start + timedelta(n + 10), end))
            for n in range(0, (end - start).days + 1, 11)
        ],
    },
    "groups": {
        "by start only": lambda wanted: {start: [stream] for stream, start, end in wanted},
        "the last one wins": lambda wanted: {
            (start, end): [stream] for stream, start, end in wanted
        },
        "sets": lambda wanted: {days: {*ids} for days, ids in streams.kit_grouped(wanted).items()},
        "sorted the other way": lambda wanted: {
            days: ids[::-1] for days, ids in streams.kit_grouped(wanted).items()
        },
        "ids as text": lambda wanted: {
            days: [*map(str, ids)] for days, ids in streams.kit_grouped(wanted).items()
        },
        "a list": lambda wanted: [*streams.kit_grouped(wanted).items()],
        "days turned round": lambda wanted: {
            days[::-1]: ids for days, ids in streams.kit_grouped(wanted).items()
        },
        "triples": lambda wanted: {
            days: [(id, *days) for id in ids] for days, ids in streams.kit_grouped(wanted).items()
        },
        "the numbers": lambda wanted: {
            days: len(ids) for days, ids in streams.kit_grouped(wanted).items()
        },
        "fails on none": lambda wanted: {
            wanted[0][1:]: [wanted[0][0]],
            **streams.kit_grouped(wanted),
        },
        "printed": lambda wanted: print(wanted),
    },
    "lost": {
        "the start only": job_like(
            lambda job, newest, start, end: job["id"] > newest and job["dataStartDate"] == start
        ),
        "the end only": job_like(
            lambda job, newest, start, end: job["id"] > newest and job["dataEndDate"] == end
        ),
        "older ones too": job_like(
            lambda job, newest, start, end: (
                (job["dataStartDate"], job["dataEndDate"]) == (start, end)
            )
        ),
        "the newest": lambda jobs, newest, start, end: max(
            jobs, key=lambda job: job["id"], default=None
        ),
        "the id": lambda jobs, newest, start, end: (
            stream_jobs.kit_lost_job(jobs, newest, start, end) or {}
        ).get("id"),
        "true or false": lambda jobs, newest, start, end: (
            stream_jobs.kit_lost_job(jobs, newest, start, end) is not None
        ),
        "a list": lambda jobs, newest, start, end: [job for job in jobs if job["id"] > newest],
        "never": lambda jobs, newest, start, end: None,
        "not older": job_like(
            lambda job, newest, start, end: (
                job["id"] >= newest and (job["dataStartDate"], job["dataEndDate"]) == (start, end)
            )
        ),
        "only the finished": job_like(
            lambda job, newest, start, end: (
                job["status"] == "SUCCESS"
                and job["id"] > newest
                and (job["dataStartDate"], job["dataEndDate"]) == (start, end)
            )
        ),
        "the last in the list": lambda jobs, newest, start, end: jobs[-1] if jobs else None,
    },
    "sorting": {
        "nothing looked at": lambda plan, record: (
            [],
            [key for key in plan if (key, "ok") not in record],
        ),
        "any ok will do": lambda plan, record: (
            [key for key in plan if (key, "begun") in record and (key, "ok") not in record],
            [key for key in plan if key not in dict(record)],
        ),
        "refused forgotten": lambda plan, record: (
            stream_jobs.kit_sorted_out(plan, record)[0],
            [key for key in plan if key not in dict(record)],
        ),
        "the wrong way round": lambda plan, record: stream_jobs.kit_sorted_out(plan, record)[::-1],
        "the order of the record": lambda plan, record: (
            [key for key, word in record if dict(record)[key] in ("begun", "unknown")],
            stream_jobs.kit_sorted_out(plan, record)[1],
        ),
        "the first word": lambda plan, record: stream_jobs.kit_sorted_out(plan, record[::-1]),
        "one list": lambda plan, record: sum(stream_jobs.kit_sorted_out(plan, record), []),
        "sets": lambda plan, record: tuple(map(set, stream_jobs.kit_sorted_out(plan, record))),
        "unknown is done": lambda plan, record: stream_jobs.kit_sorted_out(
            plan, [(key, "ok" if word == "unknown" else word) for key, word in record]
        ),
        "sorted": lambda plan, record: tuple(map(sorted, stream_jobs.kit_sorted_out(plan, record))),
        "everything": lambda plan, record: ([], plan),
        "a list of two": lambda plan, record: [*stream_jobs.kit_sorted_out(plan, record)],
    },
    "failures": {
        "failures only": lambda log: stream_jobs.kit_failures(log[log["status"] != "error"]),
        "errors only": lambda log: stream_jobs.kit_failures(log[log["status"] != "failure"]),
        "all": lambda log: log.groupby("workspace").size().reset_index(name="failed"),
        "the best first": lambda log: stream_jobs.kit_failures(log)[::-1],
        "another name": lambda log: stream_jobs.kit_failures(log).rename(
            columns={"failed": "size"}
        ),
        "a series": lambda log: log[log["status"] != "success"].groupby("workspace").size(),
        "a dict": lambda log: stream_jobs.kit_failures(log).to_dict(),
        "by stream": lambda log: (
            log[log["status"] != "success"]
            .groupby("stream")
            .size()
            .reset_index(name="failed")
            .rename(columns={"stream": "workspace"})
        ),
        "ties the other way": lambda log: stream_jobs.kit_failures(log).sort_values(
            ["failed", "workspace"], ascending=[False, False]
        ),
        "a column more": lambda log: stream_jobs.kit_failures(log).assign(more=1),
        "by number": lambda log: stream_jobs.kit_failures(log).sort_values("workspace"),
        "printed": lambda log: print(log),
    },
}


@pytest.mark.parametrize("check", TASKS_2)
def test_wrong_answers_on_a_thousand_streams_are_not_right_yet(check, no_tripwire):
    told_politely(streams, check, WRONG_2[check])


@pytest.mark.parametrize("check", ["snake_case", "account_v1", "account_v2"])
def test_no_message_gives_the_answer(check, shown, no_tripwire):
    account, provider = accounts_data.accounts_with_providers()[0]
    answers = {
        "snake_case": [repr(naming.format_str_camel_case(name)) for name in accounts.SHOWN_NAMES],
        "account_v1": [repr(kit.format_account_v1(account_obj=account, dataprovider_obj=provider))],
        "account_v2": [repr(kit.format_account_v2(account_obj=account, dataprovider_obj=provider))],
    }[check]
    for kind, wrong in WRONG[check](*shown).items():
        says = getattr(accounts, check)(wrong).says
        assert not [answer for answer in answers if answer in says], (kind, says)


def test_no_message_names_the_grain(shown):
    n = str(sum(len(provider["accounts"]) for provider in accounts_data.provider_lists()[0]))
    for kind, answer in wrong_grains(*shown).items():
        says = accounts.grain(*answer).says
        given = repr(answer)
        assert "an account" in given or "an account" not in says, (kind, says)
        assert n in given or n not in re.findall(r"\d+", says), (kind, says)


# The checks: anything at all


class Hostile:
    "Whatever one does with it raises."

    def __repr__(self):
        raise RuntimeError("no repr")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None

    def __call__(self, *args, **kwargs):
        raise SystemExit("no call")

    def __bool__(self):
        raise RuntimeError("no truth")

    def __len__(self):
        raise RuntimeError("no length")


class HostileRow(dict):
    def __getitem__(self, key):
        raise RuntimeError("no item")

    def keys(self):
        raise RuntimeError("no keys")


def interrupted(*args, **kwargs):
    raise KeyboardInterrupt


def endless(*args, **kwargs):
    return endless(*args, **kwargs)


JUNK = {
    "dots": ...,
    "None": None,
    "a number": 5,
    "a text": "x",
    "a failing function": lambda: 1 / 0,
    "an object": object(),
    "a type": dict,
    "a module": re,
    "NaN": float("nan"),
    "hostile": Hostile(),
    "gives hostile": lambda *args, **kwargs: Hostile(),
    "gives hostile ones": lambda *args, **kwargs: [Hostile()] * 9,
    "gives a hostile dict": lambda *args, **kwargs: HostileRow(a=1),
    "interrupted": interrupted,
    "endless": endless,
    "a frame": pd.DataFrame({"a": [1]}),
    "gives dots": lambda *args, **kwargs: ...,
    "gives a frame": lambda *args, **kwargs: pd.DataFrame({"a": [1]}),
    "a generator function": lambda *args, **kwargs: (yield 1),
    "leaves": lambda *args, **kwargs: sys.exit(),
    "a builtin": print,
}


@pytest.mark.sampled(6)
@pytest.mark.parametrize(
    "module, check, names", CHECKS, ids=lambda part: part if isinstance(part, str) else ""
)
def test_a_check_never_raises(module, check, names, capsys):
    for kind, junk in JUNK.items():
        outcome = getattr(module, check)(*[junk] * len(names))
        assert outcome.passed is False and repr(outcome).startswith("not yet (task "), kind
    for arguments in ((), (1, 2, 3)):
        assert not getattr(module, check)(*arguments).passed
    assert not getattr(module, check)(nonsense=1).passed


def test_the_kit_is_not_praised_for_its_own_work():
    function = accounts.flatten(...).use()
    assert function is naming.flatten_list_of_lists
    again = accounts.flatten(function)
    assert not again.passed and "kit's own" in again.says and again.use() is function


def test_a_check_leaves_nothing_behind(own_folder, tmp_path):
    from domostats.loading.database_file import store_path

    before = store_path()
    with sandbox.start() as box:
        names = solved(get_accounts(box).response)
        accounts.main(names["main"])
        accounts.main(lambda **given: 1 / 0)
        assert store_path() == before and not before.exists()
        assert box.calls and get_accounts(box).is_success  # the learner's own instance still runs
    assert {path.name for path in tmp_path.rglob("*.json")} <= {"progress.json"}


def test_what_is_printed_during_a_check_is_not_mixed_with_its_sentence(capsys):
    def chatty(list_of_lists):
        print("looking at", list_of_lists)
        return [row for rows in list_of_lists for row in rows]

    assert accounts.flatten(chatty).passed and "looking" not in capsys.readouterr().out


def test_own_store_stays_the_same():
    script = (
        "from domostats import lessons; "
        "from domostats.loading.database_file import store_path\n"
        "lessons.own_store(); first = store_path(); lessons.own_store(); "
        "assert store_path() == first; print(first.parent)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert not Path(done.stdout.strip()).exists()


def test_a_message_is_short_whatever_it_shows():
    assert (
        len(trials.shorten({"a" * 500: ["b" * 500] * 500})) <= 80
        and trials.shorten(Hostile())
        and trials.shorten([[[[[[1]]]]]])
    )


# What once passed and must not, and what is said about it


def v1_from(account_obj, dataprovider_obj):
    "Our own row, without the kit."
    return {
        "user_id": account_obj["userId"],
        "data_provider_type": account_obj["dataProviderType"],
        "date_of_expiration": account_obj["dateOfExpiration"],
        "data_source_count": account_obj["dataSourceCount"],
        "data_provider_name": dataprovider_obj["name"],
        "account_id": account_obj["id"],
        "account_name": account_obj["displayName"],
    }


def v1_with(**columns):
    "A formatter that makes some of the columns in its own way."

    def format_account_v1(account_obj, dataprovider_obj, **kwargs):
        row = v1_from(account_obj, dataprovider_obj)
        return row | {name: make(account_obj, dataprovider_obj) for name, make in columns.items()}

    return format_account_v1


def prints_in_place_of_the_request(
    session_token, domo_instance, format_fn, is_dataframe=True, return_raw=False, debug_api=False
):
    if debug_api:
        print("debug")
    reply = get_accounts(domo_instance, session_token).response
    return reply if return_raw else table(reply, format_fn, is_dataframe)


def takes_the_id_out(account_obj, dataprovider_obj, **kwargs):
    row = v1_from(account_obj, dataprovider_obj)
    account_obj.pop("id")
    return row


def prints_the_request(
    session_token, domo_instance, format_fn, is_dataframe=True, return_raw=False, debug_api=False
):
    if debug_api:
        print("GET", domo_instance.url + "/api/data/v2/datasources/providers")
    reply = get_accounts(domo_instance, session_token).response
    return reply if return_raw else table(reply, format_fn, is_dataframe)


def always_shows(
    session_token, domo_instance, format_fn, is_dataframe=True, return_raw=False, debug_api=False
):
    reply = get_accounts(domo_instance, session_token, debug_api=True).response
    return reply if return_raw else table(reply, format_fn, is_dataframe)


def asks_once_more(
    session_token, domo_instance, format_fn, is_dataframe=True, return_raw=False, debug_api=False
):
    if debug_api:
        get_accounts(domo_instance, session_token, debug_api=True)
    reply = get_accounts(domo_instance, session_token).response
    return reply if return_raw else table(reply, format_fn, is_dataframe)


def v2_with(**columns):
    "A formatter of the second version that makes some of the columns in its own way."

    def format_account_v2(account_obj, dataprovider_obj, **kwargs):
        row = {
            "user_id": account_obj["userId"],
            "type": account_obj["type"],
            "data_provider_type": account_obj["dataProviderType"],
            "date_of_expiration": account_obj["dateOfExpiration"],
            "data_source_count": account_obj["dataSourceCount"],
            "days_to_expiry": account_obj["daysToExpiry"],
            "expired": account_obj["expired"],
            "data_provider_name": dataprovider_obj["name"],
            "account_id": account_obj["id"],
            "account_name": account_obj["displayName"],
        }
        return row | {name: make(account_obj) for name, make in columns.items()}

    return format_account_v2


def test_a_second_version_that_copies_what_is_there_is_right(seeds):
    assert accounts.account_v2(v2_with()).passed


def failed_table(log, count="size"):
    groups = log[log["status"] != "success"].groupby("workspace")
    counted = groups.size() if count == "size" else groups["stream"].nunique()
    return counted.reset_index(name="failed")


def emptied(log):
    found = failed_table(log).sort_values(["failed", "workspace"], ascending=[False, True])
    log.drop(log.index, inplace=True)
    return found


def refused_means_open(plan, record):
    "Whoever was refused once is done again, whatever came later."
    words = {key: [word for other, word in record if other == key] for key in plan}
    to_look_at = [
        key
        for key in plan
        if words[key] and words[key][-1] in ("begun", "unknown") and "failed" not in words[key]
    ]
    to_do = [key for key in plan if not words[key] or "failed" in words[key]]
    return to_look_at, to_do


def once_done_is_done(plan, record):
    words = {key: [word for other, word in record if other == key] for key in plan}
    done = {key for key in plan if "ok" in words[key]}
    to_look_at = [k for k in plan if k not in done and words[k][-1:] in (["begun"], ["unknown"])]
    return to_look_at, [key for key in plan if words[key][-1:] in ([], ["failed"])]


def unordered(plan, record):
    last = dict(record)
    looked = {key for key in plan if last.get(key) in ("begun", "unknown")}
    return sorted(looked, reverse=True), [key for key in plan if last.get(key) in (None, "failed")]


def minutes_rounded(workspaces, streams, users):
    calls = 1 + workspaces + streams
    return calls, round(calls / 60 / users)


def hyphen_kept(text):
    return "_".join(re.sub("([A-Z]+)", r" \1", text).split()).lower()


def before_its_for(list_of_lists):
    return [row for row in rows for rows in list_of_lists]  # noqa: F821


def first_of_the_list(jobs, newest, start, end):
    return [
        job
        for job in jobs
        if job["id"] > newest and (job["dataStartDate"], job["dataEndDate"]) == (start, end)
    ][0]


def without_errors(log):
    return failed_table(log[log["status"] != "error"]).sort_values(
        ["failed", "workspace"], ascending=[False, True]
    )


def its_number(jobs, newest, start, end):
    days = start, end
    found = [
        job["id"]
        for job in jobs
        if job["id"] > newest and (job["dataStartDate"], job["dataEndDate"]) == days
    ]
    return found[0] if found else None


def counted_by_number(log):
    failed = log[log["status"] != "success"].groupby("workspace")["job"].count()
    return failed.reset_index(name="failed").sort_values("failed", ascending=False)


def whoever_has_a_job(log):
    failed = (log["status"] != "success").groupby(log["workspace"]).sum()
    return failed.reset_index(name="failed").sort_values(
        ["failed", "workspace"], ascending=[False, True]
    )


TOLD = [
    (streams, "cost", lambda w, s, u: (1 + w + s, round((1 + w + s) / 60 / u, 2)), "Do not round"),
    (streams, "lost", first_of_the_list, "It stops where no job fits"),
    (streams, "lost", WRONG_2["lost"]["older ones too"], "How can an older one be told"),
    (streams, "lost", WRONG_2["lost"]["the start only"], "Compare both its days"),
    (streams, "lost", its_number, "The whole job is asked for"),
    (streams, "lost", WRONG_2["lost"]["a list"], "The whole job is asked for"),
    (streams, "failures", without_errors, "is no success, either"),
    (streams, "failures", counted_by_number, "though it has no number"),
    (streams, "failures", whoever_has_a_job, "no job of it failed"),
    (accounts, "account_v1", v1_with(data_provider_type=lambda a, p: p["key"]), "the `key` of"),
    (accounts, "account_v1", v1_with(account_name=lambda a, p: a["name"]), "the field `name`"),
    (
        accounts,
        "account_v1",
        v1_with(data_source_count=lambda a, p: a["dataSourceCount"] or None),
        "`or` replaces every false value",
    ),
    (accounts, "account_v1", takes_the_id_out, "and is gone. Work on a copy."),
    (accounts, "generate", prints_in_place_of_the_request, "Hand debug_api on"),
    (accounts, "generate", prints_the_request, "Hand debug_api on"),
    (accounts, "generate", always_shows, "nobody asked for that"),
    (accounts, "generate", asks_once_more, "sends 2 requests where 1 would do"),
    (accounts, "account_v2", v2_with(days_to_expiry=lambda a: None), "None in 'days_to_expiry'"),
    (
        accounts,
        "account_v2",
        v2_with(days_to_expiry=lambda a: a["daysToExpiry"] or None),
        "`or` replaces every false value",
    ),
    (accounts, "account_v2", v2_with(expired=lambda a: None), "None in 'expired'"),
    (accounts, "snake_case", hyphen_kept, "keeps its hyphen"),
    (accounts, "flatten", before_its_for, "the outer one first"),
    (streams, "cost", lambda w, s, users: (w + s, (w + s) / 60 / users), "Too few"),
    (streams, "cost", minutes_rounded, "Do not round"),
    (streams, "sorting", refused_means_open, "What is the last word"),
    (streams, "sorting", once_done_is_done, "What is the last word"),
    (streams, "sorting", unordered, "in another order than in the plan"),
    (streams, "failures", emptied, "the frame had"),
    (streams, "failures", lambda log: failed_table(log, "streams"), "What is counted?"),
    (streams, "failures", failed_table, "The worst comes first"),
]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("module, check, wrong, message", TOLD)
def test_what_once_passed_is_told_in_the_right_words(
    module, check, wrong, message, seeds, no_tripwire
):
    outcome = getattr(module, check)(wrong)
    assert not outcome.passed and message in outcome.says, outcome


def test_numbers_of_numpy_are_numbers():
    np = pytest.importorskip("numpy")
    assert streams.cost(
        lambda w, s, users: (np.int64(1 + w + s), np.float64(1 + w + s) / 60 / users)
    ).passed


@pytest.mark.parametrize(
    "module, check",
    [
        (module, check)
        for module, check, names in CHECKS
        if names[0] not in ("one_row", "method", "Reply")  # no functions
    ],
)
def test_an_answer_that_calls_the_kit_is_told_so(module, check):
    ours = getattr(module, check)(...).use()
    if not callable(ours):  # the two stubs have none, and of files there is a test elsewhere
        return
    more = (pages.TooLong, pages.Incomplete) if check == "whole" else ()
    outcome = getattr(module, check)(lambda *args, **kwargs: ours(*args, **kwargs), *more)
    assert not outcome.passed and "hands the work to the kit" in outcome.says


def test_what_a_night_costs_is_what_the_kit_asks():
    from domostats.clients.datorama import datorama

    for workspaces, many in ((5, 20), (2, 3)):
        with sandbox.start_datorama(
            workspaces=workspaces, streams=many, jobs=1, today="2024-04-01"
        ) as agency:
            tree = datorama(agency.api_token, instance=agency, pause=0)
            tree.get_all_streams()
            for stream in tree.streams.values():
                stream.get_stream_runs()
            asked = {call.path for call in agency.log}
        assert len(asked) == streams.kit_cost(workspaces, many, 1)[0]


@pytest.mark.slow
def test_the_same_night_called_twice_makes_nothing_new():
    from domostats.clients.datorama import datorama
    from domostats.errors import SettingsError

    with sandbox.start_datorama(workspaces=1, streams=3, jobs=1, today="2024-04-01") as box:
        agency = datorama(box.api_token, instance=box, pause=0)
        ids = [*agency.get_all_streams()]
        days = ["2024-01-01"] * len(ids), ["2024-01-31"] * len(ids)
        agency.bulk_process_streams(ids, *days)
        made = len(box.jobs)
        with pytest.raises(SettingsError) as refused:
            agency.bulk_process_streams(ids, *days)
        assert refused.value.reason == "already_done" and len(box.jobs) == made


# Boxes, progress, solutions


def test_a_box_has_a_word_beside_its_colour_and_escapes_what_was_typed():
    outcome = accounts.grain("<script>", 9)
    box = outcome._repr_html_()
    assert "Not yet" in box and "task 1 of 11" in box and "border-left:4px" in box
    assert "<script>" not in box and "&lt;script&gt;" in box
    assert "Open" in accounts.grain(..., ...)._repr_html_()


def test_a_solution_is_shown_after_three_different_tries(capsys):
    answers = [lambda lists: [], lambda lists: lists, lambda lists: [1]]
    for answer in (answers[0], answers[0], ..., answers[1]):
        accounts.flatten(answer)
    accounts.solution("flatten")
    assert "there were 2" in capsys.readouterr().out
    accounts.flatten(answers[2])
    accounts.solution("flatten_list_of_lists")
    assert "for row in rows" in capsys.readouterr().out
    accounts.solution(4)
    assert "there were 0" in capsys.readouterr().out


def test_progress_is_kept_for_each_task_and_holds_no_answer(monkeypatch):
    from domostats.lessons import progress

    assert accounts.flatten(lambda lists: sum(lists, [])).passed
    accounts.flatten(lambda lists: [])
    kept = progress.progress_file()
    lesson = CATALOGUE["accounts"]
    assert progress.done(lesson) == ["flatten"]
    assert "lambda" not in kept.read_text() and "lists" not in kept.read_text()
    monkeypatch.setattr("builtins.input", lambda question: "no")
    progress.reset("accounts")
    assert progress.done(lesson) == ["flatten"]
    monkeypatch.setattr("builtins.input", lambda question: "yes")
    progress.reset("accounts")
    assert progress.done(lesson) == []


def test_a_task_whose_statement_has_changed_is_open_again(monkeypatch):
    from domostats.lessons import progress
    from domostats.lessons.catalogue import LessonTask

    accounts.flatten(lambda lists: sum(lists, []))
    lesson = CATALOGUE["accounts"]
    newer = lesson._replace(
        version=9,
        tasks=tuple(
            LessonTask(task.name, task.title, 9 if task.name == "flatten" else 1)
            for task in lesson.tasks
        ),
    )
    monkeypatch.setitem(CATALOGUE, "accounts", newer)
    assert progress.done(newer) == []
    accounts.flatten(lambda lists: sum(lists, []))
    assert progress.done(newer) == ["flatten"]


def test_two_processes_lose_no_progress_of_each_other(tmp_path):
    script = (
        "import sys; from domostats.lessons.progress import note_try\n"
        "for n in range(20): note_try('accounts', 'flatten', sys.argv[1] + str(n), False)"
    )
    running = [subprocess.Popen([sys.executable, "-c", script, name]) for name in "ab"]
    assert [one.wait(timeout=120) for one in running] == [0, 0]
    from domostats.lessons.progress import honest_tries

    assert honest_tries("accounts", "flatten") == 40


def test_a_home_that_cannot_be_written_costs_no_lesson(monkeypatch, tmp_path):
    from domostats.lessons import progress

    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="cannot be kept"):
        assert accounts.flatten(lambda lists: sum(lists, [])).passed
    monkeypatch.setenv("DOMOSTATS_PROGRESS", "off")
    assert progress.progress_file() is None
    assert accounts.flatten(lambda lists: sum(lists, [])).passed


@pytest.mark.slow
def test_an_error_of_the_kit_is_one_box_and_its_traceback_is_there_on_request(tool, tmp_path):
    from nbclient.exceptions import CellExecutionError

    wrong = notebook(
        "from domostats import sandbox\nfrom domostats.lessons import accounts as check\n"
        "from domostats.clients.domo.auth import get_session_token\ninstance = sandbox.start()",
        "get_session_token(instance, instance.username, 'a guess')",
    )
    with pytest.raises(CellExecutionError):
        tool.executed(wrong, tmp_path)
    (shown,) = wrong.cells[1].outputs
    assert "wrong_password" in shown.data["text/html"] and "%tb" in shown.data["text/plain"]


def test_copies_of_older_lessons_find_their_checks():
    from domostats.interfaces import lesson_1
    from domostats.lessons import lesson_2, own_store

    assert lesson_1 is accounts and lesson_2 is streams and own_store() is None
