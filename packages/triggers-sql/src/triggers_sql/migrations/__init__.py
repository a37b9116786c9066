"""The Alembic environment of the store's tables; it travels in the wheel."""
