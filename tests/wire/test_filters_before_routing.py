"""Filter plugins of a listener, before a route is looked for: what they leave of a head decides it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from filtered import OK, fields, get, plugin, read

from fastgate import ir
from wire import config, forward, match

pytestmark = pytest.mark.usefixtures("installed")


def before(configuration, *plugins, more=()):
    """The same with these filters at its listener, and further listeners beside it."""
    (socket,) = configuration.sockets
    listeners = (replace(socket.listeners[0], plugins=plugins), *more)
    return replace(configuration, sockets=(replace(socket, listeners=listeners),))


def header_is(name, value, rule):
    condition = ir.ValueMatch(name, ir.ValueKind.EXACT, value)
    return replace(match(rule), headers=(condition,))


@pytest.fixture
def two(backends):
    """Two backends that say which they are, and their endpoints by cluster."""
    found = backends(), backends()
    for name, one in zip((b"first", b"other"), found, strict=True):
        one.answer_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + name)
    return {"c": (found[0].endpoint,), "other": (found[1].endpoint,)}


def test_an_edited_path_decides_the_route(proxies, two, inline):
    rules = match(forward()), match(forward("other", index=1), "/changed")
    proxy = proxies(before(config(*rules), plugin("Target", inline)), two)
    client = proxy.connect()
    for path in ("/in?x=y", "/in", "http://b.example.com:81/in"):
        get(client, path)
        assert read(client)[1] == b"other"
    line = proxy.log()
    assert (line["route"], line["rule"], line["path"]) == ("HTTPRoute/ns/r", 1, "/changed")


def test_an_edited_field_decides_the_route(proxies, two, inline):
    rules = header_is("x-edit", "1", forward("other", index=1)), match(forward())
    proxy = proxies(before(config(*rules), plugin("Edit", inline)), two)
    client = proxy.connect()
    get(client, "/", "x-edit: 0")
    head, body = read(client)
    assert body == b"other"
    assert ("x-order", "1") in fields(head)  # its response passes the filter, too


@pytest.mark.parametrize("order", [(False, False), (True, True), (False, True), (True, False)])
def test_filters_of_a_listener_come_before_those_of_the_rule(proxies, backend, order):
    one, two = (plugin("Edit", inline, name="x-edit", value=value) for inline, value in zip(order, "12", strict=True))
    rule = forward(filters=ir.Filters(plugins=(two,), request=ir.HeaderEdits(add=(("x-more", "3"),))))
    proxy = proxies(before(config(match(rule)), one), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client, "/a/%2e/b?q=1", "X-Before: 2", "X-Gone: 1")
    server = backend.accept()
    head = server.head()
    sent = fields(head)
    assert head.startswith(b"GET /a/b?q=1 HTTP/1.1\r\nhost: a\r\n")
    assert [value for name, value in sent if name == "x-edit"] == ["2"]
    assert [value for name, value in sent if name == "x-more"] == ["1", "2", "3"]
    assert [value for name, value in sent if name == "x-seen"] == ["GET /a/b q=1 2"]
    assert not [name for name, _ in sent if name == "x-gone"]
    server.send(OK)
    back = fields(read(client)[0])
    assert ("x-order", "21") in back
    assert [value for name, value in back if name == "set-cookie"] == ["2", "1"]


def test_rewrites_of_the_rule_work_on_the_edited_path(proxies, backend, inline):
    filters = ir.Filters(path=ir.PathRewrite(ir.PathKind.PREFIX, "/new"))
    rule = match(forward(filters=filters), "/changed")
    proxy = proxies(before(config(rule), plugin("Target", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client, "/in")
    assert backend.accept().head().startswith(b"GET /new?n=1 HTTP/1.1\r\nhost: changed.example.com\r\n")


def test_bodies_and_what_follows_them_stay(proxies, backend, inline):
    rule = match(forward(), "/changed")
    proxy = proxies(before(config(rule), plugin("Target", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
    length = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd"
    client.send(length + chunked + length)
    server = backend.accept()
    for _ in range(3):
        sent = dict(fields(server.head()))
        assert server.exactly(4) == b"abcd" if "content-length" in sent else server.until(b"0\r\n\r\n")
        server.send(OK)
        assert read(client)[1] == b"hi"


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 4\r\n\r\nabcd", b"Transfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"]
)
def test_a_buffered_body_is_there_before_routing(proxies, backend, inline, framing):
    rule = match(forward(), "/changed")
    proxy = proxies(
        before(config(rule), plugin("Wrap", inline), plugin("Target", not inline)), {"c": (backend.endpoint,)}
    )
    client = proxy.connect()
    for _ in range(2):
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing)
    server = backend.accept()
    for _ in range(2):
        sent = dict(fields(server.head()))
        assert (sent["x-size"], sent["content-length"]) == ("4", "6")
        assert server.exactly(6) == b"[abcd]"
        server.send(OK)
        read(client)


def test_a_filter_answers_before_routing(proxies, backend, inline):
    proxy = proxies(before(config(match(forward(), "/only")), plugin("Answer", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    for path in ("/only", "/nowhere"):
        get(client, path)
        head, body = read(client)
        assert (head[:13], body) == (b"HTTP/1.1 403 ", b"no")
        line = proxy.log()
        assert (line["reason"], line.get("route"), line["listener"]) == ("filter_reply", None, "Gateway/ns/g/l")
    assert backend.nobody_comes()


def test_what_no_rule_takes_meets_them(proxies, backend, inline):
    configuration = before(config(match(forward(), "/only")), plugin("Edit", inline), plugin("Page", inline))
    proxy = proxies(configuration, {"c": (backend.endpoint,)})
    client = proxy.connect()
    for _ in range(2):
        get(client, "/nowhere")
        head, body = read(client)
        assert (head[:13], body) == (b"HTTP/1.1 404 ", b"<p>no_route")


def test_a_listener_is_not_left(proxies, two, inline):
    """An edited authority finds routes of the listener whose filters the request has passed, and of no other."""
    other = ir.VirtualHost("changed.example.com", (match(forward("other", index=1)),))
    guarded = ir.Listener(
        "Gateway/ns/g/o", "ns/g", "o", "changed.example.com", "HTTP", (other,), (plugin("Answer", inline),)
    )
    base = config(match(forward()), match(forward("other", index=2), "/other"))
    proxy = proxies(before(base, plugin("Target", inline), more=(guarded,)), two)
    client = proxy.connect()
    client.send(b"GET / HTTP/1.1\r\nHost: changed.example.com\r\n\r\n")
    assert read(client)[0].startswith(b"HTTP/1.1 403 ")
    get(client)
    assert read(client)[0].startswith(b"HTTP/1.1 404 ")
    line = proxy.log()
    while line["reason"] != "no_route":
        line = proxy.log()
    assert line["listener"] == "Gateway/ns/g/l"


def test_an_edited_host_finds_its_virtual_host(proxies, two, inline):
    base = config(match(forward()), match(forward("other", index=2), "/other"))
    configuration = before(base, plugin("Target", inline))
    (socket,) = configuration.sockets
    hosts = (ir.VirtualHost("changed.example.com", (match(forward("other", index=1)),)), *socket.listeners[0].hosts)
    listener = replace(socket.listeners[0], hosts=hosts)
    proxy = proxies(replace(configuration, sockets=(replace(socket, listeners=(listener,)),)), two)
    client = proxy.connect()
    get(client)
    assert read(client)[1] == b"other"


def test_connection_has_no_say_in_what_filters_add(proxies, backend, inline):
    proxy = proxies(before(config(match(forward())), plugin("Edit", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client, "/", "Connection: x-edit, x-mine, keep-alive", "X-Mine: 1", "X-Forwarded-For: 6.6.6.6", "x_edit: 1")
    sent = fields(backend.accept().head())
    assert ("x-edit", "1") in sent
    names = [name for name, _ in sent]
    assert not {"x-mine", "connection", "x_edit"} & set(names)
    assert [value for name, value in sent if name == "x-forwarded-for"] == ["127.0.0.1"]


def test_an_upgrade_is_routed_by_what_filters_left(proxies, backend, inline):
    proxy = proxies(before(config(match(forward(), "/changed")), plugin("Target", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client, "/", "Connection: Upgrade", "Upgrade: websocket")
    server = backend.accept()
    assert ("upgrade", "websocket") in fields(server.head())
    server.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
    client.head()
    assert client.exactly(5) == b"hello"


@pytest.mark.parametrize("deny", [True, False])
def test_one_that_fails_denies_or_is_skipped(proxies, backend, inline, deny):
    proxy = proxies(
        before(config(match(forward())), plugin("Misbehave", inline, deny=deny, how="split")),
        {"c": (backend.endpoint,)},
    )
    client = proxy.connect()
    get(client, "/", "x-misbehave: 1")
    if deny:
        assert read(client)[0].startswith(b"HTTP/1.1 500 ")
        return
    server = backend.accept()
    server.head()
    server.send(OK)
    assert read(client)[1] == b"hi"


def test_other_listeners_call_nobody(proxies, backends, inline):
    one = backends()
    one.answer_all(OK)
    rest = ir.Listener(
        "Gateway/ns/g/o",
        "ns/g",
        "o",
        "free.example.com",
        "HTTP",
        (ir.VirtualHost("free.example.com", (match(forward(index=1)),)),),
    )
    proxy = proxies(before(config(match(forward())), plugin("Edit", inline), more=(rest,)), {"c": (one.endpoint,)})
    client = proxy.connect()
    for _ in range(5):
        client.send(b"GET / HTTP/1.1\r\nHost: free.example.com\r\n\r\n")
        read(client)
    assert proxy.counter("filter_calls") == 0
    assert proxy.counter("py_enter") == 0
