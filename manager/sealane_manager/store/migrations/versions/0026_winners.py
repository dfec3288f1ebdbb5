"""Which variant of a bundle won on which class of hardware."""

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    text, moment = sqlmodel.sql.sqltypes.AutoString, sqlmodel.sql.sqltypes.UTCDateTime
    op.create_table(
        "winner",
        sa.Column("manifest", text(), nullable=False),
        sa.Column("hardware", text(), nullable=False),
        sa.Column("device", text(), nullable=False),
        sa.Column("variant", text(), nullable=False),
        sa.Column("latency_us", sa.BigInteger(), nullable=False),
        sa.Column("told_at", moment(), nullable=False),
        sa.ForeignKeyConstraint(
            ["device"], ["device.id"], name=op.f("fk_winner_device_device"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("manifest", "hardware", name=op.f("pk_winner")),
    )


def downgrade() -> None:
    op.drop_table("winner")
