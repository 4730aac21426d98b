"""Whole connections at random, judged by h11 on both sides.

The backend sees the requests that h11 reads in the client's bytes, one by one and the same, up to the first that h11 refuses, that
a rule of STRICTER refuses, or that ends the connection. The client sees the backend's answers to them and, behind them, at most
one refusal. The connections are the same in every run, unless FASTGATE_EXAMPLES says how many others are tried.
"""

from __future__ import annotations

import os
import re
from types import SimpleNamespace

import pytest
from conversation import ANSWER, Answer, Conversation, Script, conversations, converse, understood
from hypothesis import HealthCheck, given, note, settings

from fastgate import ir
from wire import Proxy, config

EXAMPLES = int(os.environ.get("FASTGATE_EXAMPLES", "100"))

# What the gateway refuses and h11 does not, by `parse_error` or `reason` of the access log: what the client's bytes then have.
STRICTER = {
    "BAD_LINE_END": rb"(?<!\r)\n|\r(?!\n)",  # h11 takes LF alone for an end of line, and CR alone in a chunk's extension
    "OBS_FOLD": rb"\n[ \t]",  # and joins folded lines
    "BAD_FIELD_VALUE": rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]",  # lets control bytes other than NUL and white space pass
    "BAD_HOST": rb"(?i)\nhost:|http://",  # does not look into Host, nor into any target:
    "BAD_TARGET_FORM": rb"(?m)^\S+ [^/ ]\S* HTTP/1",
    "BAD_TARGET": rb"(?m)^\S+ \S*[\"#<>\\^`{|}]\S* HTTP/1",
    "BAD_PATH_BYTE": rb"\\",
    "BAD_CHUNK_SIZE": rb"\n[0-9A-Fa-f]+[ \t]+\r|\n0{16}",  # takes white space behind a chunk's size
    "bad_expect": rb"(?i)expect:",  # leaves expectations to the application
}

HOP = {b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"content-length", b"upgrade"}
OURS = {b"host", b"forwarded", b"via", b"x-request-id", b"x-real-ip", b"date", b"server", ANSWER}
GUARDED = {b"host", b"authorization"}


class Ends:
    def __init__(self):
        self.backend = Script()
        self.proxy = Proxy(config(), {"c": (self.backend.endpoint,)})

    def hold(self, said):
        """Hold a conversation: what h11 reads of the client's bytes, what came back, and a line of the log for each answer.

        It begins when what was left of the one before is read: only idle connections to the backend are open then.
        """
        self.proxy.wait_for(self._quiet)
        self.backend.say(said.answers)
        asked = understood(said.asked)
        answered, port = converse(self.proxy.port, said, asked)
        return asked, answered, self._lines(port, len(answered.messages))

    def _lines(self, port, count):
        found = []
        while len(found) < count:
            line = self.proxy.log()
            if line["client"] == f"127.0.0.1:{port}":
                found.append(line)
        return found

    def _quiet(self):
        accepted, ended = self.backend.accepted, self.backend.ended
        connects, left = self.proxy.counter("upstream_connects"), self.proxy.counter("upstream_open")
        return (accepted, accepted - ended) == (connects, left)

    def close(self):
        self.proxy.close()
        self.backend.close()


@pytest.fixture(scope="module")
def ends():
    both = Ends()
    yield both
    both.close()


def options(message):
    found = [value for name, value in message.headers if name == b"connection"]
    return {option.strip().lower() for value in found for option in re.split(rb"[, \t]", value)}


def end_to_end(message):
    """Fields that go on, in their order."""
    named = options(message) - GUARDED
    dropped = HOP | OURS | {name for name in named if not name.startswith((b"content-", b"x-forwarded-"))}
    return [
        (name, value)
        for name, value in message.headers
        if name not in dropped and b"_" not in name and not name.startswith(b"x-forwarded-")
        and not (name == b"expect" and message.version == b"1.0")
    ]  # fmt: skip


def trailers(message):
    return [(name, value) for name, value in message.trailers if name.decode("latin-1") in ir.TRAILERS]


def target(message):
    """The origin form of the target and the authority that it is asked of (RFC 9112 section 3.2.2)."""
    form = re.match(rb"(?i)http://([^/?]*)(.*)", message.start[1])
    host = dict(message.headers).get(b"host", b"")
    return (form[2], form[1]) if form else (message.start[1], host)


def same_request(seen, asked):
    path, authority = target(asked)
    assert (seen.start[0], seen.start[1]) == (asked.start[0], path)
    assert dict(seen.headers)[b"host"] == authority
    assert end_to_end(seen) == end_to_end(asked)
    assert seen.body == asked.body
    assert trailers(seen) == seen.trailers == trailers(asked)


def same_answer(got, answer, number, request):
    method = request.start[0]
    fields = [(name.lower(), value) for name, value in answer.fields]
    kept = [(name, value) for name, value in fields if name != b"keep-alive"]
    assert (got.start[0], got.body) == (answer.status, answer.body(method))
    assert [(n, v) for n, v in got.headers if n not in HOP | OURS] == kept
    assert dict(got.headers)[ANSWER] == b"%d" % number
    asks_trailers = (b"te", b"trailers") in request.headers and request.version != b"1.0"
    sends = answer.trailer and answer.framing == "chunked" and answer.has_body(method)
    assert got.trailers == ([(b"etag", b"t")] if asks_trailers and sends else [])


def same_interim(got, answer, request):
    """1xx go on to HTTP/1.1, and 100 only to who waits for it, once."""
    expects = any(name == b"expect" for name, _ in request.headers)
    framed = any(name in (b"content-length", b"transfer-encoding") for name, _ in request.headers)
    waits, passed = expects and framed, []
    for status in answer.interim:
        if status != 100 or waits:
            passed.append(status)
        waits = waits and status != 100
    assert list(got.interim) == (passed if request.version != b"1.0" else [])


def lasts(message):
    """Does the connection go on behind this request?"""
    said = options(message)
    return b"close" not in said and (message.version != b"1.0" or b"keep-alive" in said)


def check_refusal(got, line, data):
    """One of the gateway's own answers, to a request that h11 accepts: a rule of STRICTER, and its cause is there."""
    rule = line.get("parse_error") or line["reason"]
    assert rule in STRICTER, (got, line)
    assert re.search(STRICTER[rule], data), (rule, data)
    assert 400 <= got.start[0] < 600
    return b"close" in options(got)


def judge(said, asked, backend, answered, log):
    assert backend.errors == []
    number = 0  # of the answers that were used
    for at, request in enumerate(asked.messages):
        got = answered.messages[at]
        if ANSWER not in dict(got.headers):
            if check_refusal(got, log[at], said.asked):
                assert len(answered.messages) == at + 1
                break
            continue
        answer = backend.answer_to(number)
        same_answer(got, answer, number, request)
        same_interim(got, answer, request)
        closes = b"close" in options(got) or (request.version == b"1.0" and b"keep-alive" not in options(got))
        if not answer.early or number in backend.whole:  # behind an early answer the gateway may drop the connection
            same_request(backend.whole[number], request)
        number += 1
        if closes:
            to_the_end = request.version == b"1.0" and answer.framing != "length" and answer.has_body(request.start[0])
            assert answer.early or to_the_end or not lasts(request), (request, got)
            assert len(answered.messages) == at + 1
            break
        assert lasts(request)
    else:
        judge_end(said, asked, backend, answered, log, number)
    assert all(whole < number for whole in backend.whole)


def judge_end(said, asked, backend, answered, log, number):
    """What comes behind the last whole request: nothing, half a request, or what h11 refuses."""
    begun = backend.begun > number
    if begun and backend.answer_to(number).early:
        return  # the answer, or a part of it
    more = answered.messages[len(asked.messages) :]
    assert answered.error == ""
    whole_line = b"\n" in asked.rest  # h11 judges a request line by its first byte, the gateway when it is whole
    if (asked.error and whole_line) or more:
        assert len(more) == 1
        refusal = more[0]
        assert ANSWER not in dict(refusal.headers)
        assert 400 <= refusal.start[0] < 500 or refusal.start[0] in (501, 505)
        assert b"close" in options(refusal)
    if more and not understood(said.asked + b"\r\n\r\n").error:  # h11 sees no fault, even if the message ended here
        check_refusal(refusal, log[-1], said.asked)


@settings(
    max_examples=EXAMPLES,
    derandomize="FASTGATE_EXAMPLES" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(conversations())
def test_both_sides_see_what_h11_sees(ends, said):
    asked, answered, log = ends.hold(said)
    note(f"h11 reads {len(asked.messages)} requests, then {asked.error or 'the end'}")
    note(f"the client read {answered.messages}, {answered.error}")
    note(f"the backend read {ends.backend.whole}")
    note(f"log {log}")
    judge(said, asked, ends.backend, answered, log)


# --- the judge itself --------------------------------------------------------------------------------------------------------


def plain(status, **more):
    whole = {"framing": "chunked", "pieces": (b"abc", b"de"), "trailer": True, "fields": ((b"x-t-a", b"1"),)}
    rest = {"interim": (103,), "early": False, "version": b"1.1", "closes": False}
    return Answer(status, **{**whole, **rest, **more})


THREE = Conversation(
    b"POST /one HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nETag: t\r\n\r\n"
    b"GET /two HTTP/1.1\r\nHost: a\r\nx-t-a: 1\r\n\r\n"
    b"GET /three HTTP/1.1\r\nHost : a\r\n\r\n",
    (7, 30),
    False,
    (plain(200), plain(404), plain(500)),
)
TAMPERING = {
    "a request's method": lambda s: setattr(s.whole[0], "start", (b"PUT", b"/one")),
    "its target": lambda s: setattr(s.whole[0], "start", (b"POST", b"/on")),
    "its body": lambda s: setattr(s.whole[0], "body", b"h"),
    "its trailers": lambda s: s.whole[0].trailers.clear(),
    "its fields": lambda s: s.whole[1].headers.remove((b"x-t-a", b"1")),
    "requests swapped": lambda s: s.whole.update({0: s.whole[1], 1: s.whole[0]}),
    "a request too many": lambda s: s.whole.update({2: s.whole[1]}),
    "a request that h11 reads and nobody forwards": lambda s: s.asked.messages.append(s.whole[1]),
    "an answer's status": lambda s: setattr(s.answered.messages[0], "start", (201,)),
    "its body, cut": lambda s: setattr(s.answered.messages[0], "body", b"abc"),
    "its fields, gone": lambda s: s.answered.messages[0].headers.remove((b"x-t-a", b"1")),
    "its trailers, gone": lambda s: s.answered.messages[0].trailers.clear(),
    "its interim response": lambda s: setattr(s.answered.messages[0], "interim", ()),
    "answers swapped": lambda s: s.answered.messages.reverse(),
    "an answer twice": lambda s: s.answered.messages.insert(1, s.answered.messages[0]),
    "no refusal": lambda s: s.answered.messages.pop(),
    "a refusal of what h11 accepts": lambda s: s.answered.messages.pop(1),
    "a connection that goes on": lambda s: s.answered.messages[2].headers.remove((b"connection", b"close")),
}


@pytest.mark.parametrize("tampering", [None, *TAMPERING])
def test_the_judge_sees_a_difference(ends, tampering):
    asked, answered, log = ends.hold(THREE)
    if tampering is None:
        judge(THREE, asked, ends.backend, answered, log)
        assert [message.start[0] for message in answered.messages] == [200, 404, 400]
        return
    TAMPERING[tampering](SimpleNamespace(asked=asked, answered=answered, whole=ends.backend.whole))
    with pytest.raises((AssertionError, IndexError, KeyError)):
        judge(THREE, asked, ends.backend, answered, log)
