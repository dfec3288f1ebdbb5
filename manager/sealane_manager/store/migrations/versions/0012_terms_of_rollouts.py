"""The terms of rollouts (pace, times, consent), and releases that shall serve nowhere."""

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "quarantine",
        sa.Column("manifest", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("release", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("actor", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("reason", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.PrimaryKeyConstraint("manifest", name=op.f("pk_quarantine")),
    )
    with op.batch_alter_table("rollout", schema=None) as batch_op:
        batch_op.add_column(sa.Column("terms", sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column("author", sqlmodel.sql.sqltypes.AutoString(), nullable=True))
        batch_op.add_column(sa.Column("approvals", sa.JSON(), nullable=True))
        batch_op.add_column(
            sa.Column("began_at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=True)
        )
    op.execute(
        sa.text("UPDATE rollout SET terms = :none, approvals = :nobody, author = ''").bindparams(
            none="{}", nobody="[]"
        )
    )
    op.execute(sa.text("UPDATE rollout SET began_at = created_at"))
    with op.batch_alter_table("rollout", schema=None) as batch_op:
        batch_op.alter_column("terms", existing_type=sa.JSON(), nullable=False)
        batch_op.alter_column("approvals", existing_type=sa.JSON(), nullable=False)
        batch_op.alter_column(
            "author", existing_type=sqlmodel.sql.sqltypes.AutoString(), nullable=False
        )


def downgrade() -> None:
    op.drop_table("quarantine")
    with op.batch_alter_table("rollout", schema=None) as batch_op:
        for name in ("began_at", "approvals", "author", "terms"):
            batch_op.drop_column(name)
