"""How the tables come into being: by themselves on SQLite, by a call elsewhere, once however many do it."""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, make_url, pool, text

import triggers_sql
from sql_stores import OpenStore, statements_of
from triggers.errors import StorageError, UnreadableRecord
from triggers.store import ABSENT, EVERYTHING, NOTHING, Change, Record, Want
from triggers_sql import SqlStore, migrate
from triggers_sql.migrating import REVISIONS

CHANGE = Change("v1", {("c", "k"): Record(b"1", 5)}, labels=frozenset({"l"}))
TABLES = {"triggers_sessions", "triggers_records", "triggers_labels", "triggers_alembic_version"}


def tables_in(url: str, schema: str | None = None) -> set[str]:
    engine = create_engine(url, poolclass=pool.NullPool)
    return set(inspect(engine).get_table_names(schema=schema))


def run(url: str, *statements: str) -> None:
    engine = create_engine(url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def works(store: SqlStore, uid: str = "s") -> bool:
    store.commit(uid, CHANGE, ABSENT, Want())
    snapshot = store.load(uid, EVERYTHING)
    return (
        snapshot == ("v1", {"c": {"k": Record(b"1", 5)}}, True)
        and [entry.uid for entry in store.due(5, None, 9).entries] == [uid]
        and store.scan("l", None, 9).uids == [uid]
        and store.delete(uid)
    )


def test_sqlite_makes_its_tables_at_the_first_use(tmp_path: Path, open_store: OpenStore) -> None:
    """On a file that does not exist, whatever is called first makes it; nobody calls ``setup``."""
    uses: dict[str, Callable[[SqlStore], object]] = {
        "load": lambda store: store.load("s", EVERYTHING),
        "commit": lambda store: store.commit("s", CHANGE, ABSENT, Want()),
        "delete": lambda store: store.delete("s"),
        "due": lambda store: store.due(5, None, 1),
        "scan": lambda store: store.scan(None, None, 1),
    }
    for name, use in uses.items():
        use(open_store(f"sqlite:///{tmp_path}/{name}.db"))
        assert tables_in(f"sqlite:///{tmp_path}/{name}.db") == TABLES


def test_servers_want_the_call(server_url: str, open_store: OpenStore) -> None:
    """Without tables, each operation says which call or command makes them, and makes none itself; after the call it works."""
    store = open_store(server_url)
    for use in (
        lambda: store.load("s", EVERYTHING),
        lambda: store.commit("s", CHANGE, ABSENT, Want()),
        lambda: store.delete("s"),
    ):
        with pytest.raises(StorageError, match=r"`triggers migrate`, or triggers_sql\.migrate\('.*'\).*auto_setup=True"):
            use()
    assert tables_in(server_url) == set()
    migrate(server_url)
    assert tables_in(server_url) == TABLES
    assert works(store)


def test_auto_setup_turns_both_ways(tmp_path: Path, server_url: str, open_store: OpenStore) -> None:
    """``auto_setup=True`` makes the tables on a server at the first use; ``False`` makes none on SQLite."""
    assert works(open_store(server_url, auto_setup=True))
    with pytest.raises(StorageError, match="make them with `triggers migrate`"):
        open_store(f"sqlite:///{tmp_path}/x.db", auto_setup=False).load("s", EVERYTHING)
    assert tables_in(f"sqlite:///{tmp_path}/x.db") == set()


def test_migrating_again_changes_nothing(url: str, open_store: OpenStore) -> None:
    """A second call on tables with sessions keeps them, runs one statement, and does not import Alembic."""
    migrate(url)
    open_store(url).commit("s", CHANGE, ABSENT, Want())
    code = f"import sys, triggers_sql; triggers_sql.migrate({url!r}); print('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
    again = open_store(url)
    with statements_of(again) as seen:
        again.setup()
    assert [statement.text.split()[0] for statement in seen] == ["SELECT"]
    assert again.load("s", EVERYTHING).version == "v1"


def test_the_tables_are_looked_at_once(store: SqlStore, open_store: OpenStore, url: str) -> None:
    """A process asks for the revision before its first operation and never again."""
    fresh = open_store(url)
    with statements_of(fresh) as seen:
        for _ in range(3):
            assert fresh.load("s", EVERYTHING) == NOTHING
    assert ["alembic_version" in statement.text for statement in seen] == [True, False, False, False]


@pytest.mark.parametrize("prefix, schema", [("other_", None), ("", None), ("Mixed_Case_", None), ("p_", "apart")])
def test_prefix_and_schema(prefix: str, schema: str | None, url: str, open_store: OpenStore) -> None:
    """Tables of one prefix or schema know nothing of those of another in the same database, and carry the names asked for."""
    if schema is not None and url.startswith("sqlite"):
        schema = None
    if schema is not None and url.startswith("mysql"):
        schema = make_url(url).database  # MySQL's schema is a database; this one may be used
    plain = open_store(url)
    plain.setup()
    plain.commit("s", CHANGE, ABSENT, Want())
    store = open_store(url, table_prefix=prefix, schema=schema)
    store.setup()
    assert store.load("s", EVERYTHING) == NOTHING
    assert works(store)
    assert plain.load("s", EVERYTHING).version == "v1"
    names = {f"{prefix}{name}" for name in ("sessions", "records", "labels", "alembic_version")}
    assert names <= tables_in(url, schema)


def test_missing_tables_of_a_prefix_name_the_whole_call(server_url: str, open_store: OpenStore) -> None:
    """The call in the message has the schema and the prefix, so that it can be run as it stands."""
    with pytest.raises(StorageError, match=r"schema='apart', table_prefix='x_'\)"):
        open_store(server_url, table_prefix="x_", schema="apart").load("s", EVERYTHING)


def _migrate_in_child(url: str, barrier: object) -> None:
    barrier.wait(100)  # type: ignore[attr-defined]
    for _ in range(2):
        migrate(url)
    store = SqlStore(url=url)
    store.load("s", EVERYTHING)
    store.close()


def test_many_processes_migrate_at_once(url: str, open_store: OpenStore) -> None:
    """Four processes that start together on an empty database all succeed, and leave one set of tables that works."""
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(4)
    children = [context.Process(target=_migrate_in_child, args=(url, barrier)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(150)
    assert [child.exitcode for child in children] == [0] * 4
    assert tables_in(url) == TABLES
    assert works(open_store(url))


@pytest.mark.parametrize("left_over", [("sessions",), ("sessions", "records"), ("sessions", "records", "labels")])
def test_a_migration_that_died_is_finished(left_over: tuple[str, ...], url: str, open_store: OpenStore) -> None:
    """Where MySQL has committed some of the tables and the process died, the next call makes the rest, indexes included."""
    migrate(url)
    gone = {"sessions", "records", "labels"} - set(left_over)
    run(url, "DELETE FROM triggers_alembic_version", *(f"DROP TABLE triggers_{name}" for name in sorted(gone)))
    quote = "ON triggers_labels" if url.startswith("mysql") else ""
    if "labels" in left_over:
        run(url, f"DROP INDEX triggers_labels_label {quote}")
    migrate(url)
    engine = create_engine(url, poolclass=pool.NullPool)
    indexes = {index["name"] for name in ("records", "labels") for index in inspect(engine).get_indexes(f"triggers_{name}")}
    assert {"triggers_records_due", "triggers_labels_label"} <= indexes
    assert works(open_store(url))


def test_tables_of_a_newer_version_are_refused(url: str, open_store: OpenStore) -> None:
    """A revision from the future is ``UnreadableRecord`` in every operation and in ``migrate``, and nothing is changed."""
    migrate(url)
    open_store(url).commit("s", CHANGE, ABSENT, Want())
    run(url, "UPDATE triggers_alembic_version SET version_num = 'triggers_0002'")
    store = open_store(url)
    with pytest.raises(UnreadableRecord, match=r"'triggers_0002'.*a newer version made them; upgrade triggers-sql here"):
        store.load("s", EVERYTHING)
    with pytest.raises(UnreadableRecord, match="'triggers_0002'"):
        store.commit("s", Change("v2", {}), "v1", Want())
    with pytest.raises(UnreadableRecord, match="'triggers_0002'"):
        migrate(url)
    run(url, f"UPDATE triggers_alembic_version SET version_num = '{REVISIONS[-1]}'")
    assert open_store(url).load("s", EVERYTHING).version == "v1"


def test_the_known_revisions_are_those_of_the_scripts() -> None:
    """The list that is compared without Alembic names the scripts in the wheel, in their order, with the branch ``triggers``."""
    config = Config()
    config.set_main_option("script_location", str(Path(triggers_sql.__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    scripts = ScriptDirectory.from_config(config)
    assert [script.revision for script in reversed(list(scripts.walk_revisions()))] == list(REVISIONS)
    assert [script.revision for script in scripts.get_revisions("triggers@head")] == [REVISIONS[-1]]


def test_a_user_without_the_right_to_make_tables(postgres_url: str) -> None:
    """A database that refuses says so in one error of ours."""
    name = postgres_url.rsplit("/", 1)[1]
    run(postgres_url, f"CREATE ROLE {name}_poor LOGIN PASSWORD 'poor'", "REVOKE CREATE ON SCHEMA public FROM public")
    try:
        poor = create_engine(postgres_url).url.set(username=f"{name}_poor", password="poor")
        with pytest.raises(StorageError, match=r"the database refused: permission denied for schema public.*nothing was stored"):
            migrate(poor.render_as_string(hide_password=False))
        assert tables_in(postgres_url) == set()
    finally:
        run(postgres_url, f"DROP ROLE {name}_poor")
