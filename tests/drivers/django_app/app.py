"""The application, by the short name of its tables."""

from __future__ import annotations

from django.apps import AppConfig


class Library(AppConfig):  # type: ignore[misc]
    """Its tables are called library_…."""

    name = "tests.drivers.django_app"
    label = "library"
