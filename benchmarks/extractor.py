"""An extractor of so many events a day, for a store and for BigQuery."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from domostats.tracking import BaseExtractor, ExtractorType


@dataclass
class Event:
    timestamp: datetime
    number: int
    name: str
    value: float | None = None


class Events(BaseExtractor[Event]):
    def __init__(self, count):
        self.count = count

    def get_extractor_type(self):
        return ExtractorType.individual_rows

    def extract(self, date_start, date_end):
        for n in range(self.count):
            yield Event(date_start + timedelta(microseconds=n), n, f"event number {n}", n / 7)
