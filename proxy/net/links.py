"""A connection's bytes as those see them who know what they mean: a link to write to, a receiver that hears.

The names are asyncio's, and so is the manner: `connection_lost` comes once, and never from inside a call of the link's.
They are classes and not Protocols, so that compiled code calls them without looking their methods up by name.
"""

from __future__ import annotations

from mypy_extensions import mypyc_attr, trait


@trait
@mypyc_attr(allow_interpreted_subclasses=True)
class Receiver:
    """Hears what comes over a link."""

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        raise NotImplementedError

    def connection_lost(self, exc: Exception | None) -> None:
        """The link is gone, by the other side's will or our own (None), or by a failure; nothing more comes."""
        raise NotImplementedError

    def pause_writing(self) -> None:
        """The other side does not take as much as is written."""
        raise NotImplementedError

    def resume_writing(self) -> None:
        """It has caught up."""
        raise NotImplementedError


@mypyc_attr(allow_interpreted_subclasses=True)
class BaseReceiver(Receiver):
    """Pays no heed. For those that are not compiled, which can not derive from a trait that is."""

    def data_received(self, data: bytes) -> None:
        """Bytes that nobody wants."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody cares."""

    def pause_writing(self) -> None:
        """Nobody writes."""

    def resume_writing(self) -> None:
        """As above."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Link:
    """One connection."""

    def set_receiver(self, receiver: Receiver) -> None:
        """From now on `receiver` hears what comes; if all is over, that."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Send bytes, or keep them until the other side takes them; for a link that is closed they are lost."""
        raise NotImplementedError

    def close(self) -> None:
        """Close it when all that was written has been sent; nothing more is read."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close it without waiting for anything."""
        raise NotImplementedError

    @property
    def unsent_bytes(self) -> int:
        """How much was written that is not sent."""
        raise NotImplementedError

    def set_reading(self, wanted: bool) -> None:
        """Whether bytes are wanted for now; they are, at first."""
        raise NotImplementedError
