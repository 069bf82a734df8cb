"""What Django is asked to do. Checks run in this order: the first makes the tables, the last removes them."""

from __future__ import annotations

import asyncio
import datetime as dt
import io
import json
import os
import traceback
import zoneinfo
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from asgiref.sync import sync_to_async
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, OperationalError, connections, models, transaction
from django.db.models import Count, F, Q, Sum, Window
from django.db.models.functions import RowNumber, TruncDay

from tests.drivers.django_app.models import Author, Book, Order

DEFAULT = connections["default"]
PLACEMENT = os.environ["PLACEMENT"]
ITEMS = sorted(json.loads(os.environ["ITEMS"]))

_SECOND_MIGRATION = """
from django.db import migrations, models

def fill(apps, schema_editor):
    apps.get_model("library", "Book").objects.filter(pages__isnull=True).update(pages=100)

class Migration(migrations.Migration):
    dependencies = [("library", "0001_initial")]
    operations = [
        migrations.AddField("book", "pages", models.IntegerField(null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AlterField("author", "name", models.CharField(max_length=60, unique=True, db_index=True)),
        migrations.RunSQL("COMMENT ON TABLE library_book IS 'read them'", migrations.RunSQL.noop),
        migrations.CreateModel("Shelf", [("id", models.BigAutoField(primary_key=True)), ("name", models.TextField())]),
        migrations.RenameField("shelf", "name", "label"),
        migrations.AddIndex("shelf", models.Index(fields=["label"], name="shelf_label")),
    ]
"""
_FAILING_MIGRATION = """
from django.db import migrations, models

class Migration(migrations.Migration):
    dependencies = [("library", "0002_pages")]
    operations = [
        migrations.AddField("book", "lost", models.IntegerField(null=True)),
        migrations.RunSQL("SELECT 1 / 0", migrations.RunSQL.noop),
    ]
"""
_CONCURRENT_MIGRATION = """
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models

class Migration(migrations.Migration):
    atomic = False
    dependencies = [("library", "0002_pages")]
    operations = [AddIndexConcurrently("book", models.Index(fields=["stock"], name="book_stock_index"))]
"""


@dataclass(frozen=True, slots=True)
class World:
    """What the checks share."""

    driver: str
    migrations: Path

    def write_migration(self, name: str, text: str) -> None:
        """Put a migration beside those that Django wrote."""
        (self.migrations / f"{name}.py").write_text(text)

    def remove_migration(self, name: str) -> None:
        """Forget it again."""
        (self.migrations / f"{name}.py").unlink()


Check = Callable[[World], None]


def run_all(world: World) -> None:
    """Run them in order; a line each. A check whose name ends in `__psycopg` is for that driver alone."""
    for name, check in _all_checks():
        if name.endswith("__psycopg") and world.driver != "psycopg":
            continue
        try:
            check(world)
            problem = ""
        except Exception:
            problem = traceback.format_exc()[-2500:]
        print(json.dumps({"check": name, "ok": not problem, "detail": problem}), flush=True)
    for connection in connections.all():
        connection.close()
        if connection.pool:
            connection.close_pool()


def _all_checks() -> list[tuple[str, Check]]:
    return [(name.removeprefix("check_"), item) for name, item in globals().items() if name.startswith("check_")]


def manage(*arguments: str, **options: Any) -> str:
    """A management command; what it printed."""
    out = io.StringIO()
    call_command(*arguments, stdout=out, stderr=out, no_color=True, **options)
    return out.getvalue()


@contextmanager
def failing(error: type[Exception] = DatabaseError, text: str = "") -> Iterator[None]:
    """The block must end in this error."""
    seen = None
    try:
        yield
    except error as raised:
        seen = raised
    assert seen is not None, f"no {error.__name__}"
    assert text in str(seen), seen


@contextmanager
def refused(error: type[Exception], text: str = "") -> Iterator[None]:
    """The block is a transaction or a savepoint, and must end in this error."""
    with failing(error, text), transaction.atomic():
        yield


def move() -> None:
    """Make the next transaction land on another server: this takes the warmest, or gives it back."""
    mover = connections["mover"]
    if mover.in_atomic_block:
        transaction.set_rollback(True, using="mover")
        mover.gatehouse_block.__exit__(None, None, None)
    else:
        mover.gatehouse_block = transaction.atomic(using="mover")
        mover.gatehouse_block.__enter__()
        with mover.cursor() as cursor:
            cursor.execute("SELECT 1")


def ask(text: str, *parameters: Any, using: str = "default") -> Any:
    """The first column of the first row."""
    with connections[using].cursor() as cursor:
        cursor.execute(text, parameters or None)
        return cursor.fetchone()[0]


def table_names() -> set[str]:
    with DEFAULT.cursor() as cursor:
        return set(DEFAULT.introspection.table_names(cursor))


def columns_of(table: str) -> set[str]:
    with DEFAULT.cursor() as cursor:
        return {column.name for column in DEFAULT.introspection.get_table_description(cursor, table)}


def fill(count: int = 5) -> Author:
    """An author with books, and nothing else."""
    Author.objects.all().delete()
    author: Author = Author.objects.create(name="Borges")
    Book.objects.bulk_create(
        Book(title=f"Ficciones {n}", price=Decimal("9.50"), stock=n, facts={"n": n}, author=author)
        for n in range(count)
    )
    return author


def check_migrations_are_made_from_the_models(world: World) -> None:
    made = manage("makemigrations", "library", interactive=False)
    assert "Create model Book" in made, made
    assert (world.migrations / "0001_initial.py").exists()
    assert "No changes" in manage("makemigrations", "library", check_changes=True, interactive=False)


def check_migrating_forwards(world: World) -> None:
    assert "CREATE TABLE" in manage("sqlmigrate", "library", "0001")
    shown = manage("migrate", interactive=False)
    assert "Applying library.0001_initial... OK" in shown, shown
    assert {"library_author", "library_book", "library_book_readers", "django_migrations"} <= table_names()
    assert "No migrations to apply" in manage("migrate", interactive=False)


def check_create_read_update_delete(world: World) -> None:
    author = Author.objects.create(name="Pessoa", born=dt.datetime(1888, 6, 13, tzinfo=dt.UTC))
    move()
    assert Author.objects.get(name="Pessoa").born == author.born
    author.name = "Reis"
    author.save(update_fields=["name"])
    move()
    again, created = Author.objects.get_or_create(name="Reis")
    assert (again.pk, created) == (author.pk, False)
    _, created = Author.objects.update_or_create(name="Campos", defaults={"born": None})
    assert created
    move()
    assert Author.objects.filter(Q(name="Reis") | Q(name="Campos")).delete()[0] == 2
    assert not Author.objects.exists()


def check_the_tenants_rows(world: World) -> None:
    for _ in range(4):
        assert sorted(Order.objects.values_list("item", flat=True)) == ITEMS
        assert sorted(order.item for order in Order.objects.raw("SELECT * FROM orders")) == ITEMS
        move()


def check_relations_are_followed_in_one_query_or_two(world: World) -> None:
    author = fill()
    Book.objects.first().readers.add(author)
    books = list(Book.objects.select_related("author").prefetch_related("readers").order_by("pk"))
    assert {book.author.name for book in books} == {"Borges"}
    assert [len(book.readers.all()) for book in books] == [1, 0, 0, 0, 0]
    counted = Author.objects.annotate(n=Count("books"), total=Sum("books__price")).get()
    assert (counted.n, counted.total) == (5, Decimal("47.50"))


def check_bulk_operations(world: World) -> None:
    author = fill(0)
    Book.objects.bulk_create(
        [Book(title=f"t{n}", price=n, author=author, cover=b"\0\xff" * 100) for n in range(2500)], batch_size=500
    )
    books = list(Book.objects.order_by("pk"))
    assert len(books) == 2500
    assert bytes(books[7].cover) == b"\0\xff" * 100
    for book in books:
        book.stock = 3
    assert Book.objects.bulk_update(books[:300], ["stock"], batch_size=100) == 300
    same = Author(name="Borges", born=dt.datetime(1899, 8, 24, tzinfo=dt.UTC))
    Author.objects.bulk_create([same], update_conflicts=True, unique_fields=["name"], update_fields=["born"])
    assert Author.objects.get().born.year == 1899
    assert len(Book.objects.in_bulk([book.pk for book in books[:50]])) == 50


def check_expressions(world: World) -> None:
    fill()
    assert Book.objects.update(stock=F("stock") + 10, price=F("price") * 2) == 5
    assert list(Book.objects.order_by("pk").values_list("stock", flat=True)) == [10, 11, 12, 13, 14]
    assert Book.objects.filter(facts__n__gte=3).count() == 2
    ranked = Book.objects.annotate(rank=Window(RowNumber(), order_by=F("stock").desc())).order_by("rank")
    assert [book.rank for book in ranked] == [1, 2, 3, 4, 5]
    assert "library_book" in Book.objects.filter(pk=1).explain()


def check_atomic_blocks_nest(world: World) -> None:
    fill(0)
    seen = []
    with transaction.atomic():
        transaction.on_commit(lambda: seen.append("outer"))
        Author.objects.create(name="kept")
        with refused(IntegrityError):
            transaction.on_commit(lambda: seen.append("inner"))
            Author.objects.create(name="kept")
        with transaction.atomic():
            Author.objects.create(name="kept, too")
            with refused(ZeroDivisionError):
                print(Author.objects.create(name="gone").pk / 0)
        savepoint = transaction.savepoint()
        Author.objects.create(name="gone")
        transaction.savepoint_rollback(savepoint)
    assert seen == ["outer"]
    assert set(Author.objects.values_list("name", flat=True)) == {"Borges", "kept", "kept, too"}


def check_an_error_breaks_its_block_alone(world: World) -> None:
    fill()
    with refused(IntegrityError, "book_stock"):
        Book.objects.update(stock=F("stock") - 100)
    with refused(transaction.TransactionManagementError), transaction.atomic():
        try:
            Book.objects.update(stock=-1)
        except IntegrityError:
            Book.objects.count()
    assert Book.objects.filter(stock__gte=0).count() == 5


def check_autocommit_off(world: World) -> None:
    fill(0)
    transaction.set_autocommit(False)
    try:
        Author.objects.create(name="gone")
        transaction.rollback()
        Author.objects.create(name="kept")
        transaction.commit()
    finally:
        transaction.set_autocommit(True)
    assert set(Author.objects.values_list("name", flat=True)) == {"Borges", "kept"}


def check_rows_are_locked(world: World) -> None:
    fill()
    with transaction.atomic():
        locked = list(Book.objects.select_for_update(of=("self",)).filter(stock__lt=2))
        assert len(locked) == 2
        with transaction.atomic(using="lasting"):
            others = Book.objects.using("lasting").select_for_update(skip_locked=True)
            assert others.count() == 5
            assert len(list(others)) == 3
        with failing(DatabaseError, "could not obtain lock"), transaction.atomic(using="lasting"):
            list(Book.objects.using("lasting").select_for_update(nowait=True))


def check_iterators_use_server_side_cursors(world: World) -> None:
    fill(1000)
    # Outside a transaction Django declares them WITH HOLD, …
    titles = 0
    for book in Book.objects.order_by("pk").iterator(chunk_size=100):
        if titles % 300 == 0:
            move()
            Author.objects.count()
        assert book.stock == titles
        titles += 1
    assert titles == 1000
    # … inside without, and one left half way must not be in the way of anything.
    with transaction.atomic():
        books = Book.objects.order_by("pk").iterator(chunk_size=10)
        assert [next(books).stock for _ in range(15)] == list(range(15))
        assert sum(1 for _ in Book.objects.values_list("pk").iterator()) == 1000
        del books
    half = Book.objects.all().iterator(chunk_size=10)
    next(half)
    half.close()
    assert sorted(Order.objects.values_list("item", flat=True)) == ITEMS


def check_times_come_in_the_connections_zone(world: World) -> None:
    berlin = zoneinfo.ZoneInfo("Europe/Berlin")
    late = dt.datetime(2026, 3, 1, 23, 30, tzinfo=dt.UTC)
    Author.objects.update_or_create(name="late", defaults={"born": late})
    for _ in range(4):
        assert ask("SHOW TimeZone") == "UTC"
        assert ask("SHOW TimeZone", using="berlin") == "Europe/Berlin"
        assert ask("SELECT to_char(born, 'DD HH24') FROM library_author WHERE name = 'late'", using="berlin") == "02 00"
        assert Author.objects.using("berlin").get(name="late").born == late
        move()
    days = Author.objects.filter(name="late").annotate(day=TruncDay("born", tzinfo=berlin))
    assert days.get().day.day == 2
    assert Author.objects.filter(born__date=dt.date(2026, 3, 1), name="late").exists()
    Author.objects.filter(name="late").delete()


def check_options_of_a_connection(world: World) -> None:
    for _ in range(3):
        assert ask("SHOW statement_timeout", using="options") == "4567ms"
        assert ask("SHOW work_mem", using="options") == "3MB"
        assert ask("SHOW statement_timeout") != "4567ms"
        with transaction.atomic(using="repeatable"):
            assert ask("SHOW transaction_isolation", using="repeatable") == "repeatable read"
        assert ask("SHOW transaction_isolation") == "read committed"
        move()
    with transaction.atomic(using="repeatable"):
        before = Author.objects.using("repeatable").count()
        Author.objects.create(name="late")
        assert Author.objects.using("repeatable").count() == before
    Author.objects.filter(name="late").delete()


def check_an_assumed_role_is_refused(world: World) -> None:
    with failing(DatabaseError, "role"):
        ask("SELECT 1", using="role")


def check_a_lasting_connection_is_checked_and_replaced(world: World) -> None:
    lasting = connections["lasting"]
    assert Author.objects.using("lasting").count() >= 0
    lasting.close_if_unusable_or_obsolete()
    before = lasting.connection
    assert before is not None
    assert Author.objects.using("lasting").count() >= 0
    assert lasting.connection is before
    before.close()
    lasting.close_if_unusable_or_obsolete()
    lasting.health_check_done = False
    assert Author.objects.using("lasting").count() >= 0
    assert lasting.connection is not before


def check_a_killed_server_in_a_block_is_an_operational_error(world: World) -> None:
    if PLACEMENT == "schema":
        return  # the tenant's role may not end the sessions of Gatehouse's login
    with failing(OperationalError), transaction.atomic(using="lasting"):
        ask("DO $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); END $$", using="lasting")
    lasting = connections["lasting"]
    lasting.close_if_unusable_or_obsolete()
    assert Author.objects.using("lasting").count() >= 0


def check_the_asynchronous_interface(world: World) -> None:
    async def story() -> None:
        await Author.objects.all().adelete()
        author = await Author.objects.acreate(name="Lispector")
        await Book.objects.abulk_create([Book(title=f"a{n}", price=n, author=author) for n in range(30)])
        assert await Book.objects.acount() == 30
        assert [book.title async for book in Book.objects.order_by("pk")[:2]] == ["a0", "a1"]
        assert len([book async for book in Book.objects.aiterator(chunk_size=7)]) == 30
        found = await Book.objects.select_related("author").aget(title="a7")
        assert found.author.name == "Lispector"
        await found.readers.aadd(author)
        assert await found.readers.aexists()
        found.stock = 9
        await found.asave()
        await found.arefresh_from_db()
        assert (await Book.objects.aaggregate(total=Sum("stock")))["total"] == 9
        counts = await asyncio.gather(*(Book.objects.acount() for _ in range(8)))
        assert counts == [30] * 8
        assert await Author.objects.aupdate(born=None) == 1
        await sync_to_async(connections.close_all)()  # those of asgiref's thread

    asyncio.run(story())


def check_bound_parameters_and_prepared_statements__psycopg(world: World) -> None:
    fill()
    for number in range(12):
        books = Book.objects.using("bound").select_related("author").filter(stock__gte=number % 5)
        assert books.count() == 5 - number % 5
        assert {book.author.name for book in books} == {"Borges"}
        move()
    assert ask("SHOW TimeZone", using="bound") == "UTC"


def check_djangos_own_pool__psycopg(world: World) -> None:
    fill()
    for _ in range(6):
        assert Book.objects.using("pooled").count() == 5
        assert ask("SHOW TimeZone", using="pooled") == "UTC"
        connections["pooled"].close()
        move()
    connections["pooled"].close_pool()


def check_introspection(world: World) -> None:
    introspection = DEFAULT.introspection
    with DEFAULT.cursor() as cursor:
        constraints = introspection.get_constraints(cursor, "library_book")
        assert constraints["book_stock"]["check"]
        assert constraints["book_title"]["columns"] == ["title"]
        assert introspection.get_relations(cursor, "library_book")["author_id"][:2] == ("id", "library_author")
        assert introspection.get_primary_key_columns(cursor, "library_book") == ["id"]
        assert introspection.get_sequences(cursor, "library_book", ())[0]["column"] == "id"
    models_text = manage("inspectdb", "library_book", "library_author")
    assert "author = models.ForeignKey('LibraryAuthor'" in models_text, models_text
    assert "facts = models.JSONField()" in models_text, models_text


def check_raw_cursors(world: World) -> None:
    with DEFAULT.cursor() as cursor:
        cursor.executemany("INSERT INTO library_author (name) VALUES (%s)", [(f"raw {n}",) for n in range(20)])
        cursor.execute("SELECT count(*) FROM library_author WHERE name LIKE %s", ["raw%"])
        assert cursor.fetchone() == (20,)
        cursor.execute("DELETE FROM library_author WHERE name LIKE 'raw%'")
        assert cursor.rowcount == 20


def check_sequences_are_reset(world: World) -> None:
    Author.objects.all().delete()
    statements = manage("sqlsequencereset", "library")
    with DEFAULT.cursor() as cursor:
        cursor.execute(statements)
    assert Author.objects.create(name="first").pk == 1


def check_fixtures_are_dumped_and_loaded(world: World) -> None:
    fill()
    path = world.migrations / "dump.json"
    path.write_text(manage("dumpdata", "library.Author", "library.Book"))
    Author.objects.all().delete()
    assert "Installed 6 object(s)" in manage("loaddata", str(path))
    assert Book.objects.select_related("author").first().author.name == "Borges"


def check_the_tables_are_flushed(world: World) -> None:
    fill()
    manage("flush", interactive=False)
    assert not Book.objects.exists()


def check_a_further_migration_and_its_way_back(world: World) -> None:
    fill()
    world.write_migration("0002_pages", _SECOND_MIGRATION)
    before = columns_of("library_book")
    for _ in range(2):
        manage("migrate", "library", "0002", interactive=False)
        assert columns_of("library_book") - before == {"pages"}
        assert "library_shelf" in table_names()
        assert Book.objects.count() == 5
        assert ask("SELECT sum(pages) FROM library_book") == 500
        manage("migrate", "library", "0001", interactive=False)
        assert columns_of("library_book") == before
        assert "library_shelf" not in table_names()
        assert Book.objects.count() == 5
    manage("migrate", "library", "0002", interactive=False)


def check_a_failing_migration_leaves_nothing(world: World) -> None:
    world.write_migration("0003_failing", _FAILING_MIGRATION)
    try:
        with failing(DatabaseError, "division by zero"):
            manage("migrate", interactive=False)
    finally:
        world.remove_migration("0003_failing")
    assert "lost" not in columns_of("library_book")
    assert ask("SELECT max(name) FROM django_migrations WHERE app = 'library'") == "0002_pages"


def check_an_index_is_made_concurrently_where_that_can_be(world: World) -> None:
    world.write_migration("0003_concurrently", _CONCURRENT_MIGRATION)
    try:
        if PLACEMENT == "database":
            manage("migrate", interactive=False)
            manage("migrate", "library", "0002", interactive=False)
        else:
            with failing(DatabaseError, "CREATE INDEX CONCURRENTLY"):
                manage("migrate", interactive=False)
    finally:
        world.remove_migration("0003_concurrently")


def check_the_schema_editor(world: World) -> None:
    field = models.TextField(default="none", null=True)
    field.set_attributes_from_name("note")
    with DEFAULT.schema_editor() as editor:
        editor.add_field(Author, field)
        editor.alter_db_table_comment(Author, "", "writes")
    assert "note" in columns_of("library_author")
    with DEFAULT.schema_editor() as editor:
        editor.remove_field(Author, field)
    assert "note" not in columns_of("library_author")


def check_migrating_all_the_way_back(world: World) -> None:
    shown = manage("migrate", "library", "zero", interactive=False)
    assert "Unapplying library.0001_initial... OK" in shown, shown
    ask("WITH gone AS (DELETE FROM django_migrations RETURNING 1) SELECT count(*) FROM gone")
    with DEFAULT.cursor() as cursor:
        cursor.execute("DROP TABLE django_migrations")
    assert not {name for name in table_names() if name.startswith(("library_", "django_"))}
