"""SQLAlchemy 2 with its psycopg, psycopg2, asyncpg and pg8000 dialects: ORM, DDL, reflection, savepoints, isolation levels."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.exc import DBAPIError, IntegrityError

from tests.drivers.places import Place


class Base(orm.DeclarativeBase):
    """The application's tables."""


class Author(Base):
    """Has many books."""

    __tablename__ = "authors"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    name: orm.Mapped[str] = orm.mapped_column(sa.String(40), unique=True)
    books: orm.Mapped[list[Book]] = orm.relationship(back_populates="author", cascade="all, delete-orphan")


class Book(Base):
    """Written by an author."""

    __tablename__ = "books"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    title: orm.Mapped[str]
    price: orm.Mapped[Decimal] = orm.mapped_column(sa.Numeric(8, 2))
    genre: orm.Mapped[str] = orm.mapped_column(sa.Enum("prose", "poems", name="genre"))
    facts: orm.Mapped[dict[str, Any]] = orm.mapped_column(sa.JSON)
    author_id: orm.Mapped[int] = orm.mapped_column(sa.ForeignKey("authors.id"), index=True)
    author: orm.Mapped[Author] = orm.relationship(back_populates="books")


def url(place: Place, dialect: str) -> sa.URL:
    where = place.through
    return sa.URL.create(f"postgresql+{dialect}", where["user"], where["password"], where["host"], where["port"], "any")


@pytest.fixture(params=["psycopg", "psycopg2", "pg8000"])
def engine(place: Place, request: pytest.FixtureRequest) -> Iterator[sa.Engine]:
    engine = sa.create_engine(url(place, request.param), pool_size=2, max_overflow=2)
    yield engine
    engine.dispose()


def library(connection: sa.Connection) -> None:
    Base.metadata.drop_all(connection)
    Base.metadata.create_all(connection)


def remove(connection: sa.Connection) -> None:
    Base.metadata.drop_all(connection)


@pytest.fixture
def tables(engine: sa.Engine) -> Iterator[sa.Engine]:
    """The application's tables, made and dropped by the tenant itself."""
    with engine.begin() as connection:
        library(connection)
    yield engine
    with engine.begin() as connection:
        remove(connection)


def add_twice(session: orm.Session) -> None:
    with session.begin_nested():
        session.add(Author(name="Borges"))
        session.flush()


def use_orm(session: orm.Session) -> None:
    """The same for every dialect."""
    author = Author(name="Borges")
    author.books = [
        Book(title=f"Ficciones {n}", price=Decimal("9.50"), genre="prose", facts={"n": n}) for n in range(30)
    ]
    session.add(author)
    session.commit()
    with pytest.raises(IntegrityError):
        add_twice(session)
    session.add(Author(name="Pessoa", books=[Book(title="Mensagem", price=Decimal(5), genre="poems", facts={})]))
    session.commit()
    query = sa.select(Book).join(Author).where(Author.name == "Borges").order_by(Book.id)
    books = session.scalars(query.options(orm.selectinload(Book.author))).all()
    assert [book.facts["n"] for book in books] == list(range(30))
    assert {book.author.name for book in books} == {"Borges"}
    session.execute(sa.update(Book).where(Book.genre == "poems").values(price=Book.price * 2))
    assert session.scalar(sa.select(sa.func.sum(Book.price)).where(Book.genre == "poems")) == Decimal(10)
    session.rollback()
    assert session.scalar(sa.select(Book.price).where(Book.genre == "poems")) == Decimal(5)
    session.delete(session.scalars(sa.select(Author).where(Author.name == "Borges")).one())
    session.commit()
    assert session.scalar(sa.select(sa.func.count()).select_from(Book)) == 1


def reflect(connection: sa.Connection) -> None:
    """What the inspector sees of the tenant's tables."""
    inspector = sa.inspect(connection)
    assert {"authors", "books", "orders", "notes"} <= set(inspector.get_table_names())
    columns = {column["name"]: str(column["type"]) for column in inspector.get_columns("books")}
    assert (columns["price"], columns["facts"]) == ("NUMERIC(8, 2)", "JSON")
    assert inspector.get_pk_constraint("books")["constrained_columns"] == ["id"]
    assert inspector.get_foreign_keys("books")[0]["referred_table"] == "authors"
    assert [index["name"] for index in inspector.get_indexes("books")] == ["ix_books_author_id"]
    assert [enum["name"] for enum in inspector.get_enums() if enum["name"] == "genre"]  # type: ignore[attr-defined]
    metadata = sa.MetaData()
    metadata.reflect(connection, only=["books", "orders"])
    assert set(metadata.tables) == {"authors", "books", "orders"}


def test_the_orm_story(tables: sa.Engine) -> None:
    with orm.Session(tables) as session:
        use_orm(session)


def test_reflection(tables: sa.Engine) -> None:
    with tables.connect() as connection:
        reflect(connection)


def test_the_tenants_rows_through_core(engine: sa.Engine, place: Place) -> None:
    orders = sa.table("orders", sa.column("item"), sa.column("amount", sa.Numeric))
    with engine.connect() as connection:
        for _ in range(7):
            assert set(connection.scalars(sa.select(orders.c.item).where(orders.c.amount > 0))) == place.items
            connection.commit()


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE", "AUTOCOMMIT"])
def test_isolation_levels_by_execution_options(engine: sa.Engine, place: Place, level: Any) -> None:
    expected = {"AUTOCOMMIT": "read committed"}.get(level, level.lower())
    count = sa.text("SELECT count(*) FROM orders")
    with engine.connect() as plain, engine.connect() as connection:
        connection = connection.execution_options(isolation_level=level)
        assert connection.scalar(sa.text("SHOW transaction_isolation")) == expected
        assert connection.scalar(count) == len(place.items)
        assert connection.get_isolation_level() == expected.upper()
        connection.rollback()
        assert connection.scalar(sa.text("SHOW transaction_isolation")) == expected
        assert plain.scalar(sa.text("SHOW transaction_isolation")) == "read committed"
    with engine.connect() as again:
        assert again.scalar(sa.text("SHOW transaction_isolation")) == "read committed"


def test_an_engine_with_an_isolation_level(place: Place) -> None:
    for dialect in ("psycopg", "psycopg2", "pg8000"):
        engine = sa.create_engine(url(place, dialect), isolation_level="REPEATABLE READ")
        with engine.connect() as connection:
            assert connection.scalar(sa.text("SHOW transaction_isolation")) == "repeatable read"
        engine.dispose()


@pytest.mark.parametrize("dialect", ["psycopg", "psycopg2"])
def test_read_only_and_deferrable_by_execution_options(place: Place, dialect: str) -> None:
    engine = sa.create_engine(url(place, dialect))
    with engine.connect() as connection:
        connection = connection.execution_options(
            isolation_level="SERIALIZABLE", postgresql_readonly=True, postgresql_deferrable=True
        )
        assert connection.scalar(sa.text("SHOW transaction_deferrable")) == "on"
        with pytest.raises(DBAPIError, match="read-only"):
            connection.execute(sa.text("INSERT INTO notes (id) VALUES (1)"))
    engine.dispose()


@pytest.mark.parametrize("dialect", ["psycopg", "psycopg2"])
def test_streaming_results_with_a_server_side_cursor(place: Place, dialect: str) -> None:
    engine = sa.create_engine(url(place, dialect))
    with engine.connect().execution_options(stream_results=True, yield_per=100) as connection:
        numbers = connection.scalars(sa.text("SELECT generate_series(1, 1000)"))
        assert sum(numbers) == 500500
    engine.dispose()


def test_many_rows_in_one_insert_give_their_keys_in_order(tables: sa.Engine) -> None:
    with orm.Session(tables) as session:
        authors = [Author(name=f"author {n}") for n in range(2500)]
        session.add_all(authors)
        session.flush()
        found = {author.name: author.id for author in session.execute(sa.select(Author.name, Author.id))}
        assert [found[author.name] for author in authors] == [author.id for author in authors]
        rows = sa.insert(Author).returning(Author.id, sort_by_parameter_order=True)
        keys = session.scalars(rows, [{"name": f"later {n}"} for n in range(500)]).all()
        assert len(keys) == 500
        assert list(keys) == sorted(keys)


def test_connections_are_checked_before_use_and_replaced(place: Place) -> None:
    engine = sa.create_engine(url(place, "psycopg"), pool_pre_ping=True, pool_size=1, max_overflow=0)
    with engine.connect() as connection:
        connection.connection.driver_connection.close()  # type: ignore[union-attr]
        connection.invalidate()
    with engine.connect() as connection:
        assert connection.scalar(sa.text("SELECT count(*) FROM orders")) == len(place.items)
    engine.dispose()


def test_two_sessions_update_one_row_by_its_version(tables: sa.Engine) -> None:
    with orm.Session(tables) as one, orm.Session(tables) as other:
        one.add(Author(name="Cortázar"))
        one.commit()
        mine = one.scalars(sa.select(Author).with_for_update()).one()
        with pytest.raises(DBAPIError, match="could not obtain lock"):
            other.scalars(sa.select(Author).with_for_update(nowait=True)).one()
        other.rollback()
        mine.name = "Julio"
        one.commit()
        assert other.scalars(sa.select(Author.name)).one() == "Julio"


async def with_asyncpg(place: Place, work: Callable[[Any], Awaitable[None]]) -> None:
    pytest.importorskip("greenlet", reason="SQLAlchemy's asyncio needs greenlet")
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url(place, "asyncpg"), connect_args={"ssl": False})
    try:
        async with engine.begin() as connection:
            await connection.run_sync(library)
        await work(engine)
        async with engine.begin() as connection:
            await connection.run_sync(remove)
    finally:
        await engine.dispose()


async def test_the_orm_story_with_asyncpg(place: Place) -> None:
    async def story(engine: Any) -> None:
        async with engine.connect() as connection:
            await connection.run_sync(lambda sync: use_orm(orm.Session(sync, join_transaction_mode="control_fully")))
        async with engine.connect() as connection:
            await connection.run_sync(reflect)

    await with_asyncpg(place, story)


async def test_isolation_levels_and_concurrency_with_asyncpg(place: Place) -> None:
    async def ask(engine: Any) -> None:
        async with engine.connect() as connection:
            connection = await connection.execution_options(isolation_level="SERIALIZABLE")
            assert await connection.scalar(sa.text("SHOW transaction_isolation")) == "serializable"
            items = await connection.scalars(sa.text("SELECT item FROM orders WHERE amount > :a"), {"a": 0})
            assert set(items) == place.items

    async def story(engine: Any) -> None:
        await asyncio.gather(*(ask(engine) for _ in range(8)))

    await with_asyncpg(place, story)


# One and the same text, again and again, for tables that are another each time.
SHAPES: tuple[tuple[Any, Any], ...] = (
    (sa.Integer, 1),
    (sa.Text, "text"),
    (sa.Numeric(18, 14), Decimal("2.5")),
    (sa.Numeric(25, 2), Decimal("2.5")),
    (sa.JSON, {"a": 1}),
    (sa.ARRAY(sa.Integer), [1, 2]),
)


def reshape(connection: sa.Connection, *, keep: bool) -> None:
    """Make the table in a transaction, use it there, and keep it (dropped by the next) or not."""
    for kind, value in SHAPES:
        shape = sa.Table("shape", sa.MetaData(), sa.Column("x", kind))
        shape.create(connection)
        connection.execute(sa.insert(shape).values(x=value))
        assert connection.scalar(sa.select(shape.c.x)) == value
        if keep:
            connection.commit()
            assert connection.scalar(sa.select(shape.c.x)) == value
            shape.drop(connection)
            connection.commit()
        else:
            connection.rollback()


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("dialect", ["psycopg", "psycopg2", "pg8000"])
def test_the_same_text_for_tables_made_anew(place: Place, dialect: str, keep: bool) -> None:
    options = {"connect_args": {"prepare_threshold": 0}} if dialect == "psycopg" else {}
    engine = sa.create_engine(url(place, dialect), **options)
    with engine.connect() as connection:
        reshape(connection, keep=keep)
    engine.dispose()


@pytest.mark.parametrize("keep", [True, False])
async def test_the_same_text_for_tables_made_anew_with_asyncpg(place: Place, keep: bool) -> None:
    pytest.importorskip("greenlet", reason="SQLAlchemy's asyncio needs greenlet")
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(url(place, "asyncpg"), connect_args={"ssl": False})
    try:
        for _ in range(2):
            async with engine.connect() as connection:
                await connection.run_sync(lambda sync: reshape(sync, keep=keep))
    finally:
        await engine.dispose()
