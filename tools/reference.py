"""The pages of the site that follow from the package: modules, reports, reasons, commands.

Each function gives pages as texts by their path below the site. Modules are written in
reStructuredText, since autodoc speaks it; the rest in Markdown."""

import ast
import inspect
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Protocol, cast

from sphinx.ext.autodoc.mock import mock
from typer.main import get_command

import domostats
from domostats import reports
from domostats.interfaces import cli
from domostats.interfaces.exit_codes import MEANINGS
from domostats.reasons import FORMER, REASONS
from domostats.reports.report import Report

NOTEBOOKS = Path(__file__).resolve().parent.parent / "nbs"
PACKAGE = Path(domostats.__file__).parent
SHORT = 60  # characters: a value that is longer is not shown beside its name


def cell(text: object) -> str:
    "A text as a cell of a table in Markdown."
    return " ".join(str(text).split()).replace("|", "\\|")


def code(text: object) -> str:
    "A text as code in a cell of a table in Markdown."
    text = cell(text)
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}" if text else ""


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    "A table in Markdown."
    columns = list(columns)
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --- modules --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Module:
    "A public module or package: its dotted name, its file, and the notebook that it comes from."

    name: str
    path: Path

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    @property
    def parent(self) -> str:
        return self.name.rpartition(".")[0]

    @cached_property
    def notebook(self) -> Path | None:
        "The notebook below nbs/, as a path below it without its ending."
        found = re.search(r"File to edit: (?:\.\./)+nbs/(\S+)\.ipynb", self.path.read_text())
        if found:
            return Path(found[1])
        for neighbour in sorted(self.path.parent.glob("[a-z]*.py")) if self.is_package else ():
            if beside := Module("", neighbour).notebook:  # an empty `__init__`, of a room
                first = next((NOTEBOOKS / beside.parent).glob("00_*.ipynb"))
                return first.relative_to(NOTEBOOKS).with_suffix("")
        return None

    @cached_property
    def loaded(self) -> ModuleType:
        "The module; Airflow, which has an environment of its own, is stood in for."
        with mock(["airflow"]):
            return import_module(self.name)

    @property
    def own_names(self) -> list[str]:
        "The names that it defines."
        return list(getattr(self.loaded, "__all__", []))

    @property
    def summary(self) -> str:
        "The sentence that says what it is for."
        if self.loaded.__doc__ or not self.notebook:
            return " ".join((self.loaded.__doc__ or "").split())
        text = (NOTEBOOKS / f"{self.notebook}.ipynb").read_text(encoding="utf-8")
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        line = re.search(r"^> (.+)$", "".join(cells[0]["source"]), re.M)
        return line[1] if line else ""


def modules() -> list[Module]:
    """The public modules of the package, each package before what is in it.

    They come from notebooks; the steps of a migration, which only Alembic reads, do not."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if not any(part.startswith("_") and part != "__init__" for part in parts):
            found.append(Module(".".join(parts).removesuffix(".__init__"), path))
    return sorted((one for one in found if one.notebook), key=lambda one: one.name.split("."))


def handed_on(package: Module) -> dict[str, str]:
    "The names that a package hands on from its modules, with the full name of each."
    found = {}
    for name in dir(package.loaded) if package.is_package else ():
        if name.startswith("_") or name in package.own_names:
            continue
        value = getattr(package.loaded, name)
        if not (inspect.isclass(value) or inspect.isfunction(value)):
            continue
        if value.__module__.startswith(f"{package.name}."):
            found[name] = f"{value.__module__}.{value.__qualname__}"
    return found


def is_short(value: object) -> bool:
    "Whether a value is worth its line: a number, a text or a few of them."
    try:
        return len(repr(value)) <= SHORT and ast.literal_eval(repr(value)) == value
    except (SyntaxError, ValueError):
        return False


def entry(module: Module, name: str) -> str:
    "The directive that describes one name of a module."
    value = getattr(module.loaded, name)
    full = f"{module.name}.{name}"
    if inspect.isclass(value):
        is_alias = value.__name__ != name or value.__module__ != module.name
        return f".. autodata:: {full}\n   :no-value:" if is_alias else f".. autoclass:: {full}"
    if inspect.isroutine(value) and hasattr(value, "__name__"):
        return f".. autofunction:: {full}"
    return f".. autodata:: {full}" + ("" if is_short(value) else "\n   :no-value:")


def module_page(module: Module, inside: list[Module]) -> str:
    "The page of a module, with the modules that are in it."
    title = module.name
    parts = [f"{title}\n{'=' * len(title)}", f".. automodule:: {module.name}\n   :no-members:"]
    if not module.loaded.__doc__:
        parts.append(plain(module.summary))
    if module.notebook:
        parts.append(f"How it is made, step by step: :doc:`/notebooks/{module.notebook}`")
    if others := handed_on(module):
        links = ", ".join(f":py:obj:`{name} <{full}>`" for name, full in sorted(others.items()))
        parts.append(f"It hands on {links}.")
    parts += [entry(module, name) for name in module.own_names]
    if inside:
        parts.append(".. rubric:: Modules")
        parts.append(
            "\n".join(
                [
                    ".. list-table::",
                    "   :widths: auto",
                    "",
                    *(
                        f"   * - :py:mod:`{one.name}`\n     - {plain(one.summary)}"
                        for one in inside
                    ),
                ]
            )
        )
        names = "\n".join(
            f"   {one.name.removeprefix('domostats.')} <{one.name}>" for one in inside
        )
        parts.append(f".. toctree::\n   :hidden:\n\n{names}")
    return "\n\n".join(parts) + "\n"


def plain(text: str) -> str:
    "A docstring in reStructuredText: what stands in backticks is code, the rest is text."
    made = ""
    for before, fence, inner in re.findall(r"(.*?)(?:(`+)([^`]+)\2|\Z)", text, flags=re.S):
        escaped = re.sub(r"([\\*_|`])", r"\\\1", before)
        if made.endswith("`") and re.match(r"[^\s]", escaped):
            escaped = f"\\ {escaped}"  # or the sign after it would keep the code open
        made += escaped
        inner = " ".join(inner.split())
        if fence and inner:
            glued = "\\ " if made and not made[-1].isspace() else ""
            is_ours = re.fullmatch(r"domostats(\.\w+)+", inner)
            made += glued + (f":py:obj:`{inner}`" if is_ours else f"``{inner}``")
    return made


def module_pages() -> Iterator[tuple[str, str]]:
    "A page for each module, below reference/."
    every = modules()
    packages = {one.name for one in every if one.is_package}
    for module in every:
        inside = [one for one in every if one.parent == module.name]
        if module.name == "domostats":  # its packages have places of their own
            inside = [one for one in inside if one.name not in packages]
        with mock(["airflow"]):  # a package may import what it hands on
            page = module_page(module, inside)
        yield f"reference/{module.name}.rst", page


def package_list() -> str:
    "The packages at the top, in the order of the rooms, as a table and a hidden table of contents."
    every = [one for one in modules() if one.is_package and one.name.count(".") <= 1]
    every.sort(key=lambda one: str(one.notebook))
    rows = [(f"{{py:mod}}`{one.name}`", cell(one.summary)) for one in every]
    names = "\n".join(f"{one.name} <{one.name}>" for one in every)
    return (
        f"{table(['package', 'what it is for'], rows)}\n\n```{{toctree}}\n:hidden:\n\n{names}\n```"
    )


class Names:
    "Where the names of the table of the reference are described."

    def __init__(self) -> None:
        self.modules = {one.name: one for one in modules()}

    def find(self, module: str, dotted: str) -> str | None:
        "The full name under which a name of a module is described; None if it has no place."
        if module.rpartition(".")[2] == dotted and module in self.modules:
            return module
        if f"{module}.{dotted}" in self.modules:
            return f"{module}.{dotted}"
        first, _, rest = dotted.partition(".")
        if module.rpartition(".")[2] == first and rest:
            return self.find(module, rest)
        if module not in self.modules:
            return None
        if first in self.modules[module].own_names:
            return f"{module}.{dotted}"
        value = getattr(self.modules[module].loaded, first, None)
        home = getattr(value, "__module__", None)
        if home in self.modules and home != module:
            return self.find(home, dotted)
        return None

    def link(self, match: re.Match[str], places: list[str]) -> str:
        "A name of the table as a link to its description."
        name = match[1]
        found = next(filter(None, (self.find(place, name) for place in places)), None)
        return f"{{py:obj}}`{name} <{found}>`" if found else match[0]

    def linked(self, text: str) -> str:
        "A page with the names of its tables `name | module | what it does` as links."
        lines = []
        for line in text.splitlines():
            columns = line.split(" | ")
            if line.startswith("| `") and len(columns) == 3:
                names, places, what = columns
                found = places_of(places)
                names = re.sub(r"`([\w.]+)`", lambda match: self.link(match, found), names)
                places = re.sub(r"`(domostats[\w.]*)`", r"{py:mod}`\1`", places)
                line = " | ".join([names, places, what])
            lines.append(line)
        return "\n".join(lines) + "\n"


def places_of(column: str) -> list[str]:
    "The modules that a column names; `.offset` is a neighbour of the first."
    places = re.findall(r"`([\w.]+)`", column)
    package = places[0].rpartition(".")[0]
    return [package + place if place.startswith(".") else place for place in places]


# --- reports --------------------------------------------------------------------------------------


def report_list() -> str:
    "All reports as a table, with a hidden table of contents."
    found = [reports.find(name) for name in reports.names()]
    rows = [
        (
            f"[{report.name}]({report.name}.md)",
            cell(report.grain),
            ", ".join(map(code, report.key)),
            ", ".join(map(code, report.formatters)),
            report.platform or "both",
        )
        for report in sorted(found, key=lambda one: (one.platform or "", one.name))
    ]
    toc = "\n".join(report.name for report in found)
    columns = ["report", "one row is", "key", "formats", "platform"]
    return f"{table(columns, rows)}\n\n```{{toctree}}\n:hidden:\n\n{toc}\n```"


def grants_of(report: Report) -> str:
    "Which grants a report needs, in a sentence."
    if report.needs:
        needed = " or ".join(map(code, report.needs))
        return f"{needed}; without it the rows are only those that are yours or shared with you"
    if report.guessed:
        return f"perhaps {' or '.join(map(code, report.guessed))}: nobody saw that it matters"
    return "none is known"


def report_page(report: Report) -> str:
    "What one row of a report is, where it comes from, and every column of every format."
    module = f"domostats.reports.{report.name}"
    sources = [report.source, *report.lookups]
    calls = ", ".join(dict.fromkeys(code(source.listing) for source in sources))
    facts = {
        "One row": f"is {cell(report.grain)}.",
        "Key": ", ".join(map(code, report.key)),
        "Platform": report.platform or "Domo and Datorama",
        "Grants": grants_of(report),
        "Calls": calls,
        "In Python": f"{{py:mod}}`{module}`",
    }
    parts = [f"# {report.name}", "\n".join(f"- **{name}** {told}" for name, told in facts.items())]
    parts.append(
        f"```sh\ndomostats generate {report.name} --instance NAME --to {report.name}.parquet\n```"
    )
    for number, (name, formatter) in enumerate(report.formatters.items()):
        origins = [line.split(" ← ")[1] for line in repr(formatter).splitlines()]
        used = [report.source, *report.needed(formatter)]
        lists = ", ".join(dict.fromkeys(code(source.listing) for source in used))
        standard = " It is what you get without `--format`." if number == 0 else ""
        parts.append(f"## Format {name}")
        parts.append(f"Made from {lists}.{standard}")
        rows = [
            (code(column.name), code(column.type), cell(origin).replace("*", "\\*"))
            for column, origin in zip(formatter.schema, origins, strict=True)
        ]
        parts.append(table(["column", "type", "made from"], rows))
    return "\n\n".join(parts) + "\n"


def report_pages() -> Iterator[tuple[str, str]]:
    "A page for each report, below reports/."
    for name in reports.names():
        yield f"reports/{name}.md", report_page(reports.find(name))


# --- reasons and commands -------------------------------------------------------------------------


def reason_list() -> str:
    "Every reason of an error, each with an anchor of its name."
    rows = []
    for word in sorted(REASONS):
        former = " or ".join(map(code, FORMER.get(word, ())))
        told = f"{REASONS[word]} It was called {former}." if former else REASONS[word]
        rows.append((f'<span id="{word}"></span>`{word}`', cell(told)))
    return table(["reason", "what it means, and what to do"], rows)


def code_list() -> str:
    "Every exit code with its meaning."
    return table(
        ["exit code", "meaning"], [(code(n), cell(words)) for n, words in MEANINGS.items()]
    )


class Parameter(Protocol):
    "An argument or option of a command, as typer and click have it."

    name: str
    param_type_name: str
    opts: list[str]
    secondary_opts: list[str]
    required: bool
    default: object
    metavar: str | None
    help: str | None
    hidden: bool


class Command(Protocol):
    "A command, as typer and click have it."

    params: list[Parameter]
    help: str | None
    epilog: str | None  # its examples, a line each


def command_list() -> str:
    "Every command with its arguments and options."
    found = commands(cast(Command, get_command(cli.app)), "domostats")
    return "\n\n".join(command_entry(name, command) for name, command in found)


def commands(command: Command, name: str) -> Iterator[tuple[str, Command]]:
    "The commands below a command, with the words that call each."
    for word, inner in sorted(getattr(command, "commands", {}).items()):
        if hasattr(inner, "commands"):
            yield from commands(inner, f"{name} {word}")
        else:
            yield f"{name} {word}", inner


def command_entry(name: str, command: Command) -> str:
    "One command: what it does, how it is called, its arguments and options."
    usage, rows = [name], []
    for param in command.params:
        if param.hidden or param.name == "help":
            continue
        is_argument = param.param_type_name == "argument"
        value = param.metavar or param.name.upper()
        word = value if is_argument else ", ".join([*param.opts, *param.secondary_opts])
        if param.required:
            usage.append(value if is_argument else f"{param.opts[0]} {value}")
        elif is_argument:
            usage.append(f"[{value}]")
        default = getattr(param.default, "value", param.default)
        is_shown = isinstance(default, (str, int)) and not isinstance(default, bool)
        told = prose(param.help or "") + (f" Without it: `{default}`." if is_shown else "")
        rows.append((code(word), cell(told)))
    if any(row[0].startswith("`-") for row in rows):
        usage.append("[OPTIONS]")
    parts = [f"## {name.removeprefix('domostats ')}", prose(command.help or "")]
    parts.append(f"```sh\n{' '.join(usage)}\n```")
    if command.epilog:
        parts.append(f"For example:\n\n```sh\n{command.epilog}\n```")
    if rows:
        parts.append(table(["argument or option", "what it does"], rows))
    return "\n\n".join(parts)


def prose(text: str) -> str:
    "A help text without the marks of rich."
    text = re.sub(r"\[/?[a-z ]+\]", "", inspect.cleandoc(text))
    return re.sub(r"([<>*])", r"\\\1", text)
