"""The revisions of the registry's schema, for Alembic.

Alembic loads them by their path, so they import nothing of the package and are no notebooks.
"""
