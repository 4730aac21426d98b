"""TLS to backends: whom it is spoken to, what is shown, and that nobody else ever sees a byte of a request."""

import ssl
from dataclasses import replace

import pytest
from certificates import END
from secure import Authority
from tls_backend import EXPIRED, server_context

from fastgate import ir
from wire import config, fields

GET = b"GET /secret HTTP/1.1\r\nHost: host.example.com\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NAME = "backend.example.com"
URI = "spiffe://example.com/ns/a"


@pytest.fixture(scope="module")
def authority():
    return Authority()


@pytest.fixture(scope="module")
def other():
    return Authority("other")


def speaking(authority, *, shown=None, limits=None, protocol=ir.Protocol.HTTP1, check=None, **terms):
    """A configuration whose cluster speaks TLS, verified by an authority."""
    tls = ir.UpstreamTls(**{
        "server_name": NAME, "authorities": (authority.bundle.digest,), "alpn": ("http/1.1",),
        "certificate": shown.digest if shown else "", **terms,
    })  # fmt: skip
    plain = config(limits=limits)
    clusters = tuple(replace(c, tls=tls, protocol=protocol, health_check=check) for c in plain.clusters)
    return replace(plain, clusters=clusters, key_pairs=(shown,) if shown else (), authorities=(authority.bundle,))


def ask(proxy, backend, request=GET, response=OK):
    """One exchange on a new client connection and, if none is idle, a new connection to the backend: both."""
    client = proxy.connect()
    up = backend.accept_after(client, request)
    assert up.head().startswith(b"GET /secret ")
    up.send(response)
    assert client.head().startswith(b"HTTP/1.1 200")
    assert client.exactly(2) == b"ok"
    return client, up


def test_a_verified_backend_is_spoken_to_by_the_name_of_the_policy(proxies, tls_backends, authority):
    backend = tls_backends(authority.issue(NAME))
    backend.context.set_alpn_protocols(["h2", "http/1.1"])
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    client = proxy.connect()
    up = backend.accept_after(client, GET)
    assert (up.sock.version(), up.sock.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
    head = up.head()
    assert fields(head)["host"] == "host.example.com"
    assert "x-forwarded-proto" in fields(head)
    up.send(OK)
    assert client.head().startswith(b"HTTP/1.1 200")
    assert backend.server_names == [NAME]


def test_authorities_of_the_system_verify(proxies, tls_backends, authority, tmp_path, monkeypatch):
    system = tmp_path / "authorities.pem"
    system.write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(system))
    backend = tls_backends(authority.issue(NAME))
    ask(proxies(speaking(authority, authorities=(), system_trust=True), {"c": (backend.endpoint,)}), backend)


@pytest.mark.parametrize(
    ("names", "terms"),
    [
        (("*.example.com",), {}),
        ((URI,), {"names": (f"URI:{URI}",)}),
        (("a.example.com", "spiffe://x/y"), {"names": (f"URI:{URI}", "DNS:a.example.com")}),
        (("a.example.com",), {"names": ("DNS:b.example.com", "DNS:a.example.com")}),
    ],
    ids=["wildcard", "uri", "either", "second"],
)
def test_names_that_verify(proxies, tls_backends, authority, names, terms):
    backend = tls_backends(authority.issue(*names))
    ask(proxies(speaking(authority, **terms), {"c": (backend.endpoint,)}), backend)
    assert backend.server_names == [NAME]


UNKNOWN, MISMATCH = "unable to get local issuer certificate", "hostname mismatch"
UNVERIFIED = {  # what is shown, and what other than the name is asked for; `other` is an authority that nobody trusts
    "another authority": (("other", NAME), END, {}, UNKNOWN),
    "another name": (("own", "another.example.com"), END, {}, MISMATCH),
    "expired": (("own", NAME), EXPIRED, {}, "certificate has expired"),
    "the server name is not among the names": (("own", NAME), END, {"names": ("DNS:a.example.com",)}, MISMATCH),
    "a name is of the other type": (
        ("own", "a.example.com"),
        END,
        {"names": ("URI:spiffe://a.example.com",)},
        MISMATCH,
    ),
    "another URI": (("own", f"{URI}/b"), END, {"names": (f"URI:{URI}",)}, MISMATCH),
    "no authority of the system": (("own", NAME), END, {"authorities": (), "system_trust": True}, UNKNOWN),
}


@pytest.mark.parametrize(("shown", "end", "terms", "said"), UNVERIFIED.values(), ids=UNVERIFIED)
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_backend_that_is_not_verified_sees_nothing_of_the_request(
    proxies, tls_backends, authority, other, shown, end, terms, said, version
):
    who, *names = shown
    backend = tls_backends({"own": authority, "other": other}[who].issue(*names, end=end))
    backend.context.maximum_version = version
    proxy = proxies(speaking(authority, **terms), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(GET)
    backend.refused()
    assert client.head().startswith(b"HTTP/1.1 502")
    assert (entry := proxy.log())["reason"] == "upstream_unverified", entry
    assert entry["upstream_error"] == said
    assert (entry["tries"], proxy.counter("upstream_connects")) == (1, 1)
    assert proxy.upstream_errors() == {"upstream_unverified": 1}


def test_another_endpoint_takes_what_one_that_is_not_verified_does_not(proxies, tls_backends, authority, other):
    good, bad = tls_backends(authority.issue(NAME)), tls_backends(other.issue(NAME))
    proxy = proxies(speaking(authority), {"c": (bad.endpoint,)})
    client = proxy.connect()
    client.send(GET)
    bad.refused()
    assert client.head().startswith(b"HTTP/1.1 502")
    assert proxy.log()["tries"] == 1
    good.answer_all(OK)
    bad.answer_all(b"HTTP/1.1 500 never\r\nContent-Length: 0\r\n\r\n")
    proxy.endpoints({"c": (bad.endpoint, good.endpoint)})
    for _ in range(10):
        client = proxy.connect()
        client.send(GET)
        assert client.head().startswith(b"HTTP/1.1 200")
        client.close()
    assert proxy.counter("upstream_ejections") <= 1


def test_a_backend_that_speaks_plaintext_is_told_nothing(proxies, backend, authority):
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    client = proxy.connect()
    up = backend.accept_after(client, GET)
    up.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
    assert client.head().startswith(b"HTTP/1.1 502")
    seen = up.rest()
    assert seen[:1] == b"\x16"
    assert b"secret" not in seen
    assert proxy.log()["reason"] == "upstream_handshake"


def test_a_backend_that_closes_in_the_handshake(proxies, backend, authority):
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    client = proxy.connect()
    up = backend.accept_after(client, GET)
    assert up.exactly(5)[:1] == b"\x16"
    up.close()
    assert client.head().startswith(b"HTTP/1.1 502")
    assert proxy.log()["reason"] == "upstream_handshake"


def test_a_handshake_that_takes_too_long(proxies, backend, authority):
    proxy = proxies(speaking(authority, limits={"connect_timeout": 150}), {"c": (backend.endpoint,)})
    client = proxy.connect()
    up = backend.accept_after(client, GET)
    assert up.exactly(5)[:1] == b"\x16"
    assert client.head().startswith(b"HTTP/1.1 504")
    assert proxy.log()["reason"] == "connect_timeout"
    assert b"secret" not in up.rest()


def test_endpoints_that_fail_in_their_handshakes_are_ejected(proxies, backend, authority):
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    for number in range(3):
        client = proxy.connect()
        backend.accept_after(client, GET).close()
        assert client.head().startswith(b"HTTP/1.1 502")
        assert proxy.counter("upstream_ejections") == (number == 2)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_second_connection_resumes_the_session_of_the_first(proxies, tls_backends, authority, version):
    backend = tls_backends(authority.issue(NAME))
    backend.context.maximum_version = version
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    _, up = ask(proxy, backend, response=OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert not up.sock.session_reused
    _, up = ask(proxy, backend)
    assert up.sock.session_reused


def test_versions_of_the_policy_are_kept(proxies, tls_backends, authority):
    backend = tls_backends(authority.issue(NAME))
    backend.context.maximum_version = ssl.TLSVersion.TLSv1_2
    proxy = proxies(speaking(authority, min_version=ir.TLS13), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(GET)
    backend.refused()
    assert client.head().startswith(b"HTTP/1.1 502")
    assert proxy.log()["reason"] == "upstream_handshake"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])
def test_a_client_certificate_is_shown_to_who_asks_for_one(proxies, tls_backends, authority, other, version):
    backend = tls_backends(authority.issue(NAME), other)
    backend.context.maximum_version = version
    proxy = proxies(speaking(authority, shown=other.issue("gateway.example.com")), {"c": (backend.endpoint,)})
    _, up = ask(proxy, backend)
    assert up.sock.getpeercert()["subjectAltName"] == (("DNS", "gateway.example.com"),)


@pytest.mark.parametrize(
    ("version", "reason"),
    [(ssl.TLSVersion.TLSv1_2, "upstream_handshake"), (ssl.TLSVersion.TLSv1_3, "upstream_reset")],
    ids=["1.2", "1.3"],
)
def test_a_client_certificate_that_is_asked_for_and_not_there(proxies, tls_backends, authority, other, version, reason):
    backend = tls_backends(authority.issue(NAME), other)
    backend.context.maximum_version = version
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(GET)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        backend.accept()
    assert client.head().startswith(b"HTTP/1.1 502")
    assert proxy.log()["reason"] == reason


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_bodies_go_both_ways(proxies, tls_backends, authority, size):
    backend = tls_backends(authority.issue(NAME))
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    body = bytes(range(256)) * (size // 256 + 1)
    client = proxy.connect()
    up = backend.accept_after(client, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body))
    up.head()
    done = backend.in_background(lambda: client.send(body))
    assert up.exactly(len(body)) == body
    done()
    done = backend.in_background(lambda: up.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body))
    client.head()
    assert client.exactly(len(body)) == body
    done()


def test_connections_are_used_again(proxies, tls_backends, authority):
    backend = tls_backends(authority.issue(NAME))
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    _, up = ask(proxy, backend)
    for _ in range(3):
        client = proxy.connect()
        client.send(GET)
        up.head()
        up.send(OK)
        assert client.head().startswith(b"HTTP/1.1 200")
    assert proxy.counter("upstream_reused") == 3


def test_an_idle_connection_ends_with_a_close_notify(proxies, tls_backends, authority):
    backend = tls_backends(authority.issue(NAME))
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    _, up = ask(proxy, backend)
    proxy.wait_for(lambda: proxy.counter("upstream_idle") == 1)
    assert up.sock.unwrap().recv(1) == b""  # it is answered, and the connection ends
    proxy.wait_for(lambda: proxy.counter("upstream_open") == 0)
    assert proxy.counter("upstream_unsolicited") == 0
    ask(proxy, backend)


def test_what_nobody_asked_for_ends_an_idle_connection(proxies, tls_backends, authority):
    backend = tls_backends(authority.issue(NAME))
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    _, up = ask(proxy, backend)
    proxy.wait_for(lambda: proxy.counter("upstream_idle") == 1)
    up.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
    proxy.wait_for(lambda: proxy.counter("upstream_open") == 0)
    assert proxy.counter("upstream_unsolicited") == 1


def test_a_response_that_ends_with_the_connection_needs_a_close_notify(proxies, tls_backends, authority):
    backend = tls_backends(authority.issue(NAME))
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    client = proxy.connect()
    up = backend.accept_after(client, GET)
    up.head()
    up.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
    assert b"chunked" in client.head()
    client.until(b"half\r\n")
    up.close()  # a FIN alone, as anybody on the way could send it
    assert client.rest() == b""
    assert proxy.log()["reason"] == "upstream_reset"


UPGRADE = b"GET /secret HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_tunnels_lead_through_tls(proxies, tls_backends, authority):
    backend = tls_backends(authority.issue(NAME))
    proxy = proxies(speaking(authority, protocol=ir.Protocol.WEBSOCKET), {"c": (backend.endpoint,)})
    client = proxy.connect()
    up = backend.accept_after(client, UPGRADE)
    up.head()
    up.send(SWITCHED + b"hello")
    assert client.head().startswith(b"HTTP/1.1 101")
    assert client.exactly(5) == b"hello"
    client.send(b"x" * 200_000)
    assert up.exactly(200_000) == b"x" * 200_000
    client.finish()
    assert up.rest() == b""  # a close_notify
    up.send(b"bye")
    assert client.exactly(3) == b"bye"


# --- reloads ----------------------------------------------------------------------------------------------------------------


def test_connections_that_were_verified_by_others_are_not_used(proxies, tls_backends, authority, other):
    backend = tls_backends(authority.issue(NAME))
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    _, up = ask(proxy, backend)
    proxy.apply(speaking(other), {"c": (backend.endpoint,)})
    assert up.rest() == b""
    client = proxy.connect()
    client.send(GET)
    backend.refused()
    assert client.head().startswith(b"HTTP/1.1 502")
    backend.serve(server_context(other.issue(NAME)))
    ask(proxy, backend)


def test_plaintext_connections_and_those_of_tls_are_not_mixed(proxies, tls_backends, authority):
    backend = tls_backends(authority.issue(NAME))
    proxy = proxies(config(), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(GET)
    plain = backend.accept_raw()
    plain.head()
    plain.send(OK)
    client.head()
    proxy.apply(speaking(authority), {"c": (backend.endpoint,)})
    assert plain.rest() == b""
    _, up = ask(proxy, backend)
    proxy.endpoints({"c": (replace(backend.endpoint, weight=2),)})  # a new table knows nothing of TLS: the image does
    client = proxy.connect()
    client.send(GET)
    up.head()
    up.send(OK)
    client.head()
    proxy.apply(config(), {"c": (backend.endpoint,)})
    assert up.rest() == b""
    client = proxy.connect()
    client.send(GET)
    plain = backend.accept_raw()
    assert plain.head().startswith(b"GET /secret ")


def test_a_reload_that_changes_nothing_of_it_keeps_connections(proxies, tls_backends, authority):
    backend = tls_backends(authority.issue(NAME))
    proxy = proxies(speaking(authority), {"c": (backend.endpoint,)})
    _, up = ask(proxy, backend)
    proxy.apply(speaking(authority, limits={"idle_timeout": 1234}), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(GET)
    up.head()
    up.send(OK)
    assert client.head().startswith(b"HTTP/1.1 200")


def test_a_renewed_client_certificate_is_shown_on_new_connections(proxies, tls_backends, authority, other):
    backend = tls_backends(authority.issue(NAME), other)
    proxy = proxies(speaking(authority, shown=other.issue("one.example.com")), {"c": (backend.endpoint,)})
    _, up = ask(proxy, backend)
    proxy.apply(speaking(authority, shown=other.issue("two.example.com")), {"c": (backend.endpoint,)})
    assert up.rest() == b""
    _, up = ask(proxy, backend)
    assert up.sock.getpeercert()["subjectAltName"] == (("DNS", "two.example.com"),)
    assert not up.sock.session_reused


# --- health -----------------------------------------------------------------------------------------------------------------

CHECK = ir.HealthCheck("/healthz", interval=20, timeout=5000, unhealthy=1)


def test_probes_speak_tls(proxies, tls_backends, authority, other):
    backend = tls_backends(other.issue(NAME))
    backend.answer_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    proxy = proxies(speaking(authority, check=CHECK), {"c": (backend.endpoint,)})
    proxy.wait_for(lambda: not proxy.manager.health.endpoints()[0].healthy)
    assert ": TLS: " in proxy.manager.health.endpoints()[0].why
    proxy.apply(speaking(other, check=CHECK), {"c": (backend.endpoint,)})
    proxy.wait_for(lambda: proxy.counter("health_probes") > proxy.counter("health_failures") + 3)
    assert proxy.manager.health.endpoints()[0].healthy
