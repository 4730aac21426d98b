"""Where the admin listener is reached."""

from __future__ import annotations

import asyncio

import pytest

from fastgate.admin.listener import AdminListener, text


async def asked(host, port, path):
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n".encode())
    head = await reader.read()
    writer.close()
    return head.split(b" ", 2)[1]


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_everywhere_is_every_address_of_both_families(host):
    listener = AdminListener({"/healthz": lambda: text(200, "ok"), "/status": lambda: text(200, "secret")})
    _, port = await listener.start("*", 0)
    try:
        assert await asked(host, port, "/healthz") == b"200"
        assert await asked(host, port, "/status") == b"403"  # by that name
    finally:
        kept = await listener.stop()
        kept.close()
