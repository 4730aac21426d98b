"""HTTPS as clients see it: which certificate, which version, which session, and what ends a connection that is not what it should be."""

import contextlib
import socket
import ssl
from dataclasses import replace

import pytest
from secure import Authority, config, listener, open_tls, terminating, trusting

from fastgate import ir
from wire import TIMEOUT, Conn, fields

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"

ROOT = Authority()
OTHER = Authority("other")
A = ROOT.issue("a.example")
A_RSA = ROOT.issue("a.example", bits=2048)
B = ROOT.issue("b.example")
WILD = ROOT.issue("*.wild.example")


def simple(*pairs, **terms):
    return config(listener(terminating(*(pairs or (A,)), **terms)), pairs=pairs or (A,))


@pytest.fixture
def secured(proxies, backend):
    """Start a proxy whose backend answers everything."""
    backend.answer_all(OK)

    def start(configuration=None, **options):
        return proxies(configuration or simple(), {"c": (backend.endpoint,)}, **options)

    return start


def get(conn, request=GET):
    conn.send(request)
    head = conn.head()
    status = int(head.split(b" ")[1])
    length = next((line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")), None)
    conn.exactly(int(length.split(b" ")[1]) if length else 0)
    return status


def shown(conn):
    """The names in the certificate that a server showed."""
    return [name for _, name in conn.sock.getpeercert()["subjectAltName"]]


def series(proxy, name="l"):
    return proxy.manager.statistics.totals().listeners[f"Gateway/ns/g/{name}"]


def client_hello(name="a.example"):
    """The first flight of a client."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting(ROOT).wrap_bio(incoming, outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def raw(proxy):
    conn = Conn(socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT))
    proxy.conns.append(conn)
    return conn


# --- what is negotiated -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_requests_and_responses_of_any_size(proxies, backend, version):
    proxy = proxies(simple(), {"c": (backend.endpoint,)})
    context = trusting(ROOT)
    context.minimum_version = context.maximum_version = version
    conn = open_tls(proxy, context)
    size = 700_000
    body = bytes(range(256)) * (size // 256 + 1)
    for n in (0, 1, 16383, 16384, 16385, size):
        request = b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: %d\r\n\r\n" % n + body[:n]
        if n == 0:
            behind = backend.accept_after(conn, request)
        else:
            conn.send(request)
        behind.head()
        assert behind.exactly(n) == body[:n]
        behind.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % n + body[:n])
        conn.head()
        assert conn.exactly(n) == body[:n]
    assert conn.sock.version() == {771: "TLSv1.2", 772: "TLSv1.3"}[version]


@pytest.mark.parametrize(("low", "high"), [(ir.TLS12, ir.TLS12), (ir.TLS13, ir.TLS13)])
def test_versions_are_those_of_the_listener(secured, low, high):
    proxy = secured(simple(min_version=low, max_version=high))
    conn = open_tls(proxy, trusting(ROOT))
    assert conn.sock.version() == ("TLSv1.2" if high == ir.TLS12 else "TLSv1.3")
    wrong = trusting(ROOT)
    wrong.minimum_version = wrong.maximum_version = (
        ssl.TLSVersion.TLSv1_3 if high == ir.TLS12 else ssl.TLSVersion.TLSv1_2
    )
    with pytest.raises(ssl.SSLError):
        open_tls(proxy, wrong)
    proxy.wait_for(lambda: proxy.reason("handshake_failed") == 1)


def test_ciphers_groups_and_protocols(secured):
    proxy = secured(
        simple(ciphers="ECDHE-ECDSA-AES256-GCM-SHA384", ciphersuites="TLS_CHACHA20_POLY1305_SHA256", groups="P-384",
               alpn=("http/1.1",))
    )  # fmt: skip
    context = trusting(ROOT)
    context.set_alpn_protocols(["h2", "http/1.1"])
    conn = open_tls(proxy, context)
    assert conn.sock.cipher()[0] == "TLS_CHACHA20_POLY1305_SHA256"
    assert conn.sock.selected_alpn_protocol() == "http/1.1"
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert open_tls(proxy, context).sock.cipher()[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    context.set_alpn_protocols(["h2"])
    with pytest.raises(ssl.SSLError, match="no application protocol"):
        open_tls(proxy, context)
    context.set_ecdh_curve("prime256v1")
    context.set_alpn_protocols(["http/1.1"])
    with pytest.raises(ssl.SSLError):
        open_tls(proxy, context)


def test_the_certificate_is_that_of_the_name(secured):
    tls = terminating(A, by_name={"b.example": (B,), "*.wild.example": (WILD,)})
    proxy = secured(config(listener(tls), pairs=(A, B, WILD)))
    context = trusting(ROOT)
    for name, names in (("a.example", "a.example"), ("b.example", "b.example"), ("x.wild.example", "*.wild.example")):
        assert shown(open_tls(proxy, context, name)) == [names]
    context.check_hostname = False
    for name in ("other.example", None, "wild.example"):
        assert shown(open_tls(proxy, context, name)) == ["a.example"]


def test_ecdsa_before_rsa_if_the_client_can(secured):
    proxy = secured(simple(A, A_RSA))
    context = trusting(ROOT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert "ECDSA" in open_tls(proxy, context).sock.cipher()[0]
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")
    assert "RSA" in open_tls(proxy, context).sock.cipher()[0]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_keys_that_take_long_to_sign_with(secured, version):
    proxy = secured(simple(ROOT.issue("a.example", bits=3072)))
    context = trusting(ROOT)
    context.minimum_version = context.maximum_version = version
    session = None
    for _ in range(3):
        conn = open_tls(proxy, context, session=session)
        assert get(conn) == 200
        assert conn.sock.session_reused is (session is not None)
        session = conn.sock.session
    gone = [raw(proxy) for _ in range(20)]
    for conn in gone:
        conn.send(client_hello())
        conn.reset()
    assert get(open_tls(proxy, context)) == 200
    proxy.wait_for(lambda: proxy.counter("connections_open") == 4)


# --- sessions and rotations ---------------------------------------------------------------------------------------------------


def session_of(conn):
    get(conn)  # tickets come behind the handshake
    return conn.sock.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed_by_every_worker_and_behind_a_rotation_of_certificates(secured, backend, version):
    proxy = secured(workers=2)
    context = trusting(ROOT)
    context.minimum_version = context.maximum_version = version
    session = session_of(open_tls(proxy, context))
    for _ in range(8):  # whichever worker accepts
        conn = open_tls(proxy, context, session=session)
        assert conn.sock.session_reused
        session = session_of(conn)
    fresh = ROOT.issue("a.example")
    proxy.apply(simple(fresh), {"c": (backend.endpoint,)})
    assert open_tls(proxy, context, session=session).sock.session_reused
    proxy.wait_for(lambda: sum(series(proxy).handshakes) == 10)
    counts = [1, 9, 0]  # full, resumed, failed
    assert series(proxy).handshakes == ([0] * 3 + counts if version == ssl.TLSVersion.TLSv1_3 else counts + [0] * 3)


def test_a_rotation_drops_no_connection(secured, backend):
    proxy = secured()
    context = trusting(ROOT)
    old = open_tls(proxy, context)
    assert get(old) == 200
    fresh = ROOT.issue("a.example")
    proxy.apply(simple(fresh), {"c": (backend.endpoint,)})
    assert get(old) == 200
    before, after = (c.sock.getpeercert()["serialNumber"] for c in (old, open_tls(proxy, context)))
    assert before != after


def test_a_certificate_that_cannot_be_used_changes_nothing(secured, backend):
    proxy = secured()
    wrong = replace(A, chain=B.chain, digest="0" * 64)
    with pytest.raises(Exception, match="Gateway/ns/g/l: the key is not the certificate's"):
        proxy.apply(simple(wrong), {"c": (backend.endpoint,)})
    assert get(open_tls(proxy, trusting(ROOT))) == 200


# --- whose request it is ------------------------------------------------------------------------------------------------------


def test_a_request_for_another_listener_is_misdirected(secured):
    one = listener(terminating(A), "a.example", "a")
    two = listener(terminating(WILD), "*.wild.example", "wild")
    proxy = secured(config(one, two, pairs=(A, WILD)))
    conn = open_tls(proxy, trusting(ROOT), "x.wild.example")
    for host, status in (("x.wild.example", 200), ("y.wild.example", 200), ("a.example", 421), ("c.example", 404)):
        assert get(conn, b"GET / HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode()) == status
        assert proxy.log()["status"] == status
    assert get(open_tls(proxy, trusting(ROOT)), b"GET / HTTP/1.1\r\nHost: x.wild.example\r\n\r\n") == 421
    proxy.wait_for(lambda: proxy.reason("misdirected") == 2)


def test_what_a_client_had_to_show_is_not_good_for_another_policy(secured, backend, tmp_path):
    proxy = secured()
    conn = open_tls(proxy, trusting(ROOT))
    assert get(conn) == 200
    validation = ir.ClientValidation((ROOT.bundle.digest,), required=True)
    strict = config(listener(terminating(A, clients=validation)), pairs=(A,), authorities=(ROOT.bundle,))
    proxy.apply(strict, {"c": (backend.endpoint,)})
    assert get(conn) == 421
    context = trusting(ROOT, shows=ROOT.issue("client.example"), tmp_path=tmp_path)
    shows = open_tls(proxy, context)
    assert get(shows) == 200
    silent = open_tls(proxy, trusting(ROOT))
    with pytest.raises(ssl.SSLError, match="certificate required"):
        silent.sock.recv(1)


def test_a_connection_from_before_there_was_tls_is_misdirected(proxies, backend):
    backend.answer_all(OK)
    secured = simple()
    open_listener = replace(secured.sockets[0].listeners[0], protocol="HTTP", tls=None)
    plain = replace(secured, sockets=(replace(secured.sockets[0], listeners=(open_listener,)),))
    proxy = proxies(plain, {"c": (backend.endpoint,)})
    before = raw(proxy)
    assert get(before) == 200
    proxy.apply(secured, {"c": (backend.endpoint,)})
    assert get(before) == 421
    behind = open_tls(proxy, trusting(ROOT))
    assert get(behind) == 200
    proxy.apply(plain, {"c": (backend.endpoint,)})
    assert get(behind) == 421


@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("issuer", [ROOT, OTHER, None])
def test_certificates_of_clients(secured, tmp_path, required, issuer):
    validation = ir.ClientValidation((ROOT.bundle.digest,), required=required)
    proxy = secured(config(listener(terminating(A, clients=validation)), pairs=(A,), authorities=(ROOT.bundle,)))
    context = trusting(ROOT, shows=issuer.issue("client.example") if issuer else None, tmp_path=tmp_path)
    conn = open_tls(proxy, context)
    if issuer is ROOT or not required:
        assert get(conn) == 200
        assert proxy.reason("client_unverified") == 0
    else:
        with pytest.raises(ssl.SSLError, match=r"certificate required|unknown ca"):
            get(conn)
        proxy.wait_for(lambda: proxy.reason("client_unverified") == 1)


def test_logs_and_backends_know_of_it(proxies, backend, tmp_path):
    validation = ir.ClientValidation((ROOT.bundle.digest,), required=False)
    tls = terminating(A, clients=validation, alpn=("http/1.1",))
    proxy = proxies(config(listener(tls), pairs=(A,), authorities=(ROOT.bundle,)), {"c": (backend.endpoint,)})
    context = trusting(ROOT, shows=ROOT.issue("client.example"), tmp_path=tmp_path)
    context.set_alpn_protocols(["http/1.1"])
    conn = open_tls(proxy, context)
    behind = backend.accept_after(conn, GET)
    assert fields(behind.head())["x-forwarded-proto"] == "https"
    behind.send(OK)
    conn.head()
    line = proxy.log()
    assert (line["scheme"], line["tls_version"], line["server_name"], line["alpn"]) == (
        "https", "TLSv1.3", "a.example", "http/1.1",
    )  # fmt: skip
    assert line["client_names"] == "DNS:client.example"


# --- what does not come to a handshake ----------------------------------------------------------------------------------------


def test_an_unknown_name_is_told_so(secured):
    proxy = secured(config(listener(terminating(A), "a.example"), pairs=(A,)))
    for name in ("b.example", None):
        conn = raw(proxy)
        conn.send(client_hello(name) if name else client_hello_without_name())
        assert conn.rest() == UNRECOGNIZED_NAME
    proxy.wait_for(lambda: proxy.reason("unknown_server_name") == 2)
    assert get(open_tls(proxy, trusting(ROOT))) == 200


def client_hello_without_name():
    outgoing = ssl.MemoryBIO()
    context = trusting(ROOT)
    context.check_hostname = False
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    "bytes_", [GET, b"\x16\x03\x01\x00\x00", b"\x15\x03\x01\x00\x02\x01\x00", b"\x16\x03\x01\xff\xff", b"\x80\x2e\x01"]
)
def test_what_is_no_client_hello_is_closed(secured, bytes_):
    proxy = secured()
    conn = raw(proxy)
    conn.send(bytes_)
    assert conn.rest() == b""
    proxy.wait_for(lambda: proxy.reason("bad_hello") == 1)


def test_a_client_hello_that_ends_anywhere(secured):
    proxy = secured()
    hello = client_hello()
    for n in range(1, len(hello), 7):
        conn = raw(proxy)
        conn.send(hello[:n])
        conn.finish()
        assert conn.rest() == b""
    proxy.wait_for(lambda: proxy.reason("client_closed") == len(range(1, len(hello), 7)))
    proxy.wait_for(lambda: proxy.counter("connections_open") == 0)


def test_a_hello_with_any_byte_wrong_harms_nobody(secured):
    proxy = secured()
    good = open_tls(proxy, trusting(ROOT))
    hello = client_hello()
    for at in range(0, len(hello), 5):
        conn = raw(proxy)
        conn.send(hello[:at] + bytes([hello[at] ^ 0xFF]) + hello[at + 1 :])
        conn.finish()
        conn.rest()
    assert get(good) == 200
    proxy.wait_for(lambda: proxy.counter("connections_open") == 1)


def test_a_handshake_byte_by_byte(secured):
    proxy = secured()
    conn = raw(proxy)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting(ROOT).wrap_bio(incoming, outgoing, server_hostname="a.example")

    def step(work):
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                result = work()
                flush()
                return result
            flush()
            incoming.write(conn.sock.recv(65536))

    def flush():
        for byte in outgoing.read():
            conn.send(bytes([byte]))

    step(client.do_handshake)
    client.write(GET)
    flush()
    assert step(lambda: client.read(65536)).startswith(b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(
    ("sent", "reason"), [(0, "hello_timeout"), (100, "hello_timeout"), (None, "handshake_timeout")]
)
def test_who_does_not_go_on_is_closed_in_time(secured, sent, reason):
    proxy = secured(
        config(listener(terminating(A)), pairs=(A,), limits={"first_byte_timeout": 200, "head_timeout": 200})
    )
    conn = raw(proxy)
    conn.send(client_hello()[:sent])
    conn.rest()
    proxy.wait_for(lambda: proxy.reason(reason) == 1)
    assert proxy.counter("connections_open") == 0


def test_half_open_handshakes_hold_up_nobody(secured):
    proxy = secured()
    good = open_tls(proxy, trusting(ROOT))
    hello = client_hello()
    half = [raw(proxy) for _ in range(200)]
    for conn in half:
        conn.send(hello)
    for conn in half:
        conn.exactly(5)  # it is answered
    assert get(good) == 200
    for conn in half:
        conn.close()
    proxy.wait_for(lambda: proxy.counter("connections_open") == 1)


# --- ends ---------------------------------------------------------------------------------------------------------------------


def ended_with_close_notify(conn):
    try:
        return conn.sock.recv(65536) == b""
    except ssl.SSLError as e:  # older Pythons have no class of its own for it
        if isinstance(e, ssl.SSLEOFError) or e.reason == "UNEXPECTED_EOF_WHILE_READING":
            return False
        raise


def strict_end(proxy):
    """A connection that tells an end from a cut."""
    sock = socket.create_connection(("127.0.0.1", proxy.port), TIMEOUT)
    context = trusting(ROOT)
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)  # which some Pythons set
    conn = Conn(context.wrap_socket(sock, server_hostname="a.example", suppress_ragged_eofs=False))
    proxy.conns.append(conn)
    return conn


def test_an_end_is_told_from_a_cut(proxies, backend):
    proxy = proxies(simple(), {"c": (backend.endpoint,)})
    for length, clean in ((b"2", True), (b"3", False)):
        conn = strict_end(proxy)
        conn.send(b"GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")
        behind = backend.accept()
        behind.head()
        behind.send(b"HTTP/1.1 200 OK\r\nContent-Length: %s\r\n\r\nok" % length)
        behind.close()
        conn.head()
        assert conn.exactly(2) == b"ok"
        assert ended_with_close_notify(conn) is clean


def test_an_idle_connection_ends_with_a_word(proxies, backend):
    proxy = proxies(
        config(listener(terminating(A)), pairs=(A,), limits={"idle_timeout": 200}), {"c": (backend.endpoint,)}
    )
    backend.answer_all(OK)
    conn = strict_end(proxy)
    assert get(conn) == 200
    assert ended_with_close_notify(conn)


def test_a_cut_before_the_end_of_a_body_is_no_end(proxies, backend):
    """A client that goes without a word has not sent a whole request."""
    proxy = proxies(simple(), {"c": (backend.endpoint,)})
    conn = open_tls(proxy, trusting(ROOT))
    behind = backend.accept_after(conn, b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nab")
    behind.head()
    behind.exactly(2)
    socket.socket(fileno=conn.sock.detach()).close()
    assert proxy.log()["reason"] == "client_reset"
