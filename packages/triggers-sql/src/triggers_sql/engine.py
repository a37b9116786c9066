"""From options to an engine of SQLAlchemy, with our errors for URLs and drivers that cannot be used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from triggers.errors import SettingsError, StorageError
from triggers_sql.dialects import BACKENDS, Database
from triggers_sql.options import EXAMPLES, Options
from triggers_sql.statements import Tables

if TYPE_CHECKING:
    from sqlalchemy import URL, Dialect, Engine


def make_engine(options: Options) -> tuple[Engine, Database]:
    """An engine that has not connected yet, and what is particular to its database.

    Raises:
        SettingsError: the URL cannot be read, or names a database or driver that is not ours.
        StorageError: the driver is not installed, or a SQLite file's folder does not exist.
    """
    import sqlalchemy

    url, database = _resolve(options)
    try:
        engine = sqlalchemy.create_engine(
            url,
            poolclass=sqlalchemy.QueuePool,
            pool_size=options.pool_size,
            max_overflow=options.max_overflow,
            pool_timeout=options.pool_timeout,
            pool_recycle=options.pool_recycle,
            # The connection that was used last has the statements prepared.
            pool_use_lifo=True,
            # Each of our transactions ends cleanly: a ROLLBACK at each return would be a round trip for nothing.
            pool_reset_on_return=None,
            connect_args={**database.connect_args(), **options.connect_args},
            **database.engine_options(),
        )
    except ModuleNotFoundError as error:
        raise StorageError(
            f"the driver {error.name!r} for {url.get_backend_name()} is not installed:"
            f" pip install 'triggers-sql[{database.extra}]'"
        ) from error

    @sqlalchemy.event.listens_for(engine, "connect", insert=True)
    def prepare(connection: Any, _: object) -> None:
        database.prepare(connection)

    @sqlalchemy.event.listens_for(engine, "do_connect")
    def connect(_: object, __: object, arguments: Any, options: dict[str, Any]) -> Any:
        return database.connect(arguments, options)

    return engine, database


def tables(dialect: Dialect, options: Options) -> Tables:
    """The names of the tables, quoted for the database."""
    quote = dialect.identifier_preparer.quote
    schema = f"{quote(options.schema)}." if options.schema is not None else ""
    sessions, records, labels, revision = (
        f"{schema}{quote(options.table_prefix + name)}" for name in ("sessions", "records", "labels", "alembic_version")
    )
    return Tables(sessions, records, labels, revision, quote("key"))


def _resolve(options: Options) -> tuple[URL, Database]:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(options.url)
        backend, _, driver = url.drivername.partition("+")
    except (ArgumentError, ValueError) as error:
        raise SettingsError(f"the option 'url' of the sql storage cannot be read as a URL; {EXAMPLES}") from error
    if "@" in (url.host or ""):
        raise SettingsError("the password in the option 'url' of the sql storage has an @; write it as %40")
    kind = BACKENDS.get(backend)
    if kind is None:
        raise SettingsError(f"the sql storage knows no database {backend!r}, only {', '.join(BACKENDS)}; {EXAMPLES}")
    ours = kind.driver.partition("+")[2]
    if driver and driver != ours:
        raise SettingsError(f"the sql storage uses {backend} through {ours!r} and not through {driver!r}; write {backend}://…")
    database = kind(options)
    return database.url(url), database
