"""Filter plugins on the wire: what each phase sees and does, inline and offloaded."""

from __future__ import annotations

import os
import threading
from contextlib import suppress

import pytest
from filtered import OK, fields, filtered, get, plugin, read

from fastgate import ir
from wire import config, forward, match

pytestmark = pytest.mark.usefixtures("installed")


def test_a_filter_edits_heads_both_ways(proxies, backend, inline):
    proxy = proxies(filtered(plugin("Edit", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client, "/a/../b?q=1", "X-Before: 2", "X-Edit: 0", "x-edit: 00", "X-Gone: 1")
    server = backend.accept()
    sent = fields(server.head())
    assert [value for name, value in sent if name == "x-edit"] == ["1"]
    assert ("x-seen", "GET /b q=1 2") in sent
    assert ("x-more", "1") in sent
    assert not [name for name, _ in sent if name == "x-gone"]
    server.send(OK)
    head, body = read(client)
    back = fields(head)
    assert body == b"hi"
    assert ("x-request", "1") in back
    assert ("x-order", "1") in back
    assert not [name for name, _ in back if name == "x-gone"]


def test_the_trace_of_a_request_is_what_its_client_said(proxies, backend, inline):
    proxy = proxies(filtered(plugin("Traced", inline), plugin("Traced", not inline)), {"c": (backend.endpoint,)})
    trace, span = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
    valid = f"Traceparent: 00-{trace}-{span}-01"
    cases = {(valid,): f"{trace} {span} 1", (): "none", (valid, valid): "none", ("Traceparent: x",): "none"}
    for lines, seen in cases.items():
        client = proxy.connect()
        get(client, "/", "Connection: close", *lines)
        sent = fields(backend.accept().head())
        assert [value for name, value in sent if name == "x-trace"] == [seen, seen]


@pytest.mark.parametrize("order", [(False, False), (True, True), (False, True), (True, False)])
def test_requests_meet_filters_in_their_order_and_responses_in_reverse(proxies, backend, order):
    one, two = (plugin("Edit", inline, name="x-edit", value=value) for inline, value in zip(order, "12", strict=True))
    proxy = proxies(filtered(one, two), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client)
    server = backend.accept()
    sent = fields(server.head())
    assert [value for name, value in sent if name == "x-edit"] == ["2"]
    assert [value for name, value in sent if name == "x-more"] == ["1", "2"]
    server.send(OK)
    back = fields(read(client)[0])
    assert ("x-order", "21") in back
    assert [value for name, value in back if name == "set-cookie"] == ["2", "1"]


def test_filters_of_a_rule_come_before_those_of_its_backend(proxies, backend, inline):
    mine = ir.Filters(plugins=(plugin("Edit", inline, name="x-edit", value="backend"),))
    action = ir.Forward((ir.WeightedBackend(1, "c", mine),))
    rule = ir.Rule(
        "HTTPRoute/ns/r/0", "HTTPRoute/ns/r", "", action, ir.Filters(plugins=(plugin("Edit", inline, value="rule"),))
    )
    proxy = proxies(config(match(rule)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client)
    server = backend.accept()
    assert [v for n, v in fields(server.head()) if n == "x-more"] == ["rule", "backend"]
    server.send(OK)
    assert ("x-order", "backendrule") in fields(read(client)[0])


def test_modifiers_of_the_rule_work_on_what_filters_leave(proxies, backend, inline):
    filters = ir.Filters(
        request=ir.HeaderEdits(set=(("X-Edit", "modifier"),), remove=("x-more",)), plugins=(plugin("Edit", inline),)
    )
    proxy = proxies(config(match(forward(filters=filters))), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client)
    sent = fields(backend.accept().head())
    assert [value for name, value in sent if name == "x-edit"] == ["modifier"]
    assert not [name for name, _ in sent if name == "x-more"]


def test_edits_of_path_and_authority_go_upstream_and_do_not_route_again(proxies, backend, inline):
    routed = match(forward(filters=ir.Filters(plugins=(plugin("Target", inline),))), "/in")
    proxy = proxies(config(routed, match(forward("other", index=1), "/changed")), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client, "/in?x=y")
    head = backend.accept().head()
    assert head.startswith(b"GET /changed?n=1 HTTP/1.1\r\nhost: changed.example.com\r\n")


def test_a_filter_chooses_the_endpoint(proxies, backends, inline):
    one, two = backends(), backends()
    for number, backend in enumerate((one, two)):
        backend.answer_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
    proxy = proxies(filtered(plugin("Choose", inline, port=two.endpoint.port)), {"c": (one.endpoint, two.endpoint)})
    client = proxy.connect()
    for _ in range(20):
        get(client, "/", "X-Choose: 1")
        assert read(client)[1] == b"1"
    seen = set()
    for _ in range(200):
        get(client)
        seen.add(read(client)[1])
    assert seen == {b"0", b"1"}  # without a choice the load is balanced
    proxy.endpoints({"c": (one.endpoint,)})
    get(client, "/", "X-Choose: 1")
    assert read(client)[1] == b"0"  # what is no endpoint of the backend is not spoken to


def test_a_body_waits_in_bounds_behind_a_head_that_a_filter_has(proxies, backend, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    rule = forward(filters=ir.Filters(plugins=(plugin("Held", file=str(fifo)),)))
    proxy = proxies(config(match(rule, "/held"), match(forward(index=1))), {"c": (backend.endpoint,)})
    client, other = proxy.connect(), proxy.connect()
    get(client, "/held")
    server = backend.accept()
    server.head()
    body = b"x" * 1_000_000
    sending = threading.Thread(target=server.send, args=(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + body,))
    sending.start()
    with fifo.open("wb"):  # the filter is called now, and goes on when this is closed
        get(other)
        answering = backend.accept()
        for turn in range(50):  # in which the worker could read
            if turn:
                get(other)
            answering.head()
            answering.send(OK)
            read(other)
    head = client.head()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert client.exactly(len(body)) == body
    sending.join()


def test_def_callbacks_run_too(proxies, backend, inline):
    proxy = proxies(filtered(plugin("PlainEdit", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client)
    assert ("x-edit", "1") in fields(backend.accept().head())


def test_a_filter_answers_and_the_connection_goes_on(proxies, backend, inline):
    proxy = proxies(filtered(plugin("Answer", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    for method in ("GET", "HEAD", "GET"):
        client.send(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = client.head()
        assert head.startswith(b"HTTP/1.1 403 Forbidden\r\n")
        assert {"x-by": "filter", "content-length": "2"}.items() <= dict(fields(head)).items()
        if method == "GET":
            assert client.exactly(2) == b"no"
    assert proxy.log().get("reason") == "filter_reply"
    assert backend.nobody_comes()


def test_an_answer_to_a_request_with_a_body_reads_what_is_here(proxies, backend, inline):
    proxy = proxies(filtered(plugin("Answer", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbodyGET / HTTP/1.1\r\nHost: a\r\n\r\n")
    for _ in range(2):
        assert read(client)[0].startswith(b"HTTP/1.1 403")


def test_pipelined_requests_are_answered_in_their_order(proxies, backend, inline):
    proxy = proxies(filtered(plugin("Edit", inline)), {"c": (backend.endpoint,)})
    backend.answer_all(lambda head: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + head[5:7])
    client = proxy.connect()
    client.send(b"".join(b"GET /%02d HTTP/1.1\r\nHost: a\r\n\r\n" % n for n in range(20)))
    assert [read(client)[1] for _ in range(20)] == [b"%02d" % n for n in range(20)]


def test_bodies_pass_through_filters_piece_by_piece(proxies, backend, inline):
    proxy = proxies(filtered(plugin("Pieces", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
    server = backend.accept()
    assert dict(fields(server.head()))["transfer-encoding"] == "chunked"
    assert server.exactly(8) == b"3\r\nABC\r\n"
    client.send(b"def")
    assert server.until(b"0\r\n\r\n") == b"4\r\nDEF!\r\n0\r\n\r\n"
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhi")
    assert "content-length" not in dict(fields(client.head()))
    assert client.exactly(7) == b"2\r\nhi\r\n"
    server.send(b"ho")
    assert client.until(b"0\r\n\r\n") == b"3\r\nho.\r\n0\r\n\r\n"


def test_a_large_body_through_a_filter_waits_for_who_reads_it(proxies, backend, inline):
    proxy = proxies(filtered(plugin("Pieces", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client)
    server = backend.accept()
    server.head()
    size = 64 << 20  # more than the sockets on its way hold, however much the kernel lets them grow
    server.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
    server.sock.settimeout(0.5)
    sent = 0
    with suppress(TimeoutError):
        while sent < size:
            sent += server.sock.send(bytes(min(65536, size - sent)))
    assert proxy.counter("buffer_bytes") < 1 << 20  # what is on its way is in the sockets
    assert sent < size


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_filter_gets_the_whole_body_first(proxies, backend, inline, framing):
    proxy = proxies(filtered(plugin("Wrap", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    body = b"x" * 20_000
    head = b"Content-Length: 20000" if framing == "length" else b"Transfer-Encoding: chunked"
    pieces = [body[:9000], body[9000:]]
    if framing == "chunked":
        pieces = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces] + [b"0\r\n\r\n"]
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" + head + b"\r\n\r\n")
    assert client.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
    client.send(pieces[0])
    assert backend.nobody_comes()
    for piece in pieces[1:]:
        client.send(piece)
    server = backend.accept()
    sent = dict(fields(server.head()))
    assert (sent["content-length"], sent["x-size"], sent.get("expect")) == ("20002", "20000", None)
    assert server.exactly(20_002) == b"[" + body + b"]"
    server.send(OK)
    assert read(client)[1] == b"hi"
    get(client)
    head = server.head()
    assert b"x-size" not in head
    server.send(OK)
    assert read(client)[1] == b"hi"


def test_a_body_that_is_larger_than_its_buffer_is_refused(proxies, backend, inline):
    proxy = proxies(filtered(plugin("Wrap", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n" + b"x" * 65537)
    assert client.head().startswith(b"HTTP/1.1 413")
    assert proxy.log().get("reason") == "body_too_large"


def test_a_large_response_waits_behind_a_head_that_a_filter_looks_at(proxies, backend, inline):
    proxy = proxies(filtered(plugin("Edit", inline)), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client)
    server = backend.accept()
    server.head()
    body = bytes(range(256)) * 8192
    sending = threading.Thread(
        target=server.send, args=(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body,)
    )
    sending.start()
    head, got = read(client)
    sending.join()
    assert head.startswith(b"HTTP/1.1 200")
    assert got == body


def test_local_replies_are_pages_of_a_filter(proxies, backend, inline):
    proxy = proxies(filtered(plugin("Page", inline)), {"c": ()})
    client = proxy.connect()
    for _ in range(2):
        get(client)
        head, body = read(client)
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
        assert dict(fields(head))["content-type"] == "text/html"
        assert body == b"<p>no_endpoints"
    assert proxy.log().get("reason") == "no_endpoints"


def test_a_response_that_a_filter_keeps_is_changed_by_no_other(proxies, backend, inline):
    proxy = proxies(filtered(plugin("Mark", inline), plugin("KeptPage", inline)), {"c": ()})
    client = proxy.connect()
    for _ in range(3):
        get(client)
        head, body = read(client)
        assert body == b"kept"
        assert [value for name, value in fields(head) if name == "x-mark"] == ["1"]


def test_filters_are_told_how_it_ended(proxies, backend, inline, tmp_path):
    file = tmp_path / "log"
    proxy = proxies(filtered(plugin("Log", inline, file=str(file))), {"c": (backend.endpoint,)})
    backend.answer_all(OK)
    client = proxy.connect()
    client.send(b"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody")
    read(client)
    proxy.wait_for(lambda: file.exists() and file.read_text() == "POST /p 200 4\n")


@pytest.mark.parametrize("form", ["process"], indirect=True)
def test_the_current_directory_is_nothing_to_plugin_processes(proxies, backend, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('imported from the current directory')")
    monkeypatch.chdir(tmp_path)
    proxy = proxies(filtered(plugin("Edit")), {"c": (backend.endpoint,)})
    client = proxy.connect()
    get(client)
    assert ("x-edit", "1") in fields(backend.accept().head())


def test_the_end_of_one_stage_is_not_that_of_another(proxies, tmp_path):
    """The engine tells the first stage how it ended, then the last one, which holds state, that it is over."""
    file = tmp_path / "log"
    stages = plugin("Log", file=str(file)), plugin("PlainEdit", True), plugin("Edit")
    proxy = proxies(filtered(*stages), {"c": ()})
    client = proxy.connect()
    for number in range(20):
        get(client, f"/{number}")
        assert read(client)[0].startswith(b"HTTP/1.1 503")
    wanted = sorted(f"GET /{number} 503 0" for number in range(20))
    proxy.wait_for(lambda: file.exists() and sorted(file.read_text().splitlines()) == wanted)


def test_a_filter_that_no_configuration_names_stops_after_its_last_request(proxies, backend, inline, tmp_path):
    """What it is called for at the earliest comes after the configuration that does not name it any more."""
    file = tmp_path / "life"
    endpoints = {"c": (backend.endpoint,)}
    proxy = proxies(filtered(plugin("Life", inline, file=str(file))), endpoints)
    client = proxy.connect()
    get(client, "/held")
    held = backend.accept()
    held.head()
    proxy.apply(filtered(plugin("Edit", inline)), endpoints)
    assert file.read_text() == "start\n"
    held.send(OK)
    read(client)
    proxy.wait_for(lambda: file.read_text() == "start\n/held\nlog\nstop\n")


def test_a_filter_that_stays_is_not_stopped_and_a_configuration_that_returns_is_started_again(
    proxies, backend, inline, tmp_path
):
    file = tmp_path / "life"
    endpoints = {"c": (backend.endpoint,)}
    life = plugin("Life", inline, file=str(file))
    proxy = proxies(filtered(life), endpoints)
    proxy.apply(config(match(forward(filters=ir.Filters(plugins=(life,))), "/other")), endpoints)
    proxy.wait_for(lambda: proxy.counter("generations_live") == 1)
    assert file.read_text() == "start\n"
    proxy.apply(config(), endpoints)
    proxy.wait_for(lambda: file.read_text() == "start\nstop\n")
    proxy.apply(filtered(life), endpoints)
    proxy.wait_for(lambda: file.read_text() == "start\nstop\nstart\n")


@pytest.mark.parametrize("form", ["process"], indirect=True)
def test_filters_stop_with_their_worker(proxies, backend, inline, tmp_path):
    file = tmp_path / "life"
    proxy = proxies(filtered(plugin("Life", inline, file=str(file))), {"c": (backend.endpoint,)})
    proxy.run(proxy.manager.stop())
    assert file.read_text() == "start\nstop\n"
