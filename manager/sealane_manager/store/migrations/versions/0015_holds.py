"""Holds that the manager orders, and devices of rollouts that are held."""

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_TEXTS = ("selector", "slot", "owner", "reason")
_MOMENTS = ("until", "placed_at")


def upgrade() -> None:
    text, moment = sqlmodel.sql.sqltypes.AutoString, sqlmodel.sql.sqltypes.UTCDateTime
    op.create_table(
        "hold",
        sa.Column("id", text(), nullable=False),
        *(sa.Column(name, text(), nullable=False) for name in _TEXTS),
        *(sa.Column(name, moment(), nullable=False) for name in _MOMENTS),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hold")),
    )
    with op.batch_alter_table("rollout_device", schema=None) as batch_op:
        batch_op.add_column(sa.Column("held", sa.Boolean(), nullable=True))
    op.execute(sa.text("UPDATE rollout_device SET held = false"))
    with op.batch_alter_table("rollout_device", schema=None) as batch_op:
        batch_op.alter_column("held", existing_type=sa.Boolean(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("rollout_device", schema=None) as batch_op:
        batch_op.drop_column("held")
    op.drop_table("hold")
