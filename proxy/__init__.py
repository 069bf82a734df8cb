"""Gatehouse: a PostgreSQL proxy for multi-tenant applications."""

__version__ = "0.1.0"
