"""Join tokens whose devices wait for an operator's approval."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("join_token", schema=None) as batch_op:
        batch_op.add_column(sa.Column("approval", sa.Boolean(), nullable=True))
    op.execute(sa.text("UPDATE join_token SET approval = false"))
    with op.batch_alter_table("join_token", schema=None) as batch_op:
        batch_op.alter_column("approval", existing_type=sa.Boolean(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("join_token", schema=None) as batch_op:
        batch_op.drop_column("approval")
