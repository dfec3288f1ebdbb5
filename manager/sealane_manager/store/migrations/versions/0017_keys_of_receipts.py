"""The key that signed a receipt: the device has another one after its next renewal."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("receipt", schema=None) as batch_op:
        batch_op.add_column(sa.Column("public_key", sa.LargeBinary(), nullable=True))
    op.execute(sa.text("UPDATE receipt SET public_key = :none").bindparams(none=b""))
    with op.batch_alter_table("receipt", schema=None) as batch_op:
        batch_op.alter_column("public_key", existing_type=sa.LargeBinary(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("receipt", schema=None) as batch_op:
        batch_op.drop_column("public_key")
