"""The published domolibrary lists all users with its own looper, 500 a page, unmodified but for its address."""
import asyncio

import httpx

import domolibrary.client.DomoAuth as dmda
import domolibrary.client.get_data as gd

from measured import measured


def users(asked):
    auth = dmda.DomoTokenAuth(domo_instance="sandbox", domo_access_token=asked["token"])
    async def all_pages():
        async with httpx.AsyncClient() as session:
            return await gd.looper(auth, session, asked["url"] + "/api/identity/v1/users", {"offset": "offset", "limit": "limit"}, lambda reply: reply.response["users"],
                                   loop_until_end=True, method="GET", fixed_params={"attributes": asked["attributes"]}, limit=500, timeout=60)
    return asyncio.run(all_pages()).response


measured(users, ids=lambda rows: [user["id"] for user in rows if user["id"] != 0])
