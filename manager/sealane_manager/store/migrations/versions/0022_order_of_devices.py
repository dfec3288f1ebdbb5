"""The devices of a rollout by their turn, with all that is counted of them."""

from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

_INDEX = "ix_rollout_device_rollout_position_stage_state_previous"


def upgrade() -> None:
    columns = ["rollout", "position", "stage", "state", "previous"]
    op.create_index(op.f(_INDEX), "rollout_device", columns)


def downgrade() -> None:
    op.drop_index(op.f(_INDEX), "rollout_device")
