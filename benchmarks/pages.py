"""Page bytes of made-up users and events, as the API gives them, kept in a file: one page a line,
so that every reader starts from the same bytes."""

import json

from domostats.sandbox.domo.events import make_event
from domostats.sandbox.domo.world import World

SIZE = 1_000
RECORDS = {
    "users": lambda world, n: world.user(n),  # as GET /api/content/v2/users gives them, flat
    "events": make_event,
}  # as GET /api/audit/v1/user-audits gives them, flat
KEYS = {
    "users": ["id", "emailAddress"],
    "events": ["time", "userId", "actionType", "objectType", "eventText"],
}  # compared; never null


def make_pages(folder, kind, rows):
    "The file with this many rows of a kind, made unless it is there; gives its path."
    path = folder / f"{kind}-{rows}.pages"
    if not path.exists():
        world, draft = World(1, rows, 10, 8, 15, 8, rows), path.with_suffix(".draft")
        with open(draft, "wb") as file:
            for first in range(0, rows, SIZE):
                page = [RECORDS[kind](world, n) for n in range(first, min(first + SIZE, rows))]
                file.write(
                    json.dumps(page, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
                )
        draft.replace(path)
    return path
