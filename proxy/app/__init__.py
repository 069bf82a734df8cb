"""The composition root: the one place that builds everything and knows how it fits together."""

from proxy.app.gatehouse import Gatehouse

__all__ = ["Gatehouse"]
