"""What Alembic runs: on the connection it is given, with the version table beside our own."""

from alembic import context
from sqlalchemy import Connection

connection: Connection = context.config.attributes["connection"]
options = context.config.attributes["options"]

context.configure(
    connection=connection,
    version_table=f"{options.table_prefix}alembic_version",
    version_table_schema=options.schema,
    transactional_ddl=connection.dialect.name != "mysql",
)
with context.begin_transaction():
    context.run_migrations()
