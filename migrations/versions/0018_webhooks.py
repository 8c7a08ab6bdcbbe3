"""Events are pushed to lots and operators."""

from alembic import op

from migrations.ddl import run

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    run(op.get_bind(), "0018_webhooks")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
