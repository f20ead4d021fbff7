"""The lesson on modules: wrong answers of many kinds are told in the right words, right ones pass
whatever way they go, and no program that is tried out touches what is the learner's."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from domostats import domojupyter as dj
from domostats import sandbox
from domostats.lessons import module, module_data, program_files
from domostats.lessons.module_data import texts

nbformat = pytest.importorskip("nbformat", reason="lessons need the notebook tools, Python 3.11 on")


@pytest.fixture(params=[(1, 2), (2, 3)], ids=["seed 1", "seed 2"])
def seeds(request, monkeypatch):
    "The checks on two pairs of worlds."
    monkeypatch.setattr(module_data, "SEEDS", request.param)
    return request.param


def told(outcome, message):
    "An answer is not right yet, and is told so in these words."
    assert not outcome.passed and message in outcome.says, outcome
    assert "cannot make sense" not in outcome.says and not outcome.is_open


# A secret in a notebook


def source_only(notebook, secret):
    return [n for n, cell in enumerate(notebook["cells"]) if secret in "".join(cell["source"])]


def wants_outputs(notebook, secret):
    return [
        n
        for n, cell in enumerate(notebook["cells"])
        if any(secret in text for text in [*texts(cell["source"]), *texts(cell["outputs"])])
    ]


def as_json(notebook, secret):
    return [n for n, cell in enumerate(notebook["cells"]) if secret in json.dumps(cell)]


def as_text(notebook, secret):
    return [n for n, cell in enumerate(notebook["cells"]) if secret in str(cell)]


def takes_outputs_out(notebook, secret):
    found = [
        n for n, cell in enumerate(notebook["cells"]) if any(secret in text for text in texts(cell))
    ]
    for cell in notebook["cells"]:
        cell.pop("outputs", None)
    return found


def reads_twice(notebook, secret):
    found = []
    for n, cell in enumerate(notebook["cells"]):
        inside = texts(cell)
        if len(list(inside)) and any(secret in text for text in inside):
            found.append(n)
    return found


def a_number_for_each_text(notebook, secret):
    return [n for n, cell in enumerate(notebook["cells"]) for text in texts(cell) if secret in text]


def from_one(notebook, secret):
    return [
        n
        for n, cell in enumerate(notebook["cells"], 1)
        if any(secret in text for text in texts(cell))
    ]


def the_cells(notebook, secret):
    return [cell for cell in notebook["cells"] if any(secret in text for text in texts(cell))]


def a_generator(notebook, secret):
    yield from in_loops(notebook, secret)


def prints(notebook, secret):
    print(in_loops(notebook, secret))


def backwards(notebook, secret):
    return in_loops(notebook, secret)[::-1]


def the_first_text(notebook, secret):
    return [n for n, cell in enumerate(notebook["cells"]) if secret in next(texts(cell), "")]


def half_is_enough(notebook, secret):
    return [
        n
        for n, cell in enumerate(notebook["cells"])
        if any(secret[:5] in text for text in texts(cell))
    ]


def in_loops(notebook, secret):
    found = []
    for number, cell in enumerate(notebook["cells"]):
        for text in texts(cell):
            if secret in text:
                found.append(number)
                break
    return found


def with_a_list(notebook, secret):
    cells = notebook["cells"]
    return [n for n in range(len(cells)) if [t for t in list(texts(cells[n])) if secret in t]]


def recursive(notebook, secret):
    def has(value):
        if isinstance(value, str):
            return secret in value
        inner = value.values() if isinstance(value, dict) else value
        return isinstance(value, (list, dict)) and any(map(has, inner))

    return [number for number, cell in enumerate(notebook["cells"]) if has(cell)]


ON_THE_SCREEN = "the-password-on-the-screen"


def looks_for_the_one_on_the_screen(notebook, secret):
    return in_loops(notebook, ON_THE_SCREEN)


def whole_text(notebook, secret):
    return [n for n, cell in enumerate(notebook["cells"]) if secret in texts(cell)]


def returns_at_the_first(notebook, secret):
    for n, cell in enumerate(notebook["cells"]):
        if any(secret in text for text in texts(cell)):
            return [n]
    return []


def by_index(notebook, secret):
    cells = notebook["cells"]
    return [cells.index(one) for one in cells if any(secret in text for text in texts(one))]


def small_letters(notebook, secret):
    return [
        n
        for n, cell in enumerate(notebook["cells"])
        if any(secret.lower() in text.lower() for text in texts(cell))
    ]


def with_numpy(notebook, secret):
    numpy = pytest.importorskip("numpy")
    found = [any(secret in text for text in texts(cell)) for cell in notebook["cells"]]
    return list(numpy.nonzero(found)[0])


class Finder:
    def __call__(self, notebook, secret):
        return in_loops(notebook, secret)


LEAKS = [
    (looks_for_the_one_on_the_screen, "Right for the notebook on your screen"),
    (whole_text, "`secret in ...` looks into a text"),
    (returns_at_the_first, "Does a return stand inside the loop?"),
    (by_index, "count them with enumerate"),
    (small_letters, "the secret is not in it"),
    (source_only, "it was *printed*, and outputs are saved"),
    (wants_outputs, "Not every dict of a list has the same keys"),
    (as_json, "a quote or an umlaut is spelled differently"),
    (as_text, "a quote or an umlaut is spelled differently"),
    (takes_outputs_out, "Work on a copy"),
    (reads_twice, "A generator can be read once"),
    (a_number_for_each_text, "more than once"),
    (from_one, "counts from 1"),
    (the_cells, "enumerate gives each cell a number"),
    (a_generator, "only once"),
    (prints, "use return"),
    (backwards, "their order is not"),
    (the_first_text, "is not in your list"),
    (half_is_enough, "the secret is not in it"),
    (lambda notebook, secret: module.kit_leaks(notebook, secret), "hands the work to the kit"),
]


@pytest.mark.parametrize("answer, message", LEAKS)
def test_a_secret_that_is_not_found_is_told(answer, message, seeds):
    module.leave_notebook("ben.ipynb", ON_THE_SCREEN)
    told(module.leaks(answer), message)


@pytest.mark.parametrize("answer", [in_loops, with_a_list, recursive, with_numpy, Finder()])
def test_whoever_finds_the_secret_passes(answer, seeds):
    assert module.leaks(answer).passed, module.leaks(answer)


def test_texts_of_the_notebook_mean_the_same_after_a_check():
    before = globals()["texts"]
    module.leaks(reads_twice)
    assert globals()["texts"] is before


# An account


def values_of(alias):
    return {
        key: dj.get_account_property_value(alias, key)
        for key in dj.get_account_property_keys(alias)
    }


def version_1(alias):
    return values_of(alias)


def literal(alias):
    values = values_of(alias)
    return ast.literal_eval(values["credentials"]) if [*values] == ["credentials"] else values


def evaluates(alias):
    values = values_of(alias)
    return eval(values["credentials"]) if [*values] == ["credentials"] else values


def shows_the_text(alias):
    values = values_of(alias)
    if [*values] != ["credentials"]:
        return values
    try:
        return dict(json.loads(values["credentials"]))
    except (ValueError, TypeError):
        raise ValueError(f"{alias}: {values['credentials']}") from None


def lets_it_through(alias):
    values = values_of(alias)
    return json.loads(values["credentials"]) if [*values] == ["credentials"] else values


def in_the_except(alias):
    values = values_of(alias)
    if [*values] != ["credentials"]:
        return values
    try:
        return json.loads(values["credentials"])
    except ValueError:
        raise ValueError(f"{alias} holds no JSON")  # noqa: B904


def typed_names(alias):
    return {key: dj.get_account_property_value(alias, key) for key in ("username", "password")}


def picks_names(alias):
    values = values_of(alias)
    return {"user": values["username"], "password": values["password"]}


def catches_all(alias):
    try:
        return with_else(alias)
    except Exception:
        raise ValueError(f"The account {alias} holds no JSON object.") from None


def any_credentials(alias):
    values = values_of(alias)
    if "credentials" not in values:
        return values
    try:
        found = json.loads(values["credentials"])
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"The account {alias} holds no JSON object.")
    return found


def any_json(alias):
    values = values_of(alias)
    if [*values] != ["credentials"]:
        return values
    try:
        return json.loads(values["credentials"])
    except ValueError:
        raise ValueError(f"{alias} holds no JSON") from None


def gives_none(alias):
    values = values_of(alias)
    if [*values] != ["credentials"]:
        return values
    try:
        return json.loads(values["credentials"])
    except ValueError:
        return None


def names_nothing(alias):
    values = values_of(alias)
    if [*values] != ["credentials"]:
        return values
    try:
        found = json.loads(values["credentials"])
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("This account holds no JSON object.")
    return found


def looks_first(alias):
    print(values_of(alias))
    return with_else(alias)


def key_error(alias):
    values = values_of(alias)
    return json.loads(values["credentials"])


def true_object(alias):
    found = any_json(alias)
    if not found or not isinstance(found, dict):
        raise ValueError(f"{alias} holds no JSON object")
    return found


def with_else(alias):
    values = values_of(alias)
    if list(values) != ["credentials"]:
        return values
    problem = ValueError(f"The account {alias} holds no JSON object.")
    try:
        found = json.loads(values["credentials"])
    except ValueError:
        raise problem from None
    else:
        if isinstance(found, dict):
            return found
        raise problem


def keys_first(alias):
    keys = dj.get_account_property_keys(alias)
    if keys != ["credentials"]:
        return {key: dj.get_account_property_value(alias, key) for key in keys}
    text = dj.get_account_property_value(alias, "credentials")
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        found = ...
    if type(found) is dict:
        return found
    raise ValueError(alias)


def with_match(alias):
    match values_of(alias):
        case {"credentials": text, **others} if not others:
            return parsed(alias, text)
        case values:
            return values


def parsed(alias, text):
    try:
        found = json.loads(text)
        found.keys()
    except (ValueError, AttributeError):
        found = None
    if found is None:
        raise ValueError(f"no JSON object in {alias}")
    return found


def merges(alias):
    values = values_of(alias)
    if [*values] == ["credentials"]:
        values |= with_else(alias)
    return values


class BadAccount(ValueError):
    pass


def error_of_its_own(alias):
    try:
        return with_else(alias)
    except ValueError as error:
        words = str(error)
    raise BadAccount(words)


ACCOUNTS = [
    (merges, "It gives 'credentials', too"),
    (version_1, "who turns it back?"),
    (literal, "JSON is not Python"),
    (evaluates, "JSON is not Python"),
    (shows_the_text, "The error shows the secret"),
    (lets_it_through, "It carries the whole text"),
    (in_the_except, "The error behind yours carries the whole text"),
    (typed_names, "An account tells its own names"),
    (picks_names, "'username' is missing. An account tells its own names"),
    (catches_all, "Let pass what you cannot explain better"),
    (any_credentials, "'user' is missing"),
    (any_json, "json.loads also reads a list or a number"),
    (gives_none, "A ValueError is asked for"),
    (names_nothing, "Name the alias"),
    (looks_first, "It prints the secret"),
    (key_error, "It tells its own names"),
    (true_object, "It stops with ValueError"),
    (lambda alias: module.kit_read_account(alias), "hands the work to the kit"),
    (lambda alias: print(alias), "It gives None"),
]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("answer, message", ACCOUNTS)
def test_an_account_that_is_read_wrong_is_told(answer, message, seeds):
    told(module.read_account(answer), message)


@pytest.mark.parametrize("answer", [with_else, keys_first, with_match, error_of_its_own])
def test_whoever_reads_an_account_right_passes(answer, seeds):
    assert module.read_account(answer).passed, module.read_account(answer)


@pytest.mark.parametrize("answer", [answer for answer, _ in ACCOUNTS])
def test_no_message_shows_what_is_in_an_account(answer):
    outcome = module.read_account(answer)
    for case in module_data.account_cases():
        assert case.secret not in f"{outcome!r}{outcome._repr_html_()}"


# A file

GOOD = module.KIT_MODULE.text
IMPORT = "from domostats.clients.domo.accounts import get_accounts\n"
BARE = GOOD.replace(IMPORT, "")
INSIDE = (
    IMPORT
    + "\ndef main():\n"
    + "\n".join(f"    {line}" for line in BARE.split("\n\n\n", 1)[1].splitlines())
)
FILES = [
    (
        GOOD.replace("    return [", "    yield from ["),
        "It gives a generator. A list is asked for",
    ),
    (GOOD.replace(", **kwargs", ""), "its first line has no place for that"),
    (BARE, "NameError: get_accounts. In the notebook another cell had it"),
    (f'{GOOD}\nprint(get_rows("SANDBOX"))\n', "Importing it already asks a service"),
    (f'{GOOD}\nprint("ready")\n', "Importing it prints 'ready'"),
    (f"{GOOD}\nrows = get_rows(instance)\n", "which works with instance: that is the notebook's"),
    (
        GOOD.replace(
            "get_accounts(domo_instance, session_token)", "get_accounts(domo_instance, session)"
        ),
        "NameError: session is the notebook's. How does a function get it",
    ),
    (f"%pip install domostats\n{GOOD}", "SyntaxError in line 1: % and ! are the notebook's"),
    (f"{GOOD}\n!ls\n", "% and ! are the notebook's"),
    (f"{GOOD}\ndef broken(:\n", "SyntaxError in line"),
    (INSIDE, "There is no format_account_short to import: it stands inside main"),
    (
        GOOD.replace("get_accounts(domo_instance, session_token)", "get_accounts(domo_instance)"),
        "Hand session_token on",
    ),
    (
        GOOD.replace(
            "def get_rows(domo_instance, session_token=None)", "def get_rows(domo_instance)"
        ),
        "It is a parameter",
    ),
    (
        GOOD.replace("get_accounts(domo_instance, session_token)", 'get_accounts("SANDBOX")'),
        "the instance that it was handed was never asked",
    ),
    (f'{GOOD}\nopen("log.txt", "w").close()\n', "Importing it already writes a file"),
    (GOOD.replace("    return [", "    rows = ["), "It gives None; is there a return?"),
    (
        GOOD.replace("    return [", "    return len([").replace("    ]\n", "    ])\n"),
        "It gives an int",
    ),
    (GOOD.replace('"account_name": ', '"name": '), "and no 'account_name'"),
    (GOOD.replace("def get_rows", "def rows"), "There is no function get_rows"),
    (f"{GOOD}\nimport domojupyter\n", "`from domostats import domojupyter as dj` works in both"),
    (
        "from domostats.lessons.module_files import rows_of as get_rows\n",
        "hands the work to the kit",
    ),
    (f"{GOOD}\nimport time\nwhile True: time.sleep(1)\n", "does not come to its end"),
]


@pytest.mark.sampled(10)
@pytest.mark.parametrize("text, message", FILES)
def test_a_file_that_leans_on_the_notebook_is_told(text, message, seeds, monkeypatch):
    monkeypatch.setattr(program_files, "SECONDS", 5 if "while True" in text else 60)
    with sandbox.start() as box:
        Path("monit_accounts.py").write_text(text.replace("SANDBOX", box.name))
        told(module.module("monit_accounts.py"), message)


OTHER_IMPORT = GOOD.replace(IMPORT, "import domostats.clients.domo.accounts as calls\n").replace(
    "get_accounts(", "calls.get_accounts("
)
IN_LOOPS = (
    IMPORT
    + """
def format_account_short(account_obj: dict, **kwargs) -> dict:
    return dict(account_id=account_obj["id"], account_name=account_obj["displayName"])

def get_rows(domo_instance, session_token=None) -> list:
    rows = []
    for provider in get_accounts(domo_instance=domo_instance, session_token=session_token).response:
        for account in provider["accounts"]:
            rows.append(format_account_short(account))
    return rows
"""
)
GUARDED = (
    f'import logging\nlog = logging.getLogger("rows")\n{GOOD}'
    '\nif __name__ == "__main__":\n    print(get_rows("acme"))\n'
)


BY_EQUALS = (
    IMPORT
    + """
format_account_short = lambda account_obj, **kwargs: {
    "account_id": account_obj["id"], "account_name": account_obj["displayName"]
}

def get_rows(domo_instance, session_token=None):
    providers = get_accounts(domo_instance, session_token).response
    return [format_account_short(one) for provider in providers for one in provider["accounts"]]
"""
)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("text", [OTHER_IMPORT, IN_LOOPS, GUARDED, BY_EQUALS])
def test_a_file_that_brings_all_it_needs_passes(text, seeds):
    Path("monit_accounts.py").write_text(text)
    outcome = module.module("monit_accounts.py")
    assert outcome.passed, outcome
    used = outcome.use()
    assert (
        sys.modules["monit_accounts"] is used
        and Path(used.__file__) == Path("monit_accounts.py").resolve()
    )


def test_a_file_that_is_not_there_or_empty_is_an_open_task():
    for text in (None, '"""Only a docstring."""\n# TODO\n...\n'):
        if text:
            Path("monit_accounts.py").write_text(text)
        outcome = module.module("monit_accounts.py")
        assert outcome.is_open and not outcome.passed
        assert outcome.use().format_account_short({"id": 1, "displayName": "A"}) == {
            "account_id": 1,
            "account_name": "A",
        }


def test_another_comment_is_no_new_try(capsys):
    from domostats.lessons.progress import honest_tries

    for text in (BARE, BARE + "# a comment\n", BARE + "x = 1\n"):
        Path("monit_accounts.py").write_text(text)
        module.module("monit_accounts.py")
    assert honest_tries("module", "module") == 2


# A program

NIGHTLY = module.KIT_NIGHTLY.text
MAIN = "    dj.write_dataframe(pd.DataFrame(get_rows(domo_instance)), alias)\n"
GUARD = '\n\nif __name__ == "__main__":\n    main(sys.argv[1], sys.argv[2])\n'
HEAD = NIGHTLY.replace(GUARD, "\n")
PROGRAMS = [
    (
        NIGHTLY.replace("get_rows(domo_instance)", "get_rows(instance)"),
        "instance is the notebook's",
    ),
    (
        NIGHTLY.replace("sys.argv[1], sys.argv[2]", "sys.argv[2], sys.argv[1]"),
        "what it takes for the instance is not the name of one",
    ),
    (HEAD + "\nmain(sys.argv[1], sys.argv[2])\n", "Importing it already does the work"),
    (HEAD + '\nif __name__ == "main":\n    main(*sys.argv[1:])\n', "Print `__name__` once"),
    (
        HEAD + '\nif __name__ == "__main__":\n    try:\n        main(*sys.argv[1:])\n'
        "    except Exception as error:\n        print(error)\n",
        "the scheduler believes all is well",
    ),
    (
        NIGHTLY.replace(MAIN, MAIN + "    return len(get_rows(domo_instance))\n").replace(
            "    main(sys.argv[1], sys.argv[2])", "    sys.exit(main(*sys.argv[1:]))"
        ),
        "Every number but 0 is a failure",
    ),
    (
        NIGHTLY.replace(
            "get_rows(domo_instance)), alias)", 'get_rows(domo_instance)), alias, "APPEND")'
        ),
        "After a second run",
    ),
    (
        NIGHTLY.replace("main(sys.argv[1], sys.argv[2])", 'main("OTHER", sys.argv[2])'),
        "stood behind the file's name. Where does Python keep that?",
    ),
    (NIGHTLY.replace("sys.argv[1], sys.argv[2]", "sys.argv[2], sys.argv[3]"), "IndexError"),
    (NIGHTLY.replace("    dj.attach(outputs=[alias])\n", ""), "a program attaches it itself"),
    (
        NIGHTLY.replace("[alias]", '["accounts"]').replace(", alias)\n\n", ', "accounts")\n\n'),
        "the alias is the second word",
    ),
    (
        NIGHTLY.replace(
            MAIN, '    dj.write_dataframe(pd.DataFrame({"account_id": []}), alias)\n' + MAIN
        ),
        "What may be written only when all has come?",
    ),
    (
        NIGHTLY.replace("def main", "def start").replace("    main(", "    start("),
        "no function main",
    ),
    (NIGHTLY.replace("from monit_accounts import get_rows\n", ""), "exit code 1: NameError"),
    (
        NIGHTLY.replace(
            MAIN, MAIN.replace("get_rows(domo_instance)", "get_rows(domo_instance)[1:]")
        ),
        "Which are missing?",
    ),
    (f"%load_ext dotenv\n{NIGHTLY}", "% and ! are the notebook's"),
    (f'{NIGHTLY}\nprint("ready")\n', "Importing it prints 'ready'"),
    (
        NIGHTLY.replace("from domostats import domojupyter as dj", "import domojupyter as dj"),
        "works in both places",
    ),
    (
        "from domostats.lessons.module import KIT_NIGHTLY\ndef main(): ...\n",
        "hands the work to the kit",
    ),
]


@pytest.mark.sampled(12, a_day=6)
@pytest.mark.parametrize("text, message", PROGRAMS)
def test_a_program_that_a_scheduler_cannot_trust_is_told(text, message, seeds):
    with sandbox.start() as box:
        assert box.name == "sandbox"
        Path("nightly.py").write_text(text.replace("OTHER", "sandbox-2"))
        told(module.program("nightly.py"), message)


WITH_ARGPARSE = (
    HEAD.replace("import sys", "import argparse")
    + """

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("instance")
    parser.add_argument("alias")
    given = parser.parse_args()
    main(given.instance, given.alias)
"""
)
TELLS_WHY = (
    HEAD
    + """

if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Exception as error:
        sys.exit(str(error))
"""
)
WITH_THE_MODULE = """import sys
import monit_accounts
from pandas import DataFrame
from domostats.domojupyter import attach, write_dataframe

def main(domo_instance, alias):
    attach(outputs={alias: alias})
    rows = monit_accounts.get_rows(domo_instance)
    write_dataframe(DataFrame.from_records(rows), alias, update_method="REPLACE")
    return 0

if __name__ == "__main__":
    _, instance, output = sys.argv
    sys.exit(main(instance, output))
"""


@pytest.mark.sampled(6)
@pytest.mark.parametrize("text", [WITH_ARGPARSE, TELLS_WHY, WITH_THE_MODULE])
def test_a_program_that_a_scheduler_can_trust_passes(text, seeds):
    Path("nightly.py").write_text(text)
    outcome = module.program("nightly.py")
    assert outcome.passed, outcome


@pytest.mark.slow
def test_programs_write_to_a_store_that_goes_away(box):
    from domostats.loading.database_file import store_path

    before = store_path()
    Path("nightly.py").write_text(NIGHTLY)
    asked = len(box.calls)
    assert module.program("nightly.py").passed
    assert store_path() == before and not before.exists() and len(box.calls) == asked
    assert [path.name for path in Path.cwd().iterdir()] == ["nightly.py"]


@pytest.mark.slow
def test_what_the_lesson_goes_on_with_runs_beside_a_module_that_works(box):
    Path("monit_accounts.py").write_text(BARE)  # it does not work
    Path("nightly.py").write_text(NIGHTLY)
    assert not module.module("monit_accounts.py").passed
    module.module("monit_accounts.py").use()
    chosen = module.program("nightly.py").use()
    assert chosen.parent != Path.cwd() and chosen.read_text() == NIGHTLY
    done = subprocess.run([sys.executable, chosen, box.name, "accounts"], env=os.environ)
    assert done.returncode == 0
    Path("monit_accounts.py").write_text(GOOD)
    module.module("monit_accounts.py").use()
    assert module.program("nightly.py").use() == Path("nightly.py")


def test_a_solution_is_a_file_as_it_would_be_written(capsys):
    for text in (BARE, BARE + "x = 1\n", BARE + "x = 2\n"):
        Path("monit_accounts.py").write_text(text)
        module.module("monit_accounts.py")
    module.solution("module")
    shown = capsys.readouterr().out
    assert "def get_rows(domo_instance, session_token=None):" in shown and "SOLUTION" not in shown


def test_bens_notebook_is_one_that_jupyter_reads():
    path = module.leave_notebook("ben.ipynb", "made-up")
    cells = nbformat.read(path, as_version=4).cells
    assert [n for n, cell in enumerate(cells) if "made-up" in json.dumps(cell)] == [1, 3, 5]
