"""Page bytes to a typed, formatted table with domostats, as a run does it: parsed, checked against
the row type, columns made. An event without the key that a report adds to it, since nobody else
makes one."""

from dataclasses import dataclass, fields, make_dataclass

from measure import parameters, read_pages, tell, timed

from domostats.clients.domo.activity import ACTIVITY_LOG
from domostats.clients.domo.users import USERS
from domostats.reports.activity_log import EventRecord
from domostats.reports.declaration import Source
from domostats.reports.report import Report
from domostats.rows.rowtype import Millis, Seconds, TextId
from domostats.transport.pages import Page


@dataclass
class User:
    "A user of the flat list."

    id: TextId
    invitor_user_id: TextId | None = None
    display_name: str | None = None
    user_name: str | None = None
    email_address: str | None = None
    accepted: bool | None = None
    user_type: str | None = None
    avatar_key: str | None = None
    time_zone: str | None = None
    locale: str | None = None
    modified: Millis | None = None
    created: Seconds | None = None
    role: str | None = None
    role_id: TextId | None = None
    rights: int | None = None
    active: bool | None = None
    pending: bool | None = None
    anonymous: bool | None = None
    system_user: bool | None = None
    title: str | None = None
    department: str | None = None
    employee_id: str | None = None
    employee_number: str | None = None
    employee_location: str | None = None
    alternate_email: str | None = None
    phone_number: str | None = None
    desk_phone_number: str | None = None
    hire_date: Millis | None = None
    reports_to: TextId | None = None


PlainEvent = make_dataclass(
    "PlainEvent",
    [(field.name, field.type, field) for field in fields(EventRecord) if field.name != "event_key"],
)
SOURCES = {"users": Source("obj", USERS, User), "events": Source("obj", ACTIVITY_LOG, PlainEvent)}


def table(pages):
    report = Report(
        "benchmark", "one record", "id" if source is SOURCES["users"] else "time", source
    )
    return report.over(
        report.fields, {"obj": (Page(n, page, 0) for n, page in enumerate(pages, 1))}
    ).table


asked = parameters()
source = SOURCES["users" if "id" in asked["keys"] else "events"]
made, clock = timed(table, list(read_pages(asked["path"], asked["pages"])))


def plain(name):
    """A column as it was in the pages: snake case back to camel case, a moment in milliseconds, an
    id as a number."""
    column = made["".join("_" + letter.lower() if letter.isupper() else letter for letter in name)]
    if name == "time":
        return (round(moment.timestamp() * 1000) for moment in column.to_pylist())
    return map(int, column.to_pylist()) if name == "id" else column.to_pylist()


tell(zip(*map(plain, asked["keys"]), strict=True), clock)
