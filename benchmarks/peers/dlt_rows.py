"""Page bytes to a normalised table with dlt: a resource that yields pages of rows, extract,
normalize to Parquet; no load."""

import json
import tempfile
from pathlib import Path

import dlt
from measure import parameters, read_pages, tell, timed
from pyarrow import dataset


def normalised(pages):
    "A pipeline whose rows wait to be loaded, in a folder of its own."
    place = tempfile.mkdtemp(dir=folder)
    pipeline = dlt.pipeline(
        "benchmark",
        pipelines_dir=place,
        destination=dlt.destinations.filesystem(bucket_url=place),
        dataset_name="benchmark",
    )
    pipeline.extract(
        dlt.resource(map(json.loads, pages), name="records"), loader_file_format="parquet"
    )
    pipeline.normalize()
    return pipeline


asked = parameters()
with tempfile.TemporaryDirectory() as folder:
    pipeline, clock = timed(normalised, list(read_pages(asked["path"], asked["pages"])))
    columns = [pipeline.default_schema.naming.normalize_identifier(key) for key in asked["keys"]]
    table = dataset.dataset(
        [str(path) for path in Path(pipeline.working_dir).rglob("new_jobs/records.*.parquet")]
    ).to_table(columns=columns)
    tell(zip(*(column.to_pylist() for column in table.columns), strict=True), clock)
