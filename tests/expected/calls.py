"""What is expected of the report calls."""

from expected import NUMBER, TEXT, TIME, WHOLE, Expected, utc

CALL_ROWS = [
    {
        "call_obj": {
            "id": "desk-17",
            "at": 1704067200061,
            "method": "POST",
            "path": "/path",
            "status": 429,
            "reason": "rate_limited",
            "seconds": 0.25,
            "bytes": 1234,
            "attempt": 2,
            "rows": 100,
            "budget_left": 99_000,
        }
    },
    {
        "call_obj": {
            "id": "desk-18",
            "at": 1704067200062,
            "method": "GET",
            "path": "/other",
            "status": 200,
            "reason": "",
            "seconds": 2,
            "bytes": 0,
            "attempt": 1,
        }
    },
]

ALL_OF_CALLS = [
    ("id", TEXT, "desk-17", "desk-18"),
    ("at", TIME, utc("2024-01-01 00:00:00.061"), utc("2024-01-01 00:00:00.062")),
    ("method", TEXT, "POST", "GET"),
    ("path", TEXT, "/path", "/other"),
    ("status", WHOLE, 429, 200),
    ("reason", TEXT, "rate_limited", ""),
    ("seconds", NUMBER, 0.25, 2.0),
    ("bytes", WHOLE, 1234, 0),
    ("attempt", WHOLE, 2, 1),
    ("rows", WHOLE, 100, None),
    ("budget_left", WHOLE, 99_000, None),
]

EXPECTED = Expected(
    grain="one attempt of this process",
    platform=None,
    rows=CALL_ROWS,
    columns={"all": ALL_OF_CALLS},
    lists={"call_obj": [row["call_obj"] for row in CALL_ROWS]},
    neighbour={"id": None},
    key_columns={"all": ["id"]},
    calls_of_many=(1, 0),  # who is asking
)
