"""TLS to an API server: by whom it is vouched for, and what it is shown; both may be renewed at any time."""

from __future__ import annotations

import logging
import ssl
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING

from fastgate.kubernetes.credentials import ConfigError

if TYPE_CHECKING:
    from fastgate.kubernetes.credentials import Source

log = logging.getLogger(__name__)


class Tls:
    """Makes a context anew when what it is made of changed: connections that begin then have it, the others stay."""

    def __init__(self, authorities: Source, *, is_verified: bool = True) -> None:
        """Trust these authorities, the system's where there are none; anybody, unless the other side `is_verified`."""
        self._authorities = authorities
        self._is_verified = is_verified
        self._made_of: tuple[bytes, bytes] | None = None
        self._context: ssl.SSLContext | None = None

    def context(self, pair: bytes) -> ssl.SSLContext:
        """Return a context that shows this certificate (PEM, with its key; b"" for none).

        What is no certificate (a file that was written by half) changes nothing.

        Raises:
            ConfigError: there was never a usable one.
            OSError: the authorities cannot be read.
        """
        wanted = (self._authorities.read(), pair)
        if self._context is None or wanted != self._made_of:
            try:
                self._context = self._made(*wanted)
            except (ssl.SSLError, ValueError) as e:
                if self._context is None:
                    raise ConfigError(f"authorities or client certificate: {e}") from None
                log.warning("authorities or client certificate of the API server: %s; the last ones stay", e)
            self._made_of = wanted
        return self._context

    def _made(self, authorities: bytes, pair: bytes) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=authorities.decode() or None)
        if not self._is_verified:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if pair:
            with NamedTemporaryFile() as file:  # mode 0600; the library reads files only
                file.write(pair)
                file.flush()
                context.load_cert_chain(file.name)
        return context
