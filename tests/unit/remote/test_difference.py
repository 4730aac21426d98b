"""Shares become one another, by what travels between a controller and a data plane."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.ir import (
    Authorities,
    Cluster,
    Endpoint,
    Endpoints,
    Forward,
    Ir,
    Listener,
    Match,
    PathKind,
    PathMatch,
    Respond,
    Rule,
    Socket,
    VirtualHost,
    WeightedBackend,
)
from fastgate.remote import wire
from fastgate.remote.difference import EMPTY, applied, difference
from fastgate.remote.share import Share

NAMES = "abcd"


def virtual_host(name, weight=1):
    action = Forward((WeightedBackend(weight, "c"),)) if weight else Respond(500, "no_backends")
    return VirtualHost(name, (Match(PathMatch(PathKind.PREFIX, ""), "", (), (), Rule("k", "r", "", action)),))


def listener(name, *hosts, hostname=""):
    return Listener(name, "default/gw", name, hostname, "HTTP", hosts)


def share(revision, *sockets, clusters=(), endpoints=None, names=None, authorities=()):
    ir = Ir(sockets, tuple(map(Cluster, clusters)), (), tuple(Authorities(each, each.encode()) for each in authorities))
    return Share(revision, ir, Endpoints(endpoints or {}, names or {}))


def some_of(make, **versions):
    """Some things, each under another name, in any order."""
    return st.lists(st.builds(make, st.sampled_from(NAMES), **versions), unique_by=lambda each: each.name, max_size=4)


hosts = st.lists(
    st.builds(virtual_host, st.sampled_from(NAMES), st.integers(0, 2)), unique_by=lambda host: host.hostname
)
listeners = st.lists(
    st.builds(
        lambda name, of, hostname: listener(name, *of, hostname=hostname),
        st.sampled_from(NAMES),
        hosts,
        st.sampled_from(("", "x")),
    ),
    unique_by=lambda each: each.key,
    max_size=3,
)
sockets = st.lists(
    st.builds(lambda port, of: Socket("", port, tuple(of)), st.integers(1, 4), listeners),
    unique_by=lambda socket: socket.port,
    max_size=3,
)
tables = st.dictionaries(st.sampled_from(NAMES), st.just(()) | st.just((Endpoint("192.0.2.1", 80),)))
shares = st.builds(
    lambda sockets, clusters, authorities, endpoints, names: share(
        0, *sockets, clusters=clusters, authorities=authorities, endpoints=endpoints, names=names
    ),
    sockets,
    st.permutations(NAMES).map(lambda found: found[: len(found) // 2]),
    st.permutations(NAMES).map(lambda found: found[:3]),
    tables,
    tables,
)


def travelled(before, after):
    """What a data plane that has `before` makes of what it is sent."""
    return applied(before, wire.from_controller(wire.encode(difference(before, after))))


@given(st.lists(shares, min_size=1, max_size=4))
def test_a_data_plane_comes_to_have_what_the_controller_has(steps):
    theirs = EMPTY
    ours = EMPTY
    for revision, step in enumerate(steps, 1):
        before, ours = ours, replace(step, revision=revision)
        theirs = applied(theirs, wire.from_controller(wire.encode(difference(before, ours))))
        assert theirs == ours


@given(shares)
def test_what_is_the_same_is_not_sent(step):
    update = difference(replace(step, revision=1), replace(step, revision=2))
    assert update == wire.Update(2, 1)


def test_one_virtual_host_of_many_travels_alone_and_the_others_stay_the_same_objects():
    many = [virtual_host(f"{at:04}") for at in range(1000)]
    before = share(1, Socket("", 80, (listener("http", *many), listener("other"))))
    changed = replace(
        before.ir.sockets[0],
        listeners=(
            listener("http", *many[:500], virtual_host("0500", 2), *many[501:]),
            before.ir.sockets[0].listeners[1],
        ),
    )
    after = Share(2, replace(before.ir, sockets=(changed,)))
    theirs = travelled(EMPTY, before)
    update = wire.encode(difference(before, after))
    assert len(update) < 1500
    now = applied(theirs, wire.from_controller(update))
    assert now == after
    old, new = (each.ir.sockets[0].listeners for each in (theirs, now))
    assert new[1] is old[1]
    assert [at for at in range(1000) if new[0].hosts[at] is not old[0].hosts[at]] == [500]


@pytest.mark.parametrize(
    "update",
    [
        wire.Update(2, 1),
        wire.Update(2, 0, sockets_gone=(0,)),
        wire.Update(2, 0, clusters=wire.Changes(put=((1, Cluster("c")),))),
        wire.Update(2, 0, clusters=wire.Changes(put=((-1, Cluster("c")),))),
        wire.Update(2, 0, endpoints_gone=("c",)),
        wire.Update(2, 0, sockets=(wire.SocketChange(0, Socket("", 80, ()), 3, (), ()),)),
    ],
    ids=["of another base", "gone", "too far", "negative", "unknown cluster", "unknown source"],
)
def test_an_update_that_does_not_fit_is_refused(update):
    with pytest.raises(wire.WireError):
        applied(EMPTY, update)
