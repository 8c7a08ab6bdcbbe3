"""Discounts: coupons and what merchants validate, and who bears them."""

from alembic import op

from migrations.ddl import run

revision = "0033"
down_revision = "0032"


def upgrade() -> None:
    run(op.get_bind(), "0033_discounts")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
