"""The lesson on tokens: wrong answers of many kinds are told in the right words, and right ones
pass whatever way they go."""

import contextlib
import json
import os
import time
from datetime import date, datetime, timezone

import pytest

from domostats.lessons import tokens
from domostats.lessons.tokens import STORE, Ambiguous, NotWorking
from domostats.lessons.tokens_data import PaperApi, PowerCut, in_milliseconds, in_zone

pytest.importorskip("nbformat", reason="lessons need the notebook tools, Python 3.11 on")


# --- when does it end? ---


def moment(token):
    return datetime.fromtimestamp(token["expires"] / 1000, timezone.utc)


def zeros(token, now):
    return (datetime.fromtimestamp(token["expires"], timezone.utc) - now).days


def zeros_in_numbers(token, now):
    return (token["expires"] - int(now.timestamp())) // 86_400


def naive(token, now):
    return (datetime.fromtimestamp(token["expires"] / 1000) - now).days


def relabelled(token, now):
    end = datetime.fromtimestamp(token["expires"] / 1000).replace(tzinfo=timezone.utc)
    return (end - now).days


def without_zones(token, now):
    return (datetime.fromtimestamp(token["expires"] / 1000) - now.replace(tzinfo=None)).days


def cut_off(token, now):
    return int((moment(token) - now).total_seconds() / 86_400)


def rounded(token, now):
    return round((moment(token) - now).total_seconds() / 86_400)


def own_now(token, now):
    return (moment(token) - datetime.now(timezone.utc)).days


def as_float(token, now):
    return float((moment(token) - now).days)


def difference(token, now):
    return moment(token) - now


def in_integers(token, now):
    return (token["expires"] - round(now.timestamp() * 1000)) // 86_400_000


def in_the_zone_of_now(token, now):
    return (datetime.fromtimestamp(token["expires"] / 1000, now.tzinfo) - now).days


def by_floor(token, now):
    seconds = token["expires"] / 1000 - now.timestamp()
    return int(seconds // 86_400)


# --- a body with a text in it ---


def body(issued, today, credentials=json.dumps, value=None, shown=None):
    value = issued.token.reveal() if value is None else value
    inside = {"DOMO_ACCESS_TOKEN": value, "expires": issued.expires}
    return {
        "name": "domostats_token",
        "displayName": shown or f"domostats_token {issued.id} - {today:%Y-%m-%d}",
        "dataProviderType": "abstract-credential-store",
        "configurations": {"credentials": credentials(inside)},
    }


def a_dict_inside(issued, today):
    return body(issued, today, dict)


def python_not_json(issued, today):
    return body(issued, today, lambda inside: repr({k: str(v) for k, v in inside.items()}))


def dumped_twice(issued, today):
    return body(issued, today, lambda inside: json.dumps(json.dumps(inside)))


def all_dumped(issued, today):
    made = body(issued, today, dict)
    return made | {"configurations": json.dumps(made["configurations"])}


def what_it_shows(issued, today):
    return body(issued, today, value=str(issued.token))


def a_secret_inside(issued, today):
    return body(issued, today, value=issued.token)


def token_in_the_list(issued, today):
    return body(issued, today, shown=f"domostats_token {issued.token.reveal()} - {today}")


def own_today(issued, today):
    return body(issued, date.today())


def american(issued, today):
    return body(issued, today, shown=f"domostats_token {issued.id} - {today:%m/%d/%Y}")


def without_the_end(issued, today):
    return body(issued, today, lambda inside: json.dumps({**inside, "expires": "soon"}))


def printed(issued, today):
    print(issued.token.reveal())
    return body(issued, today)


def only_printed(issued, today):
    print("done")


def without_a_provider(issued, today):
    made = body(issued, today)
    del made["dataProviderType"]
    return made


def indented(issued, today):
    return body(issued, today, lambda inside: json.dumps(inside, indent=2, ensure_ascii=False))


def entry_by_entry(issued, today):
    made = {"name": "domostats_token"}
    made["displayName"] = "domostats_token " + str(issued.id) + " - " + today.isoformat()
    made["dataProviderType"] = STORE
    made["configurations"] = {}
    text = json.dumps({"expires": issued.expires, "DOMO_ACCESS_TOKEN": str(issued.token.reveal())})
    made["configurations"]["credentials"] = text
    return made


def with_strftime(issued, today):
    shown = "domostats_token {} - {}".format(issued.id, today.strftime("%Y-%m-%d"))
    return body(issued, today, shown=shown)


# --- which account? ---


def fits(one, name):
    return one["name"] == name and one["dataProviderType"] == STORE


def by_display_name(accounts, name):
    found = [one for one in accounts if one["displayName"].startswith(name)]
    return found[0] if found else None


def the_first(accounts, name):
    return next((one for one in accounts if fits(one, name)), None)


def by_part(accounts, name):
    found = [one for one in accounts if name in one["name"] and one["dataProviderType"] == STORE]
    if len(found) > 1:
        raise Ambiguous
    return found[0] if found else None


def of_any_provider(accounts, name):
    found = [one for one in accounts if one["name"] == name]
    if len(found) > 1:
        raise Ambiguous
    return found[0] if found else None


def without_none(accounts, name):
    found = [one for one in accounts if fits(one, name)]
    if len(found) > 1:
        raise Ambiguous
    return found[0]


def used_up(accounts, name):
    found = filter(lambda one: fits(one, name), accounts)
    if len(list(found)) > 1:
        raise Ambiguous
    return next(found, None)


def gives_the_id(accounts, name):
    found = find_right(accounts, name)
    return None if found is None else found["id"]


def by_truth_of_the_id(accounts, name):
    found = find_right(accounts, name)
    return found if found and found["id"] else None


def another_error(accounts, name):
    found = [one for one in accounts if fits(one, name)]
    if len(found) > 1:
        raise ValueError("several")
    return found[0] if found else None


def gives_a_list(accounts, name):
    return [one for one in accounts if fits(one, name)]


def takes_it_out(accounts, name):
    for one in list(accounts):
        if not fits(one, name):
            accounts.remove(one)
    if len(accounts) > 1:
        raise Ambiguous
    return accounts[0] if accounts else None


def find_right(accounts, name):
    found = None
    for one in accounts:
        if not fits(one, name):
            continue
        if found is not None:
            raise Ambiguous(f"{one['id']} and {found['id']}")
        found = one
    return found


def with_next(accounts, name):
    ours = (one for one in accounts if fits(one, name))
    found = next(ours, None)
    if next(ours, None) is not None:
        raise Ambiguous
    return found


def by_match(accounts, name):
    match [one for one in accounts if fits(one, name)]:
        case []:
            return None
        case [only]:
            return only
    raise Ambiguous("several")


# --- the rotation ---


def old_of(api, name):
    return [one["id"] for one in api.tokens() if one["name"] == name and one["ownerId"] == api.me]


def stored(api, name):
    new = api.issue(name)
    if not api.works(new):
        raise NotWorking
    api.store(new)
    return new


def revokes_first(api, name):
    for id in old_of(api, name):
        api.revoke(id)
    stored(api, name)


def revokes_between(api, name):
    old = old_of(api, name)
    new = api.issue(name)
    if not api.works(new):
        raise NotWorking
    for id in old:
        api.revoke(id)
    api.store(new)


def of_any_owner(api, name):
    old = [one["id"] for one in api.tokens() if one["name"] == name]
    stored(api, name)
    for id in old:
        api.revoke(id)


def of_any_name(api, name):
    old = [one["id"] for one in api.tokens() if one["ownerId"] == api.me]
    stored(api, name)
    for id in old:
        api.revoke(id)


def only_the_first(api, name):
    old = old_of(api, name)
    stored(api, name)
    if old:
        api.revoke(old[0])


def never_revokes(api, name):
    stored(api, name)


def shows_it(api, name):
    old = old_of(api, name)
    new = stored(api, name)
    print(new.token.reveal())
    for id in old:
        api.revoke(id)


def gives_it(api, name):
    old = old_of(api, name)
    new = stored(api, name)
    for id in old:
        api.revoke(id)
    return new


def lists_late(api, name):
    stored(api, name)
    for id in old_of(api, name):
        api.revoke(id)


def ignores_works(api, name):
    old = old_of(api, name)
    new = api.issue(name)
    api.works(new)
    api.store(new)
    for id in old:
        api.revoke(id)


def swallows_the_store(api, name):
    old = old_of(api, name)
    new = api.issue(name)
    if not api.works(new):
        raise NotWorking
    with contextlib.suppress(OSError):
        api.store(new)
    for id in old:
        api.revoke(id)


def stores_then_tries(api, name):
    old = old_of(api, name)
    new = api.issue(name)
    api.store(new)
    if not api.works(new):
        raise NotWorking
    for id in old:
        api.revoke(id)


def goes_silently(api, name):
    old = old_of(api, name)
    new = api.issue(name)
    if api.works(new):
        api.store(new)
        for id in old:
            api.revoke(id)


def never_tries(api, name):
    old = old_of(api, name)
    api.store(api.issue(name))
    for id in old:
        api.revoke(id)


def another_error_for_a_dud(api, name):
    old = old_of(api, name)
    new = api.issue(name)
    if not api.works(new):
        raise ValueError("dud")
    api.store(new)
    for id in old:
        api.revoke(id)


def demands_an_old_one(api, name):
    first = old_of(api, name)[0]
    stored(api, name)
    for id in {first, *old_of(api, name)} - {api.last}:
        api.revoke(id)


def only_looks(api, name):
    old_of(api, name)


def lists_last(api, name):
    new = stored(api, name)
    for id in old_of(api, name):
        if id != new.id:
            api.revoke(id)


def in_a_while(api, name):
    old = old_of(api, name)
    stored(api, name)
    while old:
        api.revoke(old.pop())


def takes_duds_back(api, name):
    old = {one["id"] for one in api.tokens() if (one["name"], one["ownerId"]) == (name, api.me)}
    new = api.issue(name)
    if api.works(new):
        api.store(new)
        for id in sorted(old):
            api.revoke(id)
    else:
        api.revoke(new.id)
        raise NotWorking(new.id)


# --- the list ---


def rows(
    given,
    users,
    now,
    text=str,
    names=None,
    state=None,
    order=lambda row: (row["days_left"], row["token_id"]),
    days=lambda left: left,
):
    names = {text(one["id"]): one["displayName"] for one in users} if names is None else names
    found = []
    for one in given:
        left = (moment(one) - now).days
        word = "expired" if left < 0 else "soon" if left < 30 else "good"
        found.append(
            {
                "token_id": one["id"],
                "token_name": one["name"],
                "owner_name": names.get(text(one["ownerId"])),
                "days_left": days(left),
                "state": word if state is None else state(left),
            }
        )
    return sorted(found, key=order)


def ids_as_they_come(given, users, now):
    return rows(given, users, now, text=lambda id: id)


def drops_those_who_left(given, users, now):
    return [row for row in rows(given, users, now) if row["owner_name"]]


def demands_the_owner(given, users, now):
    names = {str(one["id"]): one["displayName"] for one in users}
    return [names[str(one["ownerId"])] for one in given]


def takes_the_first_owner(given, users, now):
    return [
        [user["displayName"] for user in users if user["id"] == one["ownerId"]][0] for one in given
    ]


def zero_is_false(given, users, now):
    return rows(
        given, users, now, state=lambda n: ("soon" if n < 30 else "good") if n > 0 else "expired"
    )


def up_to_thirty(given, users, now):
    return rows(
        given, users, now, state=lambda n: "expired" if n < 0 else "soon" if n <= 30 else "good"
    )


def backwards(given, users, now):
    return rows(given, users, now)[::-1]


def as_they_come(given, users, now):
    return rows(given, users, now, order=lambda row: 0)


def ties_as_they_come(given, users, now):
    return rows(given, users, now, order=lambda row: row["days_left"])


def sorted_as_text(given, users, now):
    return rows(given, users, now, order=lambda row: (str(row["days_left"]), row["token_id"]))


def days_as_text(given, users, now):
    return rows(given, users, now, days=str)


def sorts_what_it_was_given(given, users, now):
    given.sort(key=lambda one: one["expires"])
    return rows(given, users, now)


def a_column_less(given, users, now):
    return [{k: v for k, v in row.items() if k != "state"} for row in rows(given, users, now)]


def a_generator(given, users, now):
    yield from rows(given, users, now)


def by_limits(given, users, now):
    limits = ((0, "expired"), (30, "soon"))

    def word(left):
        return next((word for limit, word in limits if left < limit), "good")

    return rows(given, users, now, state=word)


def two_sorts(given, users, now):
    found = rows(given, users, now, order=lambda row: row["token_id"])
    found.sort(key=lambda row: row["days_left"])
    return found


def by_hand(given, users, now):
    found = []
    for one in given:
        owner = None
        for user in users:
            if str(user["id"]) == str(one["ownerId"]):
                owner = user["displayName"]
        left = (one["expires"] - round(now.timestamp() * 1000)) // 86_400_000
        state = "good"
        if left < 30:
            state = "soon"
        if left < 0:
            state = "expired"
        row = {"token_id": one["id"], "token_name": one["name"], "owner_name": owner}
        found.append(row | {"days_left": left, "state": state})
    return sorted(found, key=lambda row: [row["days_left"], row["token_id"]])


# --- what only fits the sample, and what is told in better words ---


def seconds_beside_the_days(token, now):
    return (moment(token) - now).seconds


def the_other_way_round(token, now):
    return (now - moment(token)).days


def never_below_zero(token, now):
    return max(0, (moment(token) - now).days)


def another_key(issued, today):
    made = body(issued, today)
    made["configuration"] = made.pop("configurations")
    return made


def another_key_inside(issued, today):
    return body(issued, today, lambda inside: json.dumps({"token": issued.token.reveal()}))


def named_as_the_token(issued, today):
    return body(issued, today) | {"name": issued.name}


class OwnAmbiguous(Exception):
    pass


OwnAmbiguous.__name__ = "Ambiguous"


def own_error(accounts, name):
    found = [one for one in accounts if fits(one, name)]
    if len(found) > 1:
        raise OwnAmbiguous
    return found[0] if found else None


def gives_the_error(accounts, name):
    found = [one for one in accounts if fits(one, name)]
    return Ambiguous if len(found) > 1 else found[0] if found else None


def equal_display_name(accounts, name):
    return next((one for one in accounts if one["displayName"] == name), None)


SEEN = [{"name": "domostats_token", "dataProviderType": STORE}] * 2


def accounts_of_another_cell(accounts, name):
    if len([one for one in SEEN if fits(one, name)]) > 1:
        raise Ambiguous


def tells_it_in_the_error(api, name):
    old = old_of(api, name)
    new = api.issue(name)
    if not api.works(new):
        raise NotWorking(f"{new.token.reveal()} does not work")
    api.store(new)
    for id in old:
        api.revoke(id)


def tells_it_only_of_a_dud(api, name):
    old = old_of(api, name)
    new = api.issue(name)
    if not api.works(new):
        print("this one does not work:", new.token.reveal())
        raise NotWorking
    api.store(new)
    for id in old:
        api.revoke(id)


def of_one_name(api, name):
    old = old_of(api, "nightly")
    stored(api, "nightly")
    for id in old:
        api.revoke(id)


def of_one_user(api, name):
    old = [one["id"] for one in api.tokens() if (one["name"], one["ownerId"]) == (name, 11)]
    stored(api, name)
    for id in old:
        api.revoke(id)


PAPER = PaperApi("nightly")


def with_another_api(api, name):
    return lists_last(PAPER, name)


def tries_for_ever(api, name):
    old = old_of(api, name)
    new = api.issue(name)
    while not api.works(new):
        new = api.issue(name)
    api.store(new)
    for id in old:
        api.revoke(id)


def tries_the_id(api, name):
    api.works(api.issue(name).id)


def revokes_the_whole(api, name):
    old = [one for one in api.tokens() if one["name"] == name]
    stored(api, name)
    for one in old:
        api.revoke(one)


def gives_not_working(api, name):
    old = old_of(api, name)
    new = api.issue(name)
    if not api.works(new):
        return NotWorking
    api.store(new)
    for id in old:
        api.revoke(id)
    return None


def gone_in_words(given, users, now):
    found = rows(given, users, now)
    return [row | {"owner_name": row["owner_name"] or "(gone)"} for row in found]


def through_a_frame(given, users, now):
    import pandas

    return pandas.DataFrame(rows(given, users, now)).to_dict("records")


def sorts_in_place(given, users, now):
    return rows(given, users, now).sort(key=lambda row: row["days_left"])


def with_a_day_in_pandas(token, now):
    import pandas

    return (pandas.Timestamp(token["expires"], unit="ms", tz="UTC") - now).days


def gives_its_number(api, name):
    lists_last(api, name)
    return api.stored


def rotate_of_a_class(api, name):
    return Rotator(api).run(name)


class Rotator:
    def __init__(self, api):
        self.api = api

    def run(self, name):
        lists_last(self.api, name)


WRONG = [
    ("days_left", seconds_beside_the_days, "Take .days"),
    ("days_left", the_other_way_round, "What comes first in a difference?"),
    ("days_left", never_below_zero, "rounded down"),
    ("account_body", another_key, "It has no 'configurations'"),
    ("account_body", another_key_inside, "there is no 'DOMO_ACCESS_TOKEN'"),
    ("account_body", named_as_the_token, "'domostats_token' is asked for"),
    ("find_account", own_error, "The one that is meant comes from the kit"),
    ("find_account", gives_the_error, "raised, not returned"),
    ("find_account", equal_display_name, "Does it compare `name`"),
    ("find_account", accounts_of_another_cell, "the accounts that it was handed"),
    ("rotate", tells_it_in_the_error, "The error shows the token"),
    ("rotate", tells_it_only_of_a_dud, "outputs are saved"),
    ("rotate", of_one_name, "Which name was it handed?"),
    ("rotate", of_one_user, "nobody needs it any more"),
    ("rotate", with_another_api, "through the api that it was handed"),
    ("rotate", tries_for_ever, "it tries for ever"),
    ("rotate", tries_the_id, "takes what issue() gave"),
    ("rotate", revokes_the_whole, "takes the id of a token"),
    ("rotate", gives_not_working, "or only given back?"),
    ("token_rows", gone_in_words, "None is asked for"),
    ("token_rows", through_a_frame, "pandas makes nan of None"),
    ("token_rows", sorts_in_place, "rows.sort()"),
    ("days_left", zeros, "How many zeros too many?"),
    ("days_left", zeros_in_numbers, "how many zeros too many?"),
    ("days_left", naive, "One moment has a zone, the other none"),
    ("days_left", relabelled, "changes the label, not the clock"),
    ("days_left", without_zones, "in another zone"),
    ("days_left", cut_off, "rounded down"),
    ("days_left", rounded, "rounded down"),
    ("days_left", own_now, "It does not use now"),
    ("days_left", as_float, "Two floats that look alike"),
    ("days_left", difference, ".days of it"),
    ("days_left", lambda token, now: print(3), "use return"),
    ("days_left", lambda token, now: token.pop("expires"), "Work on a copy"),
    ("account_body", a_dict_inside, "the store has room for one *text*"),
    ("account_body", python_not_json, "is Python, not JSON"),
    ("account_body", a_secret_inside, "Where do you take its value out?"),
    ("account_body", dumped_twice, "Read once, it is still a text"),
    ("account_body", all_dumped, "Which level is text?"),
    ("account_body", what_it_shows, "what it shows, not what it is"),
    ("account_body", token_in_the_list, "everybody sees that list"),
    ("account_body", own_today, "the day that was handed in"),
    ("account_body", american, "year first"),
    ("account_body", without_the_end, "Look at 'expires'"),
    ("account_body", printed, "outputs are saved"),
    ("account_body", only_printed, "use return"),
    ("account_body", without_a_provider, "It has no 'dataProviderType'"),
    ("find_account", by_display_name, "what does not?"),
    ("find_account", the_first, "Who overwrites on a guess?"),
    ("find_account", by_part, "`in` finds parts"),
    ("find_account", of_any_provider, "Which provider is asked for?"),
    ("find_account", without_none, "the first day"),
    ("find_account", used_up, "Has counting used up"),
    ("find_account", gives_the_id, "the account is asked for"),
    ("find_account", by_truth_of_the_id, "an id of 0 taken for nothing"),
    ("find_account", another_error, "waits for Ambiguous"),
    ("find_account", gives_a_list, "the account is asked for"),
    ("find_account", takes_it_out, "Work on a copy"),
    ("rotate", revokes_first, "What may come last?"),
    ("rotate", revokes_between, "What may come last?"),
    ("rotate", of_any_owner, "somebody else's token"),
    ("rotate", of_any_name, "another's work"),
    ("rotate", only_the_first, "Which may stay?"),
    ("rotate", never_revokes, "nobody needs it any more"),
    ("rotate", shows_it, "outputs are saved"),
    ("rotate", gives_it, "nobody else needs it"),
    ("rotate", lists_late, "It revoked the one it had just stored"),
    ("rotate", ignores_works, "the old one is revoked"),
    ("rotate", swallows_the_store, "The store refuses, and the old one is revoked"),
    ("rotate", stores_then_tries, "is stored already"),
    ("rotate", goes_silently, "nobody is told"),
    ("rotate", never_tries, "without asking whether it works"),
    ("rotate", another_error_for_a_dud, "NotWorking is asked for"),
    ("rotate", demands_an_old_one, "IndexError"),
    ("rotate", only_looks, "It issues no token"),
    ("token_rows", ids_as_they_come, "is False"),
    ("token_rows", drops_those_who_left, "Her token works all the same"),
    ("token_rows", demands_the_owner, "no user was found for an owner"),
    ("token_rows", takes_the_first_owner, "text in one list only"),
    ("token_rows", zero_is_false, "0 counts as false"),
    ("token_rows", up_to_thirty, "below 30 is asked for"),
    ("token_rows", backwards, "What ends first?"),
    ("token_rows", as_they_come, "What ends first?"),
    ("token_rows", ties_as_they_come, "the lower id"),
    ("token_rows", sorted_as_text, "sorted as text"),
    ("token_rows", days_as_text, "Sorted as text"),
    ("token_rows", sorts_what_it_was_given, "Work on a copy"),
    ("token_rows", a_column_less, "'state'"),
    ("token_rows", a_generator, "only once"),
]
RIGHT = [
    ("days_left", with_a_day_in_pandas),
    ("rotate", gives_its_number),
    ("rotate", rotate_of_a_class),
    ("days_left", in_integers),
    ("days_left", in_the_zone_of_now),
    ("days_left", by_floor),
    ("account_body", indented),
    ("account_body", entry_by_entry),
    ("account_body", with_strftime),
    ("find_account", find_right),
    ("find_account", with_next),
    ("find_account", by_match),
    ("rotate", lists_last),
    ("rotate", in_a_while),
    ("rotate", takes_duds_back),
    ("token_rows", by_limits),
    ("token_rows", two_sorts),
    ("token_rows", by_hand),
]


@pytest.mark.parametrize("check, answer, message", WRONG)
def test_a_wrong_answer_is_told_in_the_right_words(check, answer, message):
    outcome = getattr(tokens, check)(answer)
    assert not outcome.passed and message in outcome.says, outcome
    assert "cannot make sense" not in outcome.says and not outcome.is_open


@pytest.mark.parametrize("check, answer", RIGHT)
def test_a_right_answer_passes_whatever_way_it_goes(check, answer):
    outcome = getattr(tokens, check)(answer)
    assert outcome.passed, outcome


@pytest.mark.parametrize(
    "check", ["days_left", "account_body", "find_account", "rotate", "token_rows"]
)
def test_an_answer_that_calls_the_kit_is_noticed(check):
    ours = getattr(tokens, f"kit_{check}")
    outcome = getattr(tokens, check)(lambda *given: ours(*given))
    assert not outcome.passed and "hands the work to the kit" in outcome.says


@pytest.mark.parametrize("zone", ["UTC", "Pacific/Auckland", "America/Los_Angeles", "Asia/Tokyo"])
@pytest.mark.parametrize("answer", [in_integers, in_the_zone_of_now, naive, relabelled])
def test_the_judgement_does_not_depend_on_the_machine(zone, answer):
    with in_zone(zone):
        here = tokens.days_left(answer)
    assert here.passed == (answer in (in_integers, in_the_zone_of_now))


def test_the_zone_of_the_machine_is_put_back(monkeypatch):
    for before in ("Asia/Tokyo", None):
        if before is None:
            monkeypatch.delenv("TZ", raising=False)
        else:
            monkeypatch.setenv("TZ", before)
        time.tzset()
        there = time.localtime(0)
        tokens.days_left(naive)
        assert os.environ.get("TZ") == before and time.localtime(0) == there


def test_the_paper_keeps_count_of_what_is_safe():
    api = PaperApi("nightly")
    api.cut = (2, "before")
    with pytest.raises(PowerCut):
        lists_last(api, "nightly")
    assert api.stored == 203 and len(api.ours()) == 1 + (api.last == 207) and api.is_safe()
    assert in_milliseconds(datetime(1970, 1, 2, tzinfo=timezone.utc)) == 86_400_000
    drawn = tokens.draw_lanes(lists_last)
    assert "at least 1 valid at every moment" in drawn.title
    assert drawn._repr_html_().startswith('<svg role="img"') and "<title>" in drawn._repr_html_()
