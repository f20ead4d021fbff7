"""A sandbox of the platform of a report, in which the report has rows."""

from contextlib import contextmanager

import pandas as pd

from domostats import dash, sandbox


@contextmanager
def started(platform, domo=None, datorama=None):
    "A running sandbox of a platform (None: any), with these arguments where it is of that one."
    if platform == "dash":
        with sandbox.start_dash("platforms", load_polls=0, queued_polls=0, running_polls=0) as box:
            use_lake(box)
            yield box
        return
    if platform == "datorama":
        with sandbox.start_datorama(**(datorama or {})) as box:
            yield box
        return
    with sandbox.start(**(domo or {})) as box:
        yield box


def use_lake(box):
    "Make two loads, of which one is left open, and two queries, of which one failed."
    config = dash.DashConfig(dash.Auth(box.name))
    options = {"load_as_service_client_id": "0", "track_rows_uploaded": True}
    load = dash.Load(config, table_name="ages", **options)
    load.upload_df(pd.DataFrame({"id": [1, 2]}))
    load.commit()
    dash.Load(config, table_name="claims", **options).close()
    for text in ("select 1", "select * from nowhere"):
        dash.Query(config, query_text=text).wait_to_complete()
