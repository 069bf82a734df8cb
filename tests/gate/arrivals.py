"""What a client costs that comes, logs in by SCRAM and leaves, but for its lines in the log."""

from __future__ import annotations

from itertools import count
from typing import Final

from proxy.auth.scram import SaltedPasswords
from proxy.client.turns import Turns
from tests.gate.stages import Caller, Performer, Theatre

LOGIN: Final = "whole connection: a login, and goodbye"


class Arrivals:
    """A story of its own: `transaction` is one client. The pool is warm, so that it need not wait for a server."""

    def __init__(self, theatre: Theatre) -> None:
        self._theatre = theatre
        self._salted = SaltedPasswords()
        ticks = count()
        # On a clock on which there is always a pause before the next piece, none has to wait for a turn of the loop.
        theatre.gatehouse._services.turns = Turns(lambda: float(next(ticks)))

    def transaction(self, perform: Performer) -> None:
        """Come, log in, leave."""
        caller = Caller(self._theatre.gatehouse, self._salted)
        caller.come(perform)
        while not caller.is_in:
            assert caller.answer(perform), "the login waits for a turn of the loop"
        perform(lambda _: caller.client.connection_lost(None), b"")
