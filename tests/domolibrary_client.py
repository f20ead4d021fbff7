"""What the published domolibrary gets from an address: python domolibrary_client.py URL, and on
its input one JSON object with a login and the ids to ask for. Unmodified but for the address;
prints one line of JSON."""

import asyncio
import contextlib
import io
import json
import sys

import httpx


def stand_in(url):
    "From now on every client of httpx sends what is meant for a host of Domo to this address."
    there = httpx.URL(url)

    class Transport(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request):
            assert request.url.host == "sandbox.domo.com", request.url
            request.url = request.url.copy_with(
                scheme=there.scheme, host=there.host, port=there.port
            )
            request.headers["host"] = f"{there.host}:{there.port}"
            return await super().handle_async_request(request)

    class Client(httpx.AsyncClient):
        def __init__(self, **kwargs):
            super().__init__(**{**kwargs, "transport": Transport()})

    httpx.AsyncClient = Client


async def attempt(call):
    "What a call gives: its response, or the name of the error it ends in."
    try:
        answer = await call
    except Exception as e:
        return f"raised {type(e).__name__}: {e}"
    return answer.response if answer.is_success else f"{answer.status} {answer.response}"


async def run(asked):
    from domolibrary.client import DomoAuth
    from domolibrary.routes import (
        account,
        activity_log,
        auth,
        datacenter,
        dataset,
        group,
        page,
        role,
        stream,
        user,
    )

    me = DomoAuth.DomoTokenAuth(domo_access_token=asked["token"], domo_instance="sandbox")
    by_name = datacenter.generate_search_datacenter_account_body
    provider = datacenter.Datacenter_Filter_Field_Enum.DATAPROVIDER.value
    only = datacenter.generate_search_datacenter_filter
    window = {"start_time": asked["start"], "end_time": asked["end"]}
    calls = {
        "full_auth": auth.get_full_auth("sandbox", asked["username"], asked["password"]),
        "wrong_password": auth.get_full_auth("sandbox", asked["username"], "guess"),
        "who_am_i": auth.who_am_i(me),
        "users": user.get_all_users(me),
        "user": user.get_by_id(user_id=asked["user"], auth=me),
        "user_by_address": user.get_by_id(user_id=asked["user"], auth=me, is_v2=False),
        "nobody": user.get_by_id(user_id=12345, auth=me),
        "nobody_by_address": user.get_by_id(user_id=12345, auth=me, is_v2=False),
        "accounts": account.get_accounts(me),
        "account": account.get_account_by_id(me, account_id=asked["account"]),
        "no_account": account.get_account_by_id(me, account_id=999_999_999),
        "groups": group.get_all_groups(me),
        "groups_named": group.search_groups_by_name(me, asked["group_text"], is_exact_match=False),
        "group": group.get_group_by_id(me, group_id=asked["group"]),
        "roles": role.get_roles(me),
        "role_grants": role.get_role_grants(me, role_id=asked["role"]),
        "no_role": role.get_role_grants(me, role_id=12345),
        "pages": page.get_pages_adminsummary(me),
        "pages_titled": page.get_pages_adminsummary(me, search_title=asked["title"]),
        "pages_below": page.get_pages_adminsummary(me, page_parent_id=asked["parent"]),
        "page_access": page.get_page_access_list(me, page_id=asked["page"]),
        "page_access_alone": page.get_page_access_list(
            me, page_id=asked["page"], is_expand_users=False
        ),
        "dataset": dataset.get_dataset_by_id(asked["dataset"], auth=me),
        "no_dataset": dataset.get_dataset_by_id("00000000-0000-4000-8000-000000000000", auth=me),
        "stream": stream.get_stream_by_id(me, stream_id=asked["stream"]),
        "search_datasets": datacenter.search_datacenter(me),
        "search_named": datacenter.search_datacenter(me, search_text=asked["dataset_text"]),
        "search_provider": datacenter.search_datacenter(
            me, additional_filters_ls=[only(provider, asked["provider"])]
        ),
        "search_other_providers": datacenter.search_datacenter(
            me, additional_filters_ls=[only(provider, asked["provider"], is_not=True)]
        ),
        "search_accounts": datacenter.search_datacenter(me, entity_type="ACCOUNT"),
        "search_account_named": datacenter.search_datacenter(
            me, body=by_name(asked["account_text"], is_exact_match=False)
        ),
        "search_users": datacenter.search_datacenter(me, entity_type="USER"),
        "search_groups": datacenter.search_datacenter(me, entity_type="GROUP"),
        "search_pages": datacenter.search_datacenter(me, entity_type="PAGE"),
        "search_cards": datacenter.search_datacenter(me, entity_type="CARD"),
        "object_types": activity_log.get_activity_log_object_types(me),
        "events": activity_log.search_activity_log(me, **window),
        "event_objects": activity_log.search_activity_log(me, object_type="PAGE", **window),
    }
    return {name: await attempt(call) for name, call in calls.items()}


if __name__ == "__main__":
    stand_in(sys.argv[1])
    with contextlib.redirect_stdout(io.StringIO()):
        told = asyncio.run(run(json.load(sys.stdin)))
    print(json.dumps(told))
