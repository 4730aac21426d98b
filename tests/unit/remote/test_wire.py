"""Messages between controllers and data planes."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate import ir
from fastgate.remote import wire
from fastgate.remote.difference import EMPTY, difference
from fastgate.remote.share import Share


def test_every_kind_of_action_has_a_field_of_its_own_by_which_it_is_read():
    kinds = {kind for kind in vars(ir).values() if isinstance(kind, type) and issubclass(kind, ir.Action)} - {ir.Action}
    assert set(wire._ACTIONS.values()) == kinds
    for field, kind in wire._ACTIONS.items():
        assert [other for other in kinds if field in other.__slots__] == [kind]


def test_hello_and_report_are_read_as_they_were_sent():
    for message in (wire.Hello(1, "0.1", "pod", 7, {"Stamp": "h"}), wire.Report(7, "", {":80": ""})):
        assert wire.from_data_plane(wire.encode(message)) == message


@given(st.binary(max_size=200))
def test_garbage_is_refused_by_both_sides(data):
    for read in (wire.from_data_plane, wire.from_controller):
        try:
            read(data)
        except wire.WireError:
            continue


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_a_damaged_update_is_refused_or_is_another_update(at, damage):
    rule = ir.Rule("k", "r", "", ir.Redirect(301))
    host = ir.VirtualHost("a", (ir.Match(ir.PathMatch(ir.PathKind.EXACT, "/"), "", (), (), rule),))
    listener = ir.Listener("l", "default/gw", "l", "", "HTTP", (host,))
    data = bytearray(wire.encode(difference(EMPTY, Share(1, ir.Ir((ir.Socket("", 80, (listener,)),))))))
    at %= len(data)
    data[at : at + len(damage)] = damage
    with contextlib.suppress(wire.WireError):
        wire.from_controller(bytes(data))


def test_an_action_of_no_kind_is_refused():
    rule = {"key": "k", "route": "r", "name": "", "action": {"unheard": 1}, "filters": {}}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(rule, ir.Rule, dec_hook=wire._action)
