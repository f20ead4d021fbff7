"""What is expected of the report dash_loads."""

from expected import TEXT, TIME, WHOLE, Expected, utc

LOAD = {
    "loadId": "20240101000000_0b6f2c1e",
    "name": "ages",
    "model": "v2",
    "state": "OPEN",
    "record": "open",
    "rows": 53,
    "files": 2,
    "unknownParts": 0,
    "changedAt": 1704067200041,
    "resumeWith": "python load_ages.py",
}
OTHER_LOAD = {"loadId": "20240102000000_9c1f2f8e", "name": "claims"}

ALL_OF_LOADS = [
    ("load_id", TEXT, "20240101000000_0b6f2c1e", "20240102000000_9c1f2f8e"),
    ("name", TEXT, "ages", "claims"),
    ("model", TEXT, "v2", None),
    ("state", TEXT, "OPEN", None),
    ("record", TEXT, "open", None),
    ("rows", WHOLE, 53, None),
    ("files", WHOLE, 2, None),
    ("unknown_parts", WHOLE, 0, None),
    ("changed_at", TIME, utc("2024-01-01 00:00:00.041"), None),
    ("resume_with", TEXT, "python load_ages.py", None),
]

EXPECTED = Expected(
    grain="one load that this machine knows",
    platform="dash",
    rows=[{"load_obj": LOAD}, {"load_obj": OTHER_LOAD}],
    columns={"all": ALL_OF_LOADS},
    lists={"load_obj": [LOAD, OTHER_LOAD]},
    neighbour={"loadId": None},
    key_columns={"all": ["load_id", "name"]},
    key_fields={"loadId", "name"},
    calls_of_many=(2, 1),  # one signs in; of two loads one has ended
)
