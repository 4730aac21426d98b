"""The matcher against the linear oracle, on tables that Hypothesis draws and on hostile ones."""

import itertools
from functools import cache

import oracle
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import digest, hosts_of, in_order, listener, match, relay, socket

from fastgate import ir
from fastgate.core.router import Batch, Table
from fastgate.core.snapshot import build, part_hash


def ask(s, *requests):
    """Compare the table's answers with the oracle's and return them: keys of rules."""
    table = Table(build(ir.Ir((s,))))
    answers = []
    for request in requests:
        expected = oracle.find(s, request)
        found = table.match(0, Batch([request]))
        got = found and (found[0], found[1], f"{found[2]}/{found[3]}")
        assert got == expected, (request, got, expected)
        answers.append(expected and int(expected[2].rpartition("/")[2]))
    return answers


def get(path, host=b"a", method=b"GET", query=b"", headers=()):
    return (method, host, path, query, tuple(headers))


def test_paths():
    s = hosts_of(
        **{
            "": [
                match(0, ""),
                match(1, "/a"),
                match(2, "/a/b"),
                match(3, "/a", ir.PathKind.EXACT),
                match(4, "/a/", ir.PathKind.EXACT),
                match(5, "x+$", ir.PathKind.REGEX),
                match(6, "/a/b/c/d"),
            ]
        }
    )
    paths = [b"/", b"/a", b"/a/", b"/a/b", b"/ab", b"/a/b/", b"/a/bx", b"/a/b/c", b"/a/b/c/d/e", b"//a", b"/a//b", b"*"]
    assert ask(s, *map(get, paths)) == [0, 3, 4, 2, 0, 2, 5, 2, 6, 0, 1, 0]


def test_hosts():
    s = hosts_of(
        **{
            "": [match(0, "")],
            "a.example": [match(1, "/x")],
            "*.example": [match(2, "/y"), match(3, "/x/z")],
            "*.b.example": [match(4, "")],
            "[::1]": [match(5, "")],
            "10.0.0.1": [match(6, "")],
        }
    )
    requests = [
        get(b"/x", b"a.example"),
        get(b"/y", b"a.example"),
        get(b"/q", b"a.example"),
        get(b"/x/z", b"a.example"),
        get(b"/x/z", b"q.r.example"),
        get(b"/y", b"example"),
        get(b"/y", b"c.b.example"),
        get(b"/y", b"b.example"),
        get(b"/", b"[::1]"),
        get(b"/", b"10.0.0.1"),
        get(b"/", b""),
        get(b"/", b"xexample"),
        get(b"/", b".example"),
    ]
    assert ask(s, *requests) == [1, 2, 0, 1, 3, 0, 4, 2, 5, 6, 0, 0, 0]


def test_a_listener_is_isolated():
    s = socket(
        listener("exact", "a.example", [ir.VirtualHost("a.example", (match(1, "/x"),))]),
        listener("wild", "*.example", [ir.VirtualHost("*.example", (match(2, ""),))]),
    )
    assert ask(s, get(b"/x", b"a.example"), get(b"/y", b"a.example"), get(b"/y", b"b.example"), get(b"/", b"c")) == [
        1,
        None,
        2,
        None,
    ]


def test_values():
    exact, regex = ir.ValueKind.EXACT, ir.ValueKind.REGEX
    s = hosts_of(
        **{
            "": [
                match(0, "", method="POST"),
                match(1, "", headers=[ir.ValueMatch("x-a", exact, "1,2")]),
                match(2, "", headers=[ir.ValueMatch("x-a", regex, "^1"), ir.ValueMatch("user-agent", exact, "u")]),
                match(3, "", query=[ir.ValueMatch("q", exact, "a b")]),
                match(4, "", query=[ir.ValueMatch("q", exact, "")]),
                match(5, "", query=[ir.ValueMatch("q", regex, "z")]),
            ]
        }
    )
    requests = [
        get(b"/", method=b"POST"),
        get(b"/", method=b"post"),
        get(b"/", headers=[(b"X-A", b"1"), (b"x-A", b"2")]),
        get(b"/", headers=[(b"X-A", b"12"), (b"User-Agent", b"u")]),
        get(b"/", headers=[(b"X-A", b"12")]),
        get(b"/", query=b"q=a%20b&q=z"),
        get(b"/", query=b"q"),
        get(b"/", query=b"&&q=%"),
        get(b"/", query=b"%71=az"),
        get(b"/", query=b"q=c&q=z"),
    ]
    assert ask(s, *requests) == [0, None, 1, 2, None, 3, 4, None, 5, None]


PARTS = st.sampled_from(["", "a", "b", "aa", "v1"])
PATHS = st.lists(PARTS, min_size=1, max_size=5).map(lambda x: "/" + "/".join(x))
PREFIXES = PATHS.map(lambda x: x.rstrip("/"))
HOSTS = st.lists(st.sampled_from(["a", "b", "example", "com"]), min_size=1, max_size=4).map(".".join)
PATTERNS = st.one_of(HOSTS, HOSTS.map("*.{}".format), st.just(""))
NAMES = st.sampled_from(["x-a", "x-b", "host", "accept"])
VALUES = st.sampled_from(["", "1", "12"])
CONDITIONS = st.lists(
    st.builds(ir.ValueMatch, NAMES, st.sampled_from(ir.ValueKind), VALUES), max_size=2, unique_by=lambda c: c.name
)


@st.composite
def matches(draw):
    kind = draw(st.sampled_from(ir.PathKind))
    path = draw(PREFIXES if kind is ir.PathKind.PREFIX else PATHS)
    return match(
        draw(st.integers(0, 99)), path, kind, draw(st.sampled_from(["", "GET"])), draw(CONDITIONS), draw(CONDITIONS)
    )


VHOSTS = st.lists(
    st.builds(ir.VirtualHost, PATTERNS, st.lists(matches(), max_size=6).map(in_order)),
    max_size=5,
    unique_by=lambda v: v.hostname,
)
LISTENERS = st.lists(
    st.builds(listener, st.uuids().map(str), PATTERNS, VHOSTS),
    min_size=1,
    max_size=4,
    unique_by=lambda x: x.hostname,
)
REQUESTS = st.tuples(
    st.sampled_from([b"GET", b"PUT"]),
    HOSTS.map(str.encode),
    PATHS.map(str.encode),
    st.lists(st.tuples(NAMES, VALUES).map("=".join), max_size=3).map(lambda x: "&".join(x).encode()),
    st.lists(st.tuples(NAMES.map(str.encode), VALUES.map(str.encode)), max_size=3).map(tuple),
)


@settings(max_examples=300, deadline=None)
@given(LISTENERS, st.lists(REQUESTS, min_size=1, max_size=12))
def test_the_table_agrees_with_the_oracle(listeners, requests):
    ask(socket(*listeners), *requests)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(PATTERNS, unique=True, min_size=1, max_size=8),
    st.lists(PATTERNS, unique=True, max_size=8),
    st.lists(PATTERNS, unique=True, max_size=8),
    st.lists(HOSTS | st.just(""), min_size=1, max_size=12),
)
def test_server_names_lead_where_the_oracle_says(hostnames, routes, certificates, names):
    choices = tuple(ir.CertificateChoice(h, (digest(n),)) for n, h in enumerate(["", *filter(None, certificates)]))
    relays = tuple(ir.ServerName(h, relay("TLSRoute", n)) for n, h in enumerate(routes))
    listeners = tuple(ir.Listener(h, "g", h, h, "TLS", tls=ir.Tls(choices), names=relays) for h in hostnames)
    table = Table(build(ir.Ir((ir.Socket("", 443, listeners),))))
    for name in names:
        hostname = oracle.best(hostnames, name)
        expected = None
        if hostname is not None:
            choice = next(c for c in choices if c.hostname == oracle.best([c.hostname for c in choices], name))
            route = oracle.best(routes, name)
            rule = None if route is None else ("TLSRoute/ns/r", f"rule-{routes.index(route)}")
            expected = (hostname, choice.certificates, rule)
        assert table.find_host(0, name.encode()) == expected, name


def test_ten_thousand_prefixes_of_one_another():
    s = hosts_of(**{"": [match(n, "/a" * n) for n in range(10_000)]})
    table = Table(build(ir.Ir((s,))))
    for n in (0, 1, 2, 5000, 9999, 12000):
        found = table.match(0, Batch([get(b"/a" * n + b"/b")]))
        assert found[3] == min(n, 9999)
        assert found[5] == 2 * min(n, 9999)


@cache
def namesakes(suffix=""):
    """Two names with the same hash, which any hundred thousand are likely to have among them."""
    seen = {}
    names = (f"part-{n}{suffix}" for n in itertools.count())
    part = next(name for name in names if seen.setdefault(part_hash(name.encode()), name) != name)
    return seen[part_hash(part.encode())], part


def test_parts_with_the_same_hash():
    parts = namesakes()
    s = hosts_of(**{"": [match(0, ""), *(match(n, f"/{part}") for n, part in enumerate(parts, 1))]})
    assert ask(s, *(get(f"/{part}".encode()) for part in parts)) == [1, 2]
    s = hosts_of(**{f"*.{part}.example": [match(n, "")] for n, part in enumerate(parts)})
    assert ask(s, *(get(b"/", f"x.{part}.example".encode()) for part in parts)) == [0, 1]


def test_hosts_with_the_same_hash():
    hosts = namesakes(".example")
    asked = [get(b"/", host.encode()) for host in hosts]
    assert ask(hosts_of(**{host: [match(n, "")] for n, host in enumerate(hosts)}), *asked) == [0, 1]
    assert ask(hosts_of(**{hosts[0]: [match(0, "")]}), *asked) == [0, None]
    listeners = [listener(host, host, [ir.VirtualHost("", (match(n, ""),))]) for n, host in enumerate(hosts)]
    assert ask(socket(*listeners), *asked) == [0, 1]


def test_parts_with_the_same_hash_before_others():
    parts = namesakes()
    paths = [f"/{part}/{rest}" for part in parts for rest in ("a", "b/c")]
    s = hosts_of(**{"": [match(n, path) for n, path in enumerate(paths)]})
    assert ask(s, *(get(path.encode()) for path in paths)) == [0, 1, 2, 3]
    hosts = [f"{rest}.{part}" for part in parts for rest in ("a", "b.c", "*")]
    s = hosts_of(**{host: [match(n, "")] for n, host in enumerate(hosts)})
    assert ask(s, *(get(b"/", host.replace("*", "x").encode()) for host in hosts)) == list(range(6))


def test_a_thousand_header_variants_of_one_path():
    variants = [match(n, "/a", headers=[ir.ValueMatch("x-v", ir.ValueKind.EXACT, str(n))]) for n in range(1000)]
    s = hosts_of(**{"": variants})
    assert ask(s, get(b"/a/b", headers=[(b"x-v", b"999")]), get(b"/a", headers=[(b"x-v", b"1000")])) == [999, None]


def test_towers_of_wildcards():
    tower = {"*." + "a." * n + "com": [match(n, f"/{n}")] for n in range(1, 300)}
    s = hosts_of(**tower)
    host = b"x." + b"a." * 299 + b"com"
    assert ask(s, get(b"/1", host), get(b"/299", host), get(b"/300", host), get(b"/250/x", host)) == [1, 299, None, 250]


def test_more_names_than_are_cached():
    names = [f"x-{n}" for n in range(40)]
    conditions = [ir.ValueMatch(name, ir.ValueKind.EXACT, "1") for name in names]
    s = hosts_of(
        **{
            "": [
                match(0, "", headers=conditions[:16]),
                match(1, "", headers=conditions[16:32]),
                match(2, "", headers=conditions[32:]),
            ]
        }
    )
    assert ask(s, get(b"/", headers=[(name.encode(), b"1") for name in names[32:]])) == [2]
    assert ask(s, get(b"/", headers=[(name.encode(), b"1") for name in names[33:]])) == [None]
