"Run revisions on the connection, and in the transaction, of the program that asks for it."

from typing import Any

from alembic import context

attributes: dict[str, Any] = context.config.attributes
context.configure(connection=attributes["connection"], version_table=attributes["version_table"])
context.run_migrations()
