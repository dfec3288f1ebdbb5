"""Whether a schedule lets slots be interrupted for want of memory."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("schedule", schema=None) as batch_op:
        batch_op.add_column(sa.Column("interrupts", sa.Boolean(), nullable=True))
    op.execute(sa.text("UPDATE schedule SET interrupts = :no").bindparams(no=False))
    with op.batch_alter_table("schedule", schema=None) as batch_op:
        batch_op.alter_column("interrupts", existing_type=sa.Boolean(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("schedule", schema=None) as batch_op:
        batch_op.drop_column("interrupts")
