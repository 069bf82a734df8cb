"""Alembic on one tenant: upgrade, downgrade, autogenerate, stamp, offline SQL; each step in a transaction, or none of it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import alembic.command
import alembic.util
import pytest
import sqlalchemy as sa
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from tests.drivers.places import Place

METADATA = sa.MetaData()
SHELVES = sa.Table(
    "shelves",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("label", sa.String(40), nullable=False, unique=True),
    sa.Column("kind", sa.Enum("oak", "steel", name="shelf_kind")),
)
BINDERS = sa.Table(
    "binders",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("shelf_id", sa.ForeignKey("shelves.id"), index=True),
    sa.Column("pages", sa.Integer, server_default="0"),
)

_ENV = """
from alembic import context

config = context.config

def include(name, type_, parents):
    return type_ != "table" or name in ("shelves", "binders")

options = dict(target_metadata=config.attributes["metadata"], include_name=include)
if context.is_offline_mode():
    context.configure(url="postgresql://", literal_binds=True, **options)
    with context.begin_transaction():
        context.run_migrations()
else:
    with config.attributes["engine"].connect() as connection:
        context.configure(
            connection=connection, transaction_per_migration=config.attributes["one_by_one"], **options
        )
        with context.begin_transaction():
            context.run_migrations()
"""
_TEMPLATE = """
from alembic import op
import sqlalchemy as sa
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}

def upgrade():
    ${upgrades if upgrades else "pass"}

def downgrade():
    ${downgrades if downgrades else "pass"}
"""
_REVISION = """
from alembic import op
import sqlalchemy as sa

revision = {revision!r}
down_revision = {before!r}

def upgrade():
{upgrade}

def downgrade():
{downgrade}
"""


@dataclass(frozen=True, slots=True)
class Project:
    """A folder with migrations, and an engine for the tenant that they are for."""

    engine: sa.Engine
    folder: Path
    config: Config
    printed: io.StringIO

    def write(self, revision: str, before: str | None, upgrade: str, downgrade: str = "pass") -> None:
        """A revision by hand; the code is one line or several."""
        upgrade, downgrade = ("\n".join(f"    {line}" for line in code.splitlines()) for code in (upgrade, downgrade))
        text = _REVISION.format(revision=revision, before=before, upgrade=upgrade, downgrade=downgrade)
        (self.folder / "versions" / f"{revision}.py").write_text(text)

    def autogenerate(self, revision: str) -> str:
        """Let Alembic compare the models with the database; gives what it wrote."""
        alembic.command.revision(self.config, autogenerate=True, rev_id=revision)
        (path,) = (self.folder / "versions").glob(f"{revision}*.py")
        return path.read_text()

    def upgrade(self, revision: str = "head", **options: Any) -> None:
        alembic.command.upgrade(self.config, revision, **options)

    def downgrade(self, revision: str) -> None:
        alembic.command.downgrade(self.config, revision)

    def current(self) -> str:
        """What `alembic current` prints."""
        self.printed.seek(0)
        self.printed.truncate()
        alembic.command.current(self.config)
        return self.printed.getvalue().strip()

    @property
    def tables(self) -> set[str]:
        """Those of the migrations that exist."""
        return set(sa.inspect(self.engine).get_table_names()) & {"shelves", "binders", "labels", "alembic_version"}

    def scalar(self, text: str) -> Any:
        with self.engine.connect() as connection:
            return connection.scalar(sa.text(text))


@pytest.fixture(params=["psycopg", "psycopg2"])
def project(place: Place, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Project]:
    where = place.through
    dialect = f"postgresql+{request.param}"
    url = sa.URL.create(dialect, where["user"], where["password"], where["host"], where["port"], "any")
    engine = sa.create_engine(url)
    (tmp_path / "versions").mkdir()
    (tmp_path / "env.py").write_text(_ENV)
    (tmp_path / "script.py.mako").write_text(_TEMPLATE)
    printed = io.StringIO()
    config = Config(stdout=printed, output_buffer=printed, attributes={"metadata": METADATA, "engine": engine})
    config.attributes["one_by_one"] = False
    config.set_main_option("script_location", str(tmp_path))
    config.set_main_option("path_separator", "os")
    yield Project(engine, tmp_path, config, printed)
    with engine.begin() as connection:
        connection.execute(sa.text("DROP TABLE IF EXISTS alembic_version, binders, shelves, labels"))
        connection.execute(sa.text("DROP TYPE IF EXISTS shelf_kind"))
    engine.dispose()


def test_upgrade_downgrade_and_autogenerate(project: Project) -> None:
    written = project.autogenerate("a1")
    assert "op.create_table('binders'" in written
    project.upgrade()
    assert project.tables == {"shelves", "binders", "alembic_version"}
    assert project.current() == "a1 (head)"
    assert (
        "upgrade():\n    # ### commands auto generated by Alembic - please adjust! ###\n    pass"
        in project.autogenerate("a2")
    )
    project.upgrade()
    with project.engine.begin() as connection:
        connection.execute(sa.insert(SHELVES).values(label="first", kind="oak"))
        connection.execute(sa.insert(BINDERS).values(shelf_id=1))
    project.downgrade("a1")
    assert project.scalar("SELECT count(*) FROM binders JOIN shelves ON shelf_id = shelves.id") == 1
    project.downgrade("base")
    assert project.tables == {"alembic_version"}
    assert project.current() == ""


def test_autogenerate_sees_what_was_changed_behind_its_back(project: Project) -> None:
    project.autogenerate("a1")
    project.upgrade()
    with project.engine.begin() as connection:
        connection.execute(sa.text("ALTER TABLE binders DROP COLUMN pages, ADD COLUMN colour text"))
        connection.execute(sa.text("DROP INDEX ix_binders_shelf_id"))
    written = project.autogenerate("a2")
    assert "op.add_column('binders', sa.Column('pages'" in written
    assert "op.drop_column('binders', 'colour')" in written
    assert "op.create_index(op.f('ix_binders_shelf_id')" in written
    with pytest.raises(alembic.util.CommandError, match="Target database is not up to date"):
        alembic.command.check(project.config)
    project.upgrade()
    alembic.command.check(project.config)


def test_migrations_alter_tables_and_fill_them(project: Project) -> None:
    project.autogenerate("a1")
    project.write(
        "b1",
        "a1",
        "op.add_column('shelves', sa.Column('height', sa.Integer))\n"
        "shelves = sa.table('shelves', sa.column('label'), sa.column('height'))\n"
        "op.bulk_insert(shelves, [{'label': f'l{n}', 'height': None} for n in range(50)])\n"
        "op.execute(sa.update(shelves).values(height=7))\n"
        "op.alter_column('shelves', 'height', nullable=False, type_=sa.BigInteger)\n"
        "with op.batch_alter_table('shelves') as batch:\n"
        "    batch.create_check_constraint('height_positive', 'height > 0')\n"
        "op.create_index('shelves_height', 'shelves', ['height'], postgresql_where=sa.text('height > 1'))\n"
        "assert op.get_bind().scalar(sa.text('SELECT sum(height) FROM shelves')) == 350",
        "op.drop_index('shelves_height')\nop.drop_column('shelves', 'height')",
    )
    project.upgrade()
    inspector = sa.inspect(project.engine)
    assert {str(column["type"]) for column in inspector.get_columns("shelves") if column["name"] == "height"} == {
        "BIGINT"
    }
    assert [check["name"] for check in inspector.get_check_constraints("shelves")] == ["height_positive"]
    project.downgrade("-1")
    assert "height" not in {column["name"] for column in sa.inspect(project.engine).get_columns("shelves")}
    assert project.scalar("SELECT count(*) FROM shelves") == 50


def test_a_failing_migration_takes_all_of_them_back(project: Project) -> None:
    project.write("a1", None, "op.create_table('labels', sa.Column('id', sa.Integer))")
    project.write("a2", "a1", "op.add_column('labels', sa.Column('text', sa.Text))\nop.execute('SELECT 1 / 0')")
    with pytest.raises(DBAPIError, match="division by zero"):
        project.upgrade()
    assert project.tables == set()


def test_with_a_transaction_to_each_the_earlier_ones_stay(project: Project) -> None:
    project.config.attributes["one_by_one"] = True
    project.write("a1", None, "op.create_table('labels', sa.Column('id', sa.Integer))")
    project.write("a2", "a1", "op.add_column('labels', sa.Column('text', sa.Text))\nop.execute('SELECT 1 / 0')")
    with pytest.raises(DBAPIError, match="division by zero"):
        project.upgrade()
    assert project.current() == "a1"
    assert [column["name"] for column in sa.inspect(project.engine).get_columns("labels")] == ["id"]


def test_stamp(project: Project) -> None:
    project.write("a1", None, "op.create_table('labels', sa.Column('id', sa.Integer))")
    project.write("a2", "a1", "pass")
    alembic.command.stamp(project.config, "a1")
    assert project.current() == "a1"
    assert project.tables == {"alembic_version"}
    project.upgrade()
    assert project.current() == "a2 (head)"
    alembic.command.stamp(project.config, "base")
    assert project.current() == ""


def test_an_index_is_made_concurrently_where_that_can_be(place: Place, project: Project) -> None:
    project.write("a1", None, "op.create_table('labels', sa.Column('id', sa.Integer))")
    project.write(
        "a2",
        "a1",
        "with op.get_context().autocommit_block():\n"
        "    op.create_index('labels_id', 'labels', ['id'], postgresql_concurrently=True)",
        "with op.get_context().autocommit_block():\n    op.drop_index('labels_id', postgresql_concurrently=True)",
    )
    project.config.attributes["one_by_one"] = True
    project.upgrade("a1")
    if place.tenant.model == "database":
        project.upgrade()
        assert [index["name"] for index in sa.inspect(project.engine).get_indexes("labels")] == ["labels_id"]
        project.downgrade("a1")
    else:
        with pytest.raises(DBAPIError, match="CREATE INDEX CONCURRENTLY") as refused:
            project.upgrade()
        assert getattr(refused.value.orig, "sqlstate", None) or getattr(refused.value.orig, "pgcode", None) == "0A000"
    assert sa.inspect(project.engine).get_indexes("labels") == []
    assert project.current() == "a1"


def test_the_sql_of_offline_mode_can_be_run(project: Project) -> None:
    project.write("a1", None, "op.create_table('labels', sa.Column('id', sa.Integer))")
    project.write("a2", "a1", 'op.execute("INSERT INTO labels (id) VALUES (7)")')
    project.upgrade(sql=True)
    script = project.printed.getvalue()
    assert script.startswith("BEGIN;")
    with project.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql(script)
    assert project.scalar("SELECT id FROM labels") == 7
    assert project.current() == "a2 (head)"


def test_a_tenants_migrations_are_its_own(place: Place, project: Project) -> None:
    project.write("a1", None, "op.create_table('labels', sa.Column('id', sa.Integer))")
    project.upgrade()
    schema = project.scalar(
        "SELECT relnamespace::regnamespace::text FROM pg_class WHERE oid = 'alembic_version'::regclass"
    )
    assert schema == (place.tenant.schema or "public")
