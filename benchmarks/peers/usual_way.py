"""Page bytes to a table, the usual way of a notebook: json.loads of all pages into one list, then
one pandas.DataFrame."""

import json

import pandas
from measure import parameters, read_pages, tell, timed


def table(pages):
    records = []
    for page in pages:
        records.extend(json.loads(page))
    return pandas.DataFrame(records)


asked = parameters()
frame, clock = timed(table, list(read_pages(asked["path"], asked["pages"])))
tell(frame[asked["keys"]].itertuples(index=False), clock)
