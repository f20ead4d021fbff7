"""What is expected of the report dash_queries."""

from expected import TEXT, TIME, Expected, utc

QUERY = {
    "queryId": "00000000-0000-4000-8000-000000000091",
    "state": "FAILED",
    "reason": "TABLE_NOT_FOUND: line 1:15",
    "submittedAt": 1704067200051,
    "completedAt": 1704153600052,
    "query": "select * from nowhere",
}
OTHER_QUERY = {"queryId": "00000000-0000-4000-8000-000000000092"}

ALL_OF_QUERIES = [
    (
        "query_id",
        TEXT,
        "00000000-0000-4000-8000-000000000091",
        "00000000-0000-4000-8000-000000000092",
    ),
    ("state", TEXT, "FAILED", None),
    ("reason", TEXT, "TABLE_NOT_FOUND: line 1:15", None),
    ("submitted_at", TIME, utc("2024-01-01 00:00:00.051"), None),
    ("completed_at", TIME, utc("2024-01-02 00:00:00.052"), None),
    ("query", TEXT, "select * from nowhere", None),
]

EXPECTED = Expected(
    grain="one query that was started on this machine",
    platform="dash",
    rows=[{"query_obj": QUERY}, {"query_obj": OTHER_QUERY}],
    columns={"all": ALL_OF_QUERIES},
    lists={"query_obj": [QUERY, OTHER_QUERY]},
    neighbour={"queryId": None},
    key_columns={"all": ["query_id"]},
    key_fields={"queryId"},
    calls_of_many=(3, 2),  # one signs in
)
