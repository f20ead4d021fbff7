"Run revisions on the connection, and in the transaction, of the program that asks for it."

from typing import Any

from alembic import context


def run_revisions() -> None:
    "Run what Alembic was asked for, on the connection that stands in its settings."
    attributes: dict[str, Any] = context.config.attributes
    connection, version_table = attributes["connection"], attributes["version_table"]
    context.configure(connection=connection, version_table=version_table)
    context.run_migrations()


if hasattr(context, "config"):  # so it is while Alembic runs this file, not when it is imported
    run_revisions()
