"""The lesson on pages: wrong answers of many kinds are told in the right words, and right ones pass
whatever way they go."""

import json
import linecache
import time
from pathlib import Path

import pytest

from domostats.lessons import pages
from domostats.lessons.pages_data import right, service

pytest.importorskip("nbformat", reason="lessons need the notebook tools, Python 3.11 on")


def keyed(fetch, key, limit=100, step=len, ends=lambda page, new: not new, keep=lambda row: True):
    "All rows, with a step, an end and a choice that can be wrong."
    rows, offset = {}, 0
    while True:
        page = fetch(offset, limit)
        new = {row[key]: row for row in page if row[key] not in rows and keep(row)}
        rows.update(new)
        offset += step(page)
        if ends(page, new):
            return list(rows.values())


def stops_at_short(fetch, key, limit=100):
    return keyed(fetch, key, limit, ends=lambda page, new: len(page) < limit)


def keeps_doubles(fetch, key, limit=100):
    rows, offset = [], 0
    while page := fetch(offset, limit):
        if page == rows[-len(page) :]:
            return rows
        rows += page
        offset += len(page)
    return rows


def until_empty(fetch, key, limit=100):
    rows, offset = [], 0
    while page := fetch(offset, limit):
        rows += page
        offset += len(page)
    return rows


def remembers(fetch, key, limit=100, rows=[]):  # noqa: B006
    known = {row[key] for row in rows}
    offset = 0
    while True:
        page = [row for row in fetch(offset, limit) if row[key] not in known]
        if not page:
            return rows
        rows.extend(page)
        known |= {row[key] for row in page}
        offset += len(page)


def generator(fetch, key, limit=100):
    yield from keyed(fetch, key, limit)


def one_page(fetch, key, limit=100):
    return fetch(0, limit)


def with_a_set(fetch, key, limit=100):
    rows, seen, offset = [], set(), 0
    while True:
        page = fetch(offset, limit)
        new = [row for row in page if row[key] not in seen]
        if not new:
            return rows
        rows.extend(new)
        seen.update(row[key] for row in new)
        offset += len(page)


def recursive(fetch, key, limit=100, offset=0, known=()):
    page = fetch(offset, limit)
    new = [row for row in page if row[key] not in {one[key] for one in known}]
    if not new:
        return list(known)
    return recursive(fetch, key, limit, offset + len(page), (*known, *new))


def in_a_for(fetch, key, limit=100):
    rows, offset = {}, 0
    for _ in range(1000):
        before = len(rows)
        page = fetch(offset, limit)
        for row in page:
            rows.setdefault(row[key], row)
        if len(rows) == before:
            break
        offset += len(page)
    return [*rows.values()]


class TooLong(pages.ListError): ...


class Incomplete(pages.ListError): ...


class Stranger(Exception): ...


def whole(rows, total):
    if total > pages.CAP:
        raise TooLong(f"{len(rows)} of {total}")
    if len(rows) != total:
        raise Incomplete(f"{len(rows)} of {total}")
    return rows


def gives_false(rows, total):
    return rows if len(rows) == total else False


def prints_it(rows, total):
    if len(rows) != total:
        print("incomplete")
    return rows


def refuses_nothing(rows, total):
    if not rows:
        raise Incomplete(f"0 of {total}")
    return whole(rows, total)


def asserts(rows, total):
    assert len(rows) == total
    return rows


def incomplete_first(rows, total):
    if len(rows) != total:
        raise Incomplete(f"{len(rows)} of {total}")
    return whole(rows, total)


def wordless(rows, total):
    if total > pages.CAP:
        raise TooLong
    if len(rows) != total:
        raise Incomplete
    return rows


def gives_the_number(rows, total):
    return len(whole(rows, total))


class WithNumbers(pages.ListError):
    def __init__(self, came, total):
        super().__init__(f"{came} rows of {total}")


class TooLongToo(WithNumbers): ...


class IncompleteToo(WithNumbers): ...


def with_numbers(rows, total):
    if total > pages.CAP:
        raise TooLongToo(len(rows), total)
    if len(rows) != total:
        raise IncompleteToo(len(rows), total)
    return rows


def by_match(rows, total):
    match (total > pages.CAP, len(rows) == total):
        case (True, _):
            raise TooLong(f"{len(rows):,} of {total:,}")
        case (_, False):
            raise Incomplete(f"{len(rows):,} of {total:,}")
    return rows


def patient(
    send,
    wait,
    tries=5,
    again=lambda status: status == 429,
    asked=None,
    floor=True,
    last=None,
):
    asked = asked or (lambda headers: headers.get("Retry-After", ""))
    for attempt in range(tries):
        if attempt:
            wait(pause)  # noqa: F821
        reply = send()
        if not again(reply.status):
            return reply
        words = asked(reply.headers)
        seconds = int(words) if words.isdigit() else 0
        pause = max(seconds, 2**attempt if floor else 0)  # noqa: F841
    if last:
        return reply
    raise pages.StillBusy


def no_floor(send, wait, tries=5):
    return patient(send, wait, tries, floor=False)


def only_the_floor(send, wait, tries=5):
    return patient(send, wait, tries, asked=lambda headers: "")


def demands_it(send, wait, tries=5):
    return patient(send, wait, tries, asked=lambda headers: headers["Retry-After"])


def any_error(send, wait, tries=5):
    return patient(send, wait, tries, again=lambda status: status >= 400)


def hands_the_last_on(send, wait, tries=5):
    return patient(send, wait, tries, last=True)


def sleeps(send, wait, tries=5):
    return patient(send, time.sleep, tries)


def same_object(send, wait, tries=5):
    return patient(send, wait, tries, again=lambda status: status is int("429"))


def numbers_only(send, wait, tries=5):
    reply = send()
    if reply.status == 429:
        wait(int(reply.headers.get("Retry-After", 1)))
        return numbers_only(send, wait, tries - 1)
    return reply


def six_times(send, wait, tries=5):
    return patient(send, wait, 6)


def with_try(send, wait, tries=5):
    least = 1
    for left in reversed(range(tries)):
        reply = send()
        if reply.status != 429:
            return reply
        try:
            asked = int(reply.headers["Retry-After"])
        except (KeyError, ValueError):
            asked = 0
        if left:
            wait(max(asked, least))
        least *= 2
    raise pages.StillBusy


def patient_recursive(send, wait, tries=5, least=1):
    reply = send()
    if reply.status != 429:
        return reply
    if tries == 1:
        raise pages.StillBusy
    asked = reply.headers.get("Retry-After", "")
    wait(max(int(asked) if asked.isdigit() else 0, least))
    return patient_recursive(send, wait, tries - 1, 2 * least)


def nightly(instances, get, write, catches=pages.ListError):
    failed = {}
    for name in instances:
        try:
            rows = get(name)
        except catches as error:
            failed[name] = str(error)
        else:
            if rows:
                write(name, rows)
            else:
                failed[name] = "nothing came"
    return failed


def catches_all(instances, get, write):
    return nightly(instances, get, write, Exception)


def catches_bare(instances, get, write):
    return nightly(instances, get, write, (pages.ListError, KeyboardInterrupt))


def around_the_loop(instances, get, write):
    failed = {}
    try:
        for name in instances:
            write(name, get(name))
    except pages.ListError as error:
        failed[name] = str(error)
    return failed


def goes_on_empty(instances, get, write):
    failed = {}
    for name in instances:
        try:
            rows = get(name)
        except pages.ListError as error:
            failed[name], rows = str(error), []
        write(name, rows)
    return failed


def without_continue(instances, get, write):
    failed = {}
    for name in instances:
        try:
            rows = get(name)
        except pages.ListError as error:
            failed[name] = str(error)
        if rows:
            write(name, rows)
    return failed


def write_inside(instances, get, write):
    failed = {}
    for name in instances:
        try:
            rows = get(name)
            if rows:
                write(name, rows)
            else:
                failed[name] = "nothing came"
        except pages.ListError as error:
            failed[name] = str(error)
    return failed


def writes_nothing(instances, get, write):
    failed = {}
    for name in instances:
        try:
            rows = get(name)
        except pages.ListError as error:
            failed[name] = str(error)
            continue
        write(name, rows)
        if not rows:
            failed[name] = "nothing came"
    return failed


def no_try(instances, get, write):
    for name in instances:
        write(name, get(name))
    return {}


def gives_names(instances, get, write):
    return [*nightly(instances, get, write)]


def with_continue(instances, get, write):
    failed = {}
    for name in instances:
        try:
            rows = get(name)
        except pages.ListError as error:
            failed[name] = str(error)
            continue
        if not rows:
            failed[name] = "nothing"
            continue
        write(name, rows)
    return failed


def with_a_helper(instances, get, write):
    def why(name):
        try:
            rows = get(name)
        except pages.ListError as error:
            return str(error)
        if not rows:
            return "no rows"
        write_later.append((name, rows))
        return None

    write_later = []
    reasons = {}
    for name in instances:
        reasons[name] = why(name)
        while write_later:
            write(*write_later.pop())
    return {name: reason for name, reason in reasons.items() if reason}


def told(outcome, message):
    "An answer is not right yet, and is told so in these words."
    assert not outcome.passed and message in outcome.says, outcome
    assert "cannot make sense" not in outcome.says and not outcome.is_open


WRONG = [
    ("all_rows", (one_page,), "more were behind them"),
    ("all_rows", (stops_at_short,), "A page is short when rows are hidden"),
    (
        "all_rows",
        (lambda fetch, key, limit=100: keyed(fetch, key, limit, step=lambda page: limit),),
        "How far did you really get?",
    ),
    ("all_rows", (until_empty,), "are there twice"),
    ("all_rows", (keeps_doubles,), "are there twice"),
    (
        "all_rows",
        (lambda fetch, key, limit=100: keyed(fetch, key, limit, keep=lambda row: row[key]),),
        "The row with id 0 is missing",
    ),
    ("all_rows", (remembers,), "made once, not at every call"),
    ("all_rows", (generator,), "only once"),
    ("all_rows", (lambda fetch, key: print(fetch(0, 100)),), "use return"),
    ("all_rows", (lambda fetch, key: keyed(fetch, key)[::-1],), "their order is not"),
    ("all_rows", (lambda fetch, key: [row[key] for row in keyed(fetch, key)],), "as they came"),
    ("all_rows", (lambda fetch, key: [],), "It never calls fetch"),
    (
        "all_rows",
        (lambda fetch, key: keyed(fetch, key, ends=lambda page, new: not page),),
        "It asked 60 times",
    ),
    ("whole", (gives_false, TooLong, Incomplete), "Who forgets to look"),
    ("whole", (prints_it, TooLong, Incomplete), "At night nobody reads the screen"),
    ("whole", (refuses_nothing, TooLong, Incomplete), "Empty and whole is fine"),
    ("whole", (asserts, TooLong, Incomplete), "`python -O` leaves it out"),
    ("whole", (incomplete_first, TooLong, Incomplete), "Asking again will not help"),
    ("whole", (whole, TooLong, Stranger), "Who catches ListError lets Incomplete through"),
    ("whole", (wordless, TooLong, Incomplete), "Both numbers"),
    ("whole", (gives_the_number, TooLong, Incomplete), "Give the rows back"),
    ("whole", (whole, Incomplete, TooLong), "is called"),
    ("patient", (only_the_floor,), "What does the reply say"),
    ("patient", (demands_it,), "Have something ready for that day"),
    ("patient", (any_error,), "A wrong key gets no better by waiting"),
    ("patient", (no_floor,), "Never less than 1, 2, 4, 8"),
    ("patient", (hands_the_last_on,), "as if it were an answer"),
    ("patient", (sleeps,), "It sleeps by itself"),
    ("patient", (same_object,), "`is` asks for the same object"),
    ("patient", (numbers_only,), "seconds"),
    ("patient", (six_times,), "After five it is enough"),
    ("nightly", (catches_all,), "a typing mistake looks like weather"),
    ("nightly", (catches_bare,), "Ctrl-C is swallowed"),
    ("nightly", (around_the_loop,), "one is lost and not all"),
    ("nightly", (goes_on_empty,), "written over a good one"),
    ("nightly", (without_continue,), "still holds what came before"),
    ("nightly", (write_inside,), "what else stands in your try"),
    ("nightly", (writes_nothing,), "written over a good one"),
    ("nightly", (no_try,), "ended the whole night"),
    ("nightly", (gives_names,), "a dict {name: why} is asked for"),
]
RIGHT = [
    ("all_rows", (with_a_set,)),
    ("all_rows", (recursive,)),
    ("all_rows", (in_a_for,)),
    ("whole", (whole, TooLong, Incomplete)),
    ("whole", (with_numbers, TooLongToo, IncompleteToo)),
    ("whole", (by_match, TooLong, Incomplete)),
    ("patient", (patient,)),
    ("patient", (with_try,)),
    ("patient", (patient_recursive,)),
    ("nightly", (nightly,)),
    ("nightly", (with_continue,)),
    ("nightly", (with_a_helper,)),
]


@pytest.mark.sampled(4)
@pytest.mark.parametrize("check, answer, message", WRONG)
def test_a_wrong_answer_is_told_in_the_right_words(check, answer, message):
    told(getattr(pages, check)(*answer), message)


@pytest.mark.parametrize("check, answer", RIGHT)
def test_a_right_answer_passes_whatever_way_it_goes(check, answer):
    outcome = getattr(pages, check)(*answer)
    assert outcome.passed, outcome


def test_the_tripwire_for_sleeping_is_taken_away():
    real = time.sleep
    pages.patient(sleeps)
    assert time.sleep is real


# Tests as answers: each is a cell of its own


def cell(source, monkeypatch):
    "What a cell with this source defines, as in a notebook."
    name = f"<cell {hash(source)}>"
    monkeypatch.setitem(
        linecache.cache, name, (len(source), None, source.splitlines(keepends=True), name)
    )
    names = {"service": service, "make": pages.make, "all_rows": right, "__name__": "__main__"}
    exec(compile(source, name, "exec"), names)
    return names


def run(source, monkeypatch):
    "What the check says about the tests of a cell with this source."
    names = cell(source, monkeypatch)
    return pages.tests(next(value for name, value in names.items() if name[:5] == "test_"))


BOTH = """def test_hidden(all_rows):
    got = all_rows(service(make(250), hidden={5, 6}), "id")
    assert [row["id"] for row in got] == [n for n in range(250) if n not in (5, 6)]
"""
FEW = """
def test_few(all_rows):
    assert all_rows(service(make(120), most=30), "id") == make(120)
"""
IN_ONE = """def test_all(all_rows):
    for number, most, hidden in ((250, None, {5, 6}), (120, 30, set())):
        got = all_rows(service(make(number), most=most, hidden=hidden), "id")
        assert got == [row for row in make(number) if row["id"] not in hidden], "not all"
"""
WITH_HELP = """def test_hidden(all_rows):
    hidden = {5, 6, 7}
    want = [row for row in make(300) if row["id"] not in hidden]
    assert all_rows(service(make(300), hidden=hidden), key="id") == want

def test_small(all_rows):
    assert all_rows(service(make(90), most=7), key="id") == make(90)

def test_none(all_rows):
    assert all_rows(service([]), key="id") == []
"""
TESTS = [
    (
        'def test_it(all_rows):\n    all_rows(service(make(120)), "id") == make(120)\n',
        "0 of 5 found",
    ),
    (
        'def test_it(all_rows):\n    got = all_rows(service(make(250)), "id")\n'
        "    assert len(got) == 250\n",
        "stops at a short page",
    ),
    (BOTH, "steps by the limit (4 of 5 found)"),
    (
        "def test_it(all_rows):\n    asked = []\n    fetch = service(make(250))\n"
        "    all_rows(lambda offset, limit: asked.append(offset) or fetch(offset, limit), 'id')\n"
        "    assert len(asked) == 3\n",
        "fails for a right function",
    ),
    (
        "def test_it(all_rows):\n    fetch = service(make(250))\n"
        '    assert all_rows(fetch, "id") == all_rows(fetch, "id")\n',
        "gives the first page only",
    ),
    (
        'def test_it():\n    assert all_rows(service(make(250)), "id") == make(250)\n',
        "all_rows is missing in its parentheses",
    ),
]


@pytest.mark.sampled(6)
@pytest.mark.parametrize("source, message", TESTS)
def test_a_test_that_finds_too_little_is_told_what_it_misses(source, message, monkeypatch):
    told(run(source, monkeypatch), message)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("source", [BOTH + FEW, IN_ONE, WITH_HELP])
def test_tests_that_find_all_mistakes_pass(source, monkeypatch):
    outcome = run(source, monkeypatch)
    assert outcome.passed, outcome


def test_the_report_of_the_story_has_exactly_a_hundred_rows():
    "What the text says about the first call is what stands below it."
    path = Path(__file__).parent.parent / "tutorials" / "solutions" / "3_pages.ipynb"
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    number = next(n for n, c in enumerate(cells) if "Exactly 100." in "".join(c["source"]))
    [shown] = cells[number - 1]["outputs"]
    assert "".join(shown["data"]["text/plain"]) == "100"
