"""Mandates that drivers sign, with the words they agreed to."""

from alembic import op

from migrations.ddl import run

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    run(op.get_bind(), "0032_agreements")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
