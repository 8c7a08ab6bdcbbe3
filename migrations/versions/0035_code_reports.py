"""Reports of wrong codes are events, and codes are watched by the hour."""

from alembic import op

from migrations.ddl import run

revision = "0035"
down_revision = "0034"


def upgrade() -> None:
    run(op.get_bind(), "0035_code_reports")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
