"""Probes of a container: httpGet and tcpSocket. Others are taken as passed, which is said once."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from kubelab.api import Document


async def verdicts(probe: Document, container: Document, address: str, *, at_first: bool) -> AsyncIterator[bool]:
    """Whenever enough tries in a row disagree with the verdict that holds, the new one."""
    verdict, disagreeing = at_first, 0
    await asyncio.sleep(probe.get("initialDelaySeconds", 0))
    while True:
        passed = await _try(probe, container, address)
        disagreeing = disagreeing + 1 if passed != verdict else 0
        if disagreeing >= (probe.get("successThreshold", 1) if passed else probe.get("failureThreshold", 3)):
            verdict, disagreeing = passed, 0
            yield verdict
        await asyncio.sleep(probe.get("periodSeconds", 10))


async def _try(probe: Document, container: Document, address: str) -> bool:
    try:
        async with asyncio.timeout(probe.get("timeoutSeconds", 1)):
            if get := probe.get("httpGet"):
                return await _http(get, get.get("host", address), _port(container, get["port"]))
            if dial := probe.get("tcpSocket"):
                _, writer = await asyncio.open_connection(dial.get("host", address), _port(container, dial["port"]))
                writer.close()
    except (OSError, TimeoutError, aiohttp.ClientError):
        return False
    return True


async def _http(get: Document, host: str, port: int) -> bool:
    """As a kubelet asks: certificates are not verified, redirects are successes."""
    anyone = ssl.create_default_context()
    anyone.check_hostname, anyone.verify_mode = False, ssl.CERT_NONE
    url = f"{get.get('scheme', 'HTTP').lower()}://{host}:{port}{get.get('path', '/')}"
    headers = {header["name"]: header["value"] for header in get.get("httpHeaders", ())}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(url, ssl=anyone, allow_redirects=False) as response,
    ):
        return 200 <= response.status < 400


def _port(container: Document, port: int | str) -> int:
    """A port by number or by the name that the container gives it."""
    if isinstance(port, int):
        return port
    return next(each["containerPort"] for each in container.get("ports", ()) if each.get("name") == port)
