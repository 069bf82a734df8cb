"""The application's tables, and one that was there before it."""

from __future__ import annotations

from django.db import models


class Author(models.Model):  # type: ignore[misc]  # Django has no types
    """Has many books."""

    name = models.CharField(max_length=40, unique=True)
    born = models.DateTimeField(null=True)

    class Meta:
        app_label = "library"


class Book(models.Model):  # type: ignore[misc]
    """Written by an author."""

    title = models.CharField(max_length=80)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.IntegerField(default=0)
    facts = models.JSONField(default=dict)
    cover = models.BinaryField(null=True)
    author = models.ForeignKey(Author, on_delete=models.CASCADE, related_name="books")
    readers = models.ManyToManyField(Author, related_name="has_read")

    class Meta:
        app_label = "library"
        indexes = [models.Index(fields=["title"], name="book_title")]
        constraints = [models.CheckConstraint(condition=models.Q(stock__gte=0), name="book_stock")]


class Order(models.Model):  # type: ignore[misc]
    """The tenant's orders, which Django does not manage."""

    id = models.BigIntegerField(primary_key=True)
    item = models.TextField()

    class Meta:
        app_label = "library"
        managed = False
        db_table = "orders"
