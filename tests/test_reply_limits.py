"""No reply takes more memory or more time than a call may have, whatever the service sends."""

import gzip
import re
import socket
import subprocess
import sys
import threading
import tracemalloc
import zlib
from contextlib import contextmanager, suppress

import pytest

from domostats.errors import DataError, DomostatsError, RetryLaterError, SettingsError
from domostats.instances import Instance
from domostats.transport.auth import NoAuth
from domostats.transport.clock import FakeClock
from domostats.transport.connection import Connection
from domostats.transport.retry import Request
from domostats.transport.writes import download

OK = b"HTTP/1.1 200 OK\r\n"


def whole_request(connection):
    "The bytes of one request with its body, however they come in; none where no more come."
    request = b""
    while b"\r\n\r\n" not in request or len(request) < size_of(request):
        more = connection.recv(65_536)
        if not more:
            return b""
        request += more
    return request


def size_of(request):
    "How many bytes a request has that tells the size of its body, or has none."
    head, _, _ = request.partition(b"\r\n\r\n")
    size = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    return len(head) + 4 + (int(size[1]) if size else 0)


@contextmanager
def served(say, after=None):
    """The address of a server that calls `say(connection, request)` for each request, a generator
    of bytes to send; `after` is called behind each piece."""
    listening = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def answer(connection):
        with connection:
            while not stop.is_set():
                request = whole_request(connection)
                if not request:
                    return
                for piece in say(request):
                    if stop.is_set():
                        return
                    connection.sendall(piece)
                    if after:
                        after()

    def quietly(connection):
        with suppress(OSError):
            answer(connection)

    def accept():
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=quietly, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        stop.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def whole(body, *headers):
    "A reply with this body."
    head = [b"Content-Length: %d" % len(body), *headers]
    return [OK + b"\r\n".join(head) + b"\r\n\r\n" + body]


def ask(url, clock=None, path="/x"):
    connection = Connection(Instance("acme", url), NoAuth())
    if clock is not None:
        connection.go_by(clock)
    try:
        return connection.get(path)
    finally:
        connection.http.close()


@pytest.fixture
def small(monkeypatch):
    "Replies of one megabyte and one minute, as the environment says."
    monkeypatch.setenv("DOMOSTATS_LARGEST_REPLY", "1")
    monkeypatch.setenv("DOMOSTATS_LONGEST_CALL", "60")


ZEROS = b"[" + b"0," * 1_500_000 + b"0]"


def deflated(body, width=zlib.MAX_WBITS):
    pack = zlib.compressobj(9, zlib.DEFLATED, width)
    return pack.compress(body) + pack.flush()


BOMBS = {
    "gzip": (gzip.compress(ZEROS), b"gzip"),
    "gzip in gzip": (gzip.compress(gzip.compress(ZEROS)), b"gzip, gzip"),
    "x-gzip": (gzip.compress(ZEROS), b"x-gzip"),
    "deflate": (deflated(ZEROS), b"deflate"),
    "deflate without a frame": (deflated(ZEROS, -zlib.MAX_WBITS), b"deflate"),
    "deflate in gzip": (gzip.compress(deflated(ZEROS)), b"deflate, gzip"),
    "many members": (gzip.compress(ZEROS[:400_000]) * 4, b"gzip"),
    "not packed": (ZEROS, b"identity"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_reply_that_grows_too_large_is_given_up(small, bomb):
    body, encoding = BOMBS[bomb]
    with served(lambda _: whole(body, b"Content-Encoding: " + encoding)) as url:
        with pytest.raises(DataError, match="largest_reply") as told:
            ask(url)
    assert told.value.reason == "too_large"


@pytest.mark.parametrize("bomb", BOMBS)
def test_the_same_packings_are_read_where_they_are_small_enough(bomb):
    body, encoding = BOMBS[bomb]
    expected = ZEROS[:400_000] * 4 if bomb == "many members" else ZEROS
    with served(lambda _: whole(body, b"Content-Encoding: " + encoding)) as url:
        connection = Connection(Instance("acme", url), NoAuth())
        answer = connection.ask(Request("GET", "/x", plain=True))
        connection.http.close()
    assert answer.content == expected


def test_the_memory_stays_bounded_when_a_bomb_arrives(small):
    bomb = gzip.compress(gzip.compress(bytes(100_000_000)))
    assert len(bomb) < 2000
    with served(lambda _: whole(bomb, b"Content-Encoding: gzip, gzip")) as url:
        tracemalloc.start()
        try:
            with pytest.raises(DataError) as told:
                ask(url)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert told.value.reason == "too_large" and peak < 12_000_000


ASK = """
import sys
from domostats.errors import DomostatsError
from domostats.instances import Instance
from domostats.transport.auth import NoAuth
from domostats.transport.connection import connect
try:
    print(len(connect(Instance("acme", sys.argv[1]), NoAuth()).get("/x").content))
except DomostatsError as e:
    print(e.reason)
with open("/proc/self/status") as status:  # its own peak: what `resource` tells is its parent's too
    print(next(int(line.split()[1]) // 1000 for line in status if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits of Linux")
def test_the_limits_hold_where_nobody_has_set_them():
    "Half a gigabyte in a few bytes: a process of its own holds no more than a reply may have."
    once = gzip.compress(bytes(600_000_000), 1)
    bomb = gzip.compress(once)
    with served(lambda _: whole(bomb, b"Content-Encoding: gzip, gzip")) as url:
        said = subprocess.run(
            [sys.executable, "-c", ASK, url],
            capture_output=True,
            text=True,
            timeout=120,
        )
    reason, peak = said.stdout.split() or ("", 0)
    assert reason == "too_large" and int(peak) < 900, said.stderr[-500:]


def endless(first, piece):
    def say(_):
        yield first
        while True:
            yield piece

    return say


ENDLESS = {
    "chunks": endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"400\r\n" + b"1" * 1024 + b"\r\n"
    ),
    "no length": endless(OK + b"\r\n", b"1" * 1024),
    "one chunk header": endless(OK + b"Transfer-Encoding: chunked\r\n\r\n5", b";" * 1024),
    "trailers": endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"x: " + b"y" * 1000 + b"\r\n"
    ),
    "continue": endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "headers": endless(OK, b"x: y\r\n"),
    "long headers": endless(OK, b"x: " + b"y" * 60_000 + b"\r\n"),
    "one header": endless(OK + b"x: ", b"y" * 1000),
    "status line": endless(b"HTTP/1.1 200 ", b"y" * 1000),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize("kind", ENDLESS)
def test_what_never_ends_is_given_up(small, kind):
    with served(ENDLESS[kind]) as url, pytest.raises(DomostatsError) as told:
        ask(url)
    allowed = ("too_large", "cut") if kind == "one chunk header" else ("too_large",)
    assert told.value.reason in allowed  # some versions of urllib3 read no such header at all


@pytest.mark.parametrize("length", [b"4000000", b"9" * 30])
def test_a_length_that_is_too_large_is_not_waited_for(small, length):
    with served(lambda _: [OK + b"Content-Length: " + length + b"\r\n\r\n["]) as url:
        with pytest.raises(DataError) as told:
            ask(url)
    assert told.value.reason == "too_large"


@pytest.mark.parametrize("status", [b"500 Oops", b"302 Found", b"404 Gone", b"429 Slow"])
@pytest.mark.parametrize("bomb", ["gzip in gzip", "not packed"])
def test_every_other_reply_has_the_same_limits(small, status, bomb):
    body, encoding = BOMBS[bomb]
    head = b"HTTP/1.1 " + status + b"\r\nLocation: /y\r\nContent-Encoding: " + encoding
    page = head + b"\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with served(lambda _: [page]) as url, pytest.raises(DataError) as told:
        ask(url)
    assert told.value.reason == "too_large"


SLOW = {
    "status line": (b"", b"H"),
    "headers": (OK, b"x"),
    "body": (OK + b"Content-Length: 100000\r\n\r\n", b"["),
    "chunk header": (OK + b"Transfer-Encoding: chunked\r\n\r\n1", b"0"),
    "chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\nfff\r\n", b"0"),
    "continue": (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("place", SLOW)
def test_a_byte_now_and_then_is_not_waited_for_for_ever(place):
    "The clock goes on by ten minutes with each piece; the call may take a quarter of an hour."
    clock = FakeClock()
    first, piece = SLOW[place]
    with served(endless(first, piece), after=lambda: clock.wait(600)) as url:
        with pytest.raises(RetryLaterError, match="longest_call") as told:
            ask(url, clock)
    assert told.value.reason == "too_slow"


def test_a_slow_reply_is_asked_for_once_only():
    clock, asked = FakeClock(), []

    def say(request):
        asked.append(request)
        yield from endless(OK + b"Content-Length: 100000\r\n\r\n", b"[")(request)

    with served(say, after=lambda: clock.wait(600)) as url, pytest.raises(RetryLaterError):
        ask(url, clock)
    assert len(asked) == 1


def test_a_reply_within_its_time_is_read_and_its_connection_used_again():
    clock = FakeClock()
    with served(lambda _: whole(b'{"id": 1}'), after=lambda: clock.wait(400)) as url:
        connection = Connection(Instance("acme", url), NoAuth())
        connection.go_by(clock)
        found = [connection.get("/x").response for _ in range(5)]
        connection.http.close()
    assert found == [{"id": 1}] * 5


@pytest.mark.parametrize("encoding", [b"br", b"zstd", b"gzip, br", b"gzip," * 5 + b"gzip", b"?"])
def test_what_was_not_asked_for_is_not_unpacked(encoding):
    asked = []

    def say(request):
        asked.append(request)
        return whole(b"[1]", b"Content-Encoding: " + encoding)

    with served(say) as url, pytest.raises(DomostatsError) as told:
        ask(url)
    assert told.value.reason == "cut"
    assert b"Accept-Encoding: gzip, deflate\r\n" in asked[0]


def test_a_packed_body_that_breaks_off_is_no_reply():
    body = gzip.compress(b'[{"id": 1}]')[:-12]
    with served(lambda _: whole(body, b"Content-Encoding: gzip")) as url:
        with pytest.raises(DomostatsError) as told:
            ask(url)
    assert told.value.reason in ("cut", "truncated", "empty")


def test_redirects_are_not_followed_at_all():
    asked = []

    def say(request):
        asked.append(request)
        return [b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"]

    with served(say) as url, pytest.raises(DomostatsError) as told:
        ask(url)
    assert told.value.reason == "redirected" and len(asked) == 1


def test_a_file_may_be_larger_than_a_page_but_not_endless(small, tmp_path):
    page = bytes(1_000_000)
    with served(lambda _: whole(page * 3)) as url:
        connection = Connection(Instance("acme", url), NoAuth())
        path = download(connection, Request("GET", "/x"), tmp_path / "a")
        connection.http.close()
    assert path.stat().st_size == 3_000_000
    with served(endless(OK + b"\r\n", page)) as url:
        connection = Connection(Instance("acme", url), NoAuth())
        with pytest.raises(DataError) as told:
            download(connection, Request("GET", "/x"), tmp_path / "b")
        connection.http.close()
    assert told.value.reason == "too_large"
    assert [one.name for one in tmp_path.glob("[!Xw]*")] == ["a"]


@pytest.mark.parametrize(
    "place", ["the environment", "the section of the instance", "the section for all"]
)
def test_the_limits_are_settings(monkeypatch, tmp_path, place):
    if place == "the environment":
        monkeypatch.setenv("DOMOSTATS_LARGEST_REPLY", "3")
        monkeypatch.setenv("DOMOSTATS_LONGEST_CALL", "20")
    else:
        section = "instance.acme" if "instance" in place else "domostats"
        with open("settings.ini", "w") as file:
            file.write(f"[{section}]\nlargest_reply = 3\nlongest_call = 20\n")
    connection = Connection(Instance("acme", "http://127.0.0.1:1"), NoAuth())
    assert (connection.limits.size, connection.limits.seconds) == (3_000_000, 20)
    assert connection.limits.for_file() == (75_000_000, 500)


def test_the_limits_where_nothing_is_said_and_which_saying_counts(monkeypatch):
    acme = Instance("acme", "http://127.0.0.1:1")
    found = [Connection(acme, NoAuth()).limits]
    for text in (
        "[domostats]\nlargest_reply = 4\n",
        "[domostats]\nlargest_reply = 4\n[instance.acme]\nlargest_reply = 5\nlongest_call = 7\n",
        "[domostats]\nlongest_call = 8\n[instance.other]\nlargest_reply = 5\n",
    ):
        with open("settings.ini", "w") as file:
            file.write(text)
        found.append(Connection(acme, NoAuth()).limits)
    monkeypatch.setenv("DOMOSTATS_LONGEST_CALL", "9")
    found.append(Connection(acme, NoAuth()).limits)
    assert found == [
        (200_000_000, 900),
        (4_000_000, 900),
        (5_000_000, 7),
        (200_000_000, 8),
        (200_000_000, 9),
    ]


@pytest.mark.parametrize("size, is_read", [(1_000_000, True), (1_000_001, False)])
@pytest.mark.parametrize("how", ["length", "chunked", "gzip"])
def test_a_reply_may_be_as_large_as_is_said_and_not_a_byte_larger(small, size, is_read, how):
    body = b"[" + b" " * (size - 2) + b"]"
    reply = whole(body)
    if how == "gzip":
        reply = whole(gzip.compress(body), b"Content-Encoding: gzip")
    if how == "chunked":
        chunk = b"%x\r\n" % size + body + b"\r\n0\r\n\r\n"
        reply = [OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk]
    with served(lambda _: reply) as url:
        if is_read:
            assert ask(url).size == size
        else:
            with pytest.raises(DataError) as told:
                ask(url)
            assert told.value.reason == "too_large"


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
@pytest.mark.parametrize("name", ["LARGEST_REPLY", "LONGEST_CALL"])
def test_a_limit_is_a_whole_number(monkeypatch, name, value):
    monkeypatch.setenv(f"DOMOSTATS_{name}", value)
    with pytest.raises(SettingsError, match=f"DOMOSTATS_{name}") as told:
        Connection(Instance("acme", "http://127.0.0.1:1"), NoAuth())
    assert told.value.reason == "bad_limit"


def test_the_pages_before_are_kept(monkeypatch):
    "A list whose last page is too large is taken up again at that page."
    from domostats.transport.offset import Offset
    from domostats.transport.reader import Reader
    from domostats.transport.spooled_runs import spooled

    asked = []
    is_good = threading.Event()

    def say(request):
        offset = int(request.split(b"offset=")[1].split(b" ")[0].split(b"&")[0])
        asked.append(offset)
        if offset == 40 and not is_good.is_set():
            return whole(b"[" + b" " * 2_000_000 + b"]")
        rows = [b'{"id": %d}' % n for n in range(offset, min(offset + 2, 42))]
        return whole(b"[" + b",".join(rows) + b"]")

    monkeypatch.setenv("DOMOSTATS_LARGEST_REPLY", "1")
    listing = Offset("/x", key="id", size=2)
    with served(say) as url:
        connection = Connection(Instance("acme", url), NoAuth(), user="1")
        with pytest.raises(DataError) as told, spooled(connection.place, "list") as spool:
            list(listing.pages(Reader(connection, spool, in_flight=1)))
        assert told.value.reason == "too_large" and asked == [*range(0, 41, 2)]
        is_good.set()
        asked.clear()
        with spooled(connection.place, "list") as spool:
            pages = list(listing.pages(Reader(connection, spool, in_flight=1)))
            assert spool.is_resumed
        connection.http.close()
    assert sum(page.rows for page in pages) == 42
    assert sum(offset < 40 for offset in asked) < 6  # some of the kept pages are looked at again
