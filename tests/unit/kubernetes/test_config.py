"""How an API server is reached, and credentials that are renewed while it is."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import stat
import sys
from contextlib import asynccontextmanager

import pytest
import yaml
from api_server import ROUTES, api_server
from certificates import issued, pem
from cryptography.hazmat.primitives.asymmetric import ec

from fastgate.kubernetes import config, credentials
from fastgate.kubernetes.client import ApiError, Client
from fastgate.kubernetes.credentials import ConfigError


def pair(name):
    key = ec.generate_private_key(ec.SECP256R1())
    return pem(issued((name,), key)), pem(key)


@pytest.fixture
def kubeconfig(tmp_path):
    def write(user=None, *, name="config", **cluster):
        document = {
            "current-context": "here",
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "mine"}}],
            "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9", **cluster}}],
            "users": [{"name": "u", "user": user or {}}],
        }
        path = tmp_path / name
        path.write_text(yaml.safe_dump(document))
        return path

    return write


@pytest.fixture
def plugin(tmp_path):
    """A program that notes that it ran and does what it is told to."""
    path = tmp_path / "plugin"
    ran = tmp_path / "ran"

    def write(body, **spec):
        path.write_text(f"#!{sys.executable}\nimport json, os, sys, time\nopen({str(ran)!r}, 'a').write('x')\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return {"exec": {"command": "./plugin", "apiVersion": credentials.API_VERSION, **spec}}

    write.times = lambda: len(ran.read_text())
    return write


def printing(**status):
    return f"print(json.dumps({{'status': {status!r}}}))"


@asynccontextmanager
async def asking(path):
    async with Client(config.from_kubeconfig([path])) as client:
        yield lambda: client.request("list", "GET", ROUTES)


async def test_a_token_that_stands_in_the_kubeconfig(api, kubeconfig):
    api.token = "t"
    path = kubeconfig({"token": "t"}, server=f"{api.url}/")
    async with asking(path) as ask:
        assert await ask()
    assert config.from_kubeconfig([path]).namespace == "mine"


async def test_a_token_in_a_file_is_read_again_when_it_is_refused_and_now_and_then(
    api, kubeconfig, tmp_path, monkeypatch
):
    file = tmp_path / "token"
    file.write_text("first\n")
    async with asking(kubeconfig({"tokenFile": "token"}, server=api.url)) as ask:
        api.token = "first"
        await ask()
        file.write_text("second")
        api.token = "second"
        await ask()
        assert len(api.requests) == 3
        monkeypatch.setattr(credentials, "REREAD", 0.0)
        file.write_text("third")
        api.token = "third"
        await ask()
        file.unlink()
        await ask()
        assert len(api.requests) == 5


async def test_a_pod_asks_as_its_service_account(api, tmp_path, monkeypatch):
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("here\n")
    (tmp_path / "ca.crt").write_bytes(pair("ca.example.com")[0])
    monkeypatch.setattr(config, "SERVICE_ACCOUNT", tmp_path)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    found = config.load()
    assert (found.server, found.namespace) == ("https://[fd00::1]:6443", "here")
    assert (await found.credential.identity()).token == "t"


def test_of_several_kubeconfigs_the_first_that_has_something_holds(kubeconfig, tmp_path, monkeypatch):
    first = tmp_path / "first"
    cluster = {"server": "http://first.example.com"}
    first.write_text(yaml.safe_dump({"clusters": [{"name": "c", "cluster": cluster}]}))
    monkeypatch.setenv("KUBECONFIG", f"{first}:{tmp_path / 'none'}:{kubeconfig()}")
    assert config.load().server == "http://first.example.com"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "is no kubeconfig"),
        ("{", "is no YAML"),
        ("{}", "has no current-context"),
        ("current-context: x", "has no context x"),
        ("{current-context: x, contexts: [{name: x, context: {cluster: y}}]}", "has no cluster y"),
        ("{current-context: x, contexts: [5]}", "AttributeError"),
    ],
)
def test_what_is_no_kubeconfig_is_said(tmp_path, text, said):
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        config.from_kubeconfig([path])


@pytest.mark.parametrize(
    ("user", "cluster", "said"),
    [
        ({"client-certificate": "none", "client-key": "none"}, {}, "none: No such file"),
        ({}, {"certificate-authority": "none"}, "none: No such file"),
        ({}, {"certificate-authority-data": "ISEh"}, "authorities or client certificate"),
        ({"client-certificate-data": "ISEh", "client-key-data": "ISEh"}, {}, "authorities or client certificate"),
        ({"exec": {}}, {}, "KeyError: 'command'"),
    ],
)
def test_what_cannot_be_used_is_said_at_once(kubeconfig, user, cluster, said):
    with pytest.raises(ConfigError, match=said):
        config.from_kubeconfig([kubeconfig(user, server="https://127.0.0.1:9", **cluster)])


async def test_a_plugin_is_asked_once_and_told_what_it_wants_to_know(api, kubeconfig, plugin):
    api.token = "a b http://127.0.0.1"
    body = (
        "info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "server = info['spec']['cluster']['server'].rpartition(':')[0]\n"
        "print(json.dumps({'status': {'token': ' '.join((sys.argv[1], os.environ['B'], server))}}))"
    )
    user = plugin(body, args=["a"], env=[{"name": "B", "value": "b"}], provideClusterInfo=True)
    async with asking(kubeconfig(user, server=api.url)) as ask:
        await asyncio.gather(ask(), ask(), ask())
        await ask()
    assert plugin.times() == 1


async def test_a_plugin_is_asked_again_before_what_it_gave_expires(api, kubeconfig, plugin):
    api.token = "t"
    user = plugin(printing(token="t", expirationTimestamp="2026-01-01T00:00:00Z"))
    async with asking(kubeconfig(user, server=api.url)) as ask:
        await ask()
        await ask()
    assert plugin.times() == 2


async def test_a_plugin_that_fails_before_what_it_gave_expires_is_not_missed(api, kubeconfig, plugin, monkeypatch):
    api.token = "t"
    monkeypatch.setattr(credentials, "EARLY", 1e12)
    path = kubeconfig(plugin(printing(token="t", expirationTimestamp="2200-01-01T00:00:00Z")), server=api.url)
    async with asking(path) as ask:
        await ask()
        plugin("sys.exit(1)")
        await ask()
    assert plugin.times() == 2


async def test_who_is_refused_late_has_no_plugin_asked_that_was_asked_since(kubeconfig, plugin):
    credential = config.from_kubeconfig([kubeconfig(plugin(printing(token="old")))]).credential
    old = await credential.identity()
    plugin(printing(token="new"))
    for _ in range(3):
        credential.refuse(old)
        assert (await credential.identity()).token == "new"
    assert plugin.times() == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("print('denied', file=sys.stderr); sys.exit(3)", "exit status 3: denied"),
        ("print('hello')", "what it prints is no ExecCredential"),
        ("print('[]')", "what it prints is no ExecCredential"),
        ('print(\'{"status": {"token": "t", "expirationTimestamp": "soon"}}\')', "is no ExecCredential"),
        ("print('{\"status\": {}}')", "prints neither a token nor a certificate"),
        ("time.sleep(60)", "it did not end within 0.2 s"),
    ],
)
async def test_a_plugin_that_gives_nothing_is_an_error_like_others(kubeconfig, plugin, monkeypatch, body, said):
    if "sleep" in body:
        monkeypatch.setattr(credentials, "PATIENCE", 0.2)
    async with asking(kubeconfig(plugin(body))) as ask:
        with pytest.raises(ApiError, match=said) as caught:
            await ask()
    assert caught.value.status == 0


async def test_a_plugin_that_is_not_there_says_how_to_get_it(kubeconfig):
    user = {"exec": {"command": "no-such-plugin", "installHint": "install it"}}
    async with asking(kubeconfig(user)) as ask:
        with pytest.raises(ApiError, match="no-such-plugin: install it"):
            await ask()


class Secured:
    """An API server with TLS that asks for client certificates of anybody's in a file."""

    def __init__(self, path, *names):
        self.path = path
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        certificate, key = pair("127.0.0.1")
        self.authority = path / "ca"
        self.authority.write_bytes(certificate)
        self.pairs = {name: pair(name) for name in names}
        (path / "server").write_bytes(certificate + key)
        self.context.load_cert_chain(path / "server")
        if names:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(cadata="".join(each[0].decode() for each in self.pairs.values()))

    def give(self, name):
        for file, content in zip(("cert", "key"), self.pairs[name], strict=True):
            (self.path / file).write_bytes(content)


def shown(api):
    return [dict(field for (field,) in peer["subject"])["commonName"] for peer in api.peers]


async def test_client_certificates_in_files_are_renewed(kubeconfig, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(credentials, "REREAD", 0.0)
    secured = Secured(tmp_path, "a.example.com", "b.example.com")
    secured.give("a.example.com")
    user = {"client-certificate": "cert", "client-key": "key"}
    async with api_server(secured.context) as api:
        path = kubeconfig(user, **{"server": api.url, "certificate-authority": "ca"})
        async with asking(path) as ask:
            await ask()
            (tmp_path / "cert").write_bytes(secured.pairs["b.example.com"][0])  # and not yet the key
            await ask()
            assert "the last ones stay" in caplog.text
            secured.give("b.example.com")
            await ask()
        assert shown(api) == ["a.example.com", "a.example.com", "b.example.com"]


async def test_a_client_certificate_of_a_plugin(kubeconfig, tmp_path, plugin):
    secured = Secured(tmp_path, "a.example.com")
    certificate, key = (each.decode() for each in secured.pairs["a.example.com"])
    user = plugin(printing(clientCertificateData=certificate, clientKeyData=key))
    async with api_server(secured.context) as api:
        async with asking(kubeconfig(user, **{"server": api.url, "certificate-authority": "ca"})) as ask:
            await ask()
        assert shown(api) == ["a.example.com"]


async def test_authorities_in_files_are_renewed(kubeconfig, tmp_path, monkeypatch):
    monkeypatch.setattr(credentials, "REREAD", 0.0)
    secured = Secured(tmp_path)
    theirs = secured.authority.read_bytes()
    secured.authority.write_bytes(pair("127.0.0.1")[0])
    async with api_server(secured.context) as api:
        path = kubeconfig(**{"server": api.url, "certificate-authority": "ca"})
        async with asking(path) as ask:
            with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
                await ask()
            secured.authority.write_bytes(theirs)
            assert await ask()


@pytest.mark.parametrize(("field", "value"), [("tls-server-name", "127.0.0.1"), ("insecure-skip-tls-verify", True)])
async def test_another_name_may_be_verified_or_none(kubeconfig, tmp_path, field, value):
    secured = Secured(tmp_path)
    async with api_server(secured.context) as api:
        url = api.url.replace("127.0.0.1", "localhost")
        authority = {} if value is True else {"certificate-authority": "ca"}
        async with asking(kubeconfig(server=url, **authority)) as ask:
            with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
                await ask()
        async with asking(kubeconfig(server=url, **authority, **{field: value})) as ask:
            assert await ask()


async def test_who_vanishes_without_a_word_is_noticed(api, client, monkeypatch):
    options = []
    loop = asyncio.get_running_loop()
    connect = loop.sock_connect

    async def noting(sock, address):
        options.append(sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        options.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE))
        await connect(sock, address)

    monkeypatch.setattr(loop, "sock_connect", noting)
    await client.request("list", "GET", ROUTES)
    assert options == [1, 10]


async def test_nobody_prints_a_secret(kubeconfig):
    found = config.from_kubeconfig([kubeconfig({"token": "hidden"})])
    assert "hidden" not in repr(await found.credential.identity())
    assert "hidden" not in json.dumps(repr(found))
