"""What a new report has to bring along: a file of expectations, a function that gets each of its
lists, and a sandbox that serves them. Each failure says what to write; CONTRIBUTING.md says how."""

import ast
import re
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest
from expected import FOLDER, expectations

import domostats.clients.domo as domo
from domostats import reports
from domostats.clients.domo.listings import LISTINGS
from domostats.sandbox.domo.routes import ROUTES

CLIENTS = [import_module(f"{domo.__name__}.{found.name}") for found in iter_modules(domo.__path__)]
WITH_A_BODY = {  # they do more than get all of a list, so `retrieves` does not write them
    "get_groups": "GROUPS",
    "get_identity_users": "IDENTITY_USERS",
    "get_activity_log": "ACTIVITY_LOG",
}
NAMES = reports.names()
DOMO = [name for name in reports.names("domo") if name != "calls"]  # which asks for nothing


def listings_of(name):
    "Every list that a report asks for in one of its formats, with those they hang below."
    report = reports.find(name)
    found = [source.listing for source in (report.source, *report.lookups)]
    for listing in found:
        if listing.above is not None and listing.above not in found:
            found.append(listing.above)
    return found


def address(listing):
    "Method and path of a list, with an id where one belongs."
    return f"{listing.method} {listing.path.replace('{}', '1')}"


def test_every_report_has_a_file_of_expectations():
    told = {*expectations()}
    for name in {*NAMES} - told:
        pytest.fail(
            f"The report {name} has no expectations. Write tests/expected/{name}.py by hand: "
            "records as the service sends them, and the rows that you expect of them. "
            "tests/expected/page_people.py is a short one to begin with, and `Expected` in "
            "tests/expected/__init__.py says what each line means."
        )
    for name in told - {*NAMES}:
        pytest.fail(
            f"tests/expected/{name}.py expects a report {name}, and there is none. Run `make "
            f"export`, or call the file like its report: {', '.join(NAMES)}."
        )


@pytest.mark.parametrize("name", expectations())
def test_the_lists_of_the_expectations_are_those_of_the_report(name):
    report, told = reports.find(name), expectations()[name]
    assert told.platform == report.platform
    own = report.source.chain[0].keyword
    wanted = [own, *(lookup.keyword for lookup in report.lookups)]
    assert len(told.lists) == len(wanted) and [*told.lists][1:] == wanted[1:], (
        f"`lists` in tests/expected/{name}.py has {', '.join(told.lists)}, and the report is made "
        f"from {', '.join(wanted)}"
    )


@pytest.mark.parametrize("name", DOMO)
def test_the_sandbox_serves_every_list_of_a_report(name):
    for listing in listings_of(name):
        method, _, path = address(listing).partition(" ")
        served = [verb for verb, pattern in ROUTES if re.fullmatch(pattern, path)]
        assert method in served, (
            f"The sandbox does not serve {method} {listing.path}, which the report {name} asks "
            "for. Write its handler below `@serves(...)` in a notebook of nbs/11_sandbox/domo, and "
            "put it into ROUTES in nbs/11_sandbox/domo/26_routes.ipynb."
        )


@pytest.mark.parametrize("name", DOMO)
def test_every_list_of_a_report_has_a_function_that_gets_all_of_it(name):
    by_hand = [
        vars(module)[constant]
        for function, constant in WITH_A_BODY.items()
        for module in CLIENTS
        if function in vars(module)
    ]
    assert len(by_hand) == len(WITH_A_BODY)
    known = [*LISTINGS.values(), *by_hand]
    for listing in listings_of(name):
        assert any(listing is one for one in known), (
            f"No function gets all of {address(listing)}, which the report {name} asks for. Write "
            "one below `@retrieves(...)` beside the listing in nbs/03_clients/domo; one with a "
            "body of its own goes into WITH_A_BODY in tests/test_expected.py."
        )


@pytest.mark.parametrize("function", sorted(LISTINGS))
def test_the_sandbox_serves_every_list_that_a_function_gets(function):
    method, _, path = address(LISTINGS[function]).partition(" ")
    assert any(method == verb and re.fullmatch(pattern, path) for verb, pattern in ROUTES), (
        f"{function} gets {method} {path}, and the sandbox does not serve it: add its handler to "
        "ROUTES in nbs/11_sandbox/domo/26_routes.ipynb"
    )


def test_every_report_is_named_for_editors():
    tree = ast.parse(Path(reports.__file__).read_text(encoding="utf-8"))
    blocks = [node for node in tree.body if isinstance(node, ast.If)]
    named = [
        alias.name
        for node in ast.walk(blocks[0])
        if isinstance(node, ast.ImportFrom) and node.module == "domostats.reports"
        for alias in node.names
    ]
    assert named == NAMES, (
        "An editor knows the reports by the imports below `if TYPE_CHECKING` in "
        f"nbs/05_reports/00_reports.ipynb; they differ in {', '.join({*named} ^ {*NAMES})}"
    )


def test_expectations_are_written_by_hand():
    for path in FOLDER.glob("*.py"):
        assert not re.search(r"^\s*(from|import) domostats", path.read_text(), re.M), path
