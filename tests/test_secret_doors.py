"""Every public function that takes a secret is found by its signature, and given one at each of
its arguments in each form; none shows it."""

import ast
import copy
import importlib
import inspect
import json
import pickle
import pkgutil
import re
import socket
import textwrap
import traceback
from pathlib import Path

import msgspec
import pytest
from secret_search import TRACEBACKS, insides, leaks, listening, told_by

import domostats
from domostats import reports
from domostats.clients.datorama import datorama
from domostats.clients.datorama.auth import ApiToken
from domostats.clients.domo.accounts import get_accounts
from domostats.clients.domo.auth import get_session_token
from domostats.clients.domo.credentials import AccessToken
from domostats.clients.domo.session import Session
from domostats.clients.domo.users import get_user_by_id
from domostats.errors import DomostatsError, SettingsError
from domostats.instances import Instance, find_instance
from domostats.sealing import hides
from domostats.secrets import Secret

ODD = 'plänted "pass/word" 100% sure'
TOKEN = "planted+token/with=signs&more"
HEX = "5ec4e7d00dfeed5ec4e7a00bfeed5ec4e7c0ffee"
UUID = "5ec4e7d0-0dfe-4d5e-8c4e-7a00bfeed5ec"
JWT = "eyJwbGFudGVkIjoic2Vzc2lvbiJ9.Zx8Qp4Lm2Rt6Vb1Ny7Kd3Hs9.c0ffee5ec4e7d00d"
SECRETS = ODD, TOKEN, HEX, UUID, JWT
TAKES = re.compile(r"(\w+_)?(token|password|secret|credential|write_key|read_key)")
KNOWS = "Secret", "hides", "sign_in", "find_secrets", "connect", "Connection", "Auth", "requests"


def modules():
    for found in pkgutil.walk_packages(domostats.__path__, "domostats."):
        # what Airflow loads is seen under Airflow, which has an environment of its own
        if not found.name.endswith("__main__") and "engines.airflow" not in found.name:
            yield importlib.import_module(found.name)


def public():
    "Everything public: functions, and of classes the methods and the making, by name."
    found = {}
    for module in modules():
        names = getattr(module, "__all__", [name for name in vars(module) if name[0] != "_"])
        for name in names:
            thing = getattr(module, name, None)
            if getattr(thing, "__module__", None) != module.__name__:
                continue
            where = f"{module.__name__}.{name}"
            if inspect.isclass(thing):
                for method, function in vars(thing).items():
                    if inspect.isfunction(function) and (method[0] != "_" or method == "__init__"):
                        found[f"{where}.{method}"] = function
            elif inspect.isfunction(thing):
                found[where] = thing
    return found


INNER = "domostats.sandbox.", "domostats.interfaces.", "domostats.lessons."
PUBLIC = public()
DOORS = {name: one for name, one in PUBLIC.items() if getattr(one, "hidden", ())}


SEALED = {  # they are given a `Secret`, which shows itself nowhere, and no text
    *(
        f"domostats.clients.dash.{name}"
        for name in (
            *("auth.DashAuth.fetch", "auth.ApplicationAuth.fetch", "auth.UserAuth.fetch"),
            *("redirect.Listener.__init__", "browser.read_redirect", "browser.check_identity"),
            *("forms.Form.__init__", "forms.FileForm.__init__", "tokens.ask_tokens"),
            *("key_store.TokenStore.set", "key_store.MemoryStore.set"),
            *("key_store.SystemStore.set", "key_store.FileStore.set"),
            *("kept_login.KeptLogin.keep", "kept_login.KeptLogin.keep_refresh"),
            *("kept_login.KeptLogin.keep_access", "queries.link_parts"),
            "queries.get_result_page",  # its token is the place of a page
            "own_cache.CacheStore.set",
            "own_cache.CredentialsCache.set_refresh_token",  # what a class of the user's has
        )
    ),
    "domostats.clients.bigquery.credentials.pem_text",
    "domostats.clients.domo.access_tokens.IssuedToken.__init__",
    "domostats.loading.dash.v1_upload.v1_key",
    "domostats.loading.dash.v1_upload.upload_v1",
    "domostats.transport.sending.send",  # it is told whether there is a secret
    "domostats.transport.answer.Answer.__init__",
    "domostats.domojupyter.Panel.__init__",
    "domostats.instances.Instance.__init__",
    "domostats.instances.signed",
}


def takers():
    """Those whose signature names a secret, in modules that know anything of secrets or
    connections.

    The sandbox is left out, which is the service and checks what it is sent, the interfaces, which
    hand on what the settings hold, and the lessons, whose sessions are those of a sandbox."""
    for name, function in PUBLIC.items():
        module = importlib.import_module(function.__module__)
        if name in SEALED or name.startswith(INNER):
            continue
        for parameter in inspect.signature(function).parameters.values():
            by_name = TAKES.fullmatch(parameter.name) and any(hasattr(module, one) for one in KNOWS)
            if by_name or "Secret" in str(parameter.annotation):
                yield name, parameter.name


def test_every_function_that_takes_a_secret_is_a_door():
    found = [*takers()]
    assert len(found) > 30
    assert [
        (name, parameter)
        for name, parameter in found
        if parameter not in getattr(PUBLIC[name], "hidden", ())
    ] == []


def test_a_function_that_signs_in_is_a_door_too():
    "Whoever calls `sign_in` with an argument of his own has taken a secret, whatever its name."
    for name, function in PUBLIC.items():
        if name.startswith(("domostats.sandbox", "domostats.interfaces")):
            continue
        inner = inspect.unwrap(function)
        if inner.__code__.co_filename.startswith("<"):  # made by a class: it calls nothing
            continue
        tree = ast.parse(textwrap.dedent(inspect.getsource(inner)))
        own = {*inspect.signature(inner).parameters}
        for call in ast.walk(tree):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "sign_in":
                given = {one.id for one in call.args[1:2] if isinstance(one, ast.Name)} & own
                assert given <= {*getattr(function, "hidden", ())}, name


class SecretStr:
    def __init__(self, value):
        self.get_secret_value = lambda: value

    def __repr__(self):
        return "SecretStr('**********')"


FORMS = {
    "odd": ODD,
    "token": TOKEN,
    "hex": HEX,
    "uuid": UUID,
    "jwt": JWT,
    "bytes": HEX.encode(),
    "line break": HEX + "\n",
    "half a character": HEX + "\ud800",
    "not UTF-8": b"\xff" + HEX.encode(),
    "list": [HEX, TOKEN],
    "tuple": (TOKEN,),
    "dict": {"ada": HEX, "bob": [TOKEN]},
    "keys": {HEX: "ada"},
    "deep": {"ada": {"more": [{"x": ODD}]}},
    "SecretStr": SecretStr(HEX),
    "Secret": Secret(TOKEN),
}


@pytest.fixture(scope="module")
def closed():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return Instance("closed", f"http://127.0.0.1:{port}")


def ready(name, function, closed):
    "The function, bound to a thing of its class where it is a method, and its parameters."
    parameters = [*inspect.signature(function).parameters.values()]
    if parameters and parameters[0].name == "self":
        module, _, kind = name.rpartition(".")[0].rpartition(".")
        cls = getattr(importlib.import_module(module), kind)
        if name.endswith("__init__"):
            return cls, parameters[1:]
        report = reports.accounts.report
        thing = report if isinstance(report, cls) else object.__new__(cls)
        return function.__get__(thing), parameters[1:]
    return function, parameters


def filled(parameters, position, value, closed):
    "Arguments for every parameter that must be given, and the value at this one."
    given = {}
    for number, one in enumerate(parameters):
        if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL):
            continue
        if number == position:
            given[one.name] = value
        elif one.name.endswith("instance"):
            given[one.name] = closed
        elif one.name == "report":
            given[one.name] = reports.accounts.report
        elif one.default is one.empty:
            given[one.name] = "someone"
    return given


def given_as(parameter, value):
    """The value as it is, or in an address: any other text may be the name of a file, which is
    no secret."""
    if parameter.name == "url" and isinstance(value, str):
        return f"postgresql://ada:{value}@127.0.0.1:1/x"
    if parameter.name == "url" and isinstance(value, Secret):
        return Secret(f"postgresql://ada:{TOKEN}@127.0.0.1:1/x")
    return value


def tried(call):
    "What a call shows: what is printed, what it gives, or its error in every traceback."
    with listening() as heard:
        try:
            shown = insides(call())
        except BaseException as e:
            error = e
        else:
            return heard() + shown
    return heard() + told_by(error, tools=TOOLS)


TOOLS = "traceback", "inspect"


@pytest.mark.sampled(10)
@pytest.mark.parametrize("name", DOORS)
def test_no_argument_of_a_door_shows_what_it_is_given(name, closed):
    walk(name, closed)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*DOORS][::6])
def test_nor_does_it_in_the_tracebacks_that_are_slow_to_make(name, closed, monkeypatch):
    monkeypatch.setattr("test_secret_doors.TOOLS", [*TRACEBACKS])
    walk(name, closed, ("odd", "hex", "dict", "half a character"))


FILES = "file", "path_to_output_for_dryrun"  # an error has to name the file that is meant
LIKE_TOKENS = "hex", "uuid", "jwt"


def walk(name, closed, forms=FORMS):
    function, parameters = ready(name, PUBLIC[name], closed)
    for position, parameter in enumerate(parameters):
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        for form in forms:
            if parameter.name in FILES and form not in LIKE_TOKENS:
                continue
            given = filled(parameters, position, given_as(parameter, FORMS[form]), closed)
            ordered = [given[one.name] for one in parameters[: position + 1] if one.name in given]
            rest = {key: given[key] for key in [*given][len(ordered) :]}
            in_order = len(ordered) == position + 1
            ways = [lambda: function(**given)] + [lambda: function(*ordered, **rest)] * in_order
            for way in ways:
                found = leaks(tried(way), *SECRETS)
                assert not found, (parameter.name, form)


@pytest.mark.sampled(4)
@pytest.mark.parametrize("name", DOORS)
def test_too_many_arguments_or_wrong_names_show_none(name, closed):
    function, parameters = ready(name, PUBLIC[name], closed)
    takes_fields = any(one.name == "fields" for one in parameters)  # data, which is sent as it is
    for call in (
        lambda: function(*[HEX] * 30),
        lambda: function(TOKEN, **({} if takes_fields else {"nobody_takes_this": ODD})),
        lambda: function(**{one.name: HEX for one in parameters if one.name != "fields"}),
        lambda: function(*[JWT] * len(parameters)),
    ):
        assert not leaks(tried(call), *SECRETS)


def test_the_walk_finds_an_open_door(closed):
    "Without the decorator, each position and each form is found."

    def get(domo_instance, session_token=None):
        raise ValueError(len(str(domo_instance)))

    hidden = hides("session_token")(get)
    source = Path("open_door.py")
    source.write_text("def get(domo_instance, session_token=None):\n    raise ValueError()\n")
    space = {}
    exec(compile(source.read_text(), source.resolve(), "exec"), space)
    for form in ("odd", "token", "hex", "list", "dict", "keys"):
        for given in ((FORMS[form],), ("acme", FORMS[form])):
            assert leaks(tried(lambda: space["get"](*given)), *SECRETS), form
            closed_door = hides("session_token")(space["get"])
            assert not leaks(tried(lambda: closed_door(*given)), *SECRETS), form
    assert hidden.hidden == ("session_token",)


# What the user is told.


@pytest.mark.sampled(5)
@pytest.mark.parametrize("token", [TOKEN, HEX, UUID, JWT, ODD])
@pytest.mark.parametrize(
    "call",
    [
        lambda token: get_accounts(token, "acme"),
        lambda token: get_accounts(token),
        lambda token: get_accounts(domo_instance=token, session_token="acme"),
        lambda token: reports.accounts.generate(token, "acme"),
        lambda token: reports.accounts.generate(token),
        lambda token: get_session_token(token, "ada@example.com", "acme"),
        lambda token: find_instance(token),
    ],
)
def test_exchanged_arguments_are_refused_without_being_sent(call, token, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("it was looked up"))
    with pytest.raises(SettingsError) as caught:
        call(token)
    assert caught.value.reason in ("misplaced_secret", "bad_name")
    assert not leaks(told_by(caught.value, TOOLS), *SECRETS)


def test_other_exchanges_are_told_apart(closed):
    for call, reason in (
        (lambda: get_accounts(HEX, closed), "misplaced_secret"),
        (lambda: get_accounts("acme", closed), "misplaced_secret"),
        (lambda: datorama({HEX: "ada"}, instance=closed), "misplaced_secret"),
        (lambda: get_user_by_id(closed, AccessToken(TOKEN), HEX), "bad_id"),
        (lambda: get_user_by_id(closed, AccessToken(TOKEN), "a/../b"), "bad_id"),
        (lambda: ApiToken("ada", user=HEX), "misplaced_secret"),
    ):
        with pytest.raises(DomostatsError) as caught:
            call()
        assert caught.value.reason == reason and not leaks(told_by(caught.value, TOOLS), *SECRETS)


def test_the_password_in_the_place_of_the_user_is_not_shown(closed):
    session = Session(closed, ODD, "ada@example.com")
    assert not leaks(insides(session) + tried(session.ready), ODD)
    assert repr(Session(closed, "ada@example.com", ODD)) == "<session of ada@example.com at closed>"


def test_an_instance_with_a_name_like_a_token_is_known_by_its_address(closed):
    with pytest.raises(SettingsError):
        find_instance(HEX)
    Path("settings.ini").write_text(f"[domostats]\n[instance.{HEX}]\nurl = {closed.url}\n")
    assert find_instance(HEX).url == closed.url
    with pytest.raises(DomostatsError) as caught:
        get_accounts(HEX, TOKEN)
    assert caught.value.reason == "unreachable"


@pytest.mark.parametrize(
    "name",
    [
        "acme",
        "ACME",
        "acme-staging-2024",
        "a",
        "internationalbusinessmachines",
        "my-company-eu-1",
        "domo-community",
        "sales2024",
        "42",
        "acme-dev-20240401",
    ],
)
def test_names_that_people_give_are_names(name):
    assert find_instance(name).url == f"https://{name.lower()}.domo.com"


def test_a_bad_name_is_quoted_where_it_may_be():
    for name, quoted in (
        ("acme.domo.com", True),
        ("https://acme.domo.com", True),
        ("my_company", True),
        (ODD, False),
        (("acme", TOKEN), False),
        (b"acme", False),
    ):
        with pytest.raises(SettingsError) as caught:
            find_instance(name)
        assert (repr(name) in str(caught.value)) is quoted and caught.value.reason == "bad_name"


# The type itself.


@pytest.mark.parametrize("value", [ODD, TOKEN, "", "a", "\n", "ß\u0142", "{value}", "%s"])
def test_a_secret_shows_itself_nowhere(value):
    secret = Secret(value)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!s:>20}",
        f"{secret:^30}",
        f"{secret} {secret!r}",
        format(secret),
        f"{secret}",
        repr([secret]),
        repr({secret: secret}),
        repr((secret,)),
        repr(Secret(secret)),
        repr(copy.copy(secret)),
        repr(copy.deepcopy([secret])),
        ascii(secret),
    ]
    assert all("<secret>" in one for one in shown)
    assert len(value) < 5 or not leaks("".join(shown), value)
    for refusing in (pickle.dumps, json.dumps, msgspec.json.encode, vars, len, list):
        with pytest.raises(TypeError) as caught:
            refusing(secret)
        assert len(value) < 5 or not leaks(told_by(caught.value, TOOLS), value)


def test_a_secret_is_equal_to_its_like_alone():
    assert Secret(ODD) == Secret(ODD) == Secret(ODD.encode()) == Secret(SecretStr(ODD))
    assert Secret(Secret(ODD)) == Secret(ODD) != Secret(TOKEN)
    assert Secret(ODD) != ODD and hash(Secret(ODD)) == hash(Secret(ODD)) != hash(ODD)
    assert {Secret(ODD): 1}[Secret(ODD)] == 1 and not Secret("") and Secret("x")
    assert copy.deepcopy({"a": Secret(ODD)}) == {"a": Secret(ODD)}
    assert Secret(bytearray(b"abc")) == Secret("abc") == Secret(memoryview(b"abc"))


def test_what_is_taken_out_is_the_value_and_does_not_show_itself():
    taken = Secret(ODD).reveal()
    assert isinstance(taken, str) and taken == ODD and len(taken) == len(ODD)
    assert f"{taken}" == str(taken) == f"{taken}" == "".join([taken]) == ODD
    assert taken.encode() == ODD.encode() and json.loads(json.dumps(taken)) == ODD
    assert not leaks(f"{taken!r}{[taken]!r}{taken[2:]!r}{taken[:20]!r}", ODD)
    assert not leaks(pickle.dumps(taken), ODD) and copy.copy(taken) == ODD


@pytest.mark.parametrize(
    "call",
    [
        lambda: Instance("acme", f"https://ada:{HEX}@acme.example"),
        lambda: Instance(HEX, "ftp://acme.example"),
        lambda: reports.find(HEX),
    ],
)
def test_an_address_or_a_name_that_is_a_secret_is_not_shown(call):
    with pytest.raises(SettingsError) as error:
        call()
    frames = [
        repr(frame.f_locals)
        for frame, _ in traceback.walk_tb(error.value.__traceback__)
        if frame.f_code.co_filename != __file__
    ]
    assert frames and not any(HEX in text for text in [str(error.value), *frames])
