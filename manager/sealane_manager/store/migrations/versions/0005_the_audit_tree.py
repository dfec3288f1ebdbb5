"""The Merkle tree over the decision log, grown over the lines that are there already."""

import sqlalchemy as sa
import sqlmodel.sql.sqltypes
from alembic import op
from sealane.audit import merkle
from sealane.audit.entry import Entry, encoded

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

PORTION = 5000

decision = sa.table(
    "decision",
    sa.column("id", sa.BigInteger()),
    sa.column("leaf", sa.BigInteger()),
    sa.column("at", sqlmodel.sql.sqltypes.UTCDateTime()),
    sa.column("rollout", sa.String()),
    sa.column("actor", sa.String()),
    sa.column("action", sa.String()),
    sa.column("detail", sa.String()),
    sa.column("evidence", sa.String()),
)


def upgrade() -> None:
    node = op.create_table(
        "audit_node",
        sa.Column("level", sa.BigInteger(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "position", name=op.f("pk_audit_node")),
        sqlite_with_rowid=False,
    )
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("peaks", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_head")),
    )
    with op.batch_alter_table("decision", schema=None) as batch_op:
        batch_op.add_column(sa.Column("leaf", sa.BigInteger(), nullable=True))
        batch_op.add_column(
            sa.Column("evidence", sqlmodel.sql.sqltypes.AutoString(), nullable=True)
        )
    _number()
    size, peaks = _grow(node)
    op.get_bind().execute(
        sa.insert(head), [{"id": 1, "epoch": 1, "size": size, "peaks": b"".join(peaks)}]
    )
    with op.batch_alter_table("decision", schema=None) as batch_op:
        batch_op.alter_column("leaf", existing_type=sa.BigInteger(), nullable=False)
        batch_op.alter_column(
            "evidence", existing_type=sqlmodel.sql.sqltypes.AutoString(), nullable=False
        )
        batch_op.create_unique_constraint(batch_op.f("uq_decision_leaf"), ["leaf"])


def downgrade() -> None:
    with op.batch_alter_table("decision", schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f("uq_decision_leaf"), type_="unique")
        batch_op.drop_column("evidence")
        batch_op.drop_column("leaf")
    op.drop_table("audit_head")
    op.drop_table("audit_node")


def _number() -> None:
    """Leaves in the order in which the lines were written."""
    number = sa.func.row_number().over(order_by=decision.c.id) - 1
    numbered = sa.select(decision.c.id, number.label("leaf")).subquery()
    op.get_bind().execute(
        sa.update(decision)
        .where(decision.c.id == numbered.c.id)
        .values(leaf=numbered.c.leaf, evidence="")
    )


def _grow(node: sa.Table) -> tuple[int, tuple[bytes, ...]]:
    size, peaks = 0, tuple[bytes, ...]()
    query = sa.select(decision).order_by(decision.c.leaf).limit(PORTION)
    while lines := op.get_bind().execute(query.where(decision.c.leaf >= size)).all():
        leaves = [
            merkle.leaf_hash(encoded(Entry(row.at, row.actor, row.action, row.rollout, row.detail)))
            for row in lines
        ]
        gained, peaks = merkle.grown(size, peaks, leaves)
        op.get_bind().execute(
            sa.insert(node),
            [
                {"level": place.level, "position": place.index, "hash": value}
                for place, value in gained.items()
            ],
        )
        size += len(lines)
    return size, peaks
