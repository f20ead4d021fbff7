"""What learners do first, in a notebook where earlier cells have left their names: each slip is
told in words that lead on."""

import sys

import pytest

from domostats.lessons import accounts, browser, pages

pytest.importorskip("IPython", reason="lessons need the notebook tools, Python 3.11 on")
LESSONS = {"accounts": accounts, "browser": browser, "pages": pages}
BEFORE = {  # what the cells above the tasks have left
    "accounts": """
import pandas as pd
from domostats import sandbox
from domostats.clients.domo.accounts import get_accounts
from domostats.clients.domo.auth import get_session_token
from domostats.clients.domo.users import get_user_by_id, get_users
from domostats.reports.accounts import (
    format_account_v1, format_account_v2, format_domostats_accounts
)
instance = sandbox.start(today="2024-04-01")
session = get_session_token(instance, instance.username, instance.password)
providers = get_accounts(instance, session).response
test_provider, test_account = providers[0], providers[0]["accounts"][0]
nested = [provider["accounts"] for provider in providers]
gathered = []
for members in nested:
    for member in members:
        gathered.append(member)
one_row, rows = ..., ...
""",
    "browser": """
import requests
from domostats import sandbox
from domostats.lessons.browser import AUTH, PATH, KitReply as Reply, SignInError
instance = sandbox.start(today="2024-04-01")
key = {"X-DOMO-Developer-Token": instance.access_token}
def get(headers):
    return requests.get(instance.url + PATH, headers=headers, timeout=60, allow_redirects=False)
def sign(box, password):
    body = {"method": "password", "emailAddress": box.username, "password": password}
    return requests.post(box.url + AUTH, json=body, timeout=60, allow_redirects=False)
def ask(box, headers):
    return requests.get(box.url + PATH, headers=headers, timeout=60, allow_redirects=False)
""",
    "pages": """
from domostats.lessons.pages import CAP, ListError, StillBusy
from domostats.lessons.pages_data import make, right, service
pages_of_30 = service(make(120), most=30)
with_gaps = service(make(120), hidden={5, 6})
class TooLong(ListError): ...
class Incomplete(ListError): ...
for _ in range(30):
    right(pages_of_30, "id"), right(with_gaps, "id")
def test_of_yesterday(all_rows):
    assert len(all_rows(pages_of_30, "id")) == 7
""",
}


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    "A function that runs cells as a notebook does, in a fresh one for each lesson."
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    patch = pytest.MonkeyPatch()
    patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
    patch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    hook = sys.excepthook
    quiet = Config(
        {"HistoryManager": {"enabled": False}, "InteractiveShell": {"colors": "nocolor"}}
    )
    shell = InteractiveShell.instance(config=quiet)
    yield shell
    for instance in [value for name, value in shell.user_ns.items() if name == "instance"]:
        instance.stop()
    InteractiveShell.clear_instance()
    sys.excepthook = hook
    patch.undo()


@pytest.fixture
def notebook(shell, capsys):
    "A function that runs the cells before a task, an answer, and its check; gives the outcome."

    def tried(lesson, call, *cells):
        shell.reset(new_session=False)
        assert shell.run_cell(BEFORE[lesson], store_history=True).success
        for cell in cells:
            shell.run_cell(cell, store_history=True)
        shell.user_ns["check"] = LESSONS[lesson]
        result = shell.run_cell(f"outcome = check.{call}", store_history=True)
        assert result.success, result
        box = shell.user_ns.get("instance")
        if box is not None:
            box.stop()
        capsys.readouterr()
        return shell.user_ns["outcome"]

    return tried


def function(line, *body):
    return "\n    ".join([f"def {line}:", *body])


FLATTEN = "flatten(flatten_list_of_lists)"
SNAKE = "snake_case(format_str_camel_case)"
V1 = "account_v1(format_account_v1)"
DATASET = "dataset(format_domostats_accounts)"
GENERATE = "generate(generate_monit_instance_accounts)"
OWNERS = "owners(accounts_with_owners)"
flatten_ = "flatten_list_of_lists(list_of_lists)"
v1_ = "format_account_v1(account_obj, dataprovider_obj, **kwargs)"
generate_ = (
    "generate_monit_instance_accounts(session_token, domo_instance, format_fn, "
    "is_dataframe=True, return_raw=False, debug_api=False)"
)
owners_ = "accounts_with_owners(session_token, domo_instance)"
SEVEN = {
    "user_id": 'account_obj["userId"]',
    "data_provider_type": 'account_obj["dataProviderType"]',
    "date_of_expiration": 'account_obj["dateOfExpiration"]',
    "data_source_count": 'account_obj["dataSourceCount"]',
    "data_provider_name": 'dataprovider_obj["name"]',
    "account_id": 'account_obj["id"]',
    "account_name": 'account_obj["displayName"]',
}
ASK = "answer = get_accounts(domo_instance, session_token, debug_api)"
USERS = "users = get_users(domo_instance, session_token).response"
ROWS = "rows = format_domostats_accounts(get_accounts(domo_instance, session_token).response, "
READ = (
    "rows, offset = {}, 0",
    "while True:",
    "    page = fetch(offset, limit)",
    "    before = len(rows)",
    "    rows.update({row[key]: row for row in page})",
)
all_rows_ = "all_rows(fetch, key, limit=100)"
accounts_ = "get_accounts(domo_instance, session_token=None, access_token=None)"
SEND = (
    "return Reply.from_requests(requests.get(domo_instance.url + PATH, headers=headers, "
    "timeout=60, allow_redirects=False))"
)


def seven(**other):
    columns = ", ".join(f"{name!r}: {other.get(name, made)}" for name, made in SEVEN.items())
    return function(v1_, f"return {{{columns}}}")


def flat(line):
    return function(flatten_, line)


SLIPS = [  # lesson, check, answer, what is said, and what is not
    ("accounts", FLATTEN, flat("return [m for m in members for members in list_of_lists]"),
     "`members` is used before its own `for`", "members, and there should be"),
    ("accounts", FLATTEN, flat("return [m for ms in nested for m in ms]"),
     "`nested` comes from a cell further up, and `list_of_lists`", ""),
    ("accounts", FLATTEN, flat("return [member for members in list_of_lists]"),
     "`member` comes from a cell further up", ""),
    ("accounts", SNAKE, function("format_str_camel_case(text)", "return text.lower()"),
     "stays in one piece", ""),
    ("accounts", SNAKE, function("format_str_camel_case(text)", "return text.lower"),
     "gives the function lower and not its result", ""),
    ("accounts", V1, seven(user_id='test_account["userId"]', account_id='test_account["id"]'),
     "`test_account` comes from a cell further up", "is not used"),
    ("accounts", V1, seven(data_provider_name='test_provider["name"]'),
     "and `dataprovider_obj`, which it is handed, is not used", ""),
    ("accounts", V1, seven(date_of_expiration='account_obj["dateOfExpiration"] or ""'),
     "None says so", ""),
    ("accounts", V1, seven(data_source_count='account_obj["dataSourceCount"] or None'),
     "`or` replaces every false value", ""),
    ("accounts", DATASET,
     function("format_domostats_accounts(api_response, format_fn, is_dataframe=True)",
              "return [format_fn(account_obj=a, dataprovider_obj=p) for p in api_response "
              "for a in p]"),
     "what does one step of that loop give", ""),
    ("accounts", GENERATE, function(generate_, ASK, "if return_raw: return answer",
     "return format_domostats_accounts(answer.response, format_fn, is_dataframe)"),
     "its .response is asked for", "as it came"),
    ("accounts", GENERATE, function(generate_, ASK,
     "return format_domostats_accounts(answer, format_fn, is_dataframe)"),
     "It goes through the answer itself", ""),
    ("accounts", OWNERS, function(owners_, USERS,
     "names = {user['id']: user['displayName'] for user in users}",
     ROWS + "format_account_v2, is_dataframe=False)",
     "return [{**row, 'owner_name': names.get(row['user_id'])} for row in rows]"),
     '`5 == "5"` is False', ""),
    ("accounts", OWNERS, function(owners_, ROWS + "format_account_v2, is_dataframe=False)",
     "for row in rows:",
     "    user = get_user_by_id(domo_instance, session_token, row['user_id'])",
     "    row['owner_name'] = user.response['displayName']", "return rows"),
     "requests where 2 would do", "stops with"),
    ("accounts", OWNERS, function(owners_, USERS,
     "names = {str(user['id']): user['displayName'] for user in users}",
     ROWS + "format_account_v2)",
     "rows['owner_name'] = rows['user_id'].map(names)", "return rows.to_dict('records')"),
     "how pandas writes what is not there", ""),
    ("browser", "request(method, path, credential)",
     f"method, path, credential = 'GET', {browser.PATH!r}, 'authorization'",
     "The request has no header 'authorization'", "the same for everybody"),
    ("browser", "accounts(get_accounts)", function(accounts_, "headers = key", SEND),
     "It sends an access token that it was not handed", "the text"),
    ("browser", "accounts(get_accounts)", function(
     accounts_, "headers = {}",
     "if not access_token and not session_token: raise ValueError('no key')",
     "if access_token: headers['X-DOMO-Developer-Token'] = access_token",
     "elif session_token: headers['X-DOMO-Authentication'] = session_token", SEND),
     "Without a key it stops with ValueError", "notebook's"),
    ("browser", "accounts(get_accounts)", function(accounts_, "import json"),
     "gives back None", "notebook's"),
    ("browser", "beliefs(test_wrong)",
     "def test_wrong(box):\n    assert sign(instance, 'x').status_code == 200",
     "asks the notebook's instance", ""),
    ("browser", "beliefs(test_one)",
     "def test_one(box):\n    assert ask(box, {}).status_code == 200",
     "compare the line below", ""),
    ("pages", "all_rows(all_rows)", function(all_rows_, *READ, "    offset = len(rows)",
     "    if not page: return list(rows.values())"),
     "found no end", "ignores offset"),
    ("pages", "all_rows(all_rows)", function(all_rows_, *READ, "    offset = len(rows)",
     "    if len(rows) == before: return list(rows.values())"),
     "it goes on by fewer rows than came", ""),
    ("pages", "all_rows(all_rows)", function(
     all_rows_, *[line.replace(", limit)", ", 100)") for line in READ],
     "    offset += len(page)", "    if len(rows) == before: return list(rows.values())"),
     "and was told 25", ""),
    ("pages", "whole(check_whole, TooLong, Incomplete)", function(
     "check_whole(rows, total)", "if len(rows) == total: return rows",
     "raise (TooLong if total > CAP else Incomplete)(len(rows), total)"),
     "Which of the two questions comes first", "At night"),
    ("pages", "whole(check_whole, TooLong, Incomplete)", function(
     "check_whole(rows, total)", "return rows if len(rows) == total else Incomplete(rows, total)"),
     "It gives an error back", "At night"),
    ("pages", "whole(check_whole, TooLong, Incomplete)", function(
     "check_whole(rows, total)", "if total > CAP: raise TooLong(len(rows), total)",
     "if len(rows) < total: raise Incomplete(len(rows), total)", "return rows"),
     "Too many is not whole either", "At night"),
    ("pages", "patient(patient)", function(
     "patient(send, wait, tries=5)", "return send().status_code"),
     "has no attribute 'status_code'", "..."),
    ("pages", "patient(patient)", function(
     "patient(send, wait, tries=5)", "reply = send()", "while reply.status == 429:",
     "    wait(max(reply.headers.get('Retry-After', 0), 1))", "    reply = send()",
     "return reply"),
     "int(...) makes a number of a text", ""),
    ("pages", "nightly(nightly)", function(
     "nightly(instances, get, write)", "for name in instances: write(name, get(name))",
     "print({})"),
     "prints and gives back None", ""),
    ("pages", "tests(test_gaps)", function(
     "test_gaps(all_rows)", "assert all_rows(with_gaps, 'id') == make(120)"),
     "does what you compare with come", ""),
]  # fmt: skip


@pytest.mark.sampled(10)
@pytest.mark.parametrize("lesson, check, answer, says, not_said", SLIPS)
def test_a_slip_is_told_in_words_that_lead_on(lesson, check, answer, says, not_said, notebook):
    outcome = notebook(lesson, check, answer)
    assert not outcome.passed and says in outcome.says, outcome
    assert not not_said or not_said not in outcome.says, outcome
    if "line below" in says or "does what you compare" in says:
        assert "assert " in outcome.tried, outcome


RIGHT = [
    ("accounts", "grain(one_row, rows)",
     "one_row = 'An Account '\nrows = pd.Series([len(p['accounts']) for p in providers]).sum()"),
    ("accounts", "stubs(format_account, format_accounts)",
     "def format_account(account_obj, dataprovider_obj) -> 'dict[str, object]': ...\n"
     "def format_accounts(api_response, format_fn) -> 'list': ..."),
    ("accounts", FLATTEN, "own = []\n" + flat("return own + sum(list_of_lists, own)")),
    ("pages", "tests(test_all)", function(
     "test_all(all_rows)", "assert all_rows(pages_of_30, 'id') == make(120)",
     "assert [row['id'] for row in all_rows(with_gaps, 'id')] == [n for n in range(120) "
     "if n not in (5, 6)]", "many = service(make(250), hidden={5, 6})",
     "assert len(all_rows(many, 'id')) == 248")),
]  # fmt: skip


@pytest.mark.sampled(3)
@pytest.mark.parametrize("lesson, check, answer", RIGHT)
def test_another_way_is_right_too(lesson, check, answer, notebook):
    outcome = notebook(lesson, check, answer)
    assert outcome.passed, outcome


@pytest.mark.parametrize(
    "answer, error",
    [
        ("one_row = an account\nrows = 9", "SyntaxError in line 1"),
        ('one_row = "an account"\nrows = sum(providers)', "TypeError: unsupported operand"),
        ("one_row, rows = 'an account', len(provider)", "NameError: name 'provider'"),
    ],
)
def test_a_cell_that_ended_in_an_error_is_spoken_of_and_not_the_answer_before(
    answer, error, notebook
):
    right = 'one_row = "an account"\nrows = sum(len(one["accounts"]) for one in providers)'
    outcome = notebook("accounts", "grain(one_row, rows)", right, answer)
    assert not outcome.passed and not outcome.is_open and error in outcome.says
    assert "Mend that first" in outcome.says
    again = notebook("accounts", "grain(one_row, rows)", answer, right)
    assert again.passed


def test_another_cell_that_fails_is_not_the_answer(notebook):
    right = flat("return [m for ms in list_of_lists for m in ms]")
    assert notebook("accounts", FLATTEN, right, "flatten_list_of_lists(3)").passed


def test_what_stands_in_the_cell_of_the_answer_is_its_own(notebook):
    own = "names = ['a']\n" + flat("return [one for one in list_of_lists if one in names]")
    outcome = notebook("accounts", FLATTEN, own)
    assert not outcome.passed and "further up" not in outcome.says


def test_slips_of_every_task_are_tried():
    "Three lessons, and the tasks of each that a name of another cell can spoil."
    tried = {check.partition("(")[0] for _, check, *_ in SLIPS}
    assert {"flatten", "snake_case", "account_v1", "dataset", "generate", "owners"} <= tried
    assert {"request", "accounts", "beliefs", "all_rows", "whole", "patient", "nightly"} <= tried
