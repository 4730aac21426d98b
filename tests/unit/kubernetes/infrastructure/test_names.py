"""Names and labels of what is made for Gateways."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastgate.kubernetes.infrastructure.names import instance_of, label_value, object_name

LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")  # RFC 1035
VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
part = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?", fullmatch=True)
name = st.lists(part, min_size=1, max_size=5).map(".".join).filter(lambda text: len(text) <= 253)


@pytest.mark.parametrize(
    ("gateway", "gateway_class", "expected"),
    [
        ("gw", "fastgate", "gw-fastgate"),
        ("a" * 54, "fastgate", f"{'a' * 54}-fastgate"),
        ("a" * 55, "fastgate", f"{'a' * 52}-cb2396b247"),
        ("a.b", "fastgate", "a-b-fastgate-88f56b133b"),
        ("1", "fastgate", "gw-1-fastgate-b5c271cc52"),
    ],
)
def test_a_name_is_readable_and_as_it_was(gateway, gateway_class, expected):
    assert object_name(gateway, gateway_class) == expected


@given(name, name)
def test_names_and_labels_are_valid_whatever_gateways_are_called(gateway, gateway_class):
    assert LABEL.fullmatch(object_name(gateway, gateway_class))
    assert VALUE.fullmatch(label_value(gateway))


@given(name, name)
def test_gateways_of_one_class_never_share_a_name(one, other):
    assert (object_name(one, "c") == object_name(other, "c")) == (one == other)
    assert (label_value(one) == label_value(other)) == (one == other)


def test_a_controllers_name_becomes_a_label():
    assert instance_of("fastgate.dev/gateway-controller") == "fastgate.dev_gateway-controller"
    assert VALUE.fullmatch(instance_of(f"example.com/{'x' * 100}"))
