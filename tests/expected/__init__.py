"""What is expected of each report: one file a report, `tests/expected/<report>.py`, by hand.

A file makes one `EXPECTED = Expected(...)`. Every test that goes through all reports reads it, so a
new report needs this file and no other change of a test. Nothing in it is taken from the package:
the records are those that the service sends, the rows and calls what you worked out from them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cache
from importlib import import_module
from pathlib import Path

TEXT, WHOLE, NUMBER, TRUTH, TIME = "string", "Int64", "float64", "boolean", "datetime64[us, UTC]"
HERE = "{the address of the instance}"  # in a link
SIZES = {  # of the sandboxes in which calls are counted
    "nothing": {"users": 3, "accounts": 0, "groups": 0, "datasets": 0, "pages": 0, "events": 0},
    "a lesson": {},
    "full pages": {
        "users": 100,
        "accounts": 40,
        "groups": 100,
        "datasets": 100,
        "pages": 100,
        "events": 1000,
    },
}
MANY = {"users": 230, "groups": 130, "datasets": 130, "pages": 130, "events": 2500}


def utc(text: str) -> datetime:
    "A moment, written in UTC."
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What is expected of one report.

    Choose the records so that every value is another one: a column that is made from the wrong
    field is seen then. One record has everything, and one has its key only."""

    grain: str
    "What one row is, as the report says it."

    rows: Sequence[Mapping[str, dict | None]]
    """For each row the records it is made from, by keyword of the source or lookup. What the row
    type reads by a path has our name there, in camelCase; `lists` and `replies` are as the service
    sends them."""

    columns: Mapping[str, Sequence[tuple]]
    """The columns of each format: name, type, and the value in each of `rows`. The usual format
    stands first. Rows that only a lookup has stand last, and some formats have none of them."""

    lists: Mapping[str, list]
    "The same records as a service lists them, by keyword; the report's own source stands first."

    neighbour: object
    """Something odd that may stand in the list beside them: it makes no row, or one without a
    readable key, and harms no other."""

    key_columns: Mapping[str, list[str] | None]
    "The columns that hold the key in each format; None where a format does not have all of it."

    calls_of_many: tuple[int, int]
    """The calls that the usual format makes in a sandbox of the size `MANY`, and those estimated.
    Three tell who asks and what that user may see."""

    replies: Mapping[str, object] = field(default_factory=dict)
    "The replies that the rows are made from, by path."

    calls: Mapping[str, Mapping[str, tuple[int, int]]] = field(default_factory=dict)
    """For each of `SIZES` and each format of a report of Domo: the calls of a run, and how many
    more are estimated. Two calls tell what the user may see. A list without a total ends behind
    two pages that bring nothing. One call each is a share or a detail."""

    recorded: Mapping[str, str] = field(default_factory=dict)
    """Replies that were recorded: by the path of a list, the file in `tests/fixtures/domo`, in
    which no value is a real one. What the sandbox sends there has the same keys and types."""

    platform: str | None = "domo"
    "The platform whose data it is; None for any."

    needs: tuple[str, ...] = ()
    "One of these grants is enough to see all of it. Recorded: without them some is left out."

    guessed: tuple[str, ...] = ()
    """The same, by the title of the grants only: nobody has seen a list that was shorter without
    them."""

    refused: bool = False
    "Whether the service refuses the list to who has none of `needs`, instead of shortening it."

    all_and_own: tuple[int, int] | None = None
    """How many rows a sandbox of the usual size has, and how many of them are Ian's, who has no
    grant for those of others. Wanted where `needs` shortens the list."""

    refusing: str = ""
    "The path of a list that, when it is refused, makes the report say which grants it needs."

    narrowed_by: Collection[str] = frozenset()
    "Which of `since` and `until` the service can narrow the usual format by."

    key_fields: Collection[str] = frozenset()
    """The service's names of the fields from which a key is made, and of the lists in which the
    records stand: an odd value there may cost a row."""

    joined_by: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    "For some formats, of columns that are made from a lookup: the columns with its id."

    always_empty: Mapping[tuple[str, str], str] = field(default_factory=dict)
    "The reason why a column is always empty, by format and column."

    alike: Collection[str] = frozenset()
    "Columns that are another one again, made from the same field."

    left_out: Collection[str] = frozenset()
    "The service's names of fields that no format has."


FOLDER = Path(__file__).resolve().parent


@cache
def expectations() -> dict[str, Expected]:
    "What is expected of each report that has a file here, by its name."
    found = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
    return {name: import_module(f"expected.{name}").EXPECTED for name in found}
