"""Backends that speak TLS by Python's ssl."""

from __future__ import annotations

import ssl
import tempfile
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from wire import Backend

if TYPE_CHECKING:
    from collections.abc import Callable

    from secure import Authority

    from fastgate import ir
    from wire import Conn

EXPIRED = datetime(2020, 2, 1, tzinfo=UTC)


def server_context(shown: ir.KeyPair, clients: Authority | None = None) -> ssl.SSLContext:
    """A context that shows this certificate and, if `clients` is given, insists on one of its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as place:
        path = Path(place, "pair.pem")
        path.write_bytes(shown.chain + shown.key)
        context.load_cert_chain(path)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=clients.pem)
    return context


class TlsBackend(Backend):
    """A backend whose connections speak TLS. `server_names` are those that clients asked for, in their order."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__()
        self.server_names: list[str | None] = []
        self.serve(context)

    def serve(self, context: ssl.SSLContext) -> None:
        """Use this context from the next connection on."""
        context.sni_callback = lambda _, name, __: self.server_names.append(name)
        self.context = context

    def greet(self, conn: Conn) -> None:
        """Do the handshake."""
        conn.sock = self.context.wrap_socket(conn.sock, server_side=True)

    @staticmethod
    def in_background(work: Callable[[], object]) -> Callable[[], None]:
        """Do something while the test does something else; what is returned waits for its end."""
        thread = threading.Thread(target=work)
        thread.start()
        return thread.join

    def refused(self) -> str:
        """The next connection, whose handshake does not come to its end or on which no byte of a request comes: why."""
        try:
            conn = self.accept()
            seen = conn.sock.recv(65536)
        except (ssl.SSLError, ConnectionError) as e:
            return getattr(e, "reason", None) or type(e).__name__
        assert seen == b"", f"an endpoint that was not verified was sent {seen!r}"
        return "closed"
