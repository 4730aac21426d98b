"""What is in a head on its way: hop-by-hop fields, who the client is, and what is refused (RFC 9110 section 7.6)."""

import socket
from dataclasses import replace

import pytest

from fastgate import ir
from wire import Conn, config, fields

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def through(proxy, backend, *lines, start=b"GET / HTTP/1.1", host=b"a", response=OK):
    """Send a request and answer it; returns the head that reached the backend and the one that came back."""
    client = proxy.connect()
    client.send(b"\r\n".join([start, b"Host: " + host, *lines, b"", b""]))
    up = backend.conns[0] if backend.conns else backend.accept()
    seen = up.head()
    up.send(response)
    return seen, client.head()


def with_settings(**changes):
    return config(settings=replace(ir.Settings(), **changes))


def test_hop_by_hop_fields_stay_behind(proxy, backend):
    seen, back = through(
        proxy, backend,
        b"Connection: close, X-Private", b"X-Private: 1", b"Keep-Alive: 5", b"Proxy-Connection: x", b"TE: gzip",
        b"Trailer: x", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__", b"Proxy-Authorization: Basic x", b"X-Public: 2",
        response=b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 3\r\nX-End: 4\r\n\r\n",
    )  # fmt: skip
    assert fields(seen).keys() & {"connection", "x-private", "keep-alive", "proxy-connection", "te", "trailer", "upgrade",
                                  "http2-settings", "proxy-authorization"} == set()  # fmt: skip
    assert fields(seen)["x-public"] == "2"
    assert fields(back).keys() & {"x-hop", "keep-alive"} == set()
    assert fields(back)["x-end"] == "4"
    assert fields(back)["connection"] == "close"


def test_connection_cannot_remove_guarded_fields(proxy, backend):
    seen, _ = through(proxy, backend, b"Connection: Host, Authorization, X-Forwarded-For, Forwarded, Content-Type",
                      b"Authorization: secret", b"Content-Type: text/x")  # fmt: skip
    assert fields(seen)["host"] == "a"
    assert fields(seen)["authorization"] == "secret"
    assert fields(seen)["content-type"] == "text/x"
    assert fields(seen)["x-forwarded-for"] == "127.0.0.1"


def test_names_with_an_underscore_are_dropped(proxy, backend):
    seen, _ = through(proxy, backend, b"X_Real_User: root", b"X-Real-User: me")
    assert "x_real_user" not in fields(seen)
    assert fields(seen)["x-real-user"] == "me"


def test_names_with_an_underscore_can_be_allowed(proxies, backend):
    proxy = proxies(with_settings(underscores=True), {"c": (backend.endpoint,)})
    seen, _ = through(proxy, backend, b"X_Real_User: root")
    assert fields(seen)["x_real_user"] == "root"


CLAIMS = (b"X-Forwarded-For: 203.0.113.9", b"Forwarded: for=203.0.113.9;proto=https", b"X-Forwarded-Proto: https",
          b"X-Forwarded-Host: evil", b"X-Forwarded-Port: 1", b"X-Real-IP: 203.0.113.9")  # fmt: skip


def test_what_clients_claim_to_be_is_replaced(proxy, backend):
    seen = fields(through(proxy, backend, *CLAIMS, host=b"a:8080")[0])
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-forwarded-host"] == "a:8080"
    assert seen["x-forwarded-port"] != "1"
    assert seen["forwarded"] == 'for=127.0.0.1;proto=http;host="a:8080"'
    assert seen["x-real-ip"] == "127.0.0.1"


def test_who_the_client_is_is_always_said(proxy, backend):
    seen = fields(through(proxy, backend)[0])
    assert (seen["x-real-ip"], seen["x-forwarded-for"]) == ("127.0.0.1", "127.0.0.1")


def test_ipv6_clients_are_named_as_each_field_wants_it(proxies, backend):
    one = config()
    proxy = proxies(ir.Ir((replace(one.sockets[0], address="::1"),), one.clusters), {"c": (backend.endpoint,)})
    with socket.create_connection(("::1", proxy.port)) as sock:
        client = Conn(sock)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        up = backend.accept()
        seen = fields(up.head())
        up.send(OK)
        client.head()
    assert (seen["x-real-ip"], seen["x-forwarded-for"]) == ("::1", "::1")
    assert seen["forwarded"] == 'for="[::1]";proto=http;host="a"'
    assert proxy.log()["local"] == f"[::1]:{proxy.port}"


def test_what_trusted_proxies_say_is_kept_and_continued(proxies, backend):
    proxy = proxies(with_settings(trusted_hops=1), {"c": (backend.endpoint,)})
    seen = fields(through(proxy, backend, *CLAIMS)[0])
    assert seen["x-forwarded-for"].replace(" ", "") in ("203.0.113.9,127.0.0.1", "203.0.113.9|127.0.0.1")
    assert seen["x-forwarded-proto"] == "https"
    assert seen["x-forwarded-host"] == "evil"
    assert "for=203.0.113.9" in seen["forwarded"]
    assert seen["x-real-ip"] == "203.0.113.9"
    assert "x-real-ip" not in fields(through(proxy, backend)[0])  # who the client is is not known here


def test_via_on_both_ways_and_508_on_the_third_time(proxy, backend):
    seen, back = through(proxy, backend, b"Via: 1.0 other", start=b"GET / HTTP/1.0")
    assert fields(seen)["via"].replace("|", ", ") == "1.0 other, 1.0 fastgate"
    assert fields(back)["via"] == "1.1 fastgate"
    client = proxy.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\nVia: 1.1 fastgate, 1.1 x, 1.1 fastgate\r\nVia: 1.1 fastgate\r\n\r\n")
    assert client.head().startswith(b"HTTP/1.1 508")


def test_request_ids(proxy, backend):
    seen, _ = through(proxy, backend)
    proxy.log()
    made = fields(seen)["x-request-id"]
    assert len(made) == 36
    seen, _ = through(proxy, backend, b"X-Request-Id: mine")
    line = proxy.log()
    assert fields(seen)["x-request-id"] == line["request_id"]


@pytest.mark.parametrize(
    ("sent", "forwarded"),
    [
        (b"/a/./b/../c", b"/a/c"), (b"/%7euser", b"/~user"), (b"/a%2fb?x=%2e#", None), (b"/a%2fb?x=%2e/..", b"/a%2Fb?x=%2e/.."),
        (b"//x//y", b"//x//y"), (b"http://a/p?q", b"/p?q"), (b"/%2e%2e/", None), (b"/a\\b", None), (b"/%00", None), (b"/%zz", None),
    ],
)  # fmt: skip
def test_what_is_matched_logged_and_forwarded_is_the_normal_form(proxy, backend, sent, forwarded):
    client = proxy.connect()
    client.send(b"GET " + sent + b" HTTP/1.1\r\nHost: a\r\n\r\n")
    if forwarded is None:
        assert client.head().startswith(b"HTTP/1.1 400")
        client.rest()
        return
    up = backend.accept()
    assert up.head().startswith(b"GET " + forwarded + b" HTTP/1.1\r\n")
    up.send(OK)
    client.head()
    line = proxy.log()
    assert line["path"].encode() == forwarded.partition(b"?")[0]


def test_absolute_form_replaces_host(proxy, backend):
    seen, _ = through(proxy, backend, start=b"GET http://b.example:81/x HTTP/1.1", host=b"other")
    assert seen.startswith(b"GET /x HTTP/1.1\r\n")
    assert fields(seen)["host"] == "b.example:81"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\nHost: a\n\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: \x00\r\n\r\n", b"400"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", b"505"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", b"414"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nA: " + b"a" * 40000, b"431"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"A: b\r\n" * 101 + b"\r\n", b"431"),
        (b"CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", b"501"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\nContent-Length: 3\r\n\r\nabc", b"417"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n", b"400"),
    ],
)
def test_malformed_requests_are_answered_and_the_connection_closes(proxy, backend, request_, status):
    client = proxy.connect()
    client.send(request_)
    answer = client.rest()
    assert answer.startswith(b"HTTP/1.1 " + status + b" ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert fields(answer.partition(b"\r\n\r\n")[0])["connection"] == "close"
    assert proxy.log()["status"] == int(status)
    assert backend.nobody_comes(0.05)


def test_a_malformed_chunk_is_400_and_never_a_second_request(proxy, backend):
    client = proxy.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    up = backend.accept()
    up.until(b"abc\r\n")
    client.send(b"0x5\r\nhello\r\n0\r\n\r\nGET /second HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.rest().startswith(b"HTTP/1.1 400")
    assert b"second" not in up.rest()


def test_an_unread_body_does_not_destroy_the_answer(proxy):
    client = proxy.connect()
    client.send(b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n")
    client.send(b"x" * 200000)
    assert client.rest().startswith(b"HTTP/1.1 400")


def test_every_x_forwarded_field_of_a_client_is_dropped(proxy, backend):
    seen = fields(
        through(proxy, backend, b"X-Forwarded-Ssl: on", b"x-forwarded-client-cert: By=x", b"X-Forwarde: 1")[0]
    )
    assert seen.keys() & {"x-forwarded-ssl", "x-forwarded-client-cert"} == set()
    assert seen["x-forwarde"] == "1"


def test_connection_cannot_remove_a_family_of_guarded_fields(proxies, backend):
    proxy = proxies(with_settings(trusted_hops=1), {"c": (backend.endpoint,)})
    seen = fields(
        through(proxy, backend, b"Connection: content-language, x-forwarded-ssl", b"Content-Language: de",
                b"X-Forwarded-Ssl: on")[0]
    )  # fmt: skip
    assert seen["content-language"] == "de"
    assert seen["x-forwarded-ssl"] == "on"


def test_all_forwarded_fields_of_trusted_proxies_are_continued(proxies, backend):
    proxy = proxies(with_settings(trusted_hops=2), {"c": (backend.endpoint,)})
    seen = fields(through(proxy, backend, b"Forwarded: for=192.0.2.1", b"Forwarded: for=192.0.2.2")[0])
    assert seen["forwarded"].startswith("for=192.0.2.1, for=192.0.2.2, for=127.0.0.1;")


@pytest.mark.parametrize("changes", [{"trusted_hops": 1}, {"request_id": False}])
def test_request_ids_that_are_not_ours_to_make_pass(proxies, backend, changes):
    proxy = proxies(with_settings(**changes), {"c": (backend.endpoint,)})
    assert fields(through(proxy, backend, b"X-Request-Id: mine")[0])["x-request-id"] == "mine"
    assert proxy.log()["request_id"] == "mine"


def test_an_https_target_without_tls_is_misdirected(proxies, proxy, backend):
    client = proxy.connect()
    client.send(b"GET HTTPS://a/ HTTP/1.1\r\nHost: a\r\n\r\n")
    assert client.head().startswith(b"HTTP/1.1 421")
    assert proxy.log()["reason"] == "misdirected"
    proxy = proxies(with_settings(trusted_hops=1), {"c": (backend.endpoint,)})
    assert through(proxy, backend, start=b"GET https://a/x HTTP/1.1")[0].startswith(b"GET /x ")


def test_every_expectation_counts(proxy, backend):
    client = proxy.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: more\r\nContent-Length: 3\r\n\r\n")
    assert client.rest().startswith(b"HTTP/1.1 417")


def test_expectations_of_http_1_0_go_no_further(proxy, backend):
    seen, _ = through(proxy, backend, b"Expect: 100-continue", start=b"GET / HTTP/1.0")
    assert "expect" not in fields(seen)


@pytest.mark.parametrize("lines", [(b"Content-Length: 5",), (b"Transfer-Encoding: chunked",)])
def test_only_a_get_without_body_asks_for_a_websocket(proxy, backend, lines):
    for start in (b"POST / HTTP/1.1", b"GET / HTTP/1.1"):
        client = proxy.connect()
        client.send(b"\r\n".join([start, b"Host: a", b"Connection: Upgrade", b"Upgrade: websocket", *lines, b"", b""]))
        up = backend.accept()
        assert fields(up.head()).keys() & {"upgrade", "connection"} == set()
        up.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert client.head().startswith(b"HTTP/1.1 502")


def test_an_interim_response_frames_nothing(proxy, backend):
    client = proxy.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    up = backend.accept()
    up.head()
    up.send(
        b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nConnection: X-Hop\r\nX-Hop: 1\r\nLink: </a>\r\n\r\n" + OK
    )
    assert fields(client.head()) == {"link": "</a>"}
    assert client.head().startswith(b"HTTP/1.1 200")
