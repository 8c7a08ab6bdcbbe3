"""Recovery incentive: who owned a debt and who recovered it."""

from alembic import op

from migrations.ddl import run

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    run(op.get_bind(), "0022_incentive")


def downgrade() -> None:
    raise RuntimeError("an append-only book is never migrated backwards; restore a backup instead")
