"""Alembic's folder, shipped inside the package; `registry.schema.upgrade` runs it."""
