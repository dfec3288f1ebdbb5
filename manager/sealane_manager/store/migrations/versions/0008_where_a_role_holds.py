"""The sites where the role of a user or an API token holds; none means everywhere."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("local_user", "api_token"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.add_column(sa.Column("sites", sa.JSON(), nullable=False, server_default="[]"))
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.alter_column("sites", existing_type=sa.JSON(), server_default=None)


def downgrade() -> None:
    for table in ("api_token", "local_user"):
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_column("sites")
