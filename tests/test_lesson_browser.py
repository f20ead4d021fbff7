"""The lesson on the browser: the page that is looked at, the request that is copied, wrong answers
that are told in the right words, and right ones that pass whatever way they go."""

import getpass
import json
import linecache
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from domostats.errors import DataError, SettingsError
from domostats.lessons import browser, browser_data, copied_requests, session_requests
from domostats.lessons.browser import AUTH, PATH, SignInError
from domostats.lessons.browser import KitReply as Reply
from domostats.lessons.browser_data import capture
from domostats.lessons.copied_requests import CapturedRequest, read_curl

nbformat = pytest.importorskip("nbformat", reason="lessons need the notebook tools, Python 3.11 on")

ROOT = Path(__file__).resolve().parent.parent
SOLUTION = ROOT / "tutorials" / "solutions" / "2_browser.ipynb"
EXERCISE = ROOT / "tutorials" / "exercises" / "2_browser.ipynb"
NAMES = {
    "request": ["method", "path", "credential"],
    "reply": ["Reply"],
    "accounts": ["get_accounts"],
    "sign_in": ["get_session_token"],
}


@pytest.fixture(params=[(1, 2), (2, 3)], ids=["seed 1", "seed 2"])
def seeds(request, monkeypatch):
    "The checks on two pairs of worlds."
    monkeypatch.setattr(browser_data, "SEEDS", request.param)
    return request.param


# A copied request: quoted as a browser does it, for two shells


def for_bash(text):
    "A text in the quotes of bash, as Chromium writes it."
    if not re.search(r"[\0-\x1f\x7f-\x9f!']", text):
        return f"'{text}'"
    text = text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n").replace("\r", "\\r")
    escaped = re.sub(r"[\0-\x1f\x7f-\x9f!]", lambda m: f"\\u{ord(m[0]):04x}", text)
    return f"$'{escaped}'"


def for_cmd(text):
    'A text in the quotes of cmd, as Chromium writes it: `^"`, and a `^` before every odd sign.'
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    text = re.sub(r"[^a-zA-Z0-9\s_\-:=+~'/.',?;()*`]", lambda m: f"^{m[0]}", text)
    text = re.sub(r"%(?=[a-zA-Z0-9_])", "%^", text)
    return '^"' + text.replace("\n", "^\n\n") + '^"'


def copied(quote, url, headers, cookie=None, body=None):
    parts = [f"curl {quote(url)}"]
    parts += [
        f"-H {quote(f'{name}: {value}' if value else f'{name};')}"
        for name, value in headers.items()
    ]
    parts += [] if cookie is None else [f"-b {quote(cookie)}"]
    parts += [] if body is None else [f"--data-raw {quote(body)}"]
    return (" \\\n  " if quote in (for_bash, shlex.quote) else " ^\n  ").join(parts)


NAME = st.from_regex(r"[a-z][a-z0-9-]{0,12}", fullmatch=True).filter(lambda name: name != "cookie")
VALUE = st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=40)


@given(
    headers=st.dictionaries(NAME, VALUE, max_size=5),
    cookie=st.none() | VALUE,
    body=st.none() | VALUE,
    query=st.from_regex(r"[a-zA-Z0-9%&=!'\"^\\$;|(){}<>~,. -]{0,20}", fullmatch=True),
)
@settings(max_examples=200, deadline=None)
def test_whatever_a_browser_quotes_reads_back_the_same(headers, cookie, body, query):
    url = f"http://alder-foods.localhost:8000/api/x?q={query}"
    want = dict(headers) | ({} if cookie is None else {"cookie": cookie})
    for quote in (for_bash, for_cmd, shlex.quote):
        request = read_curl(copied(quote, url, headers, cookie, body))
        assert (request.url, dict(request.headers), request.body) == (url, want, body or ""), quote
        assert request.method == ("GET" if body is None else "POST")


@pytest.mark.skipif(sys.platform == "win32", reason="a bash is needed")
@given(values=st.lists(VALUE, min_size=1, max_size=6))
@settings(max_examples=25, deadline=None)
def test_bash_itself_reads_it_as_we_do(values):
    command = " \\\n  ".join(["printf '%s\\0'", *map(for_bash, values)])
    said = subprocess.run(
        ["bash", "-c", f"LC_ALL=C.UTF-8; {command}"], capture_output=True, timeout=60, check=True
    )
    assert said.stdout.decode().split("\0")[:-1] == values
    assert copied_requests._read_bash(command) == ["printf", "%s\\0", *values]


@pytest.mark.parametrize("shell", ["bash", "cmd"])
def test_a_hidden_box_takes_the_ends_of_lines_away(shell):
    text = browser.recorded(shell)
    assert "\n" in text and read_curl(text.replace("\n", "")) == read_curl(text)
    assert read_curl(text.replace("\n", "\r\n")) == read_curl(text)


@pytest.mark.parametrize(
    "text, want",
    [
        ('curl "http://a.localhost/x" -H "a: say ""hi""" ^\n --compressed', {"a": 'say "hi"'}),
        ('curl "http://a.localhost/x" -H "a: 50"%"" ^\n -k', {"a": "50%"}),
        ("curl http://a.localhost/x -H a:b -A me -e http://r/", None),
        ("curl -X GET --url 'http://a.localhost/x' -H 'A:  two'", {"a": " two"}),
        ("curl.exe -Hx:1 -s http://a.localhost/x", {"x": "1"}),
        ("curl $'http://a.localhost/x' -H $'a: \\x41\\102\\t\\q'", {"a": "AB\t\\q"}),
        ('curl "http://a.localhost/x" -H "a: \\$1 \\\\ \\x"', {"a": "$1 \\ \\x"}),
    ],
)
def test_other_ways_to_write_it(text, want):
    want = want or {"a": "b", "user-agent": "me", "referer": "http://r/"}
    assert read_curl(text) == CapturedRequest(
        "GET", "http://a.localhost/x", copied_requests.HiddenHeaders(want)
    )


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "does not begin with curl"),
        ("SECRET", "does not begin with curl"),
        ("curl", "0 addresses"),
        ("curl SECRET", "1 addresses"),
        ("curl 'http://a/' ;\ncurl 'http://b/SECRET'", "addresses"),
        ("curl 'http://a/' -H 'x: SECRET", "inside of a quotation"),
        ('curl ^"http://a/^" -H ^"x: SECRET', "inside of a quotation"),
        ("curl http://a/ -H", "nothing behind its last -H"),
        ("curl http://a/ --user SECRET:x", "option --user is not known"),
        ("curl http://a/ -u SECRET:x", "option -u is not known"),
        ("fetch('http://a/', {SECRET})", "copied as fetch"),
        ("Invoke-WebRequest SECRET", "PowerShell"),
    ],
)
def test_what_is_no_request_is_refused_without_repeating_it(text, message):
    with pytest.raises(DataError) as refused:
        read_curl(text)
    assert refused.value.reason == "bad_curl" and message in str(refused.value)
    assert "SECRET" not in str(refused.value)


def test_a_captured_request_shows_no_value(box):
    request = capture(box)
    values = [*request.headers.values()]
    assert values and not [value for value in values if value in f"{request!r} {request.headers!r}"]
    assert "1711958400000" not in repr(request) and "cookie" in repr(request)
    assert "IPython" not in sys.modules or "sandbox_session" not in repr(vars(request))


def test_what_is_pasted_into_the_box_is_that_of_the_instance(box, monkeypatch):
    text = browser.recorded("cmd").replace(":40123", ":" + box.url.rpartition(":")[2])
    monkeypatch.setattr(getpass, "getpass", lambda prompt: text.replace("\n", ""))
    request = browser.captured(box, paste=True)
    assert request.path == PATH and [*request.headers].count("cookie") == 1
    monkeypatch.setattr(getpass, "getpass", lambda prompt: browser.recorded("cmd"))
    with pytest.raises(DataError, match="another instance"):
        browser.captured(box, paste=True)


# The pages of the sandbox


@pytest.fixture
def visitor():
    with requests.Session() as session:
        session.trust_env = False
        yield session


def once(box):
    return box.make_link().partition("once=")[2]


def test_a_link_signs_in_once_and_the_cookie_opens_the_list(box, visitor):
    key = once(box)
    form = visitor.get(f"{box.url}/auth/index?once={key}")
    assert box.username in form.text and box.password not in form.text
    entered = visitor.post(f"{box.url}/auth/index", data={"once": key}, allow_redirects=False)
    assert (entered.status_code, entered.headers["location"]) == (303, "/datacenter/accounts")
    parts = entered.headers["set-cookie"].split("; ")
    assert parts[1:] == ["Path=/", "HttpOnly", "SameSite=Strict"]
    assert parts[0].startswith("sandbox_session=") and "%3D" in parts[0]
    page = visitor.get(f"{box.url}/datacenter/accounts")
    assert page.status_code == 200 and "Ben Vale" in page.text
    mine = visitor.get(box.url + PATH).json()
    token = {"X-DOMO-Developer-Token": box.access_token}
    assert mine == requests.get(box.url + PATH, headers=token, timeout=60).json()
    again = requests.post(f"{box.url}/auth/index", data={"once": key}, timeout=60)
    assert "set-cookie" not in again.headers
    visitor.post(f"{box.url}/auth/sign-out")
    assert visitor.get(box.url + PATH).status_code == 401


def test_a_cookie_ends_with_its_session(box):
    cookie = {"Cookie": browser_data.open_cookie(box)}
    assert requests.get(box.url + PATH, headers=cookie, timeout=60).status_code == 200
    box.expire()
    assert requests.get(box.url + PATH, headers=cookie, timeout=60).status_code == 401


def test_without_a_session_the_page_leads_to_the_sign_in(box, visitor):
    there = visitor.get(f"{box.url}/datacenter/accounts", allow_redirects=False)
    assert (there.status_code, there.headers["location"]) == (302, "/auth/index")
    for form in ({"once": "made up"}, {"username": box.username, "password": "a guess"}, {}):
        reply = visitor.post(f"{box.url}/auth/index", data=form, allow_redirects=False)
        assert reply.status_code == 200 and not visitor.cookies


def test_a_page_takes_nothing_from_elsewhere_and_shows_no_key(box, visitor):
    visitor.post(f"{box.url}/auth/index", data={"once": once(box)})
    for path in ("/auth/index", "/datacenter/accounts", "/web/page.js", "/web/page.css"):
        page = visitor.get(box.url + path)
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"
        assert not re.findall(r"https?://(?!www\.w3\.org)", page.text)
        for secret in (box.password, box.access_token, *visitor.cookies.values()):
            assert secret not in page.text


@pytest.mark.parametrize(
    "host, status",
    [
        ("alder-foods.localhost", 401),
        ("localhost", 401),
        ("127.0.0.1", 401),
        ("localhost.example.com", 400),
        ("alder-foods.example.com", 400),
    ],
)
def test_the_sandbox_answers_only_under_names_of_this_machine(box, host, status):
    port = box.url.rpartition(":")[2]
    reply = requests.get(box.url + PATH, headers={"Host": f"{host}:{port}"}, timeout=60)
    assert reply.status_code == status


def test_a_link_leads_to_this_machine_only(box):
    assert box.make_link().startswith(f"http://{box.name}.localhost:")
    for host in ("example.com", "localhost.example.com", "a/b.localhost", "x@localhost", " "):
        with pytest.raises(SettingsError) as refused:
            box.make_link(host)
        assert refused.value.reason == "bad_name"


def test_the_links_are_escaped_and_open_apart(box):
    link = browser.page(box)
    html = link._repr_html_()
    assert link.link.startswith("http://alder-foods.localhost:") and link.link in html
    assert html.count('rel="noopener noreferrer"') == 2 and link.plain in repr(link)


# The right answers


def code(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def solved():
    "The learner's names after every task has been done as in the solution."
    names = {"requests": requests, "PATH": PATH, "AUTH": AUTH, "SignInError": SignInError}
    for cell in code(SOLUTION):
        if "# BEGIN SOLUTION" in cell.source and "def test_" not in cell.source:
            exec(cell.source, names)
    return names


@pytest.mark.parametrize("check", NAMES)
def test_the_solution_passes(check, solved, seeds):
    outcome = getattr(browser, check)(*(solved[name] for name in NAMES[check]))
    assert outcome.passed, outcome


class Plain:
    def __init__(self, status, is_success, response):
        self.status = status
        self.is_success = is_success
        self.response = response


def replying(function):
    "A class like the learner's with this function as its classmethod."
    return type("Reply", (Plain,), {"from_requests": classmethod(function)})


def good(status):
    return 200 <= status < 300


def by_content(cls, res):
    if not res.content:
        return cls(res.status_code, good(res.status_code), None)
    try:
        return cls(res.status_code, good(res.status_code), res.json())
    except requests.exceptions.JSONDecodeError:
        return cls(res.status_code, False, res.text)


def by_loads(cls, res):
    made = cls(res.status_code, good(res.status_code), None)
    if res.text != "":
        try:
            made.response = json.loads(res.text)
        except json.JSONDecodeError:
            made.response, made.is_success = res.text, False
    return made


def by_first_digit(cls, res):
    response, success = None, res.status_code // 100 == 2
    if len(res.text) > 0:
        try:
            response = res.json()
        except ValueError:
            response = res.text
            success = False
    return cls(is_success=success, status=res.status_code, response=response)


def believes_ok(cls, res):
    made = by_content(cls, res)
    made.is_success = res.ok and not isinstance(made.response, str) or res.status_code == 299
    return made


def plain_reply(cls, res):
    return replying(by_content).from_requests(res)


def loses_empty_ones(cls, res):
    made = by_content(cls, res)
    made.response = made.response or res.text or None
    return made


def none_for_false(cls, res):
    made = by_content(cls, res)
    made.response = made.response or None
    return made


def bare_except(cls, res):
    try:
        response, readable = (res.json() if res.text else None), True
    except:  # noqa: E722
        response, readable = res.text, False
    return cls(res.status_code, readable and good(res.status_code), response)


def believes_web_pages(cls, res):
    made = by_content(cls, res)
    made.is_success = good(res.status_code)
    return made


def keeps_the_method(cls, res):
    return cls(res.status_code, good(res.status_code), res.json)


def reads_nothing_too(cls, res):
    try:
        return cls(res.status_code, good(res.status_code), res.json())
    except ValueError:
        return cls(res.status_code, False, res.text)


def always_json(cls, res):
    return cls(res.status_code, good(res.status_code), res.json())


def status_as_text(cls, res):
    made = by_content(cls, res)
    made.status = str(made.status)
    return made


def prints_it(cls, res):
    print(res.status_code)


def gives_a_dict(cls, res):
    return vars(by_content(cls, res))


def success_is_a_number(cls, res):
    made = by_content(cls, res)
    made.is_success = int(made.is_success)
    return made


def only_200(cls, res):
    made = by_content(cls, res)
    made.is_success = made.is_success and made.status == 200
    return made


HEADERS = {"session_token": "X-DOMO-Authentication", "access_token": "X-DOMO-Developer-Token"}


def accounts_like(
    headers=None, params=None, address=None, follow=False, times=1, give=Reply.from_requests
):
    "A get_accounts that differs from a right one in what is named."

    def get_accounts(domo_instance, session_token=None, access_token=None):
        made = right_headers(session_token, access_token)
        if headers:
            made = headers(session_token, access_token)
        url = (address or (lambda instance: instance.url + PATH))(domo_instance)
        for _ in range(times):
            res = requests.get(
                url,
                headers=made,
                params=params and params(session_token, access_token),
                timeout=60,
                allow_redirects=follow,
            )
        return give(res)

    return get_accounts


def right_headers(session_token, access_token):
    if access_token:
        return {"X-DOMO-Developer-Token": access_token}
    return {"X-DOMO-Authentication": session_token} if session_token else {}


def with_a_session(domo_instance, session_token=None, access_token=None):
    with requests.Session() as session:
        if access_token is not None:
            session.headers["X-DOMO-Developer-Token"] = access_token
        elif session_token is not None:
            session.headers["X-DOMO-Authentication"] = session_token
        res = session.get(domo_instance.url + PATH, timeout=60, allow_redirects=False)
    return Reply.from_requests(res)


def with_none_headers(domo_instance, session_token=None, access_token=None):
    headers = {
        "x-domo-developer-token": access_token,
        "x-domo-authentication": None if access_token else session_token,
    }
    res = requests.request(
        "GET", f"{domo_instance.url}{PATH}", headers=headers, timeout=60, allow_redirects=False
    )
    return Reply(*vars(Reply.from_requests(res)).values())


def by_a_loop(domo_instance, session_token=None, access_token=None):
    headers = {}
    for name, token in ((HEADERS["session_token"], session_token),):
        if token and not access_token:
            headers[name] = token
    if access_token:
        headers[HEADERS["access_token"]] = access_token
    url = domo_instance.url + PATH
    return Reply.from_requests(requests.get(url, headers=headers, allow_redirects=False))


def prints_accounts(domo_instance, session_token=None, access_token=None):
    print(accounts_like()(domo_instance, session_token, access_token).status)


def raises_at_401(domo_instance, session_token=None, access_token=None):
    res = requests.get(
        domo_instance.url + PATH, headers=right_headers(session_token, access_token), timeout=60
    )
    res.raise_for_status()
    return Reply.from_requests(res)


def swapped(session_token, access_token):
    if access_token:
        return {"X-DOMO-Authentication": access_token}
    return {"X-DOMO-Developer-Token": session_token} if session_token else {}


def session_first(session_token, access_token):
    if session_token:
        return {"X-DOMO-Authentication": session_token}
    return right_headers(None, access_token)


def both_at_once(session_token, access_token):
    pairs = {"X-DOMO-Authentication": session_token, "X-DOMO-Developer-Token": access_token}
    return {name: token for name, token in pairs.items() if token}


def post(domo_instance, username, password, **options):
    body = {"method": "password", "emailAddress": username, "password": password}
    given = {"json": body, "timeout": 60, "allow_redirects": False} | options
    if "data" in given:
        given.pop("json")
    return Reply.from_requests(requests.post(domo_instance.url + AUTH, **given))


def body_of(reply):
    return reply.response if isinstance(reply.response, dict) else {}


def token_of(reply):
    token = body_of(reply).get("sessionToken")
    if not token:
        raise SignInError(body_of(reply).get("reason", reply.status))
    return token


def by_key_error(domo_instance, username, password, return_raw=False):
    reply = post(domo_instance, username, password)
    if return_raw:
        return reply
    try:
        return reply.response["sessionToken"]
    except (KeyError, TypeError):
        raise SignInError(f"{reply.status}: {reply.response}") from None


def by_match(domo_instance, username, password, return_raw=False):
    reply = post(domo_instance, username, password)
    match (return_raw, reply.response):
        case (True, _):
            return reply
        case (_, {"sessionToken": str(token)}):
            return token
        case (_, {"reason": reason}):
            raise SignInError(reason)
    raise SignInError("no session")


def by_a_helper(domo_instance, username, password, return_raw=False):
    reply = post(domo_instance, username, password)
    return reply if return_raw else token_of(reply)


def status_only(domo_instance, username, password, return_raw=False):
    reply = post(domo_instance, username, password)
    if return_raw:
        return reply
    if not reply.is_success:
        raise SignInError(reply.status)
    return reply.response["sessionToken"]


def gives_none(domo_instance, username, password, return_raw=False):
    reply = post(domo_instance, username, password)
    return reply if return_raw else body_of(reply).get("sessionToken")


def tells_the_password(domo_instance, username, password, return_raw=False):
    reply = post(domo_instance, username, password)
    if return_raw:
        return reply
    if not body_of(reply).get("sessionToken"):
        raise SignInError(f"{body_of(reply).get('reason')}: {username} with {password}")
    return reply.response["sessionToken"]


def raw_too_late(domo_instance, username, password, return_raw=False):
    reply = post(domo_instance, username, password)
    token = token_of(reply)
    return reply if return_raw else token


def sends_a_form(domo_instance, username, password, return_raw=False):
    form = {"method": "password", "emailAddress": username, "password": password}
    reply = post(domo_instance, username, password, data=form)
    return reply if return_raw else token_of(reply)


def asks_for_success(domo_instance, username, password, return_raw=False):
    reply = post(domo_instance, username, password)
    if return_raw:
        return reply
    if not reply.response["success"]:
        raise SignInError(reply.response["reason"])
    return reply.response["sessionToken"]


def wants_a_reason(domo_instance, username, password, return_raw=False):
    reply = post(domo_instance, username, password)
    if return_raw:
        return reply
    if "sessionToken" not in reply.response:
        raise SignInError(reply.response["reason"])
    return reply.response["sessionToken"]


def without_a_reason(domo_instance, username, password, return_raw=False):
    reply = post(domo_instance, username, password)
    if return_raw:
        return reply
    if not body_of(reply).get("sessionToken"):
        raise SignInError("it did not work")
    return reply.response["sessionToken"]


def follows(domo_instance, username, password, return_raw=False):
    reply = post(domo_instance, username, password, allow_redirects=True)
    return reply if return_raw else token_of(reply)


def gives_the_reply(domo_instance, username, password, return_raw=False):
    return post(domo_instance, username, password)


def raises_another(domo_instance, username, password, return_raw=False):
    reply = post(domo_instance, username, password)
    if return_raw:
        return reply
    if not body_of(reply).get("sessionToken"):
        raise ValueError(f"{reply.response} {password}")
    return reply.response["sessionToken"]


def in_the_address(domo_instance, username, password, return_raw=False):
    reply = post(domo_instance, username, password, params={"password": password})
    return reply if return_raw else token_of(reply)


def prints_the_token(domo_instance, username, password, return_raw=False):
    print(token_of(post(domo_instance, username, password)))


RIGHT = [
    ("request", ("get", PATH, "Cookie")),
    ("request", ("GET", f" {PATH} ", "cookie:")),
    ("request", ("Get", PATH, "COOKIE")),
    ("reply", (replying(by_content),)),
    ("reply", (replying(by_loads),)),
    ("reply", (replying(by_first_digit),)),
    ("accounts", (with_a_session,)),
    ("accounts", (with_none_headers,)),
    ("accounts", (by_a_loop,)),
    ("sign_in", (by_key_error,)),
    ("sign_in", (by_match,)),
    ("sign_in", (by_a_helper,)),
]
WRONG = [
    ("request", ("POST", PATH, "cookie"), "Is there a `-X` or `--data`"),
    ("request", ("GET", f"http://alder-foods.localhost:40123{PATH}", "cookie"), "behind the host"),
    ("request", ("GET", f"{PATH}?cb=1711958400000", "cookie"), "before the question mark"),
    ("request", ("GET", PATH, "-b"), "curl's short word"),
    ("request", ("GET", PATH, "-b cookie"), "without what stands before it"),
    ("request", ("GET", PATH, "user-agent"), "anybody can write that"),
    ("request", ("GET", PATH, "referer"), "the same for everybody"),
    ("request", ("GET", PATH, "sandbox_session"), "called in which it travels"),
    ("request", ("GET", PATH[1:], "cookie"), "begins with a slash"),
    ("request", ("GET", "/datacenter/accounts", "cookie"), "the address of the page"),
    ("request", ("curl", PATH, "cookie"), "It is one word"),
    ("request", (requests.get, PATH, "cookie"), "a text is asked for"),
    ("reply", (replying(believes_ok),), "A redirect (302) counts as success"),
    ("reply", (replying(plain_reply),), "says which class is meant"),
    (
        "reply",
        (replying(loses_empty_ones),),
        "An empty list came, and the response is the text '[]'",
    ),
    ("reply", (replying(none_for_false),), "not whether it is true"),
    ("reply", (replying(bare_except),), "Ctrl-C is swallowed"),
    ("reply", (replying(believes_web_pages),), "What would one find in it?"),
    ("reply", (replying(keeps_the_method),), "a method, not its result"),
    ("reply", (replying(reads_nothing_too),), "None says that nothing was there"),
    ("reply", (replying(always_json),), "By which name is that error caught?"),
    ("reply", (replying(status_as_text),), "Which attribute of res is a number"),
    ("reply", (replying(prints_it),), "use return"),
    ("reply", (replying(gives_a_dict),), "return cls(...)"),
    ("reply", (replying(success_is_a_number),), "True or False is asked for"),
    ("reply", (replying(only_200),), "True is for 200 to 299"),
    ("reply", (type("Reply", (Plain,), {"from_requests": by_content}),), "`@classmethod` stands"),
    ("reply", (replying(lambda cls, res: cls),), "It gives the class itself"),
    ("reply", (replying(lambda cls, res: self),), "no self in a classmethod"),  # noqa: F821
    ("reply", (Plain,), "has no from_requests"),
    ("reply", (by_content,), "A class is asked for"),
    ("accounts", (accounts_like(swapped),), "went into the header of"),
    (
        "accounts",
        (accounts_like(lambda s, a: {"Authorization": f"Bearer {a or s}"} if a or s else {}),),
        "does not look at Authorization",
    ),
    (
        "accounts",
        (accounts_like(lambda s, a: right_headers(f"{s}", a)),),
        "Send a header only if there is something to put in",
    ),
    (
        "accounts",
        (accounts_like(params=lambda s, a: {"token": a or s}),),
        "The token stands in the address",
    ),
    ("accounts", (accounts_like(follow=True),), "followed a redirect to another host"),
    ("accounts", (accounts_like(session_first),), "Which one counts then?"),
    ("accounts", (accounts_like(both_at_once),), "Both tokens were sent"),
    ("accounts", (accounts_like(times=2),), "one request is enough"),
    ("accounts", (accounts_like(give=lambda res: res),), "a Reply is asked for"),
    ("accounts", (accounts_like(give=lambda res: res.json()),), "a Reply is asked for"),
    ("accounts", (accounts_like(lambda s, a: {"X-Token": a or s}),), "in no header"),
    ("accounts", (accounts_like(address=lambda box: box.url + "/api/x"),), "is asked for"),
    ("accounts", (accounts_like(give=lambda res: Reply(200, True, [])),), "Reply"),
    ("accounts", (prints_accounts,), "use return"),
    ("accounts", (raises_at_401,), "stops with HTTPError"),
    ("accounts", (lambda domo_instance: 1,), "unexpected keyword"),
    ("sign_in", (status_only,), "Which do you believe?"),
    ("sign_in", (gives_none,), "Where should this stop?"),
    ("sign_in", (tells_the_password,), "The error holds the password"),
    ("sign_in", (raw_too_late,), "return_raw=True raises"),
    ("sign_in", (sends_a_form,), "Compare json= and data="),
    ("sign_in", (asks_for_success,), "Ask for the one thing that you need"[1:]),
    ("sign_in", (wants_a_reason,), "not every refusal has a reason"),
    ("sign_in", (without_a_reason,), "does not say why"),
    ("sign_in", (follows,), "It followed the redirect"),
    ("sign_in", (gives_the_reply,), "the session token is asked for"),
    ("sign_in", (raises_another,), "A SignInError is asked for"),
    ("sign_in", (in_the_address,), "The password stands in the address"),
    ("sign_in", (prints_the_token,), "use return"),
]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("check, answer", RIGHT)
def test_a_right_answer_passes_whatever_way_it_goes(check, answer, seeds):
    outcome = getattr(browser, check)(*answer)
    assert outcome.passed, outcome


@pytest.mark.sampled(6)
@pytest.mark.parametrize("check, answer, message", WRONG)
def test_a_wrong_answer_is_told_in_the_right_words(check, answer, message, seeds):
    outcome = getattr(browser, check)(*answer)
    assert not outcome.passed and message in outcome.says, outcome
    assert "cannot make sense" not in outcome.says and not outcome.is_open
    assert 30 < len(outcome.says) < 700


SECRET = re.compile(r"[0-9a-f]{48}|eyJ[A-Za-z0-9%]{30,}|sandbox_session=\w")


@pytest.mark.parametrize("answer", [answer for check, answer, _ in WRONG if check == "sign_in"])
def test_nothing_that_is_said_holds_a_key(answer, monkeypatch):
    "A password, a token, or a cookie of the instances that a check asks."
    passwords = []
    real = browser_data.watch_instance

    def watched(*args):
        made = real(*args)
        enter = made.__enter__

        class Seen:
            def __enter__(self):
                box, asked = enter()
                passwords.extend([box.password, box.limited.password])
                return box, asked

            def __exit__(self, *error):
                return made.__exit__(*error)

        return Seen()

    monkeypatch.setattr(session_requests, "watch_instance", watched)
    said = repr(browser.sign_in(*answer))
    assert passwords and not [one for one in passwords if one in said]
    assert not SECRET.search(said)


@pytest.mark.parametrize("answer", [answer for check, answer, _ in WRONG if check == "accounts"])
def test_nothing_that_is_said_holds_a_token(answer):
    assert not SECRET.search(repr(browser.accounts(*answer)))


@pytest.mark.parametrize("check", ["accounts", "sign_in"])
def test_the_instance_of_the_notebook_is_not_the_one_that_was_handed_over(check, box):
    def get_accounts(domo_instance, session_token=None, access_token=None):
        return with_a_session(box, session_token, access_token)

    def get_session_token(domo_instance, username, password, return_raw=False):
        return by_a_helper(box, username, password, return_raw)

    answer = {"accounts": get_accounts, "sign_in": get_session_token}[check]
    outcome = getattr(browser, check)(answer)
    assert not outcome.passed and "comes from a cell further up" in outcome.says


def test_a_function_that_works_for_one_instance_only_is_told_so(box):
    "Right for the data on the screen: the token of the notebook is used whatever is handed over."
    session = box.domo.sign_in.open(box.domo.admin.user)["sessionToken"]
    outcome = browser.accounts(accounts_like(lambda s, a: {"X-DOMO-Authentication": session}))
    assert not outcome.passed and "a session token that it was not handed" in outcome.says
    assert session not in repr(outcome)


def test_a_class_that_leans_on_the_kit_is_told_so():
    class Mine(Reply):
        pass

    class Other(Plain):
        @classmethod
        def from_requests(cls, res):
            return cls(*vars(Reply.from_requests(res)).values())

    for kind in (Mine, Other):
        assert "hands the work to the kit" in browser.reply(kind).says
    stand_in = browser.reply(...).use()
    assert stand_in is Reply and "kit's own" in browser.reply(stand_in).says


def test_a_stub_is_open_not_wrong():
    stubs = {}
    for cell in code(EXERCISE):
        if "TODO" in cell.source:
            exec(cell.source, stubs)
    for check, names in NAMES.items():
        assert getattr(browser, check)(*(stubs[name] for name in names)).is_open, check
    assert browser.beliefs(stubs["test_wrong"]).is_open


# Tests as answers: each is a cell of its own


def cell(source, monkeypatch, **names):
    "What a cell with this source defines, as in a notebook."
    name = f"<cell {hash(source)}>"
    monkeypatch.setitem(
        linecache.cache, name, (len(source), None, source.splitlines(keepends=True), name)
    )
    for one in code(EXERCISE):
        if "def sign(box" in one.source:
            helpers = one.source.rpartition("\n\n")[0]
    names |= {"requests": requests, "PATH": PATH, "AUTH": AUTH, "__name__": "__main__"}
    exec(helpers, names)
    exec(compile(source, name, "exec"), names)
    return names


THREE = """def test_wrong(box):
    assert sign(box, "a guess").status_code == 200

def test_no_key(box):
    assert ask(box, {}).status_code == 401

def test_session(box):
    token = sign(box, box.password).json()["sessionToken"]
    assert ask(box, {"X-DOMO-Authentication": token}).status_code == 200
"""
ONE = """def test_all(box):
    wrong = sign(box, "x")
    assert wrong.ok and not wrong.json()["success"]
    assert not ask(box, {}).ok
    headers = {"X-DOMO-Authentication": sign(box, box.password).json()["sessionToken"]}
    assert isinstance(ask(box, headers).json(), list)
"""
OWN = """def test_wrong(box):
    reply = get_session_token(box, box.username, "a guess", return_raw=True)
    assert reply.status == 200 and reply.response["reason"] == "INVALID_CREDENTIALS"

def test_no_key(box):
    assert get_accounts(box).status == 401

def test_session(box):
    token = get_session_token(box, box.username, box.password)
    assert get_accounts(box, session_token=token).is_success, "a session opens the list"
"""
TWO = THREE.partition("def test_session")[0]
TESTS = [
    (THREE.replace("assert ", ""), "Without assert it finds only what crashes"),
    (THREE.replace("(box,", "(instance,"), "asks the notebook's instance; the changed one"),
    (THREE.replace("(box):", "():"), "box is missing in its parentheses"),
    (
        TWO
        + THREE.partition("\n\ndef test_no_key")[2]
        .partition("\n\n")[2]
        .replace("test_session", "check_session"),
        "pytest passes check_session over",
    ),
    (
        TWO
        + "def test_session(box):\n    try:\n        assert ask(box, {}).status_code == 200\n"
        + "    except Exception:\n        pass\n",
        "its except takes the AssertionError too",
    ),
    (
        TWO + "def test_body(box):\n    assert ask(box, {}).json() == ask(box, {}).json()\n",
        "fails for the service as it is: `toe` is new each time",
    ),
    (TWO, "a service that refuses every session (2 of 3 found)"),
    (
        TWO.replace("== 401", "== 200"),
        "fails for the service as it is",
    ),
    (
        "def test_it(box):\n    assert sign(box, box.password).status_code == 200\n",
        "Which request would show it?",
    ),
    (
        THREE.replace("test_wrong", "check_wrong"),
        "pytest passes check_wrong over",
    ),
]


@pytest.mark.sampled(8, a_day=6)
@pytest.mark.parametrize("source, message", TESTS)
def test_a_test_that_finds_too_little_is_told_what_it_misses(
    source, message, monkeypatch, box, seeds
):
    names = cell(source, monkeypatch, instance=box)
    first = re.search(r"def ((?:test|check)_\w+)", source)[1]
    outcome = browser.beliefs(names[first])
    assert not outcome.passed and message in outcome.says, outcome
    assert not SECRET.search(repr(outcome)) and box.password not in repr(outcome)
    assert "as it is" not in outcome.says or "assert " in outcome.tried


@pytest.mark.sampled(3)
@pytest.mark.parametrize("source", [THREE, ONE, OWN])
def test_tests_that_notice_every_change_pass(source, monkeypatch, seeds, solved):
    own = {name: solved[name] for name in ("get_accounts", "get_session_token")}
    names = cell(source, monkeypatch, **own)
    outcome = browser.beliefs(next(value for name, value in names.items() if name[:5] == "test_"))
    assert outcome.passed, outcome


# The lesson as a whole


@pytest.mark.slow
@pytest.mark.parametrize("notebook", [SOLUTION, EXERCISE], ids=["solution", "exercise"])
def test_the_lesson_runs_in_a_workspace_and_stays_on_this_machine(notebook, tmp_path):
    """Where the module of DomoJupyter can be imported, nothing of the workspace is touched; and no
    connection leaves loopback, whatever a cell does."""
    (tmp_path / "domojupyter").mkdir()
    (tmp_path / "domojupyter" / "__init__.py").write_text(
        "import pathlib\n__version__ = '1.1.32'\n"
        "def _refuse(*args, **kwargs):\n"
        f"    pathlib.Path({str(tmp_path / 'touched')!r}).write_text('yes')\n"
        "    raise Exception('Failed to obtain workspace account properties for workspace')\n"
        "read_dataframe = write_dataframe = _refuse\n"
        "get_account_property_keys = get_account_property_value = _refuse\n"
    )
    (tmp_path / "sitecustomize.py").write_text(
        "import pathlib, socket\n"
        "real = socket.socket.connect\n"
        "def connect(self, address):\n"
        "    inet = self.family in (socket.AF_INET, socket.AF_INET6)\n"
        "    if inet and address[0] not in ('127.0.0.1', '::1', 'localhost'):\n"
        f"        with open({str(tmp_path / 'left')!r}, 'a') as file:\n"
        "            file.write(f'{address}\\n')\n"
        "    return real(self, address)\n"
        "socket.socket.connect = connect\n"
    )
    script = (
        "import nbformat, sys; from nbclient import NotebookClient\n"
        f"nb = nbformat.read({str(notebook)!r}, 4)\n"
        "NotebookClient(nb, kernel_name='python3', timeout=300).execute()\n"
        "text = ''.join(o.get('text', '') + o.get('data', {}).get('text/plain', '')\n"
        "               for c in nb.cells for o in c.get('outputs', []))\n"
        "print(text.count('passed (task'), text.count('not yet (task'))\n"
    )
    paths = [str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    passed = "5 0" if notebook == SOLUTION else "0 5"
    assert done.stdout.split("\n")[-2] == passed
    assert not (tmp_path / "touched").exists() and not (tmp_path / "left").exists()


def test_no_stored_output_holds_a_key_or_a_port():
    notebook = nbformat.read(SOLUTION, as_version=4)
    outputs = json.dumps([cell.get("outputs") for cell in notebook.cells])
    ended = "YSBzZXNzaW9uIHRoYXQgaGFzIGVuZGVkLg"
    assert ended in outputs and "once=" not in outputs
    assert set(re.findall(r"localhost:(\d+)", outputs)) == {"40123"}
    assert not re.search(r"[0-9a-f]{48}|eyJ[A-Za-z0-9%]{30,}", outputs)
