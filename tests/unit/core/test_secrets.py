"""The table of secrets, read as csrc/fg_secrets.h says."""

import struct
from datetime import UTC, datetime

import pytest
from tables import digest

from fastgate import ir
from fastgate.core import secrets

HEADER = struct.Struct("<QQQII")
ENTRY = struct.Struct("<64s6I")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pair(number, chain, key, staple=b""):
    return ir.KeyPair(digest(number), (), "RSA 2048", NOW, NOW, chain, key, staple)


def entries(table):
    magic, size, _, n, _ = HEADER.unpack_from(table)
    assert (magic, size) == (int.from_bytes(b"FGSECRT1", "little"), len(table))
    out = []
    for at in range(n):
        name, *refs = ENTRY.unpack_from(table, HEADER.size + at * ENTRY.size)
        parts = [bytes(table[off : off + size]) for off, size in zip(refs[::2], refs[1::2], strict=True)]
        out.append((name.decode(), *parts))
    return out


def test_secrets_stand_in_the_order_of_their_digests():
    pairs = [pair(7, b"chain", b"key", b"staple"), pair(2, b"c", b"k"), pair(7, b"chain", b"key", b"staple")]
    table = secrets.build(pairs, [ir.Authorities(digest(5), b"bundle")])
    assert entries(table) == [
        (digest(2), b"c", b"k", b""),
        (digest(5), b"bundle", b"", b""),
        (digest(7), b"chain", b"key", b"staple"),
    ]
    assert len(table) % 8 == 0


def test_without_secrets_there_is_a_header():
    assert entries(secrets.build([], [])) == []


def test_what_is_no_digest_is_refused():
    with pytest.raises(ValueError, match="short is not the digest"):
        secrets.build([], [ir.Authorities("short", b"bundle")])


def test_the_checksum_is_of_everything_behind_the_header():
    first, second = (secrets.build([pair(1, chain, b"k")], []) for chain in (b"a", b"b"))
    checksums = [HEADER.unpack_from(table)[2] for table in (first, second)]
    assert checksums[0] != checksums[1]
    assert secrets.build([pair(1, b"a", b"k")], []) == first
