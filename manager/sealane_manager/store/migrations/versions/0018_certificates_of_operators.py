"""Certificates of operators are listed; those from before still count, as administrators."""

from datetime import UTC, datetime

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    text, moment = sqlmodel.sql.sqltypes.AutoString, sqlmodel.sql.sqltypes.UTCDateTime
    op.create_table(
        "operator_certificate",
        sa.Column("key", text(), nullable=False),
        sa.Column("user", text(), nullable=False),
        sa.Column("issued_at", moment(), nullable=False),
        sa.Column("issued_by", text(), nullable=False),
        sa.Column("expires_at", moment(), nullable=False),
        sa.Column("revoked_at", moment(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_operator_certificate")),
    )
    with op.batch_alter_table("operator_certificate", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_operator_certificate_user"), ["user"], unique=False)
    unlisted = op.create_table(
        "unlisted_certificates",
        sa.Column("before", moment(), nullable=False),
        sa.PrimaryKeyConstraint("before", name=op.f("pk_unlisted_certificates")),
    )
    # A fleet that has written anything into its log has operators from before.
    if op.get_bind().execute(sa.text("SELECT 1 FROM decision LIMIT 1")).first():
        op.bulk_insert(unlisted, [{"before": datetime.now(UTC)}])


def downgrade() -> None:
    op.drop_table("unlisted_certificates")
    op.drop_table("operator_certificate")
