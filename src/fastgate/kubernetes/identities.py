"""The authority of the data planes, which a Secret of the controller's namespace keeps, and what it has issued."""

from __future__ import annotations

import asyncio
import base64
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from fastgate.kubernetes.client import ApiError
from fastgate.kubernetes.infrastructure.names import MANAGED_BY, MANAGER, object_name
from fastgate.kubernetes.kinds import KINDS
from fastgate.remote.identities import Authority, Identity, IdentityError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastgate.kubernetes.client import Client
    from fastgate.translate.conditions import Name

log = logging.getLogger("fastgate")

AUTHORITY = "fastgate-authority"  # the Secret
AGAIN = 2.0  # seconds until what could not be read is tried again
_SECRET = KINDS["Secret"]
_NOT_FOUND, _CONFLICT = 404, 409
_FILES = ("tls.crt", "tls.key", "ca.crt")


class Identities:
    """Identities of the data planes of all Gateways, as their Secrets have them, or new ones."""

    def __init__(self, client: Client, authority: Authority) -> None:
        """Issue by this authority."""
        self.authority = authority
        self._client = client
        self._known: dict[Name, tuple[Identity, datetime]] = {}  # until when it is not looked at
        self._complaints: dict[Name, str] = {}

    @classmethod
    async def load(cls, client: Client) -> Identities:
        """Read the authority, or make one; whoever is first has made it. Waits until that works."""
        complaint = ""
        while True:
            try:
                return cls(client, await _authority(client))
            except (ApiError, IdentityError, msgspec.MsgspecError, ValueError) as e:
                if str(e) != complaint:
                    complaint = str(e)
                    log.warning("the authority of the data planes: %s", e)
                await asyncio.sleep(AGAIN)

    def forget(self) -> None:
        """Look at every Secret again: another replica may have written them."""
        self._known.clear()

    async def of(self, gateways: Mapping[Name, Any]) -> dict[Name, dict[str, bytes]]:
        """Return what the Secrets of these Gateways are to have, without those of which one could not be read.

        ApiError: none can, as nothing answers.
        """
        now = datetime.now(UTC)
        self._known = {name: each for name, each in self._known.items() if name in gateways and each[1] > now}
        self._complaints = {name: reason for name, reason in self._complaints.items() if name in gateways}
        for name, gateway in gateways.items():
            if name in self._known:
                continue
            try:
                identity = await self._stored(name, object_name(name[1], gateway.spec.gateway_class_name))
            except ApiError as e:
                if not e.status:
                    raise
                self._complain(name, str(e))
                continue
            self._complaints.pop(name, None)
            if identity is None or identity.renews_at() <= now:
                identity = self.authority.data_plane(name)
            self._known[name] = (identity, identity.renews_at())
        return {
            name: dict(zip(_FILES, (each.certificate, each.key, each.authority), strict=True))
            for name, (each, _) in self._known.items()
        }

    def _complain(self, gateway: Name, reason: str) -> None:
        if self._complaints.get(gateway) != reason:
            self._complaints[gateway] = reason
            log.warning("the identity of Gateway %s/%s: %s", *gateway, reason)

    async def _stored(self, gateway: Name, secret: str) -> Identity | None:
        """Return what a Gateway's Secret has, if it is ours to use."""
        try:
            data = await _data(self._client, gateway[0], secret)
            identity = Identity(*(data.get(file, b"") for file in _FILES))
        except ValueError:
            return None
        except ApiError as e:
            if e.status == _NOT_FOUND:
                return None
            raise
        return identity if self.authority.issued(identity, gateway) else None


async def _authority(client: Client) -> Authority:
    namespace = client.config.namespace
    try:
        data = await _data(client, namespace, AUTHORITY)
    except ApiError as e:
        if e.status != _NOT_FOUND:
            raise
        made = Authority.new()
        files = {"tls.crt": made.certificate, "tls.key": made.key}
        document = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": AUTHORITY, "namespace": namespace, "labels": {MANAGED_BY: MANAGER}},
            "type": "kubernetes.io/tls",
            "data": {name: base64.b64encode(content).decode() for name, content in files.items()},
        }
        try:
            await client.request("create", "POST", _SECRET.path("v1", namespace), body=msgspec.json.encode(document))
        except ApiError as conflict:
            if conflict.status != _CONFLICT:
                raise
            data = await _data(client, namespace, AUTHORITY)
        else:
            return made
    return Authority(data.get("tls.crt", b""), data.get("tls.key", b""))


async def _data(client: Client, namespace: str, name: str) -> dict[str, bytes]:
    body = await client.request("get", "GET", _SECRET.path("v1", namespace, name))
    data = msgspec.json.decode(body).get("data") or {}
    return {key: base64.b64decode(value, validate=True) for key, value in data.items()}
