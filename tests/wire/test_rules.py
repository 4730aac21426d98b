"""What a rule does to requests and responses: redirects, rewrites, header edits, shares of backends."""

import contextlib
from collections import Counter

import pytest

from fastgate import ir
from wire import Backend, config, fields, forward, match

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Old: 1\r\nServer: x\r\n\r\n"
PREFIX, EXACT, REGEX = ir.PathKind.PREFIX, ir.PathKind.EXACT, ir.PathKind.REGEX


def rule(action, filters=ir.Filters()):
    return ir.Rule("HTTPRoute/ns/r/0", "HTTPRoute/ns/r", "", action, filters)


def get(proxy, target, host=b"a.example:8080", method=b"GET"):
    client = proxy.connect()
    client.send(method + b" " + target + b" HTTP/1.1\r\nHost: " + host + b"\r\nX-Old: 1\r\nX-Add: 0\r\n\r\n")
    return client


@pytest.mark.parametrize(
    ("redirect", "target", "location"),
    [
        (ir.Redirect(302, scheme="https"), b"/x?y=1", "https://a.example/x?y=1"),
        (ir.Redirect(301, hostname="b.example"), b"/x", "http://b.example/x"),
        (ir.Redirect(301, port=8443), b"/x", "http://a.example:8443/x"),
        (ir.Redirect(301, scheme="https", port=443), b"/x", "https://a.example/x"),
        (ir.Redirect(301, scheme="http", port=80), b"/x", "http://a.example/x"),
        (ir.Redirect(308, path=ir.PathRewrite(EXACT, "/new")), b"/x/y?z", "http://a.example/new?z"),
        (ir.Redirect(307, path=ir.PathRewrite(PREFIX, "/new")), b"/x/y", "http://a.example/new/y"),
        (ir.Redirect(303, path=ir.PathRewrite(PREFIX, "/")), b"/x/y", "http://a.example/y"),
        (ir.Redirect(303, path=ir.PathRewrite(PREFIX, "")), b"/x", "http://a.example/"),
    ],
)
def test_redirects(proxies, redirect, target, location):
    proxy = proxies(config(match(rule(redirect), "/x")))
    head = get(proxy, target).head()
    assert head.startswith(b"HTTP/1.1 %d " % redirect.status)
    assert fields(head)["location"] == location
    assert proxy.log()["status"] == redirect.status


@pytest.mark.parametrize(
    ("redirect", "came_by", "location"),
    [
        (ir.Redirect(302), ":{bound}", "http://a.example:{bound}/x"),
        (ir.Redirect(302, hostname="b.example"), ":{bound}", "http://b.example:{bound}/x"),
        (ir.Redirect(302, scheme="http"), ":{bound}", "http://a.example:{bound}/x"),
        (ir.Redirect(302, scheme="https"), ":{bound}", "https://a.example:{other}/x"),
        (ir.Redirect(302, scheme="https", port=443), ":{bound}", "https://a.example/x"),
        (ir.Redirect(302, port=80), ":{bound}", "http://a.example/x"),
        (ir.Redirect(302), "", "http://a.example/x"),  # the client's port 80 leads here: a container's map, a Service
        (ir.Redirect(302), ":9", "http://a.example/x"),  # a port that leads nowhere is not believed
        (ir.Redirect(302, scheme="https"), "", "https://a.example/x"),
    ],
)
def test_redirects_under_a_port_map_lead_where_the_client_came_from(proxies, redirect, came_by, location):
    one = config(match(rule(redirect), "/x"))
    (socket,) = one.sockets
    proxy = proxies(ir.Ir((socket, ir.Socket("127.0.0.1", 443, socket.listeners)), ()))
    places = {
        "bound": proxy.manager.bound["127.0.0.1:80"][1],
        "other": proxy.manager.bound["127.0.0.1:443"][1],
    }
    head = get(proxy, b"/x", b"a.example" + came_by.format(**places).encode()).head()
    assert fields(head)["location"] == location.format(**places)


def test_redirects_take_the_rules_response_edits(proxies):
    edits = ir.Filters(response=ir.HeaderEdits((("X-Set", "1"),), (("X-Add", "2"),), ()))
    proxy = proxies(config(match(rule(ir.Redirect(302, hostname="b"), edits))))
    head = fields(get(proxy, b"/").head())
    assert head["x-set"] == "1"
    assert head["x-add"] == "2"


@pytest.mark.parametrize(
    ("prefix", "rewrite", "target", "seen"),
    [
        ("/x", ir.PathRewrite(PREFIX, "/y"), b"/x/z?q", b"/y/z?q"),
        ("/x", ir.PathRewrite(PREFIX, "/y"), b"/x", b"/y"),
        ("/x", ir.PathRewrite(PREFIX, "/"), b"/x/z", b"/z"),
        ("/x", ir.PathRewrite(PREFIX, ""), b"/x", b"/"),
        ("/x", ir.PathRewrite(PREFIX, "/y/"), b"/x/z", b"/y/z"),
        ("", ir.PathRewrite(PREFIX, "/y"), b"/z", b"/y/z"),
        ("/x", ir.PathRewrite(EXACT, "/one"), b"/x/z?q", b"/one?q"),
    ],
)
def test_path_rewrites(proxies, backend, prefix, rewrite, target, seen):
    proxy = proxies(config(match(forward(filters=ir.Filters(path=rewrite)), prefix)), {"c": (backend.endpoint,)})
    get(proxy, target)
    assert backend.accept().head().startswith(b"GET " + seen + b" HTTP/1.1\r\n")


def test_host_rewrites(proxies, backend):
    proxy = proxies(config(match(forward(filters=ir.Filters(hostname="b.example")))), {"c": (backend.endpoint,)})
    get(proxy, b"/")
    head = fields(backend.accept().head())
    assert head["host"] == "b.example"
    assert head["x-forwarded-host"] == "a.example:8080"


def test_edits_of_rule_and_backend(proxies, backend):
    of_rule = ir.Filters(
        ir.HeaderEdits((("X-Set", "rule"), ("X-Both", "rule")), (("X-Add", "rule"),), ("x-old",)),
        ir.HeaderEdits((("X-Res", "rule"),), (), ("x-old",)),
    )
    of_backend = ir.Filters(
        ir.HeaderEdits((("X-Both", "backend"),), (("X-Add", "backend"),), ()),
        ir.HeaderEdits((("Server", "mine"),), (("X-More", "1"),), ()),
    )
    action = ir.Forward((ir.WeightedBackend(1, "c", of_backend),))
    proxy = proxies(config(match(rule(action, of_rule))), {"c": (backend.endpoint,)})
    client = get(proxy, b"/")
    up = backend.accept()
    seen = fields(up.head())
    assert seen["x-set"] == "rule"
    assert seen["x-both"] == "backend"
    assert seen["x-add"].replace(", ", "|").split("|") == ["0", "rule", "backend"]
    assert "x-old" not in seen
    up.send(OK)
    back = fields(client.head())
    assert back["x-res"] == "rule"
    assert back["server"] == "mine"
    assert back["x-more"] == "1"
    assert "x-old" not in back


def test_shares_are_exact_over_every_cycle(proxies):
    a, b = Backend(), Backend()
    try:
        action = ir.Forward((
            ir.WeightedBackend(3, "a"),
            ir.WeightedBackend(1, "b"),
            ir.WeightedBackend(2, None, respond=ir.Respond(500, "invalid_backend")),
        ))  # fmt: skip
        proxy = proxies(config(match(rule(action))), {"a": (a.endpoint,), "b": (b.endpoint,)})
        seen = Counter()
        client = proxy.connect()
        for _ in range(60):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            before = len(a.conns), len(b.conns)
            head = None
            while head is None:
                for name, one in (("a", a), ("b", b)):
                    one.listener.settimeout(0.001)
                    with contextlib.suppress(TimeoutError):
                        one.accept()
                    for conn in one.conns:
                        conn.sock.settimeout(0.001)
                        try:
                            conn.head()
                        except (TimeoutError, AssertionError):
                            continue
                        conn.send(OK)
                        seen[name] += 1
                client.sock.settimeout(0.01)
                try:
                    head = client.head()
                except TimeoutError:
                    continue
            if head.startswith(b"HTTP/1.1 500"):
                seen["500"] += 1
                client.exactly(int(fields(head)["content-length"]))
            assert len(a.conns) + len(b.conns) >= sum(before)
        assert seen == {"a": 30, "b": 10, "500": 20}
    finally:
        a.close()
        b.close()


def test_what_nothing_matches_is_404(proxies, backend):
    proxy = proxies(config(match(forward(), "/x"), hostname="a.example"), {"c": (backend.endpoint,)})
    assert get(proxy, b"/y").head().startswith(b"HTTP/1.1 404")
    line = proxy.log()
    assert (line["reason"], line["listener"]) == ("no_route", "Gateway/ns/g/l")
    assert get(proxy, b"/x", b"b.example").head().startswith(b"HTTP/1.1 404")
    assert proxy.log()["reason"] == "no_listener"


def test_options_asterisk_reaches_the_backend_of_the_root(proxy, backend):
    client = proxy.connect()
    client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
    up = backend.accept()
    assert up.head().startswith(b"OPTIONS * HTTP/1.1\r\n")
    up.send(OK)
    assert client.head().startswith(b"HTTP/1.1 200")


def test_hosts_match_in_any_case_and_with_a_final_dot(proxies, backend):
    proxy = proxies(config(match(forward()), hostname="a.example"), {"c": (backend.endpoint,)})
    get(proxy, b"/", b"A.Example.:80")
    assert fields(backend.accept().head())["host"] == "A.Example.:80"


def test_a_regular_expression_finds_anywhere_in_the_path(proxies, backend):
    proxy = proxies(config(match(forward(), "[0-9]{3}$", REGEX)), {"c": (backend.endpoint,)})
    get(proxy, b"/order/123")
    backend.accept().head()
    assert get(proxy, b"/order/12x").head().startswith(b"HTTP/1.1 404")
