"""A CSV file of three million rows to Comotion Dash (the sandbox, in a process of its own), and a
large result back: `python benchmarks/ours_upload.py [ROWS]` prints one line of JSON."""

import contextlib
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from measure import Clock

SERVER = """
import sys
from domostats import sandbox
box = sandbox.start_dash(org="bench")
print(box.name, flush=True)
sys.stdin.read()
"""


def write_rows(path, count):
    "A file of seven columns: whole numbers, fractions, texts and days."
    with path.open("w") as file:
        file.write("id,policy_number,name,age,salary,region,effective_date\n")
        for n in range(count):
            file.write(
                f"{n},P-{n:07},name{n % 9999},{20 + n % 50},{n % 90000 / 4 + 10000:.2f},"
                f"r{n % 9},2024-0{1 + n % 9}-1{n % 9}\n"
            )


@contextlib.contextmanager
def sandbox_elsewhere():
    "The name of a sandbox that runs in another process."
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        yield server.stdout.readline().strip()
    finally:
        server.stdin.close()
        server.wait()


def peak():
    "The most memory that this process has held, in megabytes."
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(count):
    from domostats import dash

    with tempfile.TemporaryDirectory() as folder, sandbox_elsewhere() as name:
        path = Path(folder) / "rows.csv"
        write_rows(path, count)
        config = dash.DashConfig(dash.Auth(name))
        with Clock() as clock:
            load = dash.Load(
                config,
                table_name="policies",
                load_as_service_client_id="0",
                track_rows_uploaded=True,
                fresh=True,
                show_progress=False,
            )
            load.upload_file(path)
            load.commit()
        found = {
            "rows": count,
            "megabytes": round(path.stat().st_size / 1e6),
            "seconds": round(clock.seconds, 1),
            "cpu": round(clock.cpu, 1),
            "rows_per_cpu_second": round(count / clock.cpu),
            "peak_mb": round(peak()),
        }
        query = dash.Query(config, query_text="select * from policies")
        query.wait_to_complete()
        before = peak()
        size = 0
        with query.get_csv_for_streaming() as result:
            for piece in result.stream(524_288):
                size += len(piece)
        found |= {"result_mb": round(size / 1e6), "growth_mb": round(peak() - before, 1)}
        print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3_000_000)
