"""A CSV file to Comotion Dash, and the result of a query back: what a process does whose memory and
CPU time are measured as a whole."""

import json

from measure import Clock, cpu_seconds, parameters, peak_rss, resident


def upload(name, path, check_sum):
    "Load a file into a table of its own, and commit it: CPU seconds with and without imports."
    from domostats import dash

    config = dash.DashConfig(dash.Auth(name))
    load = dash.Load(
        config,
        table_name="ours",
        load_as_service_client_id="0",
        track_rows_uploaded=True,
        fresh=True,
        show_progress=False,
    )
    with Clock() as clock:
        load.upload_file(path)
        state = load.commit(check_sum).load_status
    if state != "SUCCESS":
        raise SystemExit(state)
    return clock


def download(name, query, as_arrow):
    """Read the result of a query, and forget it: its bytes (or rows), and by how much the process
    grew from the moment before."""
    from domostats import dash

    config = dash.DashConfig(dash.Auth(name))
    small = dash.Query(config, query_text="select 1 as one")
    small.reader().read_all()  # what is imported late is there from here on
    asked = dash.Query(config, query_text=query)
    asked.wait_to_complete()
    before = resident()
    with Clock() as clock:
        if as_arrow:
            size = sum(batch.num_rows for batch in asked.reader())
        else:
            with asked.get_csv_for_streaming() as result:
                size = sum(map(len, result.stream(524_288)))
    return size, max(0, peak_rss() - before), clock


if __name__ == "__main__":
    asked = parameters()
    if "query" in asked:
        size, growth, clock = download(asked["name"], asked["query"], asked["as_arrow"])
        told = {"size": size, "growth": growth}
    else:
        clock = upload(asked["name"], asked["path"], asked["check_sum"])
        told = {}
    told |= {"seconds": clock.seconds, "work": clock.cpu, "cpu": cpu_seconds(), "rss": peak_rss()}
    print(json.dumps(told))
