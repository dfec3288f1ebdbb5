"""Orders of quarantine that empty a slot in which nothing else can serve."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.add_column(sa.Column("stops", sa.Boolean(), nullable=True))
    op.execute(sa.text("UPDATE quarantine SET stops = false"))
    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.alter_column("stops", existing_type=sa.Boolean(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("quarantine", schema=None) as batch_op:
        batch_op.drop_column("stops")
