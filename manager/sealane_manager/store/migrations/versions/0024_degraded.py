"""Why a slot serves on the CPU what should be on an accelerator."""

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("slot_report", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("degraded", sqlmodel.sql.sqltypes.AutoString(), nullable=True)
        )
    op.execute(sa.text("UPDATE slot_report SET degraded = ''"))
    with op.batch_alter_table("slot_report", schema=None) as batch_op:
        batch_op.alter_column(
            "degraded", existing_type=sqlmodel.sql.sqltypes.AutoString(), nullable=False
        )


def downgrade() -> None:
    with op.batch_alter_table("slot_report", schema=None) as batch_op:
        batch_op.drop_column("degraded")
