"""Every reason that the package gives to an error is declared, and every declared one is given."""

import ast
import fnmatch
import itertools
import json
import pickle
import re
from pathlib import Path

import pytest

import domostats
from domostats.errors import DataError, DomostatsError, SettingsError
from domostats.reasons import FORMER, REASONS, reasons_table

PACKAGE = Path(domostats.__file__).parent
KINDS = {kind.__name__ for kind in (DomostatsError, *DomostatsError.__subclasses__())}
WORD = re.compile("[a-z]+(_[a-z]+)*")
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def last_name(node):
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


class Source:
    """The package as it is read: its modules, and for each node the one that it stands in.

    An expression is followed to the words that it can be: through names to what they are set to,
    through parameters to what the callers give, through functions to what they return."""

    def __init__(self, texts):
        self.trees = {name: ast.parse(text) for name, text in texts.items()}
        self.parents, self.calls, self.functions, self.bound = {}, {}, {}, {}
        self.imported = {tree: set() for tree in self.trees.values()}
        for tree in self.trees.values():
            for node in ast.walk(tree):
                if isinstance(node, ast.ImportFrom):
                    self.imported[tree] |= {one.asname or one.name for one in node.names}
                for child in ast.iter_child_nodes(node):
                    self.parents[child] = node
                if isinstance(node, ast.Call):
                    self.calls.setdefault(last_name(node.func), []).append(node)
                elif isinstance(node, FUNCTIONS):
                    self.functions.setdefault(node.name, []).append(node)
            for node in ast.walk(tree):
                for name, value in bindings(node):
                    self.bound.setdefault((next(self.around(node)), name), []).append(value)

    def around(self, node):
        "The functions that a node stands in, from the inside out, and the module."
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, (*FUNCTIONS, ast.Module)):
                yield node

    def words(self, node, seen=None):
        "The words that an expression can be; `*` in a word stands for a part that is made."
        seen = set() if seen is None else seen
        if node is None or node in seen:
            return set()
        seen.add(node)
        if isinstance(node, ast.Constant):
            is_word = isinstance(node.value, str) and WORD.fullmatch(node.value)
            return {node.value} if is_word else set()
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "*" for part in node.values]
            return {word for word in ["".join(parts)] if re.fullmatch("[a-z_*]+", word)}
        if isinstance(node, ast.Name):
            return self.words_of_name(node, seen)
        if isinstance(node, ast.Call):
            return self.words_of_call(node, seen)
        if isinstance(node, ast.Subscript):
            return self.words(node.value, seen)
        if isinstance(node, ast.IfExp):
            return self.words(node.body, seen) | self.words(node.orelse, seen)
        if isinstance(node, ast.Attribute):
            return set()  # of another error, or of a record: it was given before
        found = set()
        for child in ast.iter_child_nodes(node):
            found |= self.words(child, seen)
        return found

    def words_of_call(self, node, seen):
        name, found = last_name(node.func), set()
        if name == "get":  # of a dict
            found |= self.words(node.func.value, seen)
            return found.union(*(self.words(one, seen) for one in node.args[1:]))
        if name == "next":
            return set().union(*(self.words(one, seen) for one in node.args))
        if isinstance(node.func, ast.Name):
            for function in self.functions.get(name, []):
                for inner in ast.walk(function):
                    if isinstance(inner, ast.Return):
                        found |= self.words(inner.value, seen)
        return found

    def words_of_name(self, node, seen):
        for scope in self.around(node):
            if isinstance(scope, FUNCTIONS) and node.id in [one.arg for one in arguments(scope)]:
                return self.words_of_parameter(scope, node.id, seen)
            if values := self.bound.get((scope, node.id)):
                return set().union(*(self.words(value, seen) for value in values))
        if node.id not in self.imported[scope]:
            return set()
        values = [self.bound.get((tree, node.id), []) for tree in self.trees.values()]
        return set().union(*(self.words(value, seen) for value in itertools.chain(*values)))

    def words_of_parameter(self, function, name, seen):
        given = arguments(function)
        defaults = dict(
            zip(
                [one.arg for one in given[::-1]],
                [*function.args.kw_defaults[::-1], *function.args.defaults[::-1]],
                strict=False,
            )
        )
        place = [one.arg for one in given].index(name)
        place -= given[0].arg in ("self", "cls")
        found = self.words(defaults.get(name), seen)
        for call in self.calls.get(function.name, []):
            keyword = next((one.value for one in call.keywords if one.arg == name), None)
            if keyword is not None:
                found |= self.words(keyword, seen)
            elif len(call.args) > place >= 0:
                found |= self.words(call.args[place], seen)
            elif call.args and isinstance(call.args[-1], ast.Starred):
                found |= self.words(call.args[-1].value, seen)
        return found


def arguments(function):
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def bindings(node):
    "The names that a statement sets, each with what it is set to; of several, each its own part."
    targets, value = [], getattr(node, "value", None)
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)):
        targets = [node.target]
    elif isinstance(node, (ast.For, ast.comprehension)):
        targets, value = [node.target], node.iter
    for target in targets:
        parts = target.elts if isinstance(target, ast.Tuple) else [target]
        alike = isinstance(value, ast.Tuple) and len(value.elts) == len(parts) > 1
        for place, part in enumerate(parts):
            yield last_name(part), value.elts[place] if alike else value


def given(texts):
    "The words that errors and findings get as reasons in these sources, with where they stand."
    source, found = Source(texts), {}
    places = dict.fromkeys(KINDS, 1)
    for tree in source.trees.values():
        places.update(places_in(tree))
    for name, tree in source.trees.items():
        for node in ast.walk(tree):
            for reason in reasons_at(node, places):
                for word in source.words(reason):
                    found.setdefault(word, []).append(f"{name}:{node.lineno}")
    return found


def places_in(tree):
    "Where the reason stands among the arguments, by the name of a class that has such a field."
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            fields = [last_name(one.target) for one in node.body if isinstance(one, ast.AnnAssign)]
            if "reason" in fields and node.name not in KINDS:
                yield node.name, fields.index("reason")


def reasons_at(node, places):
    "The expressions that say a reason at this place, if any."
    if isinstance(node, ast.Call):
        yield from reasons_in_call(node, places)
    elif isinstance(node, ast.Dict):  # what is written down about an error
        names = [getattr(key, "value", None) for key in node.keys]
        if {"reason", "error"} <= {*names}:
            yield node.values[names.index("reason")]
    elif isinstance(node, ast.JoinedStr):  # "DestinationError {reason}", for the command line
        first, *rest = node.values
        if getattr(first, "value", None) in {f"{kind} " for kind in KINDS} and len(rest) == 1:
            yield rest[0].value
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        kind, _, word = node.value.partition(" ")
        if kind in KINDS and WORD.fullmatch(word):
            yield ast.copy_location(ast.Constant(word), node)


def reasons_in_call(node, places):
    name = last_name(node.func)
    if name in ("kind", "cls") and len(node.args) == 2:  # a class that a table says
        name = "DomostatsError"
    if name in places:
        yield from node.args[places[name] : places[name] + 1]
        yield from (one.value for one in node.keywords if one.arg == "reason")


def sources():
    paths = [path for path in sorted(PACKAGE.rglob("*.py")) if path.name != "_modidx.py"]
    return {str(path.relative_to(PACKAGE)): path.read_text() for path in paths}


@pytest.fixture(scope="module")
def package():
    "The words that the package gives, with where they stand."
    return given(sources())


def test_every_reason_that_is_given_is_declared(package):
    unknown = {
        word: places for word, places in package.items() if not fnmatch.filter(REASONS, word)
    }
    assert not unknown, "declare them in nbs/01_core/01_reasons.ipynb"


def test_every_reason_that_is_declared_is_given(package):
    assert not [one for one in REASONS if not any(fnmatch.fnmatch(one, word) for word in package)]


@pytest.mark.parametrize(
    "text, words",
    [
        ('DataError("It is so.", "bad_row")', {"bad_row"}),
        ('DataError("It is so.", reason="bad_row")', {"bad_row"}),
        ('DataError("It is so.", answer=None)', set()),
        ('DataError("It is so.", "a_b" if x else "c_d")', {"a_b", "c_d"}),
        ('DataError("It is so.", fault.reason or "c_d")', {"c_d"}),
        ('DataError("It is so.", f"missing_{name}")', {"missing_*"}),
        ('DataError("It is so.", {1: "a_b"}.get(n, "c_d"))', {"a_b", "c_d"}),
        ('why = "a_b"\nDataError("It is so.", why)', {"a_b"}),
        ('T = {"KEY": ("a_b", "It is so.")}\nDataError(T[x][1], T[x][0])', {"a_b"}),
        ('for words, why in [("It is so.", "a_b")]:\n    DataError(words, why)', {"a_b"}),
        ('def f(x, why="a_b"):\n    raise DataError(x, why)\nf(1, "c_d")\nf(2)', {"a_b", "c_d"}),
        ('def f():\n    return "a_b", "It is so."\ns = f()\nDataError(s[1], s[0])', {"a_b"}),
        (
            'class A:\n    def f(self, why):\n        raise DataError("", why)\nA().f("a_b")',
            {"a_b"},
        ),
        (
            'class F:\n    line: int\n    reason: str\nF(3, "a_b")\nF(3, reason="c_d")',
            {"a_b", "c_d"},
        ),
        ('{"reason": "a_b", "error": "It is so."}', {"a_b"}),
        ('say("DataError a_b")', {"a_b"}),
    ],
)
def test_a_reason_is_found_in_whatever_way_it_is_given(text, words):
    assert given({"one.py": text}).keys() == words


def test_an_old_reason_matches_for_one_version_more():
    for word, former in FORMER.items():
        error = SettingsError("It is so.", word)
        assert error.reason == word and word == error.reason and error.reason in (word,)
        for old in former:
            assert error.reason == old and old == error.reason and error.reason in ("x", old)
            assert (error.reason != old) is False
        assert error.reason != "locked" and error.reason not in ("x", "locked")
        assert pickle.loads(pickle.dumps(error)).reason == former[0]
        assert (
            json.loads(json.dumps(error.reason)) == f"{error.reason}" == str(error.reason) == word
        )
        assert {word: 1}[error.reason] == 1


def test_a_former_word_belongs_to_a_reason():
    assert FORMER.keys() <= REASONS.keys()
    assert type(DataError("It is so.", "locked").reason) is str


def test_the_table_has_a_line_for_each():
    lines = reasons_table().split("\n")[2:]
    assert [line.split("`")[1] for line in lines] == sorted(REASONS)
    assert all(line.count("|") == 4 for line in lines)
