"""Certificates that somebody damaged: what a reader makes of them is for it to say."""

from __future__ import annotations

import base64
import random
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.serialization import Encoding

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography import x509


def damaged(certificate: x509.Certificate, seed: int, count: int) -> Iterator[bytes]:
    """PEM of a certificate with a few bits, bytes or lengths changed; what is returned depends on the seed alone."""
    source = random.Random(seed)
    der = certificate.public_bytes(Encoding.DER)
    for _ in range(count):
        data = bytearray(der)
        for _ in range(source.choice((1, 1, 1, 2, 4))):
            at = source.randrange(len(data))
            match source.randrange(4):
                case 0:
                    data[at] ^= 1 << source.randrange(8)
                case 1:
                    data[at] = source.randrange(256)
                case 2:
                    del data[at : at + source.randrange(1, 4)]
                case 3:
                    data[at:at] = source.randbytes(source.randrange(1, 4))
        text = base64.encodebytes(bytes(data))
        yield b"-----BEGIN CERTIFICATE-----\n" + text + b"-----END CERTIFICATE-----\n"
