"""How an API server is reached: by a kubeconfig, or as the ServiceAccount of this Pod.

Credentials renew themselves: a token's file is read again, an exec plugin is asked again when what it gave has expired
or was refused.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import ssl
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING, Any, Protocol

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_REREAD = 60.0  # seconds after which a token's file is read again
_EARLY = 30.0  # seconds before it expires that a credential is renewed


class ConfigError(Exception):
    """There is no way to an API server; the message says why."""


class Credential(Protocol):
    """What requests are authorized by."""

    async def token(self) -> str | None:
        """Return the bearer token; None: there is none."""

    def refuse(self) -> None:
        """Take it that the API server refused the last one."""


class Static:
    """A token that stays, or none."""

    def __init__(self, token: str | None = None) -> None:
        """Use this token."""
        self._token = token

    async def token(self) -> str | None:
        """Return it."""
        return self._token

    def refuse(self) -> None:
        """There is no other."""


class TokenFile:
    """A token in a file that somebody renews."""

    def __init__(self, path: Path) -> None:
        """Read this file."""
        self._path = path
        self._token = ""
        self._read_at = 0.0

    async def token(self) -> str | None:
        """Return what the file says; what it said before, while it cannot be read."""
        now = time.monotonic()
        if not self._token or now - self._read_at > _REREAD:
            try:
                self._token = (await asyncio.to_thread(self._path.read_text)).strip()
                self._read_at = now
            except OSError:
                if not self._token:
                    raise
        return self._token

    def refuse(self) -> None:
        """Read the file again for the next request."""
        self._read_at = 0.0


class ExecPlugin:
    """A program that prints an ExecCredential (client.authentication.k8s.io)."""

    def __init__(self, spec: Mapping[str, Any], directory: Path) -> None:
        """Run what the `exec` of a kubeconfig in this directory says."""
        self._spec = spec
        self._directory = directory
        self._token: str | None = None
        self._until = 0.0  # seconds since the epoch
        self._lock = asyncio.Lock()

    async def token(self) -> str | None:
        """Return what the program printed last; run it when there is nothing, or it expires."""
        async with self._lock:
            if self._token is None or time.time() > self._until:
                status = (await self._run()).get("status") or {}
                self._token = status.get("token")
                expires = status.get("expirationTimestamp")
                self._until = datetime.fromisoformat(expires).timestamp() - _EARLY if expires else float("inf")
            return self._token

    def refuse(self) -> None:
        """Run the program again for the next request."""
        self._token = None

    async def _run(self) -> dict[str, Any]:
        command = self._spec["command"]
        if "/" in command:
            command = str(self._directory / command)
        version = self._spec.get("apiVersion", "client.authentication.k8s.io/v1")
        asked = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
        given = {entry["name"]: entry["value"] for entry in self._spec.get("env") or ()}
        try:
            process = await asyncio.create_subprocess_exec(
                command, *(self._spec.get("args") or ()), stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env={**os.environ, **given, "KUBERNETES_EXEC_INFO": json.dumps(asked)},
            )  # fmt: skip
            out, err = await process.communicate()
        except OSError as e:
            hint = self._spec.get("installHint") or e.strerror
            raise ConfigError(f"credential plugin {command}: {hint}") from None
        if process.returncode:
            raise ConfigError(f"credential plugin {command}: exit status {process.returncode}: {err.decode().strip()}")
        try:
            document = json.loads(out)
        except ValueError:
            raise ConfigError(f"credential plugin {command}: what it prints is no ExecCredential") from None
        return document if isinstance(document, dict) else {}


@dataclass(frozen=True, slots=True)
class Config:
    """A way to an API server.

    Attributes:
        server: its URL, without a slash at the end.
        credential: what requests are authorized by.
        tls: None for plain HTTP.
        namespace: of this Pod, or of the context; "default" when neither says one.
    """

    server: str
    credential: Credential
    tls: ssl.SSLContext | None = None
    namespace: str = "default"


def load(kubeconfig: str = "", context: str = "") -> Config:
    """Return the way that is asked for, else $KUBECONFIG's, else this Pod's, else that of ~/.kube/config.

    Args:
        kubeconfig: path of a kubeconfig, "" for the usual places.
        context: of the kubeconfig; "" for its current one.

    Raises:
        ConfigError: with a sentence.
    """
    path = kubeconfig or os.environ.get("KUBECONFIG", "")
    if not path and (SERVICE_ACCOUNT / "token").exists() and "KUBERNETES_SERVICE_HOST" in os.environ:
        return in_cluster()
    return from_kubeconfig(Path(path) if path else Path.home() / ".kube" / "config", context)


def in_cluster() -> Config:
    """Return the way of a Pod's ServiceAccount."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    namespace = (SERVICE_ACCOUNT / "namespace").read_text().strip()
    return Config(
        f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        TokenFile(SERVICE_ACCOUNT / "token"),
        ssl.create_default_context(cafile=str(SERVICE_ACCOUNT / "ca.crt")),
        namespace,
    )


def from_kubeconfig(path: Path, context: str = "") -> Config:
    """Return the way that a context of a kubeconfig says.

    Raises:
        ConfigError: with a sentence.
    """
    try:
        document = yaml.safe_load(path.read_text())
        if not isinstance(document, dict):
            raise ConfigError(f"{path}: is no kubeconfig")
        chosen = context or document.get("current-context")
        if not chosen:
            raise ConfigError(f"{path}: has no current-context; --context names one")
        where = _named(document, "contexts", "context", chosen, path)
        cluster = _named(document, "clusters", "cluster", where.get("cluster"), path)
        user = _named(document, "users", "user", where["user"], path) if where.get("user") else {}
        server = str(cluster["server"]).rstrip("/")
        tls = _tls(cluster, user, path.parent) if server.startswith("https:") else None
        return Config(server, _credential(user, path.parent), tls, where.get("namespace") or "default")
    except OSError as e:
        raise ConfigError(f"{e.filename or path}: {e.strerror}") from None
    except yaml.YAMLError:
        raise ConfigError(f"{path}: is no YAML") from None
    except (KeyError, TypeError, ValueError, ssl.SSLError) as e:
        raise ConfigError(f"{path}: {type(e).__name__}: {e}") from None


def _named(document: Mapping[str, Any], plural: str, singular: str, name: Any, path: Path) -> dict[str, Any]:
    for entry in document.get(plural) or ():
        if entry.get("name") == name:
            return entry.get(singular) or {}
    raise ConfigError(f"{path}: has no {singular} {name}")


def _credential(user: Mapping[str, Any], directory: Path) -> Credential:
    if user.get("exec"):
        return ExecPlugin(user["exec"], directory)
    if user.get("tokenFile"):
        return TokenFile(directory / user["tokenFile"])
    return Static(user.get("token"))


def _tls(cluster: Mapping[str, Any], user: Mapping[str, Any], directory: Path) -> ssl.SSLContext:
    authorities = cluster.get("certificate-authority-data")
    file = cluster.get("certificate-authority")
    context = ssl.create_default_context(
        cafile=str(directory / file) if file and not authorities else None,
        cadata=base64.b64decode(authorities).decode() if authorities else None,
    )
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate = _content(user, "client-certificate", directory)
    key = _content(user, "client-key", directory)
    if certificate and key:
        with NamedTemporaryFile() as pair:  # mode 0600; the library reads files only
            pair.write(certificate + b"\n" + key)
            pair.flush()
            context.load_cert_chain(pair.name)
    return context


def _content(user: Mapping[str, Any], field: str, directory: Path) -> bytes:
    if user.get(f"{field}-data"):
        return base64.b64decode(user[f"{field}-data"])
    return (directory / user[field]).read_bytes() if user.get(field) else b""
