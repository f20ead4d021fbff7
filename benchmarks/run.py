"""All benchmarks side by side in one run: python benchmarks/run.py [--small]. Prints a table, writes out/results.md and out/results.svg, exits 1 if a promise is not kept."""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
SMALL = "--small" in sys.argv
USERS, ROWS, DLT_ROWS, EVENTS, TIMES = (20_000, 100_000, 20_000, (30_000, 100_000), 3) if SMALL else (200_000, 1_000_000, 100_000, (300_000, 1_000_000), 5)
PEERS = {"pydomo": ["pydomo==0.3.0.16", "pandas"], "domolibrary": ["domolibrary==4.5.28"], "dlt": ["dlt==1.31.0", "pyarrow"]}
ATTRIBUTES = "id,displayName,emailAddress,userName,title,department,roleId,created,modified"


def python_of(peer):
    "The interpreter of a peer, in an environment of its own that is made once."
    folder = ROOT / ".venv-bench" / peer
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / "ready").exists():
        print(f"setting up {peer}", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PEERS[peer]], check=True)
        (folder / "ready").touch()
    return python


def run(script, asked, python=sys.executable):
    "One run of a client in a process of its own: what it measured."
    done = subprocess.run([python, HERE / "peers" / script, json.dumps(asked)], capture_output=True, text=True, cwd=tempfile.gettempdir())
    if done.returncode:
        sys.exit(f"{script} failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def server(**sizes):
    "A sandbox in a process of its own; where it is, and how to get in."
    with subprocess.Popen([sys.executable, HERE / "server.py", json.dumps(sizes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait()


def fetched():
    "200 000 users at 50 ms: seconds of each client, medians; the first run of each warms the server and proves that the rows are the same."
    clients = {"pydomo": ("pydomo_users.py", python_of("pydomo")), "domolibrary": ("domolibrary_users.py", python_of("domolibrary")), "domostats": ("ours_users.py", sys.executable)}
    with server(users=USERS, latency=50) as place:
        asked = place | {"attributes": ATTRIBUTES}
        hashes = {name: run(script, asked, python)["hash"] for name, (script, python) in clients.items()}
        same(hashes)
        times = {name: [] for name in clients}
        for _ in range(TIMES):
            for name, (script, python) in clients.items():
                times[name].append(run(script, asked, python)["wall"])
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def same(hashes):
    if len(set(hashes.values())) != 1:
        sys.exit(f"the clients did not get the same rows: {hashes}")


def tabled():
    "Page bytes to a table: microseconds of CPU a row, medians."
    clients = {"json.loads + DataFrame": ("usual_rows.py", sys.executable, ROWS), "dlt": ("dlt_rows.py", python_of("dlt"), DLT_ROWS), "domostats": ("ours_rows.py", sys.executable, ROWS)}
    same({name: run(script, {"rows": DLT_ROWS}, python)["hash"] for name, (script, python, _) in clients.items() if name != "dlt"})
    times = {name: [] for name in clients}
    for _ in range(TIMES):
        for name, (script, python, rows) in clients.items():
            done = run(script, {"rows": rows}, python)
            if done["rows"] != rows:
                sys.exit(f"{name} made {done['rows']} rows of {rows}")
            times[name].append(done["cpu"] / rows * 1e6)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def remembered():
    "Peak memory in MB for few and for many events, by destination, medians."
    peaks = {}
    for events in EVENTS:
        with server(events=events) as place:
            for to in ("arrow", "parquet", "duckdb"):
                done = [run("ours_memory.py", place | {"to": to}) for _ in range(1 if SMALL else 3)]
                if {one["rows"] for one in done} != {events}:
                    sys.exit(f"{to}: {done[0]['rows']} events of {events}")
                peaks.setdefault(to, []).append(statistics.median(one["peak"] for one in done) / 1e6)
    return peaks


def imported():
    "Seconds of a fresh interpreter for an import, less those of one that imports nothing, medians."
    def seconds(code):
        timed = "import time; s = time.perf_counter(); exec(%r); print(time.perf_counter() - s)" % code
        return float(subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True, check=True).stdout)
    codes = {"pandas": "import pandas", "domostats": "import domostats"}
    for code in codes.values():
        seconds(code)
    times = {name: [] for name in codes}
    for _ in range(11):
        for name, code in codes.items():
            times[name].append(seconds(code))
    return {name: statistics.median(one) for name, one in times.items()}


def results():
    "Every line: what, ours, theirs, the ratio, the promise, whether it is kept."
    users, rows, memory, imports = fetched(), tabled(), remembered(), imported()
    lines = [(f"{USERS} users at 50 ms, seconds, against {peer}", users["domostats"], users[peer], users[peer] / users["domostats"], ">=", 5) for peer in ("pydomo", "domolibrary")]
    lines += [(f"a row to a table, microseconds of CPU, against {peer}", rows["domostats"], rows[peer], rows[peer] / rows["domostats"], ">=", least)
              for peer, least in (("json.loads + DataFrame", 2.5), ("dlt", 10))]
    lines += [(f"{EVENTS[1]} events to {to}, peak MB, against {EVENTS[0]}", many, few, many / few, "<=", 1.15) for to, (few, many) in memory.items()]
    lines += [("import, seconds, against pandas", imports["domostats"], imports["pandas"], imports["domostats"] / imports["pandas"], "<=", 1 / 3)]
    return [(*line, line[3] >= line[5] if line[4] == ">=" else line[3] <= line[5]) for line in lines]


def table_of(lines):
    "The lines as a table in Markdown."
    head = ["| what | ours | theirs | ratio | promised | |", "|---|---|---|---|---|---|"]
    return "\n".join(head + [f"| {what} | {ours:.3g} | {theirs:.3g} | {ratio:.2f} | {sign} {bound:.3g} | {'kept' if kept else 'NOT KEPT'} |" for what, ours, theirs, ratio, sign, bound, kept in lines])


def draw(lines, path):
    "A chart of the ratios, each beside its promise."
    import matplotlib
    matplotlib.use("svg")
    import matplotlib.pyplot as plt
    figure, axes = plt.subplots(figsize=(9, 0.6 * len(lines) + 1))
    axes.barh([line[0] for line in lines], [line[3] for line in lines], color=["#4878a8" if line[6] else "#c0504d" for line in lines])
    axes.plot([line[5] for line in lines], range(len(lines)), "k|", markersize=18, label="promised")
    axes.set_xscale("log")
    axes.set_xlabel("ratio (more is better for >=, less for <=)")
    axes.invert_yaxis()
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)


if __name__ == "__main__":
    os.environ["XDG_STATE_HOME"] = tempfile.mkdtemp()
    lines = results()
    out = HERE / "out"
    out.mkdir(exist_ok=True)
    (out / "results.md").write_text(table_of(lines) + "\n")
    draw(lines, out / "results.svg")
    print(table_of(lines))
    print(f"written: {(out / 'results.md').relative_to(ROOT)}, {(out / 'results.svg').relative_to(ROOT)}")
    sys.exit(not all(line[6] for line in lines))
