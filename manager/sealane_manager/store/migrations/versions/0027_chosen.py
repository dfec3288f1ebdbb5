"""Which variant serves in a slot, and why it was chosen."""

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("slot_report", schema=None) as batch_op:
        batch_op.add_column(sa.Column("chosen", sqlmodel.sql.sqltypes.AutoString(), nullable=True))
    op.execute(sa.text("UPDATE slot_report SET chosen = ''"))
    with op.batch_alter_table("slot_report", schema=None) as batch_op:
        batch_op.alter_column(
            "chosen", existing_type=sqlmodel.sql.sqltypes.AutoString(), nullable=False
        )


def downgrade() -> None:
    with op.batch_alter_table("slot_report", schema=None) as batch_op:
        batch_op.drop_column("chosen")
