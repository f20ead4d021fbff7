"""Users with domostats: fetched ten pages at a time, kept on disk page by page, typed and checked,
to an Arrow table."""

from dataclasses import replace

from measure import Clock, parameters, tell

from domostats.clients.domo.credentials import AccessToken
from domostats.clients.domo.users import IDENTITY_USERS
from domostats.instances import Instance
from domostats.reports.declaration import Source
from domostats.reports.report import Report
from domostats.reports.users import User

asked = parameters()
listing = replace(IDENTITY_USERS, size=asked["page"], params=asked["wanted"])
report = Report("benchmark", "one user", "id", Source("user_obj", listing, User))
with Clock() as clock:
    table = report.run(
        Instance("benchmark", asked["url"]), AccessToken(asked["access_token"]), fresh=True
    ).table
tell(
    (
        (id, email)
        for id, email in zip(
            table["id"].to_pylist(), table["email_address"].to_pylist(), strict=True
        )
        if id != "0"
    ),
    clock,
)  # user 0 is the system's own and in this list only
