"""What gates ask of evidence, what they saw and said, and which devices ever proved a release."""

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

CHECKS = """{"alpha": 0.01, "prove": false, "checks": []}"""


def upgrade() -> None:
    op.create_table(
        "judgement",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("rollout", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("at", sqlmodel.sql.sqltypes.UTCDateTime(), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("verdict", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("reason", sqlmodel.sql.sqltypes.AutoString(), nullable=False),
        sa.Column("inputs", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["rollout"],
            ["rollout.id"],
            name=op.f("fk_judgement_rollout_rollout"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judgement")),
    )
    with op.batch_alter_table("judgement", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_judgement_rollout"), ["rollout"], unique=False)
    with op.batch_alter_table("rollout", schema=None) as batch_op:
        batch_op.add_column(sa.Column("by_evidence", sa.Boolean(), nullable=True))
        batch_op.add_column(sa.Column("checks", sa.JSON(), nullable=True))
    with op.batch_alter_table("rollout_device", schema=None) as batch_op:
        batch_op.add_column(sa.Column("served", sa.Boolean(), nullable=True))
    op.execute(sa.text("UPDATE rollout SET by_evidence = false"))
    op.execute(sa.text("UPDATE rollout SET checks = :checks").bindparams(checks=CHECKS))
    op.execute(sa.text("UPDATE rollout_device SET served = (state = 'serving')"))
    with op.batch_alter_table("rollout", schema=None) as batch_op:
        batch_op.alter_column("by_evidence", existing_type=sa.Boolean(), nullable=False)
        batch_op.alter_column("checks", existing_type=sa.JSON(), nullable=False)
    with op.batch_alter_table("rollout_device", schema=None) as batch_op:
        batch_op.alter_column("served", existing_type=sa.Boolean(), nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("rollout_device", schema=None) as batch_op:
        batch_op.drop_column("served")
    with op.batch_alter_table("rollout", schema=None) as batch_op:
        batch_op.drop_column("checks")
        batch_op.drop_column("by_evidence")
    op.drop_table("judgement")
