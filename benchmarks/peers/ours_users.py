"""domostats lists the same users: fetched, spooled, typed, formatted."""
from dataclasses import replace

from domostats.clients.domo.users import IDENTITY_USERS
from domostats.reports.report import Report, Source
from domostats.reports.users import User, flat_users

from measured import measured


def users(asked):
    listing = replace(IDENTITY_USERS, size=500, params={"attributes": asked["attributes"]})
    report = Report("benchmark", "one user", "id", Source("user_obj", listing, User, reshape=flat_users))
    return report.run(asked["name"], fresh=True).table


measured(users, ids=lambda table: [id for id in table["id"].to_pylist() if id != "0"])
