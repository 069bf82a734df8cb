"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, 7677), both sides, as PostgreSQL speaks them.

Values in, values out: no sockets, no clock, nothing kept between exchanges except a `SaltedPasswords` that a caller
hands in. `verifier` knows what is stored about a password, `server` and `client` each hold one exchange, `saslprep`
prepares passwords, `channel_binding` ties an exchange to the TLS connection that carries it.
"""

from proxy.auth.scram.channel_binding import tls_server_end_point
from proxy.auth.scram.client import SaltedPasswords, ScramClient
from proxy.auth.scram.server import ScramServer
from proxy.auth.scram.verifier import SCRAM_SHA_256, SCRAM_SHA_256_PLUS, ScramVerifier, mock_verifier

__all__ = [
    "SCRAM_SHA_256",
    "SCRAM_SHA_256_PLUS",
    "SaltedPasswords",
    "ScramClient",
    "ScramServer",
    "ScramVerifier",
    "mock_verifier",
    "tls_server_end_point",
]
