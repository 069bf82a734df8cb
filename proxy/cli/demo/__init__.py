"""`gatehouse demo`: a PostgreSQL, four tenants in three placements and Gatehouse, started and taken away together."""

from proxy.cli.demo.command import run_demo

__all__ = ["run_demo"]
