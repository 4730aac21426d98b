"""Which listeners a client might take for one another."""

import time
from types import SimpleNamespace

from hypothesis import given, settings
from hypothesis import strategies as st

from fastgate.translate.hostnames import intersects
from fastgate.translate.listener_tls import mark_overlaps

NAMES = st.lists(st.sampled_from(["a", "b", "com"]), min_size=1, max_size=3).map(".".join)
PATTERNS = NAMES | NAMES.map("*.{}".format)


class Listener(SimpleNamespace):
    __hash__ = object.__hash__


def listener(number, hostname, names=(), port=443):
    pair = SimpleNamespace(names=tuple(names))
    return Listener(
        name=f"l{number}", hostname=hostname, port=port, certificates=(pair,), tls=object(), served=True, overlap=None
    )


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(PATTERNS | st.just(""), st.lists(PATTERNS, max_size=3)), max_size=6, unique_by=lambda x: x[0])
)
def test_overlaps_are_those_of_every_pair(described):
    listeners = [listener(n, hostname, names) for n, (hostname, names) in enumerate(described)]
    mark_overlaps(listeners)
    for one in listeners:
        others = [other for other in listeners if other is not one]
        names = one.certificates[0].names
        certificates = {o.name for o in others if any(intersects(a, b) for a in names for b in o.certificates[0].names)}
        hostnames = {other.name for other in others if intersects(one.hostname, other.hostname)}
        if not certificates and not hostnames:
            assert one.overlap is None
            continue
        reason, message = one.overlap
        assert reason == ("OverlappingCertificates" if certificates else "OverlappingHostnames")
        assert {word.strip(",") for word in message.split()} & (certificates or hostnames)


def test_ten_thousand_listeners_of_one_certificate_take_no_time_for_each_pair():
    listeners = [listener(n, f"{n}.com", ["*.com", f"{n}.com"]) for n in range(10_000)]
    began = time.process_time()
    mark_overlaps(listeners)
    assert time.process_time() - began < 5
    assert {each.overlap[0] for each in listeners} == {"OverlappingCertificates"}
