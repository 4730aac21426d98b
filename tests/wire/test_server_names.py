"""TLS below HTTP: the server name of a ClientHello leads to a listener and a route; TLS passes through, or ends here."""

import ssl

import pytest
from relays import config, listener, relay
from secure import Authority, open_tls, terminating, trusting

from fastgate import ir
from wire import Backend


def hello(name=None, alpn=(), records=0):
    """What a client sends first; cut into records of so many bytes."""
    context = ssl.create_default_context()
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols(alpn)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    sent = outgoing.read()
    if not records:
        return sent
    message = sent[5:]
    pieces = [message[at : at + records] for at in range(0, len(message), records)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def through(*clusters, **more):
    return relay(*clusters, kind="TLSRoute", passthrough=True, **more)


def clusters(*names):
    return tuple(ir.Cluster(name, ir.Protocol.TCP) for name in names)


@pytest.fixture
def backends():
    made = {name: Backend() for name in "abcd"}
    yield made
    for one in made.values():
        one.close()


@pytest.fixture
def names(proxies, backends):
    """Two listeners, whose names lead to four backends."""
    return proxies(
        config(
            listener("TLS", {"www.a.example": through("a"), "*.a.example": through("b")}, "*.a.example", "exact"),
            listener("TLS", {"": through("d"), "*.example": through("c")}, "", "any"),
            clusters=clusters(*"abcd"),
        ),
        {name: (one.endpoint,) for name, one in backends.items()},
    )


def arrives(proxy, backend, sent, pieces=None):
    client = proxy.connect()
    for piece in pieces or [sent]:
        client.send(piece)
    server = backend.accept()
    assert server.exactly(len(sent)) == sent
    server.send(b"answer")
    assert client.exactly(6) == b"answer"
    return client, server


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("www.a.example", "a"),
        ("WWW.A.Example", "a"),
        ("x.a.example", "b"),
        ("x.y.a.example", "b"),
        ("x.example", "c"),
        ("a.example", "c"),
        ("x.test", "d"),
        (None, "d"),
    ],
)
def test_the_most_specific_name_wins(names, backends, name, to):
    arrives(names, backends[to], hello(name))


def test_a_listener_is_chosen_once(proxies, backends):
    """A name without route at the most specific listener does not fall back to another one."""
    proxy = proxies(
        config(
            listener("TLS", {"www.a.example": through("a")}, "*.a.example", "exact"),
            listener("TLS", {"": through("d")}, "", "any"),
            clusters=clusters("a", "d"),
        ),
        {name: (backends[name].endpoint,) for name in "ad"},
    )
    arrives(proxy, backends["d"], hello("b.example"))
    client = proxy.connect()
    client.send(hello("x.a.example"))
    assert client.rest() == b""
    assert proxy.manager.statistics.totals().listeners["Gateway/ns/g/exact"].unknown_names == 1
    assert proxy.reason("unknown_server_name") == 1


def test_a_hello_in_pieces(names, backends):
    sent = hello("www.a.example")
    for at in range(1, len(sent), 7):
        client, server = arrives(names, backends["a"], sent, [sent[:at], sent[at:]])
        client.close()
        server.close()


def test_a_hello_byte_by_byte(names, backends):
    sent = hello("www.a.example")
    arrives(names, backends["a"], sent, [sent[at : at + 1] for at in range(len(sent))])


@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_hello_in_many_records(names, backends, size):
    arrives(names, backends["a"], hello("www.a.example", records=size))


def test_what_follows_a_hello_follows_it(names, backends):
    sent = hello("www.a.example")
    client = names.connect()
    client.send(sent + b"early")
    assert backends["a"].accept().exactly(len(sent) + 5) == sent + b"early"


@pytest.mark.parametrize(
    "begin",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x00", b"\x16\x02\x00\x00\x05hello", b"\x15\x03\x01\x00\x02\x01\x00"],
)
def test_what_is_no_hello_is_refused(names, begin):
    client = names.connect()
    client.send(begin)
    client.rest()
    assert names.reason("bad_hello") == 1


@pytest.mark.parametrize("begin", [b"", b"\x16", hello("www.a.example")[:-1]])
def test_a_hello_that_does_not_come_in_time(proxies, backends, begin):
    proxy = proxies(
        config(
            listener("TLS", {"": through("a")}), clusters=clusters("a"),
            limits={"head_timeout": 100, "first_byte_timeout": 100},
        ),
        {"a": (backends["a"].endpoint,)},
    )  # fmt: skip
    client = proxy.connect()
    client.send(begin)
    assert client.rest() == b""
    assert proxy.reason("hello_timeout") == 1
    assert proxy.counter("upstream_connects") == 0


def test_the_log_says_what_was_peeked_at(names, backends):
    client, server = arrives(names, backends["a"], hello("www.a.example", ["h2", "http/1.1"]))
    client.finish()
    server.close()
    client.rest()
    line = names.log()
    assert (line["protocol"], line["server_name"], line["alpn"]) == ("TLS", "www.a.example", "h2,http/1.1")
    assert (line["listener"], line["route"]) == ("Gateway/ns/g/exact", "TLSRoute/ns/r")
    assert "tls_version" not in line


# --- TLS that ends here ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root():
    return Authority()


def ending(root, *names, hostname="", name="l", to="a"):
    pair = root.issue(*names)
    rules = dict.fromkeys(names, relay(to, kind="TLSRoute"))
    return listener("TLS", rules, hostname, name, tls=terminating(pair)), pair


def test_the_plaintext_of_tls_that_ends_here_is_relayed(proxies, backends, root):
    one, pair = ending(root, "a.example")
    proxy = proxies(config(one, clusters=clusters("a"), key_pairs=(pair,)), {"a": (backends["a"].endpoint,)})
    client = open_tls(proxy, trusting(root))
    server = backends["a"].accept()
    server.send(b"220 hello\r\n")
    assert client.exactly(11) == b"220 hello\r\n"
    much = bytes(range(256)) * 8192
    client.send(much)
    assert server.exactly(len(much)) == much
    server.send(much)
    server.close()
    assert client.exactly(len(much)) == much
    assert client.sock.recv(1) == b""
    client.close()
    line = proxy.log()
    assert (line["protocol"], line["tls_version"], line["server_name"]) == ("TLS", "TLSv1.3", "a.example")
    assert (line["bytes_received"], line["bytes_sent"]) == (len(much), len(much) + 11)


def test_a_close_notify_is_an_end(proxies, backends, root):
    one, pair = ending(root, "a.example")
    proxy = proxies(config(one, clusters=clusters("a"), key_pairs=(pair,)), {"a": (backends["a"].endpoint,)})
    client = open_tls(proxy, trusting(root))
    server = backends["a"].accept()
    client.send(b"x")
    server.send(b"bye")
    server.finish()
    assert client.exactly(3) == b"bye"
    raw = client.sock.unwrap()  # says close_notify, has got one
    assert server.rest() == b"x"
    raw.close()
    assert proxy.log().get("reason") is None


def test_passing_through_and_ending_share_a_port(proxies, backends, root):
    ends, pair = ending(root, "a.example", hostname="a.example", name="ends")
    passes = listener("TLS", {"*.example": through("b")}, "*.example", "passes")
    proxy = proxies(
        config(ends, passes, clusters=clusters("a", "b"), key_pairs=(pair,)),
        {"a": (backends["a"].endpoint,), "b": (backends["b"].endpoint,)},
    )
    client = open_tls(proxy, trusting(root))
    client.send(b"plain")
    assert backends["a"].accept().exactly(5) == b"plain"
    arrives(proxy, backends["b"], hello("b.example"))


def test_a_name_without_route_is_refused_before_the_handshake(proxies, backends, root):
    one, pair = ending(root, "a.example")
    proxy = proxies(config(one, clusters=clusters("a"), key_pairs=(pair,)), {"a": (backends["a"].endpoint,)})
    client = proxy.connect()
    client.send(hello("b.example"))
    assert client.rest() == b""
