"""etcd, kube-apiserver and kube-controller-manager, and how they trust each other."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING

import certificates
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kubelab import binaries, programs
from kubelab.network import API_SERVICE, NODE, SERVICES

if TYPE_CHECKING:
    from kubelab.cluster import Cluster

SERVER = f"https://{NODE}:6443"
_ETCD = "http://127.0.0.1:2379"
_READY_SECONDS = 120
_CONTROLLERS = (
    "daemonset-controller",
    "deployment-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
)


def start(cluster: Cluster) -> None:
    """Start all three, on what is in etcd's directory if it exists; returns when the API server is ready."""
    _make_credentials(cluster)
    start_etcd(cluster)
    start_api_server(cluster)
    start_controller_manager(cluster)


def start_etcd(cluster: Cluster) -> None:
    """Without fsync: what a test writes need not outlive the machine."""
    urls = f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}"
    data = f"--data-dir={cluster.state / 'etcd'}"
    quiet = "--log-level=warn", "--unsafe-no-fsync"
    programs.spawn(cluster, "etcd", [binaries.program("etcd"), data, *urls, *quiet])


def start_api_server(cluster: Cluster) -> None:
    state = cluster.state
    programs.spawn(
        cluster,
        "kube-apiserver",
        [
            binaries.program("kube-apiserver"),
            f"--etcd-servers={_ETCD}",
            f"--advertise-address={NODE}",
            "--secure-port=6443",
            f"--tls-cert-file={state / 'server.crt'}",
            f"--tls-private-key-file={state / 'server.key'}",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={state / 'tokens.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={state / 'accounts.pub'}",
            f"--service-account-signing-key-file={state / 'accounts.key'}",
            "--allow-privileged=true",
        ],
    )
    _wait_ready(cluster)


def start_controller_manager(cluster: Cluster) -> None:
    state = cluster.state
    programs.spawn(
        cluster,
        "kube-controller-manager",
        [
            binaries.program("kube-controller-manager"),
            f"--kubeconfig={cluster.kubeconfig}",
            f"--controllers={','.join(_CONTROLLERS)}",
            f"--service-account-private-key-file={state / 'accounts.key'}",
            f"--root-ca-file={state / 'ca.crt'}",
            "--leader-elect=false",
        ],
    )


PROGRAMS = {
    "etcd": start_etcd,
    "kube-apiserver": start_api_server,
    "kube-controller-manager": start_controller_manager,
}


def _make_credentials(cluster: Cluster) -> None:
    """An authority, the API server's certificate, the key of ServiceAccount tokens, and the administrator's token."""
    state = cluster.state
    authority, server, accounts = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    issuer = certificates.issued(("kubelab",), authority)
    names = (NODE, API_SERVICE, "127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
    (state / "ca.crt").write_bytes(certificates.pem(issuer))
    leaf = certificates.issued(names, server, (issuer.subject, authority))
    (state / "server.crt").write_bytes(certificates.pem(leaf))
    public = accounts.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (state / "accounts.pub").write_bytes(public)
    token = secrets.token_hex(16)
    for name, secret in (
        ("server.key", certificates.pem(server)),
        ("accounts.key", certificates.pem(accounts)),
        ("tokens.csv", f'{token},admin,admin,"system:masters"\n'.encode()),
        ("kubeconfig", kubeconfig(cluster, token).encode()),
    ):
        (state / name).touch(mode=0o600)
        (state / name).write_bytes(secret)


def kubeconfig(cluster: Cluster, token: str, namespace: str = "default") -> str:
    """Of whoever has this token, and whose namespace this is."""
    name = cluster.name
    server = {"server": SERVER, "certificate-authority": str(cluster.state / "ca.crt")}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": server}],
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
        "current-context": name,
    }
    return yaml.safe_dump(document, sort_keys=False)


def service_account_token(cluster: Cluster, namespace: str, name: str, seconds: int = 86400) -> str:
    """A token of a ServiceAccount, as its Pods would have one."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": seconds}}
    answer = cluster.kubectl("create", "--raw", path, "-f", "-", text=json.dumps(request))
    return json.loads(answer)["status"]["token"]


def _wait_ready(cluster: Cluster) -> None:
    end = time.monotonic() + _READY_SECONDS
    while True:
        try:
            cluster.kubectl("get", "--raw", "/readyz")
        except RuntimeError as refused:
            if time.monotonic() > end or not programs.runs(cluster, "kube-apiserver"):
                raise RuntimeError(
                    f"kube-apiserver is not ready; see {cluster.state / 'kube-apiserver.log'}"
                ) from refused
            time.sleep(0.2)
        else:
            return
