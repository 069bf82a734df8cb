"""What a client costs that comes, logs in by SCRAM and leaves, but for its lines in the log."""

from __future__ import annotations

from itertools import count
from typing import Final, cast

from proxy.auth.scram import SaltedPasswords
from proxy.client.connection import ClientConnection
from proxy.client.turns import Turns
from proxy.server.login import Compute, Send, ServerLogin
from tests.gate.stages import PASSWORD, Performer, Theatre, Written

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
        heard: list[bytes] = []
        link = Written(heard)
        clients: list[ClientConnection] = []

        def come(_: bytes) -> None:
            clients.append(self._theatre.gatehouse.client_connection(None, is_unix=True))
            clients[0].connection_made(link, "unix")

        perform(come, b"")
        (client,) = clients
        login = ServerLogin(
            user="app.acme",
            database="any",
            password=PASSWORD,
            parameters={},
            is_tls=False,
            channel_binding=None,
            salted=self._salted,
        )
        perform(client.data_received, login.start())
        while client.session is None:
            answer = b"".join(heard)
            assert answer, "the login waits for a turn of the loop"
            heard.clear()
            for event in login.receive(answer):
                if isinstance(event, Compute):
                    (event,) = login.computed(event.work())
                perform(client.data_received, cast(Send, event).data)
        perform(lambda _: client.connection_lost(None), b"")
