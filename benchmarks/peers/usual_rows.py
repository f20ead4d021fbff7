"""Pages to a table the usual way: all of json.loads in one list, then one DataFrame."""
import json
import sys
from pathlib import Path

import pandas

sys.path.insert(0, str(Path(__file__).parent.parent))
from pages import pages  # noqa: E402
from measured import measured  # noqa: E402

MADE = pages(json.loads(sys.argv[1])["rows"])


def rows(asked):
    records = []
    for page in MADE:
        records += json.loads(page)
    return pandas.DataFrame(records)


measured(rows, ids=lambda frame: frame["time"].tolist())
