"""Users with domolibrary, unmodified: its own `looper` over GET /api/identity/v1/users, 500 a
page. Its routes write the address of Domo themselves, its looper takes one, so the looper is
called as the routes call it."""

import asyncio

from domolibrary.client.DomoAuth import DomoTokenAuth
from domolibrary.client.get_data import looper
from measure import Clock, parameters, tell


async def fetch(url, token, page, wanted):
    auth = DomoTokenAuth(domo_access_token=token, domo_instance="sandbox")
    answer = await looper(
        auth=auth,
        session=None,
        url=f"{url}/api/identity/v1/users",
        method="GET",
        limit=page,
        loop_until_end=True,
        offset_params={"offset": "offset", "limit": "limit"},
        fixed_params=dict(wanted),
        arr_fn=lambda answer: answer.response["users"],
    )
    if not answer.is_success:
        raise SystemExit(f"{answer.status} {answer.response}")
    return answer.response


asked = parameters()
with Clock() as clock:
    users = asyncio.run(fetch(asked["url"], asked["access_token"], asked["page"], asked["wanted"]))
tell(
    ((user["id"], user["emailAddress"]) for user in users if user["id"]), clock
)  # user 0 is the system's own and in this list only
