"""Inline calls without an engine: their verdicts, and what filters have kept afterwards."""

import sys

import pytest
from call_records import end, prepared, request

from fastgate import StaleError
from fastgate.core import filters
from fastgate.plugins.discovery import Catalog
from fastgate.plugins.identity import TlsIdentity
from fastgate.plugins.inline import offer, withdraw

FILTERS = """
import asyncio
import fastgate

KEPT = []

class Stamp(fastgate.Filter):
    async def on_request(self, request, context):
        request.headers["x-stamp"] = request.headers["x-a"]

class Plain(fastgate.Filter):
    def on_request(self, request, context):
        request.headers["x-\\u00e4"[:2] + "b"] = "\\u00e4"
        request.headers.add("x-c", "2")
        del request.headers["x-a"]

class Answer(fastgate.Filter):
    async def on_request(self, request, context):
        return fastgate.Response(403, b"no")

class Wrong(fastgate.Filter):
    async def on_request(self, request, context):
        return 1

class Waits(fastgate.Filter):
    async def on_request(self, request, context):
        await asyncio.sleep(0)

class Raises(fastgate.Filter):
    def on_request(self, request, context):
        KEPT.append((request, request.headers, context))
        raise ValueError("no")

class Who(fastgate.Filter):
    def on_request(self, request, context):
        KEPT.append(request.tls)

class KeepAll(fastgate.Filter):
    def on_request(self, request, context):
        KEPT.append((request, request.headers, context))

class KeepHeaders(fastgate.Filter):
    async def on_request(self, request, context):
        KEPT.append((request.headers, request.trailers))

class KeepContext(fastgate.Filter):
    def on_request(self, request, context):
        KEPT.append((context,))
"""
NAMES = ("Answer", "KeepAll", "KeepContext", "KeepHeaders", "Plain", "Raises", "Stamp", "Waits", "Who", "Wrong")


@pytest.fixture
def kept(install):
    install("inline-filters", {name: f"inline_filters:{name}" for name in NAMES}, inline_filters=FILTERS)
    catalog = Catalog()
    offer(catalog)
    yield lambda: sys.modules["inline_filters"].KEPT
    filters.inline().stages.clear()
    withdraw(catalog)


def call(kind, *fields, **options):
    return filters.run(request(prepared(kind), *fields, **options))


def outcome(verdict):
    return verdict[17]  # csrc/fg_call.h: behind size, kind, exchange and phase


def test_a_filter_sees_what_tls_says_of_the_client(kept):
    call("Who")
    call("Who", tls_version="TLSv1.3", server_name="a.example")
    names = "DNS:b.example\nURI:spiffe://c,DNS:no\nemail:d@example\nDNS:e.example"
    subject = "CN=\u00fc".encode().decode("latin-1")
    call("Who", tls_version="TLSv1.2", tls_subject=subject, tls_names=names, tls_fingerprint="ab")
    assert kept() == [
        None,
        TlsIdentity("TLSv1.3", "a.example"),
        TlsIdentity("TLSv1.2", "", "CN=\u00fc", ("b.example", "e.example"), ("spiffe://c,DNS:no",), "ab"),
    ]


@pytest.mark.usefixtures("kept")
def test_what_a_filter_changed_is_in_the_verdict():
    verdict = call("Stamp", ("X-A", "hello"))
    assert outcome(verdict) == filters.CONTINUE
    assert b"x-stamphello" in verdict
    verdict = call("Plain", ("X-A", "hello"))
    assert b"x-b\xe4x-c2x-a" in verdict


@pytest.mark.usefixtures("kept")
def test_calls_of_a_turn_are_answered_in_their_order():
    key = prepared("Stamp")
    one, two = (request(key, ("x-a", value), exchange=n) for n, value in ((7, "one"), (8, "two")))
    verdicts, alone = filters.run(one + two), [filters.run(one), filters.run(two)]
    spent = 16  # bytes at a verdict's end: how long it took
    size = int.from_bytes(verdicts[:4], "little")
    assert [verdicts[: size - spent], verdicts[size:-spent]] == [verdict[:-spent] for verdict in alone]


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    ("kind", "expected"),
    [("Answer", filters.REPLY), ("Wrong", filters.FAILED), ("Waits", filters.FAILED), ("Raises", filters.FAILED)],
)
def test_answers_and_failures(kind, expected):
    assert outcome(call(kind)) == expected


@pytest.mark.parametrize("kind", ["KeepAll", "KeepContext", "KeepHeaders", "Raises"])
def test_what_was_kept_has_ended_with_its_request(kept, kind):
    call(kind, ("x-a", "1"))
    assert_stale(kept().pop())


def test_what_has_later_calls_lives_until_its_end(kept):
    call("KeepAll", ("x-a", "1"), more=True)
    objects = kept().pop()
    assert objects[1]["x-a"] == "1"
    assert filters.run(end(prepared("KeepAll"))) == b""
    assert_stale(objects)


def assert_stale(objects):
    for one in objects:
        for name in {name for name in dir(type(one).__bases__[0]) if not name.startswith("_")}:
            with pytest.raises(StaleError):
                getattr(one, name)
    for one in objects:
        if "Headers" in repr(one):
            with pytest.raises(StaleError):
                one["x-a"] = "2"
            with pytest.raises(StaleError):
                del one["x-a"]
