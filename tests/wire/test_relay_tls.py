"""Relays to endpoints that speak TLS: what passes, and that nothing does before the endpoint was verified."""

import ssl

import pytest
from relays import config
from secure import Authority

from fastgate import ir

NAME = "backend.example.com"
MANY = bytes(range(256)) * 16_000


@pytest.fixture(scope="module")
def authority():
    return Authority()


def speaking(authority, limits=None, **more):
    tls = ir.UpstreamTls(NAME, authorities=(authority.bundle.digest,))
    clusters = (ir.Cluster("c", ir.Protocol.TCP, tls=tls, **more),)
    return config(clusters=clusters, limits=limits, authorities=(authority.bundle,))


def test_bytes_and_ends_pass(proxies, tls_backends, authority):
    backend = tls_backends(authority.issue(NAME))
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    client = proxy.connect()
    server = backend.accept()
    assert (backend.server_names, server.sock.selected_alpn_protocol()) == ([NAME], None)
    server.send(b"220 hello\r\n")
    assert client.exactly(11) == b"220 hello\r\n"
    done = backend.in_background(lambda: client.send(MANY))
    assert server.exactly(len(MANY)) == MANY
    done()
    client.finish()
    assert server.rest() == b""  # a close_notify: ssl would raise for a FIN alone
    done = backend.in_background(lambda: server.send(MANY))
    assert client.exactly(len(MANY)) == MANY
    done()
    assert server.sock.unwrap().recv(1) == b""
    assert client.rest() == b""
    line = proxy.log()
    assert (line["bytes_received"], line["bytes_sent"], line.get("reason")) == (len(MANY), len(MANY) + 11, None)


def test_an_endpoint_that_is_not_verified_sees_nothing(proxies, tls_backends, authority):
    backend = tls_backends(Authority("other").issue(NAME))
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(b"secret")
    assert backend.refused()
    assert client.rest() == b""
    line = proxy.log()
    assert (line["reason"], line["tries"]) == ("upstream_unverified", 1)
    assert line["upstream_error"] == "unable to get local issuer certificate"
    assert "bytes_received" not in line or line["bytes_received"] == 0


def test_a_handshake_that_takes_too_long(proxies, backend, authority):
    proxy = proxies(speaking(authority, limits={"connect_timeout": 100}), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(b"secret")
    server = backend.accept()
    assert client.rest() == b""
    assert proxy.log()["reason"] == "connect_timeout"
    assert b"secret" not in server.rest()


def test_a_proxy_protocol_header_precedes_tls(proxies, tls_backends, authority):
    backend = tls_backends(authority.issue(NAME))
    proxy = proxies(speaking(authority, send_proxy=1), {"c": (backend.endpoint,)})
    client = proxy.connect()
    server = backend.accept_raw()
    header = b""
    while not header.endswith(b"\n"):
        header += server.sock.recv(1)
    assert header == b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % (client.sock.getsockname()[1], proxy.port)
    backend.greet(server)
    assert isinstance(server.sock, ssl.SSLSocket)
    client.send(b"hello")
    assert server.exactly(5) == b"hello"
