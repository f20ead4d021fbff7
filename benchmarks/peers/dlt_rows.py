"""Pages to a normalised table with dlt: extract and normalize, Parquet."""
import json
import sys
import tempfile
from pathlib import Path

import dlt

sys.path.insert(0, str(Path(__file__).parent.parent))
from pages import pages  # noqa: E402
from measured import measured  # noqa: E402

MADE = pages(json.loads(sys.argv[1])["rows"])


@dlt.resource(name="events")
def events():
    for page in MADE:
        yield json.loads(page)


def rows(asked):
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline("benchmark", pipelines_dir=folder, destination="filesystem", dataset_name="events")
        pipeline.extract(events(), loader_file_format="parquet")
        pipeline.normalize()
        return pipeline.last_trace.last_normalize_info.row_counts["events"]


measured(rows)
