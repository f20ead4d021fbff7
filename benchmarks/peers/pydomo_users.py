"""The published pydomo lists all users, 500 a page, unmodified but for its address."""
from pydomo import Domo

from measured import measured


def users(asked):
    domo = Domo(asked["client_id"], asked["client_secret"], api_host=asked["url"].removeprefix("http://"), use_https=False)
    return domo.users.list_all(df_output=False, batch_size=500)


measured(users, ids=lambda rows: [user["id"] for user in rows])
