"""Any message that h11 can write passes as the same message, however it was cut: head, then fg_req, then head again."""

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wire import Backend, Proxy, config

SAFE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_~!$&'()*+,;=:@"
paths = st.lists(st.text(SAFE, min_size=1, max_size=12), max_size=4).map(lambda s: "/" + "/".join(s))
queries = st.none() | st.text(SAFE + "/?%", max_size=30)
values = st.binary(max_size=60).map(lambda b: bytes(c for c in b if c >= 0x20 and c != 0x7F).strip())
fields = st.lists(st.tuples(st.from_regex(r"x-t-[a-z0-9!#$%&'*+.^|~-]{0,20}", fullmatch=True), values), max_size=12)
bodies = st.none() | st.tuples(st.booleans(), st.lists(st.binary(min_size=1, max_size=3000), max_size=4))
cuts = st.lists(st.integers(1, 400), max_size=6)


class Ends:
    """A client's connection and the one connection that the proxy keeps to the backend."""

    def __init__(self):
        self.backend = Backend()
        self.proxy = Proxy(config(), {"c": (self.backend.endpoint,)})
        self.client, self.up = self.proxy.connect(), None

    def close(self):
        self.proxy.close()
        self.backend.close()


@pytest.fixture(scope="module")
def ends():
    both = Ends()
    yield both
    both.close()


def send(conn, data, sizes):
    for size in sizes:
        conn.send(data[:size])
        data = data[size:]
    if data:
        conn.send(data)


def written(side, first, body):
    """The bytes of a message; its body is (chunked, pieces)."""
    pieces = body[1] if body else []
    return b"".join([side.send(first), *(side.send(h11.Data(p)) for p in pieces), side.send(h11.EndOfMessage())])


def received(side, conn):
    """The message's first event and its body."""
    events = []
    while not events or not isinstance(events[-1], h11.EndOfMessage):
        event = side.next_event()
        if event is h11.NEED_DATA:
            assert conn._more()
            side.receive_data(conn.buffer)
            conn.buffer = b""
        else:
            events.append(event)
    return events[0], b"".join(bytes(e.data) for e in events[1:-1])


def framing(body):
    if body is None:
        return []
    if body[0]:
        return [("transfer-encoding", "chunked")]
    return [("content-length", str(sum(map(len, body[1]))))]


def ours(message):
    return [(name, value) for name, value in message.headers if name.startswith(b"x-t-")]


@settings(max_examples=120, deadline=None)
@given(st.sampled_from(["POST", "PUT", "PATCH", "X-OTHER"]), paths, queries, fields, bodies, cuts, fields, bodies, cuts)
def test_messages_pass_unchanged(ends, method, path, query, sent, body, pieces, answered, answer, answer_pieces):
    target = path if query is None else f"{path}?{query}"
    asking, serving = h11.Connection(h11.CLIENT), h11.Connection(h11.SERVER)
    request = h11.Request(method=method, target=target, headers=[("host", "a.example"), *sent, *framing(body)])
    send(ends.client, written(asking, request, body), pieces)
    ends.up = ends.up or ends.backend.accept()
    head, data = received(serving, ends.up)
    assert (head.method.decode(), head.target.decode()) == (method, target)
    assert dict(head.headers)[b"host"] == b"a.example"
    assert ours(head) == [(name.encode(), value) for name, value in sent]
    assert data == (b"".join(body[1]) if body else b"")

    answer = answer or (False, [])
    response = h11.Response(status_code=200, reason="OK", headers=[*answered, *framing(answer)])
    send(ends.up, written(serving, response, answer), answer_pieces)
    head, data = received(asking, ends.client)
    assert (head.status_code, ours(head)) == (200, [(name.encode(), value) for name, value in answered])
    assert data == b"".join(answer[1])
