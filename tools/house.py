"""Count what makes the code hard to read, and fail where a count is above its limit.

    python tools/house.py                  the counts
    python tools/house.py bases ancestors  what two of them consist of

    bases      classes that exist only to be the one base of another class
    ancestors  classes with more than two ancestors of ours, errors apart
    untyped    parameters and returns of public functions without a type
    unshown    public functions and methods that no cell and no test calls
    names      names that are defined in two or more modules with two meanings
    long       modules of more than 300 lines: most have two subjects

`SHARED` lists the names that two modules may define, and `ONE_SUBJECT` the modules that are long
and yet hard to cut, with the reason. Lines and statements are looked at by ruff, and types by
basedpyright."""

import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import nbformat

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "domostats"
LIMITS = dict.fromkeys(["bases", "ancestors", "untyped", "unshown", "names", "long"], 0)
LONG = 300  # lines, as `ruff format` writes them
SHARED: dict[str, str] = {  # a name that two modules define, and why it may
    "sign_in": "that of each client, and the one that finds the client by the instance",
    "Load": "what has been loaded of a release, and a promised name of Comotion Dash",
    "Auth": "what a connection signs in with, and a promised name of Comotion Dash",
    "Workflow": "a record of the registry, and the class of a user's tasks: both are promised",
    "blocks": "a check of the lesson on streams has the name of the learner's function",
    "make_observatory_api": "the registry of the settings, and that of a connection of Airflow",
    "main": "a check of the lesson on accounts has the name of the learner's function",
    "short": "a check of the lesson on accounts is named after the learner's function",
    "whole": "a check of the lesson on pages, and how a number is spelled",
    "Work": "what is under way in this process, and a bulk job of Datorama",
    "Column": "a column of a table: of a row type, and of a warehouse",
    "snapshot": "what a history does, and the command that does it",
}
ONE_SUBJECT: dict[str, str] = {  # a long module, and why it is not cut
    "domostats.clients.datorama.client": "one object with 46 names that users know, a call in each",
    "domostats.reasons": "one table: the word of every error, and what to do about it",
}


class Definition(NamedTuple):
    "A class or function at the top of a module, or a method of such a class."

    module: str
    name: str
    node: ast.AST
    owner: str = ""  # the class of a method

    def __str__(self) -> str:
        inside = f"{self.owner}.{self.name}" if self.owner else self.name
        return f"{self.module}:{self.node.lineno} {inside}"


Function = (ast.FunctionDef, ast.AsyncFunctionDef)


def modules() -> Iterator[tuple[str, ast.Module]]:
    "The modules of the package by their dotted name, read; not the steps that Alembic runs."
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name != "_modidx.py" and "revisions" not in path.parts:
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), ast.parse(path.read_text())


def definitions(parsed: dict[str, ast.Module]) -> Iterator[Definition]:
    "What the modules define: classes, functions, methods."
    for module, tree in parsed.items():
        for node in tree.body:
            if isinstance(node, (ast.ClassDef, *Function)):
                yield Definition(module, node.name, node)
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, Function):
                        yield Definition(module, method.name, method, node.name)


def last_name(node: ast.AST) -> str:
    "`Base` of `Base`, `module.Base` and `Base[int]`."
    if isinstance(node, ast.Subscript):
        return last_name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def origins(parsed: dict[str, ast.Module]) -> dict[tuple[str, str], tuple[str, str]]:
    "Where a name of a module comes from: (module, name) -> (module, name), one import back."
    found = {}
    for module, tree in parsed.items():
        package = (PACKAGE.parent / module.replace(".", "/")).is_dir()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                parts = module.split(".")
                if node.level:
                    parts = parts[: len(parts) - node.level + package]
                source = ".".join(parts if node.level else [])
                source = ".".join(part for part in (source, node.module) if part)
                for alias in node.names:
                    found[module, alias.asname or alias.name] = (source, alias.name)
    return found


class Classes:
    "The classes of the package, which are whose ancestors, and where each is mentioned."

    def __init__(self, parsed: dict[str, ast.Module]):
        self.parsed, self.imported = parsed, origins(parsed)
        self.all = {
            (each.module, each.name): each
            for each in definitions(parsed)
            if isinstance(each.node, ast.ClassDef)
        }

    def resolve(self, module: str, node: ast.AST) -> tuple[str, str]:
        "The module and name that an expression in a module means."
        if isinstance(node, ast.Subscript):
            node = node.value
        if isinstance(node, ast.Attribute):
            package, name = self.resolve(module, node.value)
            place = (f"{package}.{name}" if package else name, node.attr)
        else:
            place = (module, getattr(node, "id", ""))
        for _ in range(10):
            if place in self.all or place not in self.imported:
                break
            place = self.imported[place]
        return place

    def bases(self, place: tuple[str, str]) -> list[tuple[str, str]]:
        "The direct ancestors of ours."
        found = [self.resolve(place[0], base) for base in self.all[place].node.bases]
        return [base for base in found if base in self.all]

    def ancestors(self, place: tuple[str, str]) -> set[tuple[str, str]]:
        direct = self.bases(place)
        return {*direct}.union(*(self.ancestors(base) for base in direct))

    def mentions(self, place: tuple[str, str]) -> int:
        "How often a class is used otherwise than as a base."
        return sum(
            isinstance(node, (ast.Name, ast.Attribute)) and self.resolve(module, node) == place
            for module, tree in self.parsed.items()
            for node in ast.walk(tree)
            if last_name(node) == place[1]
        )


def count_bases(parsed: dict[str, ast.Module]) -> list[str]:
    "Classes that exist only to be the one base of another class."
    classes = Classes(parsed)
    children = Counter(base for place in classes.all for base in classes.bases(place))
    return [
        str(each)
        for place, each in classes.all.items()
        if children[place] == 1 and classes.mentions(place) == 1
    ]


def count_ancestors(parsed: dict[str, ast.Module]) -> list[str]:
    "Classes with more than two ancestors of ours."
    classes = Classes(parsed)
    found = []
    for place, each in classes.all.items():
        ancestors = sorted(name for module, name in classes.ancestors(place))
        if len(ancestors) > 2 and each.module != "domostats.errors":
            found.append(f"{each}: {', '.join(ancestors)}")
    return found


def is_public(each: Definition) -> bool:
    special = each.name.startswith("__") and each.name.endswith("__")
    hidden = each.name.startswith("_") or each.owner.startswith("_")
    return not hidden and not special


def count_untyped(parsed: dict[str, ast.Module]) -> list[str]:
    "Parameters and returns of public functions and methods without a type."
    found = []
    for each in definitions(parsed):
        node = each.node
        if not isinstance(node, Function) or not is_public(each):
            continue
        given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        given += [extra for extra in (node.args.vararg, node.args.kwarg) if extra]
        static = any(last_name(mark) == "staticmethod" for mark in node.decorator_list)
        if each.owner and not static:
            given = given[1:]
        missing = [argument.arg for argument in given if argument.annotation is None]
        if node.returns is None:
            missing.append("return")
        if missing:
            found.append(f"{each}: {', '.join(missing)}")
    return found


def called_names() -> set[str]:
    "What the cells that are not exported and the tests call or look at."
    texts = [path.read_text() for path in (ROOT / "tests").glob("*.py")]
    for folder in ("nbs", "tutorials"):
        for path in (ROOT / folder).rglob("*.ipynb"):
            for cell in nbformat.read(path, 4).cells:
                if cell.cell_type == "code" and "#| export" not in cell.source:
                    texts.append(cell.source)
    names = set()
    for text in texts:
        try:
            tree = ast.parse("\n".join(line for line in text.splitlines() if line[:1] not in "%!"))
        except SyntaxError:
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                names.add(last_name(node.func))
                names.update(last_name(argument) for argument in node.args)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)  # a property
    return names


def is_registered(node: ast.AST) -> bool:
    "Whether a decorator hands a function to somebody who calls it: a route, a command, a hook."
    plain = {"staticmethod", "classmethod", "property", "cached_property", "contextmanager"}
    plain |= {"wraps", "lru_cache", "cache", "overload", "abstractmethod", "total_ordering"}
    for mark in node.decorator_list:
        name = last_name(mark.func if isinstance(mark, ast.Call) else mark)
        if name not in plain:
            return True
    return False


def count_unshown(parsed: dict[str, ast.Module]) -> list[str]:
    "Public functions and methods that no cell and no test calls."
    called = called_names()
    return [
        str(each)
        for each in definitions(parsed)
        if isinstance(each.node, Function)
        and is_public(each)
        and not is_registered(each.node)
        and each.name not in called
    ]


def count_names(parsed: dict[str, ast.Module]) -> list[str]:
    "Public classes and functions of one name that several modules define."
    places = defaultdict(set)
    for each in definitions(parsed):
        if not each.owner and is_public(each):
            places[each.name].add(each.module)
    return [
        f"{name}: {', '.join(sorted(found))}"
        for name, found in sorted(places.items())
        if len(found) > 1 and name not in SHARED
    ]


def count_long(parsed: dict[str, ast.Module]) -> list[str]:
    "Modules of more than `LONG` lines that have no reason to be."
    found = []
    for module in parsed:
        path = ROOT / module.replace(".", "/")
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        lines = len(path.read_text().splitlines())
        if lines > LONG and module not in ONE_SUBJECT:
            found.append(f"{module}: {lines} lines")
    return found


COUNTS = {
    "bases": count_bases,
    "ancestors": count_ancestors,
    "untyped": count_untyped,
    "unshown": count_unshown,
    "names": count_names,
    "long": count_long,
}


def main() -> int:
    parsed, above = dict(modules()), []
    for name, count in COUNTS.items():
        found = count(parsed)
        if name in sys.argv[1:]:
            print(*found, sep="\n")
        print(f"{name}: {len(found)}, at most {LIMITS[name]}")
        if len(found) > LIMITS[name]:
            above.append(name)
    if above:
        print(
            f"Above the limit: {', '.join(above)}. `python tools/house.py {above[0]}` lists them."
        )
    return bool(above)


if __name__ == "__main__":
    sys.exit(main())
