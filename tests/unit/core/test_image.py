"""The loader refuses what is damaged, before it follows any reference."""

import random
import struct
from dataclasses import replace

import pytest
from tables import below_http, everything

from fastgate import ir
from fastgate.core import image
from fastgate.core.router import Batch, Table
from fastgate.core.snapshot import Builder, build, key


def with_checksum(data):
    """The image with the checksum that its bytes ask for: what is left are faults of structure."""
    h, k, m = 0xCBF29CE484222325 ^ (len(data) - 64), 0x9E3779B97F4A7C15, 2**64 - 1
    for (x,) in struct.iter_unpack("<Q", data[64:]):
        h = ((h ^ x) * k) & m
        h ^= h >> 32
    mix = 0xE9846AF9B1A615D
    h ^= h >> 32
    h = h * mix & m
    h ^= h >> 32
    h = h * mix & m
    h ^= h >> 28
    return data[: 32 - 8] + struct.pack("<Q", h) + data[32:]


TABLES = pytest.mark.parametrize("table", [everything, below_http])


@TABLES
def test_every_change_of_a_byte_is_seen(table):
    data = build(table(), 7)
    assert image.check(data) is None
    for at in range(0, len(data), 3):
        if 32 <= at < 64:
            continue  # generation and room for later
        damaged = bytearray(data)
        damaged[at] ^= 0x41
        assert image.check(bytes(damaged)) is not None, at


@TABLES
def test_every_truncation_is_seen(table):
    data = build(table())
    for size in range(0, len(data), 7):
        assert image.check(data[:size]) is not None


@TABLES
def test_damage_under_a_good_checksum_never_reaches_a_reader(table):
    data = build(table())
    assert with_checksum(data) == data
    draw = random.Random(1)
    accepted = 0
    requests = [
        (b"GET", host, path, b"x=y", ((b"x-a", b"bb"),))
        for host in (b"a.example", b"c.example", b"")
        for path in (b"/p1", b"/r", b"/")
    ]
    for _ in range(4000):
        damaged = bytearray(data)
        at = draw.randrange(64, len(data) - 8)
        if draw.random() < 0.5:
            damaged[at] = draw.randrange(256)
        else:
            struct.pack_into("<I", damaged, at & ~3, draw.choice([0, 1, 8, 64, len(data), 2**31, 2**32 - 8, 2**32 - 1]))
        candidate = with_checksum(bytes(damaged))
        if image.check(candidate) is None:
            accepted += 1
            readable = Table(candidate)
            for request in requests if readable.sockets else ():
                readable.match(0, Batch([request]))
                readable.find_host(0, request[1])
    assert 0 < accepted < 4000


def test_a_builder_keeps_what_came_again():
    builder, config = Builder(), everything()
    first = builder.build(config, 1)
    assert builder.build(config, 1) == first == build(config, 1)
    moved = ir.Ir(config.sockets, config.clusters[::-1])
    assert builder.build(moved, 1) == build(moved, 1) != first


def test_key_is_stable():
    assert key("") == key("") != key("a")
    assert key(":80") == 0 or key(":80").bit_length() <= 64


def test_limits_beyond_the_engines_room_are_refused():
    (socket,) = everything().sockets
    for fields, why in ((256, None), (257, "head_fields")):
        settings = replace(socket.settings, limits=ir.Limits(head_fields=fields))
        found = image.check(build(ir.Ir((replace(socket, settings=settings),), everything().clusters)))
        assert found is None if why is None else why in found
