"""Random days on two warehouses, and in a model written in plain Python: they hold the same.

The model knows nothing of the package and of SQL: it is dicts of days, and the words of the
documentation. Both warehouses have their SQL from one text, so they could be wrong together."""

import random
from dataclasses import field, make_dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from conftest import bigquery_of

pytest.importorskip("google.cloud.bigquery")
from bigquery_support import PROJECT, Datasets

from domostats.loading.store import Store
from domostats.tracking.extractors.base import BaseExtractor
from domostats.tracking.extractors.extraction import Extraction
from domostats.tracking.extractors.migrations import Migrations
from domostats.tracking.extractors.schema import sq_field
from domostats.tracking.extractors.tables import ExtractorType
from domostats.tracking.loads import Loads

FIRST = date(2022, 3, 9)
# New York, Havana (where that midnight does not exist) and Paris change their clocks in March
ZONES = [
    "UTC",
    "Europe/Paris",
    "America/New_York",
    "America/Havana",
    "Asia/Kathmandu",
    "Pacific/Midway",
]
UTC = timezone.utc
SHOPS = "north", "south"
NAMES = {  # the columns that the sources give, without the day and the part
    "figure": ["n", "price", "share", "mood"],
    "visit": ["n"],
    "click": ["timestamp", "page", "is_new", "raw"],
}
MARKED = {"figure": ["n", "price", "share"], "visit": ["n"], "click": []}
SHOWN = {"figure": True, "visit": False}
LOOK_BACK = {"figure": 0, "visit": 1, "click": 2}
SOURCES = [("figure", None), ("visit", "north"), ("visit", "south"), ("click", None)]


def day_at(moment, zone):
    "The local day of a moment."
    return moment.astimezone(zone).date()


def begins(day, zone):
    "When a day begins."
    return datetime.combine(day, time(), zone).astimezone(UTC)


class World:
    "What the sources say today. They may say something else of an old day tomorrow."

    def __init__(self, drawn):
        self.drawn = drawn
        self.figures = {part: {} for part in (None, *SHOPS)}  # by part and day
        self.clicks = []
        self.has_extra = False
        for n in range(-14, 40):
            self.change(FIRST + timedelta(n))

    def change(self, day):
        "Other figures and other clicks of a day."
        drawn = self.drawn
        for figures in self.figures.values():
            figures.pop(day, None)
            if drawn.random() < 0.8:
                figures[day] = {
                    "n": drawn.choice([None, 0, -3, 7, 2**60, drawn.randint(0, 10**6)]),
                    "price": drawn.choice([None, Decimal("0.000000001"), Decimal("-12.5")]),
                    "share": drawn.choice([None, 0.1, -1e300, drawn.random()]),
                    "mood": drawn.choice([None, "", "é\n'`\\", "fine"]),
                    "extra": drawn.choice([None, 1, 2, 3]),
                }
        self.clicks = [one for one in self.clicks if one["timestamp"].date() != day]
        midnight = datetime.combine(day, time(), UTC)
        for _ in range(drawn.choice([0, 0, 1, 3, 6])):
            at = midnight + timedelta(
                seconds=drawn.choice([0, 4 * 3600, 5 * 3600, 23 * 3600, drawn.randrange(86400)]),
                microseconds=drawn.choice([0, 1, 999_999]),
            )
            click = {
                "timestamp": at,
                "page": drawn.choice([None, "a", "b"]),
                "is_new": drawn.random() < 0.5,
                "raw": drawn.choice([None, b"", b"\0\xff"]),
                "extra": drawn.choice([None, 1]),
            }
            self.clicks += [click] * drawn.choice([1, 1, 2])

    def said(self, table, part, day, zone):
        "The rows of a day of a zone, as the sources say them now."
        if table == "click":
            found = [one for one in self.clicks if day_at(one["timestamp"], zone) == day]
        else:
            found = [self.figures[part][day]] if day in self.figures[part] else []
        names = [*NAMES[table], *(["extra"] if self.has_extra else [])]
        return [{name: one[name] for name in names} for one in found]


class Model:
    "What the tables have to hold."

    def __init__(self, world, zone):
        self.world = world
        self.zone = zone
        self.days = {source: {} for source in SOURCES}  # by source and day: zone and rows

    def extract(self, now):
        last = day_at(now, self.zone) - timedelta(1)
        for (table, part), done in self.days.items():
            day = FIRST
            while day <= last:
                if day not in done or day > last - timedelta(LOOK_BACK[table]):
                    self.write(table, part, day)
                day += timedelta(1)

    def extract_range(self, first, last):
        for table, part in SOURCES:
            for n in range((last - first).days + 1):
                self.write(table, part, first + timedelta(n))

    def write(self, table, part, day):
        rows = self.world.said(table, part, day, self.zone)
        self.days[table, part][day] = self.zone, rows

    def rezone(self, zone, now):
        self.zone = zone
        for (table, part), done in self.days.items():
            if not any(self._is_cut_otherwise(day, was) for day, (was, _) in done.items()):
                continue
            asked = {*done}
            if table == "click":
                asked |= {
                    day_at(row["timestamp"], zone) for _, rows in done.values() for row in rows
                }
            done.clear()
            for day in asked:
                if day < day_at(now, zone):
                    self.write(table, part, day)

    def _is_cut_otherwise(self, day, was):
        ends = day + timedelta(1)
        return (begins(day, was), begins(ends, was)) != (
            begins(day, self.zone),
            begins(ends, self.zone),
        )

    def rows(self, table):
        "The rows of a table, each a dict of all its columns."
        names = [*NAMES[table], *(["extra"] if self.world.has_extra else [])]
        return [
            {
                "day": day,
                **{name: row.get(name) for name in names},
                **({"shop": part} if part else {}),
            }
            for (name_, part), done in self.days.items()
            if name_ == table
            for day, (_, rows) in done.items()
            for row in rows
        ]

    def deltas(self, table, gap):
        "The rows of the delta view."
        marked = [*MARKED[table], *(["extra"] if self.world.has_extra else [])]
        found = []
        for part in sorted({row.get("shop") or "" for row in self.rows(table)}):
            earlier = dict.fromkeys(marked)  # the last value there was
            before = None  # the row before
            own = [row for row in self.rows(table) if (row.get("shop") or "") == part]
            for row in sorted(own, key=lambda row: row["day"]):
                shown = dict(row)
                for name in marked:
                    value = row[name]
                    base = earlier[name]
                    if gap == "previous_day":
                        is_next = before and before["day"] + timedelta(1) == row["day"]
                        base = before[name] if is_next else None
                    shown[name] = None if value is None else value - (base or 0)
                    if SHOWN[table]:
                        shown[f"{name}_before"] = base
                    if value is not None:
                        earlier[name] = value
                before = row
                found.append(shown)
        return found


def extractors_of(world, gap):
    "The extractors over a world, as a user would write them."
    extra = [("extra", int | None, sq_field(differentiate=True))] if world.has_extra else []
    types = {
        "figure": [
            ("n", int | None, sq_field(differentiate=True)),
            ("price", Decimal | None, sq_field(differentiate=True)),
            ("share", float | None, sq_field(differentiate=True)),
            ("mood", str | None),
        ],
        "visit": [("n", int | None, sq_field(differentiate=True))],
        "click": [
            ("timestamp", datetime),
            ("page", str | None),
            ("is_new", bool),
            ("raw", bytes | None),
        ],
    }
    if world.has_extra:
        types["figure"] += extra
        types["visit"] += extra
        types["click"].append(("extra", int | None, field(default=None)))
    made = []
    for table, part in SOURCES:
        row = make_dataclass(table.title(), types[table])

        def extract(self, start, end, row=row, table=table, part=part):
            if table == "click":
                for one in world.clicks:
                    if start <= one["timestamp"] < end:
                        yield row(**{name: one[name] for name in row.__dataclass_fields__})
            elif one := world.figures[part].get(start.date()):
                yield row(**{name: one[name] for name in row.__dataclass_fields__})

        kind = ExtractorType.individual_rows if table == "click" else ExtractorType.date_aggregated
        made.append(
            type(
                f"{table.title()}{part or ''}",
                (BaseExtractor,),
                {
                    "table": table,
                    "partition_field": "shop" if part else None,
                    "look_back": LOOK_BACK[table],
                    "gap": gap,
                    "shows_previous": SHOWN.get(table, False),
                    "get_dataclass": lambda self, row=row: row,
                    "get_extractor_type": lambda self, kind=kind: kind,
                    "get_partition": lambda self, part=part: part,
                    "extract": extract,
                },
            )
        )
    return made


class Side:
    "A warehouse that is filled from the world."

    def __init__(self, name, place, world, gap):
        self.name = name
        self.place = place
        self.world = world
        self.gap = gap
        self.migrate()

    def extraction(self, zone):
        return Extraction(extractors_of(self.world, self.gap), self.place, zone, FIRST)

    def migrate(self):
        tables = {table.name: table for table in self.extraction(UTC).tables}
        migrations = Migrations(Path(f"migrations of {self.name}"), self.place)
        migrations.make([*tables.values()])
        migrations.apply()
        assert migrations.findings() == []

    def extract(self, zone, now, **how):
        assert [one.error for one in self.extraction(zone).extract(now, **how) if one.error] == []

    def rezone(self, zone, now):
        found = [*self.extraction(zone).rezone(now=now, allow_incomplete=True)]
        assert [one.error for one in found if one.error] == []

    def rows(self, name, day):
        found = self.place.read(name).to_pylist()
        return [
            {("day" if key == day else key): value for key, value in row.items()} for row in found
        ]

    def counts(self):
        "The zone and the number of rows of each day that the ledger knows, by source."
        found = {source: {} for source in SOURCES}
        for line in Loads(self.place).lines():
            table, _, part = line.dataset.partition("/")
            day = date.fromisoformat(line.release_key.removeprefix("p:"))
            found[table, part or None][day] = line.details["zone"], line.row_count
        return found


def comparable(rows):
    "Rows in an order of their own, with moments in UTC."
    plain = [
        {
            name: value.replace(tzinfo=None) if isinstance(value, datetime) else value
            for name, value in row.items()
        }
        for row in rows
    ]
    return sorted((sorted(row.items()) for row in plain), key=repr_of_values)


def repr_of_values(items):
    return [repr(float(v) if isinstance(v, Decimal) else v) for _, v in items]


def check(side, model):
    "The tables and the views of a warehouse hold what the model says."
    for table, day in (("figure", "date"), ("visit", "date"), ("click", "_day")):
        assert comparable(side.rows(table, day)) == comparable(model.rows(table)), (
            side.name,
            table,
        )
    for table in ("figure", "visit"):
        shown = comparable(side.rows(f"{table}_delta", "date"))
        assert shown == comparable(model.deltas(table, side.gap)), (side.name, table)


def check_ledger(side, model):
    assert side.counts() == {
        source: {day: (str(zone), len(rows)) for day, (zone, rows) in done.items()}
        for source, done in model.days.items()
    }, side.name


box = bigquery_of(PROJECT)


@pytest.fixture
def datasets(box, own_folder):
    made = Datasets(box)
    yield made
    made.remove()


@pytest.mark.slow
@pytest.mark.sampled(48, a_day=2)
@pytest.mark.parametrize("seed", range(48))
def test_both_warehouses_hold_what_the_model_says(datasets, seed):
    drawn = random.Random(seed)
    gap = drawn.choice(["previous_row", "previous_day"])
    world = World(drawn)
    zone = ZoneInfo(drawn.choice(ZONES))
    model = Model(world, zone)
    sides = [
        Side("duckdb", Store("store.duckdb"), world, gap),
        Side("bigquery", datasets.warehouse(), world, gap),
    ]
    now = datetime.combine(FIRST, time(12), UTC) + timedelta(2)
    operations = ["later", "correct", "again", "rezone", "extra", "earlier"]
    for what in ["later", *drawn.sample(operations, 3), "later"]:
        if what == "later":
            now += timedelta(days=drawn.randint(0, 3), hours=drawn.randint(0, 23))
            model.extract(now)
            for side in sides:
                side.extract(zone, now)
        elif what == "correct":  # the sources say something else; nobody asks them yet
            for _ in range(4):
                world.change(FIRST + timedelta(drawn.randint(0, 6)))
        elif what in ("again", "earlier"):
            over = day_at(now, zone) - timedelta(1)
            last = min(over, FIRST + timedelta(drawn.randint(0, 4)))
            first = last - timedelta(drawn.randint(0, 3))
            if what == "earlier":  # a back-fill from before the first day
                first = FIRST - timedelta(drawn.randint(3, 8))
            model.extract_range(first, last)
            for side in sides:
                side.extract(zone, now, first=first, last=last)
        elif what == "rezone":
            zone = ZoneInfo(drawn.choice(ZONES))
            model.rezone(zone, now)
            for side in sides:
                side.rezone(zone, now)
        elif what == "extra":
            world.has_extra = True
            for side in sides:
                side.migrate()
        for side in sides:
            check(side, model)
    for side in sides:
        check_ledger(side, model)
    assert any(model.rows("figure")) and any(model.rows("click"))
