"""Where a secret may come to light, and the search for it there: every spelling, every frame,
every file."""

import base64
import contextlib
import gzip
import http.client
import importlib
import inspect
import io
import json
import keyword
import logging
import pickle
import sqlite3
import tokenize
import traceback
import types
import zipfile
from pathlib import Path
from urllib.parse import quote, quote_plus

HERE = Path(__file__).resolve().parent
FRAGMENT = 12  # so many of its first characters are a leak too


def forms(secret):
    """The ways in which a text may stand somewhere: plain, escaped, in a URL, in JSON, in hex,
    in base64 at any offset; as bytes."""
    secret = str(secret)  # of a text that masks itself, too
    raw = secret.encode()
    encoded = [
        base64.b64encode(b"\0" * shift + raw)[(0, 2, 3)[shift] :].rstrip(b"=")[:-1]
        for shift in range(3)
    ]
    texts = {
        secret,
        repr(secret)[1:-1],
        repr(raw)[2:-1],
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        json.dumps(secret)[1:-1],
        json.dumps(secret, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(secret))[3:-3],
        raw.hex(),
    }
    found = {text.encode("utf-8", "backslashreplace") for text in texts} | {*encoded}
    return found | {part.replace(b"+", b"-").replace(b"/", b"_") for part in encoded}


def spellings(secret):
    "The forms of a secret, and of its beginning where it is long."
    return forms(secret) | (forms(secret[:FRAGMENT]) if len(secret) > FRAGMENT + 3 else set())


def leaks(shown, *secrets):
    "Which spellings of these secrets stand in what is shown (text, bytes or anything with a repr)."
    if not isinstance(shown, (str, bytes)):
        shown = repr(shown)
    shown = shown.encode("utf-8", "backslashreplace") if isinstance(shown, str) else shown
    return [spelling for secret in secrets for spelling in spellings(secret) if spelling in shown]


# Tracebacks. The frames of the tests are left out: they stand for the user's own cell, which holds
# what the user put there. All others count, those of libraries too.


def links(error):
    "An error and all that stand behind it, those that `from None` hides as well."
    seen, waiting = [], [error]
    while waiting:
        one = waiting.pop()
        if one is not None and all(one is not other for other in seen):
            seen.append(one)
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    return seen


def foreign(tb):
    "The same traceback without the frames of the tests, or None."
    frames = []
    while tb:
        if Path(tb.tb_frame.f_code.co_filename).resolve().parent != HERE:
            frames.append(tb)
        tb = tb.tb_next
    made = None
    for one in reversed(frames):
        made = types.TracebackType(made, one.tb_frame, one.tb_lasti, one.tb_lineno)
    return made


def by_traceback(error, tb):
    try:
        shown = traceback.TracebackException(type(error), error, tb, capture_locals=True)
    except Exception:  # Python up to 3.11 stumbles over a thing that is half made and has no repr
        return by_inspect(error, tb)
    return "".join(shown.format(chain=False))


def by_rich(error, tb):
    rich = importlib.import_module("rich.traceback")
    console = importlib.import_module("rich.console").Console
    out = io.StringIO()
    for more in ({}, {"locals_max_string": 100_000, "locals_max_length": 1000}):
        made = rich.Traceback.from_exception(
            type(error), error, tb, show_locals=True, width=500, **more
        )
        console(file=out, width=500).print(made)
    return out.getvalue()


def by_ipython(error, tb):
    ultratb = importlib.import_module("IPython.core.ultratb")
    how = inspect.signature(ultratb.VerboseTB.__init__).parameters
    plain = {"theme_name": "nocolor"} if "theme_name" in how else {"color_scheme": "NoColor"}
    return ultratb.VerboseTB(**plain, long_header=False).text(type(error), error, tb)


def by_cgitb(error, tb):
    """What cgitb prints (it is gone in Python 3.13): the local variables, and the value of every
    dotted name in the lines of the call."""
    try:
        return importlib.import_module("cgitb").text((type(error), error, tb))
    except ModuleNotFoundError:
        return by_inspect(error, tb)


def by_inspect(error, tb):
    "The same without it."
    told = [f"{type(error).__name__}: {error}", repr(vars(error))]
    for frame, _, line, name, lines, _ in inspect.getinnerframes(tb, 7) if tb else []:
        told += [f"{name} at {line}"]
        told += [f"{local} = {safely(value)}" for local, value in frame.f_locals.items()]
        names = {**frame.f_builtins, **frame.f_globals, **frame.f_locals}
        told += [
            f"{dotted} = {safely(value)}" for dotted, value in _values("".join(lines or []), names)
        ]
    return "\n".join(told)


def safely(value):
    "The repr of a value; of one that is half made, that there is none."
    try:
        return repr(value)
    except Exception as e:
        return f"no repr: {type(e).__name__}"


def _values(source, names):
    "The dotted names in these lines, with their values."
    last, parent, dotted = "", None, ""
    try:
        for kind, text, *_ in tokenize.generate_tokens(io.StringIO(source).readline):
            if kind == tokenize.NAME and not keyword.iskeyword(text):
                if last == "." and parent is not None:
                    value, dotted = _attribute(parent, text), f"{dotted}.{text}"
                else:
                    value, dotted = names.get(text), text
                if not inspect.ismodule(value) and not callable(value):
                    yield dotted, value
                parent = value
            elif text != ".":
                parent = None
            last = text
    except (tokenize.TokenError, IndentationError, SyntaxError):
        pass


TRACEBACKS = {
    "traceback": by_traceback,
    "rich": by_rich,
    "cgitb": by_cgitb,
    "inspect": by_inspect,
    "ipython": by_ipython,
}


def bare(error, tb):
    "The same error with another traceback and nothing behind it."
    before = error.__traceback__, error.__cause__, error.__context__, error.__suppress_context__
    error.__traceback__, error.__cause__, error.__context__ = tb, None, None
    return before


def _told(tool, error, tb):
    try:
        return tool(error, tb)
    except Exception:  # IPython stumbles over a thing that is half made and has no repr
        return by_inspect(error, tb)


def told_by(error, tools=TRACEBACKS):
    "Everything that these tools print about an error: each link of its chain by each tool."
    told = []
    for one in links(error):
        tb = foreign(one.__traceback__)
        before = bare(one, tb)
        try:
            told += [_told(TRACEBACKS[tool], one, tb) for tool in tools]
        finally:
            one.__traceback__, one.__cause__, one.__context__, one.__suppress_context__ = before
        told.append(insides(one))
    return "\n".join(told)


def _attribute(thing, name):
    try:
        return getattr(thing, name, None)
    except Exception:
        return None


# Things.


def pickled(thing):
    "The thing as a pickle, in every protocol; nothing where it refuses, as a secret does."
    made = b""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with contextlib.suppress(TypeError, AttributeError, pickle.PicklingError):
            made += pickle.dumps(thing, protocol)
    return made


def insides(thing, depth=3):
    "What a thing shows of itself and of what it holds, and its pickle."
    told = [f"{thing!r}\n{pickled(thing)!r}"]
    if not isinstance(thing, (str, bytes)):  # of a text, the repr is what shows of it elsewhere
        told.append(f"{thing!s}\n{thing}")
    held = list(vars(thing).values()) if hasattr(thing, "__dict__") else []
    if isinstance(thing, (list, tuple, set)):
        held = [*thing]
    if isinstance(thing, dict):
        held = [*thing, *thing.values()]
    if isinstance(thing, BaseException):
        held += [*thing.args]
    told += [insides(one, depth - 1) for one in held if depth and not inspect.ismodule(one)]
    return "\n".join(told)


# What is printed on the way.


@contextlib.contextmanager
def listening():
    """A `with` block in which everything is logged and the HTTP library prints what it sends;
    gives a function that tells it."""
    out, handler = io.StringIO(), logging.StreamHandler(io.StringIO())
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    before, http.client.HTTPConnection.debuglevel = http.client.HTTPConnection.debuglevel, 2
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            yield lambda: out.getvalue() + handler.stream.getvalue()
    finally:
        http.client.HTTPConnection.debuglevel = before
        root.removeHandler(handler)
        root.setLevel(level)


# Files.


def contents(path):
    """The bytes of a file, its name, and what it holds where that is packed: gzip, zip, Parquet,
    SQLite, DuckDB, a kept answer."""
    raw = path.read_bytes()
    yield path.name.encode() + b"\n" + raw
    if raw[:2] == b"\x1f\x8b":
        yield gzip.decompress(raw)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as packed:
            yield from (packed.read(name) for name in packed.namelist())
    if raw[:4] == b"PAR1":
        yield repr(importlib.import_module("pyarrow.parquet").read_table(path).to_pylist()).encode()
    if raw[:15] == b"SQLite format 3":
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as con:
            for (table,) in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
                yield repr(con.execute(f'SELECT * FROM "{table}"').fetchall()).encode()
    with contextlib.suppress(Exception):  # the answers that a run keeps are packed
        kept = importlib.import_module("domostats.transport.kept_answers").read_kept(path)
        yield kept.answer().content + repr(kept).encode()
    if raw[8:12] == b"DUCK":
        with importlib.import_module("duckdb").connect(str(path), read_only=True) as con:
            named = "SELECT schema_name, table_name FROM duckdb_tables()"
            for schema, table in con.execute(named).fetchall():
                yield repr(con.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall()).encode()


def leaks_in_files(folder, *secrets):
    "The files below a folder that hold a secret, with what was found."
    found = {}
    for path in sorted(one for one in Path(folder).rglob("*") if one.is_file()):
        hits = [hit for content in contents(path) for hit in leaks(content, *secrets)]
        if hits:
            found[str(path.relative_to(folder))] = hits
    return found


# Notebooks.

VERBOSE = "%xmode Verbose"
RICH = "from rich import traceback; _ = traceback.install(show_locals=True, width=500)"


def executed(cells, tool=VERBOSE, environment=None):
    "A notebook with these cells as it is saved after it ran, errors and all: its bytes."
    nbformat = importlib.import_module("nbformat")
    nbclient = importlib.import_module("nbclient")
    made = [nbformat.v4.new_code_cell(cell) for cell in [tool, *cells]]
    notebook = nbformat.v4.new_notebook(cells=made)
    client = nbclient.NotebookClient(
        notebook, kernel_name="python3", timeout=120, allow_errors=True
    )
    client.execute(env=environment)
    return nbformat.writes(notebook).encode()
