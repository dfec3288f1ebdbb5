"""What a rollout is called in its file, and the stages as they were asked for."""

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("rollout", schema=None) as batch_op:
        batch_op.add_column(sa.Column("name", sqlmodel.sql.sqltypes.AutoString(), nullable=True))
        batch_op.add_column(sa.Column("asked", sa.JSON(), nullable=True))
    op.execute(sa.text("UPDATE rollout SET name = '', asked = stages"))
    with op.batch_alter_table("rollout", schema=None) as batch_op:
        batch_op.alter_column(
            "name", existing_type=sqlmodel.sql.sqltypes.AutoString(), nullable=False
        )
        batch_op.alter_column("asked", existing_type=sa.JSON(), nullable=False)
        batch_op.create_index(batch_op.f("ix_rollout_name"), ["name"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("rollout", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_rollout_name"))
        batch_op.drop_column("asked")
        batch_op.drop_column("name")
