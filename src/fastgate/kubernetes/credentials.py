"""What requests to an API server are authorized by.

It renews itself: files are read again, an exec plugin is asked again when what it gave expires or was refused.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

REREAD = 60.0  # seconds after which a file is read again
EARLY = 30.0  # seconds before it expires that a credential is renewed
PATIENCE = 60.0  # seconds that an exec plugin gets
API_VERSION = "client.authentication.k8s.io/v1"


class ConfigError(Exception):
    """There is no way to an API server; the message says why."""


class Source:
    """Bytes that are given, or stand in a file that somebody renews."""

    def __init__(self, given: bytes = b"", path: Path | None = None) -> None:
        """Have these bytes, else those of the file."""
        self._content = given
        self._path = path if not given else None
        self._read_at = -REREAD

    def read(self) -> bytes:
        """Return what the file has; what it had before, while it cannot be read.

        Raises:
            OSError: it could never be read.
        """
        now = time.monotonic()
        if self._path is not None and now - self._read_at >= REREAD:
            try:
                self._content = self._path.read_bytes()
                self._read_at = now
            except OSError:
                if not self._content:
                    raise
        return self._content

    def refresh(self) -> None:
        """Read the file again next time."""
        self._read_at = -REREAD


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks.

    Attributes:
        token: a bearer's; "" without one.
        pair: a client certificate with its chain, and its key, in PEM; b"" without one.
    """

    token: str = field(default="", repr=False)
    pair: bytes = field(default=b"", repr=False)


class Credential(Protocol):
    """Gives an identity for each request."""

    async def identity(self) -> Identity:
        """Return who asks, as of now. It raises ConfigError or OSError."""

    def refuse(self, identity: Identity) -> None:
        """Take it that the API server refused this one."""


class Standing:
    """What a kubeconfig or a Pod has: values, or files."""

    def __init__(self, token: Source, certificate: Source | None = None, key: Source | None = None) -> None:
        """Have these."""
        self._token = token
        self._pair = (certificate, key) if certificate is not None and key is not None else ()

    async def identity(self) -> Identity:
        """Return what they say."""
        return Identity(self._token.read().decode(errors="replace").strip(), self.pair())

    def pair(self) -> bytes:
        """Return the certificate with its key."""
        return b"\n".join(source.read() for source in self._pair)

    def refuse(self, identity: Identity) -> None:  # noqa: ARG002 - files are as they are
        """Read the files again for the next request."""
        for source in (self._token, *self._pair):
            source.refresh()


class ExecPlugin:
    """A program that prints an ExecCredential (client.authentication.k8s.io)."""

    def __init__(self, spec: Mapping[str, Any], directory: Path, cluster: Mapping[str, Any]) -> None:
        """Run what the `exec` of a kubeconfig in this directory says; it sees the `cluster` where it asks for it."""
        command = str(spec["command"])
        self._command = str(directory / command) if "/" in command else command
        self._arguments = [str(each) for each in spec.get("args") or ()]
        self._environment = {str(entry["name"]): str(entry["value"]) for entry in spec.get("env") or ()}
        self._hint = spec.get("installHint")
        shown = {"cluster": cluster} if spec.get("provideClusterInfo") else {}
        self._asked = json.dumps({
            "apiVersion": spec.get("apiVersion") or API_VERSION,
            "kind": "ExecCredential",
            "spec": {"interactive": False, **shown},
        })  # fmt: skip
        self._identity: Identity | None = None
        self._until = 0.0  # seconds since the epoch
        self._lock = asyncio.Lock()

    async def identity(self) -> Identity:
        """Return what the program printed last; run it when there is nothing, or it expires."""
        async with self._lock:
            if self._identity is None or time.time() >= self._until - EARLY:
                try:
                    self._identity, self._until = self._parsed(await self._run())
                except ConfigError:
                    if self._identity is None or time.time() >= self._until:
                        raise
            return self._identity

    def refuse(self, identity: Identity) -> None:
        """Run the program again for the next request, unless it gave another one since."""
        if self._identity == identity:
            self._identity = None

    def _parsed(self, printed: bytes) -> tuple[Identity, float]:
        try:
            status = json.loads(printed)["status"]
            certificate = "\n".join(status.get(f"client{each}Data") or "" for each in ("Certificate", "Key"))
            expires = status.get("expirationTimestamp")
            until = datetime.fromisoformat(expires) if expires else datetime.max.replace(tzinfo=UTC)
            identity = Identity(status.get("token") or "", certificate.strip().encode())
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ConfigError(f"credential plugin {self._command}: what it prints is no ExecCredential") from None
        if identity == Identity():
            raise ConfigError(f"credential plugin {self._command}: it prints neither a token nor a certificate")
        return identity, until.timestamp()

    async def _run(self) -> bytes:
        try:
            process = await asyncio.create_subprocess_exec(
                self._command, *self._arguments, stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env={**os.environ, **self._environment, "KUBERNETES_EXEC_INFO": self._asked}, start_new_session=True,
            )  # fmt: skip
        except (OSError, ValueError) as e:
            why = self._hint or getattr(e, "strerror", None) or e
            raise ConfigError(f"credential plugin {self._command}: {why}") from None
        try:
            async with asyncio.timeout(PATIENCE):
                out, err = await process.communicate()
        except TimeoutError:
            raise ConfigError(f"credential plugin {self._command}: it did not end within {PATIENCE:g} s") from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)  # what it started, too, which may hold the pipes
                await process.wait()
        if process.returncode:
            said = err.decode(errors="replace").strip()
            raise ConfigError(f"credential plugin {self._command}: exit status {process.returncode}: {said}")
        return out


def cluster_info(cluster: Mapping[str, Any], authorities: bytes) -> dict[str, Any]:
    """Return what an exec plugin is told of the cluster of a kubeconfig."""
    fields = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url", "disable-compression")
    info = {name: cluster[name] for name in fields if name in cluster}
    if authorities:
        info["certificate-authority-data"] = base64.b64encode(authorities).decode()
    for extension in cluster.get("extensions") or ():
        if extension.get("name") == "client.authentication.k8s.io/exec":
            info["config"] = extension.get("extension")
    return info
