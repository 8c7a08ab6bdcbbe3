"""Refunds: promised under the payment's lock, made at the channel under one number, booked when accepted and when done."""

from alembic import op

from migrations.ddl import run

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run(op.get_bind(), "0007_refunds")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
