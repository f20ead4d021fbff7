"""The registry's service as others meet it: its description, its keys, its log, its limits."""

import contextlib
import json
import logging
import re
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest
import requests
from conftest import ROOT

from domostats import __version__
from domostats.errors import DestinationError, DomostatsError, RetryLaterError
from domostats.secrets import Secret
from domostats.tracking.registry.api import make_observatory_api
from domostats.tracking.registry.api_keys import ApiKey, parse_keys, read_key_file
from domostats.tracking.registry.client import RegistryClient
from domostats.tracking.registry.database import Database
from domostats.tracking.registry.entities import Organisation
from domostats.tracking.registry.service import describe_call, make_service, serving

KINDS = [  # of things, as the reference lists them
    *("organisation", "workflow_type", "workflow", "table_type", "dataset_type", "dataset"),
    *("dataset_release", "dataset_place", "licence", "retention", "export_decision"),
]
WRITER, READER = "Zq3vX0u1r8sT2wY5", "mB7nC4kL9pA6sD1f"
NAMED = [ApiKey("night-job", Secret(WRITER), True), ApiKey("dashboard", Secret(READER))]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    "A registry that is served: its address, and the database behind it."
    database = Database(tmp_path_factory.mktemp("served") / "registry.sqlite")
    with serving(make_service(database, "writers", "readers", NAMED)) as address:
        yield address, database


@contextmanager
def log_lines():
    "The lines that the service logs meanwhile, as (level, line)."
    lines = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append((record.levelname, record.getMessage()))
    logger = logging.getLogger("domostats.registry")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


def wait_for(lines, number):
    "Wait until the log has so many lines: an answer is there before its line."
    for _ in range(2000):
        if len(lines) >= number:
            return lines
        time.sleep(0.005)
    raise AssertionError(f"{len(lines)} lines, not {number}: {lines}")


def call(address, method, path, body=None, key="writers", **headers):
    given = {"X-API-Key": key} if key is not None else {}
    return requests.request(method, address + path, data=body, headers=given | headers, timeout=30)


# the description


def test_its_description_is_valid_and_tells_every_operation(served):
    from openapi_spec_validator import validate

    told = requests.get(f"{served[0]}/openapi.json", timeout=30).json()
    validate(told)
    assert told["info"]["version"] == __version__ and told["openapi"].startswith("3.1")
    described = {
        (method.upper(), path): one
        for path, methods in told["paths"].items()
        for method, one in methods.items()
    }
    wanted = {
        *((method, f"/v1/{kind}") for kind in KINDS for method in ("GET", "POST", "PUT", "DELETE")),
        *(("GET", f"/v1/{kind}s") for kind in KINDS),
        *(
            ("POST", f"/v1/dataset_releases/{what}")
            for what in ("register", "claim", "settle", "missing")
        ),
        ("GET", "/health"),
    }
    assert {*described} == wanted
    names = [one["operationId"] for one in described.values()]
    assert len({*names}) == len(names) and "post_dataset_releases_claim" in names
    for (method, path), one in described.items():
        if path == "/health":
            assert not one.get("security")
            continue
        assert one["security"] == [{"key": []}, {"key_in_query": []}]
        assert {"400", "401", "403", "404", "409", "503"} <= {*one["responses"]}
        has_body = method in ("POST", "PUT")
        assert ("requestBody" in one) == has_body == ("413" in one["responses"]), (method, path)
    listed = described["GET", "/v1/dataset_releases"]
    assert "X-Next" in listed["responses"]["200"]["headers"]
    filters = {one["name"]: one["schema"] for one in listed["parameters"]}
    assert {"limit", "after", "state", "snapshot_date", "row_count", "dataset_id"} <= {*filters}
    assert "extra" not in filters and "array" in json.dumps(filters["state"])


def test_its_description_leads_to_no_other_host(served):
    for path in ("/openapi.json", "/", "/schema", "/docs", "/openapi.json/nothing"):
        text = requests.get(served[0] + path, timeout=30).text
        assert not re.findall(r"https?://[^\s\"']+", text), path


# what is no right call


@pytest.mark.sampled(4)
@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_question_is_refused_by_every_list(served, kind):
    for query in (
        *("limit=0", "limit=10001", "limit=x", "limit=1&limit=2", "after=x", "odd=1"),
        *("created=soon", "created=2024-03-01T10:00:00x", "id=x", "id=1.5", f"id={2**63}"),
        *("id=%ff", "limit=5&odd=%00", "created=%C3%28", "id=1e400"),
    ):
        reply = call(served[0], "GET", f"/v1/{kind}s?{query}")
        assert reply.status_code == 400, (query, reply.text)
        assert {*reply.json()} == {"reason", "message"}, query
    good = "limit=5&id=1&id=2&created=2024-03-01&modified=2024-03-01T10:00:00%2B13:00"
    assert call(served[0], "GET", f"/v1/{kind}s?{good}").status_code == 200


def test_a_bad_body_is_refused_and_said_why(served):
    expected = {
        b"": "no body",
        b"{": "truncated",
        b"[]": "array",
        b"null": "null",
        b'{"name": "\xff"}': "not UTF-8",
        b"\xff\xfe": "",
        b"[" * 200_000: "nested",
        b'{"name": ' + b"[" * 200_000: "nested",
        b'{"name": 7}': "name",
        b'{"name": ""}': "name",
        b'{"name": "%s"}' % (b"x" * 251): "name",
        b'{"name": "a", "colour": 1}': "colour",
        b'{"created": "2024-01-01T10:00:00"}': "zone",
        b'{"id": 1e30}': "id",
        b'{"id": 9223372036854775808}': "id",
    }
    for body, word in expected.items():
        for method in ("POST", "PUT"):
            reply = call(served[0], method, "/v1/organisation", body)
            assert reply.status_code == 400, (body[:40], reply.text)
            assert word in reply.json()["message"], (body[:40], reply.text)
    assert call(served[0], "GET", "/v1/organisations").json() == []


def test_what_there_is_not_is_told_in_the_same_form(served):
    for method, path, status in [
        ("GET", "/v1/nothing", 404),
        ("GET", "/nothing", 404),
        ("GET", "/v1/organisations/", 404),
        ("PATCH", "/v1/dataset", 405),
        ("DELETE", "/v1/datasets?id=1", 405),
    ]:
        reply = call(served[0], method, path)
        assert (reply.status_code, reply.json()["reason"]) == (status, "no_operation"), path
    assert "PUT" in call(served[0], "PATCH", "/v1/dataset").headers["Allow"]
    assert call(served[0], "HEAD", "/v1/datasets").status_code == 405


@pytest.mark.parametrize("path", [f"/v1/{kind}" for kind in KINDS] + ["/v1/datasets"])
def test_what_a_path_has_is_told_to_who_has_a_key(served, path):
    for key in ("writers", "readers"):
        reply = call(served[0], "OPTIONS", path, key=key)
        assert reply.status_code == 204 and "GET" in reply.headers["Allow"]
    assert call(served[0], "OPTIONS", path, key=None).status_code == 401
    assert call(served[0], "OPTIONS", f"{path}?odd=1").status_code == 400


def test_a_question_without_what_it_needs_is_a_bad_question(served):
    reply = call(served[0], "DELETE", "/v1/dataset")
    assert (reply.status_code, reply.json()["reason"]) == (400, "bad_question")
    assert "'id'" in reply.json()["message"] and "body" not in reply.json()["message"]


def test_a_file_that_is_damaged_while_it_is_served_is_our_trouble_not_the_callers(tmp_path):
    path = tmp_path / "registry.sqlite"
    database = Database(path)
    with serving(make_service(database, "writers")) as address:
        path.write_bytes(b"no database at all" * 1000)
        for method, body in (("GET", None), ("POST", b'{"name": "a"}')):
            reply = call(address, method, f"/v1/organisation{'s' if not body else ''}", body)
            assert (reply.status_code, reply.json()["reason"]) == (503, "no_registry"), reply.text
        assert requests.get(f"{address}/health", timeout=30).status_code == 503


def test_a_body_that_is_too_large_is_refused_as_soon_as_that_is_known(served):
    address = urlsplit(served[0])
    head = (
        "POST /v1/organisation HTTP/1.1\r\nHost: registry\r\nX-API-Key: writers\r\n"
        "Content-Type: application/json\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=20) as raw:
        raw.sendall(f"{head}Content-Length: 20000001\r\n\r\n".encode())  # and none of it
        assert b" 413 " in raw.recv(65536).split(b"\r\n")[0]

    def pieces():
        for _ in range(21):
            yield b" " * 1_000_000

    reply = call(served[0], "POST", "/v1/organisation", pieces())
    assert (reply.status_code, reply.json()["reason"]) == (413, "too_large")


def test_a_failure_of_ours_is_told_without_its_words(tmp_path, monkeypatch):
    database = Database(tmp_path / "registry.sqlite")

    def broken(*_, **__):
        raise ZeroDivisionError("hush-hush")

    monkeypatch.setattr(database, "get", broken)
    with serving(make_service(database, "writers")) as address, log_lines() as lines:
        reply = call(address, "GET", "/v1/organisation?id=1")
        assert reply.status_code == 500 and "hush" not in reply.text
        assert reply.json()["reason"] == "server_error"
        assert [level for level, _ in wait_for(lines, 2)] == ["ERROR", "ERROR"]


# keys


def test_the_key_is_looked_at_before_the_body_is_read(served):
    address = urlsplit(served[0])
    for key, status in (("guessed", b" 401 "), ("readers", b" 403 "), (READER, b" 403 ")):
        with socket.create_connection((address.hostname, address.port), timeout=20) as raw:
            head = f"POST /v1/organisation HTTP/1.1\r\nHost: registry\r\nX-API-Key: {key}\r\n"
            raw.sendall(f"{head}Content-Length: 1000000\r\n\r\n".encode())  # and none of it
            assert status in raw.recv(65536).split(b"\r\n")[0]


def test_each_client_has_its_own_key_and_the_two_shared_ones_work(served):
    press = call(served[0], "POST", "/v1/organisation", b'{"name": "keys"}', WRITER).json()["id"]
    for key in ("writers", "readers", WRITER, READER):
        reply = call(served[0], "GET", f"/v1/organisation?id={press}", key=key)
        assert reply.status_code == 200
        assert call(served[0], "GET", f"/v1/organisations?key={key}", key=None).status_code == 200
    for key in ("readers", READER):
        assert call(served[0], "DELETE", "/v1/organisation?id=1", key=key).status_code == 403
    for key in ("", "None", WRITER[:-1], WRITER + "x", WRITER.lower(), "night-job"):
        assert call(served[0], "GET", "/v1/organisations", key=key).status_code == 401
    assert call(served[0], "DELETE", f"/v1/organisation?id={press}").status_code == 200


def test_a_file_of_keys_is_for_one_user_and_its_faults_show_no_key(tmp_path):
    path = tmp_path / "keys"

    def refusal(text, mode=0o600):
        path.write_bytes(text)
        path.chmod(mode)
        with pytest.raises(DomostatsError) as caught:
            read_key_file(path)
        assert WRITER not in str(caught.value)
        return caught.value.reason

    good = f"# who\n\nnight-job\twrite   {WRITER}\r\n dashboard read {READER}\n".encode()
    path.write_bytes(good)
    path.chmod(0o600)
    found = [(one.name, one.may_write, one.key.reveal()) for one in read_key_file(path)]
    assert found == [("night-job", True, WRITER), ("dashboard", False, READER)]
    assert refusal(good, 0o640) == refusal(good, 0o604) == "open_keys"
    for bad in (
        f"night job write {WRITER}",
        f"night-job admin {WRITER}",
        f"write {WRITER}",
        WRITER,
        "night-job write short",
        f"a read {WRITER}\nb write {WRITER}",
        f"night\x1bjob write {WRITER}",
        f"night-job write {WRITER}é",
    ):
        assert refusal(bad.encode()) == "bad_keys", bad
    assert refusal(b"night-job write \xff" + WRITER.encode()) == "bad_keys"
    path.unlink()
    with pytest.raises(DomostatsError) as caught:
        read_key_file(path)
    assert caught.value.reason == "no_keys"


def test_a_key_in_a_remark_is_no_key(tmp_path):
    path = tmp_path / "keys"
    path.write_text(f"# taken back; dashboard read {READER}\nnight-job write {WRITER}\n")
    path.chmod(0o600)
    assert [one.name for one in read_key_file(path)] == ["night-job"]
    listed = parse_keys(f"night-job write {WRITER} ; # taken back; dashboard read {READER}")
    assert [one.name for one in listed] == ["night-job"]
    with pytest.raises(DomostatsError, match="entry 3"):
        parse_keys("# one; two\n# three\nwrong")


# the log


def test_the_log_says_who_did_what_and_holds_no_key(served):
    address, _ = served
    with log_lines() as lines:
        made = call(address, "POST", "/v1/organisation", b'{"name": "in the log"}', WRITER)
        number = made.json()["id"]
        call(address, "GET", f"/v1/organisations?name=a%0Ab&limit=3&key={READER}", key=None)
        call(address, "DELETE", f"/v1/organisation?id={number}", key=READER)
        call(address, "DELETE", f"/v1/organisation?id={number}", key="guessed-guessed-1")
        call(address, "GET", f"/v1/organisations?wrong={WRITER}", key=WRITER)
        call(address, "GET", f"/v1/organisations?key={WRITER}x", key=None)
        call(address, "DELETE", f"/v1/organisation?id={number}")
        call(address, "GET", "/nothing%0A%1b[31m")
        wait_for(lines, 8)
    told = [(level, re.sub(r" [\d.]+ ms$", "", line)) for level, line in lines]
    assert told == [
        ("INFO", "night-job 127.0.0.1 POST /v1/organisation 201"),
        ("INFO", "dashboard 127.0.0.1 GET /v1/organisations?name=a%0Ab&limit=3 200"),
        ("WARNING", "dashboard 127.0.0.1 DELETE /v1/organisation 403 read_only_key"),
        ("WARNING", "- 127.0.0.1 DELETE /v1/organisation 401 no_key"),
        ("INFO", "night-job 127.0.0.1 GET /v1/organisations 400 bad_question"),
        ("WARNING", "- 127.0.0.1 GET /v1/organisations 401 no_key"),
        ("INFO", f"writer 127.0.0.1 DELETE /v1/organisation?id={number} 200"),
        ("INFO", "- 127.0.0.1 GET /nothing%0A%1B%5B31m 404 no_operation"),
    ]


def test_a_query_that_a_server_leaves_in_the_path_is_not_logged():
    scope = {"method": "GET", "path": "/v1/datasets", "client": ("10.0.0.7", 4711)}
    scope["raw_path"] = f"/v1/datasets?key={WRITER}".encode()
    assert describe_call(scope, 401, 0.001) == "- 10.0.0.7 GET /v1/datasets 401 1.0 ms"


@pytest.mark.parametrize("said", ["6.6.6.6 DELETE /v1/dataset 200", "\x1b[31mred", "é", "x" * 999])
def test_who_calls_cannot_write_the_log(served, said):
    with log_lines() as lines:
        headers = {"X-Forwarded-For": said.encode("latin-1")}
        call(served[0], "GET", "/v1/organisations?limit=1", **headers)
        line = wait_for(lines, 1)[0][1]
    form = r"writer [!-~]{1,64} GET /v1/organisations\?limit=1 200 [\d.]+ ms"
    assert re.fullmatch(form, line), line


@pytest.mark.slow
def test_the_command_takes_a_file_of_keys_and_writes_a_log(tmp_path, monkeypatch):
    keys = tmp_path / "registry.keys"
    keys.write_text(f"night-job write {WRITER}\n")
    keys.chmod(0o600)
    monkeypatch.delenv("DOMOSTATS_REGISTRY_KEY", raising=False)
    monkeypatch.setenv("DOMOSTATS_REGISTRY_KEYS", f"dashboard read {READER}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    words = ["--registry", f"sqlite:///{tmp_path / 'r.sqlite'}", "--keys", str(keys)]
    server = subprocess.Popen(
        [sys.executable, "-m", "domostats", "registry", "serve", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        address = server.stdout.readline().split(" at ")[1].split(",")[0]
        api = make_observatory_api(address, WRITER)
        press = api.post_organisation(Organisation(name="The Press"))
        assert make_observatory_api(address, READER).get_organisation(press.id) == press
    finally:
        server.terminate()
        _, log = server.communicate(timeout=20)
    lines = log.splitlines()
    form = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ INFO %s 127\.0\.0\.1 %s \d+\.\d ms"
    assert re.fullmatch(form % ("night-job", "POST /v1/organisation 201"), lines[0]), log
    assert re.fullmatch(form % ("dashboard", r"GET /v1/organisation\?id=1 200"), lines[1]), log
    assert WRITER not in log and READER not in log


# health, and readers beside writers


def test_health_needs_no_key_and_says_nothing_of_where_the_database_is(served, monkeypatch):
    address, database = served
    with log_lines() as lines:
        reply = requests.get(f"{address}/health", timeout=30)
        wait_for(lines, 1)
    assert (reply.status_code, reply.json()) == (200, {"status": "ok", "version": __version__})

    @contextmanager
    def down():
        raise DestinationError(f"{database!r} refuses", "no_registry")
        yield

    monkeypatch.setattr(database, "reading", down)
    with log_lines() as lines:
        reply = requests.get(f"{address}/health", timeout=30)
        wait_for(lines, 2)
    assert reply.status_code == 503 and "sqlite" not in reply.text
    assert [level for level, _ in lines] == ["ERROR", "ERROR"] and "sqlite" in lines[0][1]


class Counting:
    "An application that counts the calls that have come in, by their method."

    def __init__(self, app):
        self.app = app
        self.puts = 0

    async def __call__(self, scope, receive, send):
        self.puts += scope["method"] == "PUT"
        await self.app(scope, receive, send)


def test_a_new_thing_is_never_put_for_a_put_is_sent_again(tmp_path):
    "A decision about a release may be there twice, so one that is sent twice is not noticed."
    database = Database(tmp_path / "registry.sqlite")
    counting = Counting(make_service(database, "writers"))
    with serving(counting) as address:
        client = RegistryClient(address, "writers")
        press = client.put("organisation", Organisation(name="The Press"))
        assert counting.puts == 0 and database.get("organisation", id=press.id) == press
        client.put("organisation", Organisation(id=press.id, name="The Library"))
        assert counting.puts == 1


@pytest.mark.parametrize("change", ["taken away", "of the future"])
def test_health_is_that_of_the_registry_and_not_of_any_database(tmp_path, change):
    path = tmp_path / "registry.sqlite"
    with serving(make_service(Database(path), "writers")) as address:
        with log_lines() as lines:
            assert requests.get(f"{address}/health", timeout=30).status_code == 200
            wait_for(lines, 1)
        if change == "taken away":
            for one in tmp_path.glob("registry.sqlite*"):
                one.unlink()
        else:
            with contextlib.closing(sqlite3.connect(path)) as con, con:
                con.execute("UPDATE registry_revision SET version_num = '0099'")
        with log_lines() as lines:
            reply = requests.get(f"{address}/health", timeout=30)
            assert (reply.status_code, reply.json()["reason"]) == (503, "no_registry")
            assert str(tmp_path) not in reply.text
            assert "is not the registry" in wait_for(lines, 2)[0][1]


def test_a_reader_does_not_wait_for_48_writers(tmp_path):
    path = tmp_path / "registry.sqlite"
    database = Database(path)
    press = database.post("organisation", Organisation(name="The Press"))
    counting = Counting(make_service(database, "writers", "readers"))
    done = []

    def write(n):
        body = json.dumps({"id": press.id, "name": f"name {n}"})
        done.append(call(address, "PUT", "/v1/organisation", body).status_code)

    with serving(counting) as address, ExitStack() as stack:
        held = stack.enter_context(contextlib.closing(sqlite3.connect(path, isolation_level=None)))
        held.execute("BEGIN IMMEDIATE")  # nobody else writes until this ends
        writers = [threading.Thread(target=write, args=(n,)) for n in range(48)]
        for writer in writers:
            writer.start()
        for _ in range(4000):
            if counting.puts == 48:
                break
            time.sleep(0.005)
        assert counting.puts == 48
        for _ in range(5):
            begun = time.perf_counter()
            reply = call(address, "GET", f"/v1/organisation?id={press.id}", key="readers")
            assert reply.json()["name"] == "The Press"
            assert requests.get(f"{address}/health", timeout=10).status_code == 200
            assert time.perf_counter() - begun < 10
        assert done == []  # all of them wait
        held.execute("COMMIT")
        for writer in writers:
            writer.join(timeout=60)
        assert done == [200] * 48


def test_small_answers_are_not_put_off(served):
    "Of the calls on one connection all but the first would take 40 ms longer; many are quick."
    with requests.Session() as session:
        session.headers["X-API-Key"] = "readers"
        taken = []
        for _ in range(60):
            begun = time.perf_counter()
            session.get(f"{served[0]}/v1/organisations", timeout=30)
            taken.append(time.perf_counter() - begun)
    assert sorted(taken)[len(taken) // 4] < 0.03  # a busy machine makes some slow, too


# the client behind a server with a certificate, and while the service starts again


@contextmanager
def answering(replies):
    "A client of a server that gives these (status, body), the last for ever; and the calls made."
    calls = []

    class Front(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = replies[min(len(calls), len(replies) - 1)]
            calls.append((self.command, self.path))
            if status is None:  # it goes away without a word
                self.close_connection = True
                return
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = answer

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield make_observatory_api(f"http://127.0.0.1:{server.server_port}", "writers"), calls
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_server_in_front_of_one_that_starts_means_try_again(status):
    with answering([(status, b"<html>gone for a moment</html>")]) as (api, calls):
        with pytest.raises(RetryLaterError) as caught:
            api.post_organisation(Organisation(name="a"))
        assert caught.value.reason == "unreachable" and str(status) in str(caught.value)
        assert len(calls) == 1  # what may have been done is not done again


def test_a_question_is_asked_again_while_the_service_starts():
    found = b'{"id": 1, "name": "a"}'
    with answering([(502, b"<html>"), (200, found)]) as (api, calls):
        assert api.get_organisation(1).name == "a"
        assert len(calls) == 2


def test_a_new_thing_is_never_sent_twice():
    "The service may have stored it before it went away without an answer."
    for store in ("post_organisation", "put_organisation"):
        with answering([(None, b""), (201, b'{"id": 1}')]) as (api, calls):
            with pytest.raises(RetryLaterError):
                getattr(api, store)(Organisation(name="a"))
            assert [method for method, _ in calls] == ["POST"]


@pytest.mark.parametrize("body", [b'{"id": 1}', b"null", b"7", b'"text"'])
def test_a_list_that_is_none_is_no_answer_of_a_registry(body):
    with answering([(200, body)]) as (api, _):
        with pytest.raises(DomostatsError) as caught:
            [*api.get_organisations()]
        assert caught.value.reason == "not_a_registry"


@pytest.mark.parametrize("key", ["kürzel-that-is-long", "two words", "line\nbreak"])
def test_a_key_that_no_client_can_send_is_not_served(tmp_path, key):
    for given in ((key, None), ("writers", key)):
        with pytest.raises(DomostatsError) as caught:
            make_service(Database(tmp_path / "registry.sqlite"), *given)
        assert caught.value.reason == "bad_keys" and key not in str(caught.value)
