"""Charges by card: lanes' records, packages, disputes, clearing; money that a channel takes back."""

from alembic import op

from migrations.ddl import run

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run(op.get_bind(), "0012_card_charges")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
