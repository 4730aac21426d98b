"""How an API server is reached: by a kubeconfig, or as the ServiceAccount of this Pod."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from fastgate.kubernetes.credentials import ConfigError, ExecPlugin, Source, Standing, cluster_info
from fastgate.kubernetes.tls import Tls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastgate.kubernetes.credentials import Credential

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, slots=True)
class Config:
    """A way to an API server.

    Attributes:
        server: its URL, without a slash at the end.
        credential: what requests are authorized by.
        tls: None for plain HTTP.
        namespace: of this Pod, or of the context; "default" when neither says one.
        name: that its certificate has to have; "" that of the URL.
        proxy: URL of a proxy on the way; "" those of the environment.
    """

    server: str
    credential: Credential
    tls: Tls | None = None
    namespace: str = "default"
    name: str = ""
    proxy: str = ""


def load(kubeconfig: str = "", context: str = "") -> Config:
    """Return the way that is asked for, else $KUBECONFIG's, else this Pod's, else that of ~/.kube/config.

    Args:
        kubeconfig: path of a kubeconfig, "" for the usual places.
        context: of the kubeconfig; "" for its current one.

    Raises:
        ConfigError: with a sentence.
    """
    paths = [kubeconfig] if kubeconfig else list(filter(None, os.environ.get("KUBECONFIG", "").split(os.pathsep)))
    if not paths and (SERVICE_ACCOUNT / "token").exists() and "KUBERNETES_SERVICE_HOST" in os.environ:
        return in_cluster()
    there = [Path(path) for path in paths if len(paths) == 1 or Path(path).exists()]
    return from_kubeconfig(there or [Path.home() / ".kube" / "config"], context)


def in_cluster() -> Config:
    """Return the way of a Pod's ServiceAccount."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    return Config(
        f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        Standing(Source(path=SERVICE_ACCOUNT / "token")),
        Tls(Source(path=SERVICE_ACCOUNT / "ca.crt")),
        (SERVICE_ACCOUNT / "namespace").read_text().strip(),
    )


@dataclass(frozen=True, slots=True)
class _Section:
    """A cluster or a user of a kubeconfig; paths in it are relative to its file."""

    fields: Mapping[str, Any]
    directory: Path

    def source(self, name: str) -> Source:
        """Return what stands in NAME-data, or in the file that NAME names."""
        data, path = self.fields.get(f"{name}-data"), self.fields.get(name)
        if data:
            return Source(base64.b64decode(data))
        return Source(path=self.directory / path) if path else Source()


def from_kubeconfig(paths: Sequence[Path], context: str = "") -> Config:
    """Return the way that a context of a kubeconfig says. Of several files the first one that has something holds.

    Raises:
        ConfigError: with a sentence.
    """
    where = ", ".join(map(str, paths))
    try:
        return _way([(path.parent, _document(path)) for path in paths], context)
    except OSError as e:
        raise ConfigError(f"{e.filename or where}: {e.strerror}") from None
    except yaml.YAMLError:
        raise ConfigError(f"{where}: is no YAML") from None
    except ConfigError as e:
        raise ConfigError(f"{where}: {e}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise ConfigError(f"{where}: {type(e).__name__}: {e}") from None


def _way(files: Sequence[tuple[Path, dict[str, Any]]], context: str) -> Config:
    chosen = context or next((c for _, document in files if (c := document.get("current-context"))), "")
    if not chosen:
        raise ConfigError("has no current-context; --context names one")
    names = _named(files, "contexts", "context", chosen).fields
    cluster = _named(files, "clusters", "cluster", names.get("cluster"))
    user = _named(files, "users", "user", names["user"]) if names.get("user") else _Section({}, Path())
    server = str(cluster.fields["server"]).rstrip("/")
    authorities = cluster.source("certificate-authority")
    credential = _credential(user, cluster_info(cluster.fields, authorities.read()))
    tls = None
    if server.startswith("https:"):
        tls = Tls(authorities, is_verified=not cluster.fields.get("insecure-skip-tls-verify"))
        tls.context(credential.pair() if isinstance(credential, Standing) else b"")  # faults are told at once
    return Config(
        server,
        credential,
        tls,
        names.get("namespace") or "default",
        cluster.fields.get("tls-server-name") or "",
        cluster.fields.get("proxy-url") or "",
    )


def _document(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text())
    if not isinstance(document, dict):
        raise ConfigError("is no kubeconfig")
    return document


def _named(files: Sequence[tuple[Path, dict[str, Any]]], plural: str, singular: str, name: Any) -> _Section:
    for directory, document in files:
        for entry in document.get(plural) or ():
            if entry.get("name") == name:
                return _Section(entry.get(singular) or {}, directory)
    raise ConfigError(f"has no {singular} {name}")


def _credential(user: _Section, cluster: Mapping[str, Any]) -> Credential:
    if user.fields.get("exec") is not None:
        return ExecPlugin(user.fields["exec"], user.directory, cluster)
    token = Source((user.fields.get("token") or "").encode())
    if user.fields.get("tokenFile"):
        token = Source(path=user.directory / user.fields["tokenFile"])
    certificate, key = user.source("client-certificate"), user.source("client-key")
    return Standing(token, certificate, key) if certificate.read() and key.read() else Standing(token)
