"""The tables as domostats 0.1.0 makes them itself.

A registry of 0.1.0 is at this revision; there is nothing to do.
"""

revision = "0001"
down_revision = None


def upgrade() -> None:
    "Nothing: the tables are there."
