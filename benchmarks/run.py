"""The benchmarks, side by side with the peers, in one run: `python benchmarks/run.py [fetch]
[table] [memory] [imports] [tracking] [upload] [bigquery] [engines]`. Exit code 1 when a target is
missed.

Results go to benchmarks/out: results.md, results.json and chart.svg. See README.md beside this
file."""

import compileall
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import unittest.mock
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
import venvs
from measure import Clock, environment, peak, run
from pages import KEYS, SIZE, make_pages
from rich.console import Console
from rich.progress import track
from rich.table import Table

HERE = Path(__file__).resolve().parent
OUT, OURS = HERE / "out", "domostats"
PAGE = 500  # users a page, for every client
WANTED = {
    "attributes": (
        "id,displayName,emailAddress,roleId,title,department,isActive,created,lastActivity"
    )
}  # of the identity list, for every client of it
FETCH = {
    "pydomo": "peers/pydomo_users.py",
    "domolibrary": "peers/domolibrary_users.py",
    OURS: "ours_users.py",
}
COMMANDS = {"sqlite-utils": "sqlite_utils", OURS: "domostats"}  # as `python -m` knows them
TABLE = {"usual": "peers/usual_way.py", "dlt": "peers/dlt_rows.py", OURS: "ours_rows.py"}
UPLOAD = {"comotion-sdk": "peers/comotion_upload.py", OURS: "ours_upload.py"}
DESTINATIONS = "arrow", "parquet", "duckdb"  # of ours_events.load


@dataclass
class Row:
    """One line of the results: medians. `rate` is rows per wall second (fetch) or per CPU second
    (table, upload); `rss` in bytes."""

    benchmark: str
    who: str
    rows: int = 0
    seconds: float = 0
    cpu: float = 0
    rate: float = 0
    rss: int = 0


@dataclass
class Target:
    """What is promised: `value` against `bound`; value None is not measured. `at_most` turns the
    comparison round."""

    what: str
    value: float | None
    bound: float
    at_most: bool = False

    @property
    def met(self):
        return self.value is not None and (
            self.value <= self.bound if self.at_most else self.value >= self.bound
        )

    def __str__(self):
        return (
            f"{self.what}: {'not measured' if self.value is None else f'{self.value:.2f}'} "
            f"({'at most' if self.at_most else 'at least'} {self.bound:.3g})"
        )


def entries(scripts):
    """Who takes part, as name -> (python, script): those whose script is there, each in an
    environment of its own."""
    there = {who: HERE / script for who, script in scripts.items() if (HERE / script).exists()}
    return {who: (venvs.make(who), script) for who, script in there.items()}


def agree(results):
    "Stop when two of these results hold other rows: their times could not be compared."
    if len({(result["rows"], result["hash"]) for result in results.values()}) > 1:
        raise SystemExit(
            "The rows differ: "
            f"{ {who: (result['rows'], result['hash']) for who, result in results.items()} }"
        )
    return next(iter(results.values()))


def medians(what, calls, runs, expected):
    """Each call `runs` times, turn by turn, so that a busy minute hits everybody; name -> result
    with the medians. Every result must be the expected one."""
    seen = {who: [] for who in calls}
    for who in track(
        [who for _ in range(runs) for who in calls], what, console=Console(stderr=True)
    ):
        result = calls[who]()
        agree({"expected": expected[who], who: result})
        seen[who].append(result)
    return {
        who: {
            **results[0],
            **{
                name: statistics.median(result[name] for result in results)
                for name in ("seconds", "cpu")
            },
        }
        for who, results in seen.items()
    }


@contextlib.contextmanager
def serving(script="server.py", state=None, **world):
    """A sandbox in a process of its own, as the dict that its script prints. Its notes go to a
    folder of their own, or to `state`."""
    with tempfile.TemporaryDirectory() as own:
        server = subprocess.Popen(
            [sys.executable, HERE / script, json.dumps(world)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment(), "XDG_STATE_HOME": state or own},
        )
        try:
            yield json.loads(server.stdout.readline())
        finally:
            server.stdin.close()
            server.wait(timeout=30)


def faster(rows, who, peer):
    "The rate of one row over that of another, or None when one of them is missing."
    return rows[who].rate / rows[peer].rate if who in rows and peer in rows else None


def fetch(users, latency, runs):
    "All users of an instance, at this latency; rows per wall second."
    with serving(
        users=users + 1, latency=latency / 1000
    ) as box:  # user 0 is the system's own and not among these
        calls = {
            who: lambda entry=entry: run(*entry, page=PAGE, wanted=WANTED, **box)
            for who, entry in entries(FETCH).items()
        }
        first = {
            who: call()
            for who, call in track(calls.items(), "fetch, compared", console=Console(stderr=True))
        }  # the sandbox has every page ready from here on
        if agree(first)["rows"] != users:
            raise SystemExit(f"All have {agree(first)['rows']} users, there are {users}.")
        found = medians("fetch", calls, runs, first)
    rows = {
        who: Row(
            "fetch", who, one["rows"], one["seconds"], one["cpu"], one["rows"] / one["seconds"]
        )
        for who, one in found.items()
    }
    return list(rows.values()), [
        Target(f"fetch, times faster than {peer}", faster(rows, OURS, peer), 5)
        for peer in ("pydomo", "domolibrary")
    ]


def table(count, few, runs):
    "Page bytes to a table; rows per CPU second. dlt gets `few` rows."
    rows = {}
    for kind in KEYS:
        path, part = make_pages(OUT, kind, count), min(few, count)

        def call(entry, size):
            return lambda: run(*entry, path=str(path), pages=size // SIZE, keys=KEYS[kind])

        sizes = {who: part if who == "dlt" else count for who in entries(TABLE)}
        agree({who: call(entry, part)() for who, entry in entries(TABLE).items()})
        first = {who: call(entry, sizes[who])() for who, entry in entries(TABLE).items()}
        agree({who: one for who, one in first.items() if who != "dlt"})
        found = medians(
            f"table, {kind}",
            {who: call(entry, sizes[who]) for who, entry in entries(TABLE).items()},
            runs,
            first,
        )
        rows |= {
            (kind, who): Row(
                f"table, {kind}",
                who,
                one["rows"],
                one["seconds"],
                one["cpu"],
                one["rows"] / one["cpu"],
            )
            for who, one in found.items()
        }
    return list(rows.values()), [
        Target(
            f"table, events, times the rows per CPU second of {peer}",
            faster(rows, ("events", OURS), ("events", peer)),
            bound,
        )
        for peer, bound in (("usual", 2.5), ("dlt", 10))
    ]


def memory(few, many, runs):
    """Peak memory of a whole activity log, read on the way of a report, for each destination: it
    should not grow with the rows."""
    rows = {}
    for events in (few, many):
        with serving(events=events) as box:
            for _ in track(range(runs), f"memory, {events}", console=Console(stderr=True)):
                for to in DESTINATIONS:
                    rows.setdefault((to, events), []).append(
                        peak("ours_events:load", box["url"], box["access_token"], to)
                    )
    for (to, events), found in rows.items():
        if {one["value"] for one in found} != {events}:
            raise SystemExit(f"{to} got {found[0]['value']} events of {events}.")
        seconds, cpu, rss = (
            statistics.median(one[name] for one in found) for name in ("seconds", "cpu", "rss")
        )
        rows[to, events] = Row(
            f"memory, {events} events to {to}",
            OURS,
            events,
            seconds,
            cpu,
            events / seconds,
            int(rss),
        )
    return list(rows.values()), [
        Target(
            f"memory, {to}, peak of {many} events over that of {few}",
            rows[to, many].rss / rows[to, few].rss,
            1.15,
            at_most=True,
        )
        for to in DESTINATIONS
    ]


def imports(runs):
    """Seconds of an import in a fresh interpreter, of the import alone; and CPU seconds of
    `--help`, of the whole process, beside a command of the same kind."""

    def once(module):
        code = (
            f"import time; begun = time.perf_counter(); import {module}; "
            "print(time.perf_counter() - begun)"
        )
        return float(
            subprocess.run(
                [sys.executable, "-c", code],
                capture_output=True,
                text=True,
                check=True,
                env=environment(),
            ).stdout
        )

    modules = {
        OURS: "domostats",
        "a first report": "domostats.reports.accounts",
        "pandas": "pandas",
    }
    for module in modules.values():
        once(module)  # the byte code is there from here on
    seen = {who: [] for who in modules}
    for who in track([*modules] * runs, "imports", console=Console(stderr=True)):
        seen[who].append(once(modules[who]))
    rows = {
        who: Row("imports", who, seconds=statistics.median(times)) for who, times in seen.items()
    }
    shown = helps(runs)
    return [*rows.values(), *shown.values()], [
        Target(
            "import of domostats over that of pandas",
            rows[OURS].seconds / rows["pandas"].seconds,
            1 / 3,
            at_most=True,
        ),
        Target(
            "CPU seconds of domostats --help over that of sqlite-utils --help",
            shown[OURS].cpu / shown["sqlite-utils"].cpu,
            1.5,
            at_most=True,
        ),
    ]


def helps(runs):
    "Row by name: wall and CPU seconds of `--help` of each command, turn by turn."
    pythons = {who: venvs.make(who) for who in COMMANDS}

    def once(who):
        with Clock() as clock:
            subprocess.run(
                [pythons[who], "-m", COMMANDS[who], "--help"],
                stdout=subprocess.DEVNULL,
                check=True,
                env=environment(),
            )
        return clock

    for who in COMMANDS:
        once(who)  # the byte code is there from here on
    seen = {who: [] for who in COMMANDS}
    for who in track([*COMMANDS] * runs, "--help", console=Console(stderr=True)):
        seen[who].append(once(who))
    return {
        who: Row(
            "--help",
            who,
            seconds=statistics.median(one.seconds for one in clocks),
            cpu=statistics.median(one.cpu for one in clocks),
        )
        for who, clocks in seen.items()
    }


def tracking(count, days, few, runs):
    """Daily snapshots of a table of which one row in a hundred changes; an extract of one day; a
    delta view."""

    def of(*words):
        return json.loads(
            subprocess.run(
                [sys.executable, HERE / "ours_tracking.py", *map(str, words)],
                capture_output=True,
                text=True,
                check=True,
                env=environment(),
            ).stdout
        )

    console = Console(stderr=True)
    kept = of("history", count, days + 1)
    second, last = [
        statistics.median(kept["seconds"][place]) for place in (slice(1, 4), slice(-3, None))
    ]
    peaks = {
        size: statistics.median(
            peak("ours_tracking:extract", size)["rss"]
            for _ in track(range(runs), f"extract, {size}", console=console)
        )
        for size in (few, count)
    }
    view = of("delta", 3000, 201)
    rows = [
        Row("history, a snapshot", "the 2nd day", count, second, rate=count / second),
        Row("history, a snapshot", f"day {days + 1}", count, last, rate=count / last),
        *(
            Row(f"extract of a day of {size} events", OURS, size, rss=int(rss))
            for size, rss in peaks.items()
        ),
        Row("3000 days, read", "the table", 3000, view["scan"], rate=3000 / view["scan"]),
        Row("3000 days, read", "its delta view", 3000, view["view"], rate=3000 / view["view"]),
    ]
    return rows, [
        Target(
            f"history, time of snapshot {days + 1} over that of the 2nd",
            last / second,
            1.2,
            at_most=True,
        ),
        Target(
            f"history, space of {days} days over that of one",
            kept["sizes"][-1] / kept["sizes"][0],
            3,
            at_most=True,
        ),
        Target(
            f"extract, peak of {count} events over that of {few}",
            peaks[count] / peaks[few],
            1.25,
            at_most=True,
        ),
        Target(
            "delta view, time over that of a scan of its table",
            view["view"] / view["scan"],
            3,
            at_most=True,
        ),
    ]


def write_policies(path, count):
    "A file of seven columns: whole numbers, fractions, texts and days."
    with path.open("w") as file:
        file.write("id,policy_number,name,age,salary,region,effective_date\n")
        for n in range(count):
            file.write(
                f"{n},P-{n:07},name{n % 9999},{20 + n % 50},{n % 90000 / 4 + 10000:.2f},"
                f"r{n % 9},2024-0{1 + n % 9}-1{n % 9}\n"
            )


def upload(count, runs):
    """A CSV file of so many rows to Comotion Dash, committed with check sums over its columns, and
    the result of a query of 70 bytes a row; all of each process, imports too."""
    seen = {who: [] for who in UPLOAD}
    grown = {}
    # pip compiles what it installs, so the peer is compiled; of ours this folder is read
    compileall.compile_dir(HERE.parent / OURS, quiet=1)
    with (
        tempfile.TemporaryDirectory() as folder,
        unittest.mock.patch.dict(os.environ, {"XDG_STATE_HOME": folder}),
    ):
        path = Path(folder) / "policies.csv"
        write_policies(path, count)
        sums = {
            "count(*)": count,
            "sum(id)": count * (count - 1) // 2,
            "count(distinct policy_number)": count,
            "max(region)": "r8",
        }
        with serving("dash_server.py", folder) as box:
            who_and_entry = [*entries(UPLOAD).items()]
            for who, entry in track(who_and_entry * runs, "upload", console=Console(stderr=True)):
                seen[who].append(run(*entry, path=str(path), check_sum=sums, **box))
            asked = f"select *, policy_number as again from ours limit {count}"
            for what in ("csv", "arrow"):
                grown[what] = run(
                    sys.executable,
                    HERE / UPLOAD[OURS],
                    name=box["name"],
                    query=asked,
                    as_arrow=what == "arrow",
                )
    rows = {
        who: Row(
            "upload",
            who,
            count,
            *(statistics.median(one[name] for one in found) for name in ("seconds", "cpu")),
            rss=int(statistics.median(one["rss"] for one in found)),
        )
        for who, found in seen.items()
    }
    for row in rows.values():
        row.rate = count / row.cpu
    results = [
        Row(f"result as {what}", OURS, count, one["seconds"], one["work"], rss=one["rss"])
        for what, one in grown.items()
    ]
    megabytes = grown["csv"]["size"] / 1e6
    ours, theirs = rows[OURS], rows["comotion-sdk"]
    return [*rows.values(), *results], [
        Target("upload, peak over that of comotion-sdk", ours.rss / theirs.rss, 1 / 3, True),
        Target(
            "upload, times the rows per CPU second of comotion-sdk",
            faster(rows, OURS, "comotion-sdk"),
            2,
        ),
        Target(
            f"a result of {megabytes:.0f} MB as CSV, MB of growth",
            grown["csv"]["growth"] / 1e6,
            20,
            True,
        ),
    ]


def to_bigquery(few, many, runs):
    """A day of so many events into a table of the sandbox's BigQuery, which is a process of its
    own: as the rows of a report, and as those of an extractor. The peak memory of the whole
    process that writes, imports too, should not grow with them."""
    rows, targets = [], []
    ways = {
        "load": ("a day of {} events to BigQuery", "to BigQuery"),
        "export": ("export of a day of {} events to BigQuery", "export to BigQuery"),
    }
    with serving("bigquery_server.py") as box:
        for way, (what, short) in ways.items():
            seen = {few: [], many: []}
            sizes = [*seen] * runs
            for count in track(sizes, f"bigquery, {way}", console=Console(stderr=True)):
                found = run(sys.executable, HERE / "ours_bigquery.py", way=way, count=count, **box)
                if found["rows"] != count:
                    raise SystemExit(f"BigQuery got {found['rows']} events of {count}.")
                seen[count].append(found)
            peaks = {}
            for count, found in seen.items():
                seconds, cpu, peaks[count] = (
                    statistics.median(one[name] for one in found)
                    for name in ("seconds", "cpu", "rss")
                )
                rows.append(
                    Row(
                        what.format(count),
                        OURS,
                        count,
                        seconds,
                        cpu,
                        count / seconds,
                        int(peaks[count]),
                    )
                )
            targets.append(
                Target(
                    f"{short}, peak of {many} events over that of {few}",
                    peaks[many] / peaks[few],
                    1.25,
                    at_most=True,
                )
            )
    return rows, targets


def engines(count):
    """A report of so many instances, a file for each and then one table, by threads, over Dask and
    under Airflow, each in a fresh process of the same environment. Every instance has a budget of
    its own, so what is asked in a minute may be as many times 120 as there are instances."""
    ways = {"pool": "8 threads", "dask": "Dask, 2 workers", "airflow": "Airflow, dag.test()"}
    python = venvs.make(venvs.ENGINES)
    rows, found = [], {}
    with serving(users=3, groups=4, datasets=2, pages=1, events=5) as box:
        box = {name: box[name] for name in ("url", "access_token")}
        for way in track(ways, "engines", console=Console(stderr=True)):
            seen = run(python, HERE / "ours_engines.py", way=way, count=count, **box)
            if seen["instances"] != count:
                raise SystemExit(f"{ways[way]} brought {seen['instances']} instances of {count}.")
            seen["rate"] = seen["calls"] / seen["seconds"] * 60
            found[way] = seen
            what = f"{count} instances, {seen['calls']} calls; calls a minute"
            sizes = seen["rows"], seen["seconds"], seen["cpu"], seen["rate"], seen["rss"]
            rows.append(Row(what, ways[way], *sizes))
    agreed = {seen["rows"] for seen in found.values()}
    return rows, [
        Target("engines, ways that brought other rows than the first", len(agreed) - 1, 0, True),
        Target(
            "engines, calls a minute over what the budgets of all allow",
            max(seen["rate"] for seen in found.values()) / (120 * count),
            1,
            at_most=True,
        ),
        Target("8 threads, CPU seconds an instance", found["pool"]["cpu"] / count, 0.3, True),
    ]


HEADS = ["benchmark", "who", "rows", "wall s", "CPU s", "rows/s", "peak MB"]


def cells(row):
    "A row as text; what was not measured is empty."
    numbers = [
        (row.rows, "{:,}"),
        (row.seconds, "{:.3g}"),
        (row.cpu, "{:.3g}"),
        (row.rate, "{:,.0f}"),
        (row.rss / 1e6, "{:.0f}"),
    ]
    return [
        row.benchmark,
        row.who,
        *(form.format(number) if number else "" for number, form in numbers),
    ]


def machine():
    "Where this was measured."
    return (
        f"Python {platform.python_version()}, {platform.machine()}, {os.cpu_count()} cores; "
        + ", ".join(asked[0] for asked in venvs.PEERS.values())
    )


def draw(rows, path):
    "A chart of rows per second, one panel per benchmark, as SVG."
    from matplotlib.figure import Figure

    panels = [
        name
        for name in dict.fromkeys(row.benchmark for row in rows)
        if any(row.rate and not row.rss for row in rows if row.benchmark == name)
    ]
    if not panels:
        return
    figure = Figure(figsize=(8, 1 + 1.4 * len(panels)), layout="constrained")
    for axes, name in zip(figure.subplots(len(panels), squeeze=False)[:, 0], panels, strict=True):
        shown = [row for row in rows if row.benchmark == name]
        bars = axes.barh(
            [row.who for row in shown],
            [row.rate for row in shown],
            color=["#1f77b4" if row.who == OURS else "#b0b0b0" for row in shown],
        )
        axes.bar_label(bars, [f"{row.rate:,.0f}" for row in shown], padding=3)
        axes.set_title(
            f"{name}: rows per {'CPU ' * name.startswith(('table', 'upload'))}second",
            loc="left",
            fontsize=10,
        )
        axes.margins(x=0.15)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def write(rows, targets):
    "The results in benchmarks/out."
    lines = [
        "| " + " | ".join(HEADS) + " |",
        "|---|---" + "|---:" * (len(HEADS) - 2) + "|",
        *("| " + " | ".join(cells(row)) + " |" for row in rows),
    ]
    marks = [f"- {'met' if target.met else 'MISSED'}: {target}" for target in targets]
    (OUT / "results.md").write_text("\n".join([*lines, "", *marks, "", machine(), ""]))
    (OUT / "results.json").write_text(
        json.dumps(
            {
                "rows": [asdict(row) for row in rows],
                "targets": [{**asdict(target), "met": target.met} for target in targets],
                "machine": machine(),
            },
            indent=1,
        )
    )
    draw(rows, OUT / "chart.svg")


def main(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[fetch] [table] [memory] [imports] [tracking] [upload] [bigquery] [engines]",
            help="Which; all of them when none is named.",
        ),
    ] = None,
    users: Annotated[int, typer.Option(help="fetch: how many users.")] = 200_000,
    latency: Annotated[
        int, typer.Option(metavar="MS", help="fetch: milliseconds that every reply takes.")
    ] = 50,
    rows: Annotated[int, typer.Option(help="table, tracking: how many rows.")] = 1_000_000,
    few: Annotated[int, typer.Option(help="table: how many of them dlt gets.")] = 100_000,
    events: Annotated[
        tuple[int, int], typer.Option(help="memory, bigquery: the two sizes that are compared.")
    ] = (300_000, 1_000_000),
    days: Annotated[int, typer.Option(help="tracking: how many days of history.")] = 100,
    policies: Annotated[int, typer.Option(help="upload: how many rows.")] = 3_000_000,
    instances: Annotated[int, typer.Option(help="engines: how many instances.")] = 300,
    runs: Annotated[int, typer.Option(help="The median of how many runs.")] = 5,
):
    "Measure, show the results as a table, and write them to benchmarks/out."
    known = {
        "fetch": lambda: fetch(users, latency, runs),
        "table": lambda: table(rows, few, runs),
        "memory": lambda: memory(*events, runs),
        "imports": lambda: imports(3 * runs),
        "tracking": lambda: tracking(rows, days, events[0], min(runs, 3)),
        "upload": lambda: upload(policies, runs),
        "bigquery": lambda: to_bigquery(*events, min(runs, 3)),
        "engines": lambda: engines(instances),
    }
    if unknown := set(names or ()) - set(known):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: there are {', '.join(known)}")
    import matplotlib.figure  # where it is missing that is told now, not at the end   # noqa: F401

    OUT.mkdir(exist_ok=True)
    results, targets = [], []
    for name in names or known:
        some, promised = known[name]()
        results, targets = results + some, targets + promised
        write(results, targets)  # what is measured is kept, whatever becomes of the next
    shown, console = Table(*HEADS), Console()
    for row in results:
        shown.add_row(*cells(row))
    console.print(shown)
    for target in targets:
        console.print(
            "[green]met   [/]" if target.met else "[red]MISSED[/]",
            str(target),
            highlight=False,
            soft_wrap=True,
        )
    raise typer.Exit(not all(target.met for target in targets))


if __name__ == "__main__":
    typer.run(main)
