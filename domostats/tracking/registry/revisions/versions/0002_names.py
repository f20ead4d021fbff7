"Give the constraints of SQLite the names that PostgreSQL gives them."

# A constraint without a name can be neither changed nor dropped. PostgreSQL names them by itself;
# in SQLite the tables are made anew, with their rows.

from alembic import op

revision = "0002"
down_revision = "0001"

NAMES = {
    "uq": "%(table_name)s_%(column_0_N_name)s_key",
    "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
    "ix": "ix_%(column_0_label)s",
}
TABLES = (
    "organisation",
    "workflow_type",
    "workflow",
    "table_type",
    "dataset_type",
    "dataset",
    "dataset_release",
    "dataset_place",
    "licence",
    "retention",
    "export_decision",
)


def upgrade() -> None:
    "Name the constraints, and tell programs of 0.1.0 that this is not for them."
    if op.get_bind().dialect.name == "sqlite":
        for table in TABLES:
            with op.batch_alter_table(
                table,
                recreate="always",
                naming_convention=NAMES,
                table_kwargs={"sqlite_autoincrement": True},
            ):
                pass
    op.execute("UPDATE registry_schema SET version = 2")
