"""The previous key of a device, and whether its current one was shown."""

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.add_column(sa.Column("previous_key", sa.LargeBinary(), nullable=True))
        batch_op.add_column(
            sa.Column("previous_fingerprint", sqlmodel.sql.sqltypes.AutoString(), nullable=True)
        )
        batch_op.add_column(
            sa.Column("key_since", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True)
        )
        batch_op.add_column(
            sa.Column("key_shown_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True)
        )
        batch_op.create_index(
            batch_op.f("ix_device_previous_fingerprint"), ["previous_fingerprint"], unique=False
        )


def downgrade() -> None:
    with op.batch_alter_table("device", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_device_previous_fingerprint"))
        batch_op.drop_column("key_shown_at")
        batch_op.drop_column("key_since")
        batch_op.drop_column("previous_fingerprint")
        batch_op.drop_column("previous_key")
