"""Whether a challenger has become the champion on a device."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("rollout_device", schema=None) as batch_op:
        batch_op.add_column(sa.Column("promoted", sa.Boolean(), nullable=True))
    op.execute(sa.text("UPDATE rollout_device SET promoted = :no").bindparams(no=False))
    with op.batch_alter_table("rollout_device", schema=None) as batch_op:
        batch_op.alter_column("promoted", existing_type=sa.Boolean(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("rollout_device", schema=None) as batch_op:
        batch_op.drop_column("promoted")
