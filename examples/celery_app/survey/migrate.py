"""Makes the tables of the sessions and of the ledger: ``python -m survey.migrate``, once before anything else."""

from __future__ import annotations

from survey import ledger, queue  # noqa: F401  (importing the queue configures Triggers)
from triggers import get_settings
from triggers_sql import migrate

if __name__ == "__main__":
    migrate(get_settings().storages["sql"]["url"])
    ledger.make()
