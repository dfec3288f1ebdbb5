"""Runs migrations on the connection that `sealane_manager.store.database` hands over."""

from alembic import context
from sealane_manager.store.tables.base import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
