"""Pages to a typed, formatted table with domostats, as a run does it: parsed, checked, its columns made. Without the key that we add to an event, which no peer makes."""
import dataclasses
import json
import sys
from pathlib import Path

from measured import measured

from domostats.clients.domo.activity import ACTIVITY_LOG
from domostats.reports.activity_log import Event
from domostats.reports.report import Report, Source
from domostats.transport.paging import Page

sys.path.insert(0, str(Path(__file__).parent.parent))
from pages import pages  # noqa: E402

MADE = pages(json.loads(sys.argv[1])["rows"])
Plain = dataclasses.make_dataclass("Plain", [(field.name, field.type, field) for field in dataclasses.fields(Event) if field.name != "event_key"])
REPORT = Report("benchmark", "one event", "time", Source("event_obj", ACTIVITY_LOG, Plain))


def rows(asked):
    return REPORT.over(REPORT.fields, {"event_obj": (Page(n, page, 0) for n, page in enumerate(MADE, 1))}).table


measured(rows, ids=lambda table: [round(moment.timestamp() * 1000) for moment in table["time"].to_pylist()])
