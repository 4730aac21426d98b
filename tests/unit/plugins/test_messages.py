"""Requests, responses and contexts: made by hand, read from records, and after their end."""

import gc
import math
import weakref

import pytest

from fastgate import Client, Context, Request, Response, StaleError, StateKey, TraceParent
from fastgate.plugins.context import LONGEST_LOG_VALUE, MOST_COUNTERS, MOST_LOG_FIELDS


class Record:
    """A request of an engine; notes which groups are read."""

    def __init__(self):
        self.read = []

    def target(self):
        self.read.append("target")
        return "POST", "http", "a.example:8080", "/b", "/./b", "q=1"

    def fields(self):
        self.read.append("fields")
        return [("X-A", "1"), ("x-a", "2")]

    def trailers(self):
        self.read.append("trailers")
        return [("etag", "x")]

    def connection(self):
        self.read.append("connection")
        return Client("10.0.0.1", 4242), None

    def place(self):
        self.read.append("place")
        return "HTTPRoute/default/r", "first", "id-1"

    def body(self):
        self.read.append("body")
        return b"body"


class Answer:
    def __init__(self, body=None, reason=""):
        self.parts = (body, reason)
        self.read = []

    def status(self):
        self.read.append("status")
        return 404, self.parts[1]

    def fields(self):
        self.read.append("fields")
        return [("server", "x")]

    def trailers(self):
        return []

    def body(self):
        self.read.append("body")
        return self.parts[0]


# --- requests --------------------------------------------------------------------------------------------------------


def test_a_request_without_an_engine():
    request = Request("PUT", "/a?b=c", headers={"X": "1"}, client=("::1", 1), authority="[::1]:80", id="7")
    assert (request.method, request.path, request.query, request.raw_path) == ("PUT", "/a", "b=c", "/a")
    assert (request.authority, request.host, request.client.port, request.id) == ("[::1]:80", "[::1]", 1, "7")
    assert request.headers["x"] == "1"
    assert request.trailers == {}
    assert (request.body, request.tls, request.journal) == (None, None, [])


def test_each_group_is_read_once_when_it_is_needed():
    record = Record()
    request = Request._over(record, [])
    request.headers["x-b"] = "1"
    request.path = "/c"
    assert record.read == []
    assert (request.method, request.path, request.raw_path, request.host) == ("POST", "/c", "/./b", "a.example")
    assert request.client == ("10.0.0.1", 4242)
    assert (request.route, request.rule, request.id, request.tls) == ("HTTPRoute/default/r", "first", "id-1", None)
    assert request.headers.getall("x-a") == ["1", "2"]
    assert request.body == b"body"
    assert request.trailers["etag"] == "x"
    assert request.scheme == "http"
    assert record.read == ["target", "connection", "place", "fields", "body", "trailers"]


def test_a_later_stage_sees_the_edits_of_an_earlier_one():
    first = Request._over(Record(), [])
    first.headers["X-A"] = "3"
    first.path = "/c"
    first.query = ""
    first.authority = "b:1"
    assert first.body == b"body"
    first.body = b"other"
    first.headers.add("x-b", "4")
    assert first.journal == [
        ("set", "X-A", "3"),
        ("path", "", "/c"),
        ("query", "", ""),
        ("authority", "", "b:1"),
        ("body", "", b"other"),
        ("add", "x-b", "4"),
    ]
    second = Request._over(Record(), list(first.journal))
    assert second.headers == {"x-a": "3", "x-b": "4"}
    assert (second.path, second.query, second.authority, second.body) == ("/c", "", "b:1", b"other")
    assert second.method == "POST"


@pytest.mark.parametrize(
    "path", ["", "a", "//a b", "/a\n", "/a?b", "/a#b", "/ä", "/a\x7f", "/a/../b", "/.", "/a/%2e%2E", "/a/.%2e/b", "/.."]
)
def test_a_path_is_absolute_and_clean(path):
    request = Request()
    with pytest.raises(ValueError, match="path"):
        request.path = path
    assert request.path == "/"
    assert request.journal == []


@pytest.mark.parametrize("path", ["/", "//", "/a/", "/.well-known/x", "/a..b/...", "/%C3%A4;v=1", "/a|b"])
def test_paths_that_may_be_sent(path):
    request = Request()
    request.path = path
    assert request.path == path


def test_query_and_authority_are_checked():
    request = Request()
    for bad in ("a b", "a#b", "ä", "a\n"):
        with pytest.raises(ValueError, match="query"):
            request.query = bad
    for bad in ("", "a b", "u@a", "a/b", "a:b", "a:1:2", "a\n"):
        with pytest.raises(ValueError, match="authority"):
            request.authority = bad
    for wrong in (None, b"/a", 1):
        for name in ("path", "query", "authority"):
            with pytest.raises(TypeError, match=f"{name} is a str"):
                setattr(request, name, wrong)
    assert request.journal == []


def test_what_cannot_be_edited():
    request = Request()
    for name in ("method", "scheme", "raw_path", "client", "route", "id", "host", "headers", "anything"):
        with pytest.raises(AttributeError):
            setattr(request, name, "x")
    with pytest.raises(ValueError, match="not buffered"):
        request.body = b"x"
    with pytest.raises(AttributeError, match="no attribute 'heders'"):
        _ = request.heders


def test_a_request_after_its_end():
    record = Record()
    request = Request._over(record, [])
    headers, trailers = request.headers, request.trailers
    watched = weakref.ref(record)
    request._close()
    del record
    gc.collect()
    assert watched() is None
    for use in (
        lambda: request.path,
        lambda: request.headers,
        lambda: request.journal,
        lambda: setattr(request, "path", "/"),
        lambda: headers["x-a"],
        lambda: trailers["etag"],
    ):
        with pytest.raises(StaleError, match="was used after its request had ended"):
            use()
    assert isinstance(request, Request)
    assert request in {request: 1}
    assert repr(request) == "<Request of a request that has ended>"


# --- responses -------------------------------------------------------------------------------------------------------


def test_responses_that_filters_make():
    assert (Response().status, Response().body, Response().headers.items()) == (200, b"", [])
    denied = Response(403, b"no")
    assert (denied.status, denied.body, denied.headers.items(), denied.journal) == (403, b"no", [], [])
    text = Response(404, "ä", {"X": "1"})
    assert text.body == "ä".encode()
    assert text.headers.items() == [("X", "1"), ("content-type", "text/plain; charset=utf-8")]
    assert Response(200, "<p>", {"Content-Type": "text/html"}).headers.items() == [("Content-Type", "text/html")]
    made = Response(json={"a": "ä"})
    assert made.body == '{"a":"ä"}'.encode()
    assert made.headers == {"content-type": "application/json"}
    assert made.journal == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((199,), ValueError),
        ((600,), ValueError),
        (("200",), TypeError),
        ((True,), TypeError),
        ((204, b"x"), ValueError),
        ((304, "x"), ValueError),
        ((200, 1), TypeError),
        ((200, b"", {"content-length": "1"}), ValueError),
        ((200, b"", {"x": "a\nb"}), ValueError),
    ],
)
def test_responses_that_cannot_be_sent(arguments, error):
    with pytest.raises(error):
        Response(*arguments)


def test_a_body_and_json_exclude_each_other():
    with pytest.raises(ValueError, match="not both"):
        Response(200, b"x", json=1)


def test_a_response_of_a_backend():
    record = Answer()
    response = Response._over(record, [])
    response.headers["server"] = "y"
    response.status = 410
    assert record.read == []
    assert (response.status, response.reason, response.headers["server"]) == (410, "", "y")
    assert response.trailers == {}
    with pytest.raises(ValueError, match="streams"):
        response.body = b"x"
    assert response.journal == [("set", "server", "y"), ("status", "", "410")]
    assert record.read == ["status", "fields", "body"]
    later = Response._over(Answer(), list(response.journal))
    assert (later.status, later.headers["server"]) == (410, "y")


def test_an_answer_of_the_gateways_own():
    response = Response._over(Answer(b"404\n", "no_route"), [])
    assert (response.reason, response.body) == ("no_route", b"404\n")
    response.body = "nothing here"
    assert Response._over(Answer(b"404\n"), list(response.journal)).body == b"nothing here"
    with pytest.raises(ValueError, match="200 to 599"):
        response.status = 99


def test_a_response_after_its_end():
    response = Response._over(Answer(), [])
    headers = response.headers
    response._close()
    with pytest.raises(StaleError):
        _ = response.status
    with pytest.raises(StaleError):
        headers["a"] = "b"


def test_a_response_that_a_filter_made_is_the_filters():
    page = Response(404, "not here")
    page._close()
    assert page.status == 404
    copy = page.copy()
    copy.headers["x-a"] = "1"
    copy.status = 410
    copy.body = "gone"
    assert (page.status, page.body, page.headers.get("x-a")) == (404, b"not here", None)
    assert copy.journal == [("set", "x-a", "1"), ("status", "", "410"), ("body", "", b"gone")]
    assert copy.headers["content-type"] == "text/plain; charset=utf-8"
    backends = Response._over(Answer(b"x", "no_route"), [("set", "server", "y")]).copy()
    assert (backends.status, backends.body, backends.reason, backends.headers["server"]) == (404, b"x", "no_route", "y")


# --- traces -----------------------------------------------------------------------------------------------------------

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "flags", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", 1, True),
        (f"00-{TRACE}-{SPAN}-fe", 0xFE, False),
        (f"cc-{TRACE}-{SPAN}-03", 3, True),
        (f"cc-{TRACE}-{SPAN}-00-what-is-new", 0, False),
    ],
)
def test_a_traceparent_is_read(header, flags, sampled):
    trace = TraceParent.parse(header)
    assert trace == TraceParent(TRACE, SPAN, flags)
    assert trace.sampled is sampled
    assert TraceParent.parse(str(trace)) == TraceParent(TRACE, SPAN, int(sampled))


@pytest.mark.parametrize(
    "header",
    [
        *("", "x", f"00-{TRACE}-{SPAN}", f"00-{TRACE}-{SPAN}-1", f"00-{TRACE}-{SPAN}-01 ", f"0-{TRACE}-{SPAN}-01"),
        *(f"ff-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-01-more", f"cc-{TRACE}-{SPAN}-01more"),
        *(f"00-{'0' * 32}-{SPAN}-01", f"00-{TRACE}-{'0' * 16}-01", f"00-{TRACE.upper()}-{SPAN}-01"),
        *(f"00-{TRACE[1:]}-{SPAN}-01", f"00-{TRACE}-{SPAN}0-01", f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01"),
    ],
)
def test_a_malformed_traceparent_says_nothing(header):
    assert TraceParent.parse(header) is None


# --- contexts --------------------------------------------------------------------------------------------------------

USER = StateKey[str]("user")


def test_state_is_kept_by_key():
    context = Context()
    assert USER not in context
    assert context.get(USER) is None
    assert context.get(USER, "nobody") == "nobody"
    with pytest.raises(KeyError, match="user"):
        context[USER]
    context[USER] = "ada"
    assert context[USER] == context.get(USER) == "ada"
    assert StateKey[str]("user") not in context
    del context[USER]
    assert USER not in context
    with pytest.raises(TypeError, match="StateKey"):
        context["user"] = "ada"


def test_log_fields_are_plain_and_bounded():
    log = Context().log
    log["user"] = "ada"
    log.update(tries=2, share=0.5, cached=True)
    assert dict(log) == {"user": "ada", "tries": 2, "share": 0.5, "cached": True}
    log["long"] = "x" * (LONGEST_LOG_VALUE + 1)
    assert log["long"] == "x" * LONGEST_LOG_VALUE
    for name, value, error in (
        ("a b", "x", ValueError),
        ("", "x", ValueError),
        ("a", None, TypeError),
        ("a", b"x", TypeError),
        ("a", math.nan, ValueError),
        (1, "x", ValueError),
    ):
        with pytest.raises(error):
            log[name] = value
    for n in range(MOST_LOG_FIELDS - len(log)):
        log[f"f{n}"] = n
    with pytest.raises(ValueError, match="at most"):
        log["more"] = 1
    log["f0"] = 7
    del log["f0"]
    log["more"] = 1


def test_counters_go_up():
    context = Context()
    context.count("hits")
    context.count("hits", 2)
    assert context.counts == {"hits": 3}
    for name, n in (("hits", -1), ("hits", 0.5), ("a-b", 1), (None, 1)):
        with pytest.raises(ValueError, match="counter"):
            context.count(name, n)
    for n in range(MOST_COUNTERS - 1):
        context.count(f"c{n}")
    with pytest.raises(ValueError, match="at most"):
        context.count("more")


def test_a_context_has_the_trace_that_it_is_given():
    assert Context().traceparent is None
    assert Context(traceparent=TraceParent(TRACE, SPAN)).traceparent == (TRACE, SPAN, 0)


def test_the_time_that_is_left():
    assert Context().remaining == math.inf
    assert Context(deadline=0).remaining == 0.0
    assert 0 < Context(deadline=1e12).remaining < math.inf


def test_log_lines_name_filter_and_request(caplog):
    Context(filter="default/stamp", request_id="id-1").logger.warning("odd: %s", "x", extra={"more": 1})
    assert caplog.messages == ["default/stamp id-1: odd: x"]
    assert (caplog.records[0].filter, caplog.records[0].more) == ("default/stamp", 1)


def test_a_context_after_its_end():
    context = Context()
    context._close()
    for use in (
        lambda: context.log,
        lambda: context.count("a"),
        lambda: context[USER],
        lambda: context.__setitem__(USER, "x"),
        lambda: USER in context,
        lambda: context.remaining,
        lambda: context.traceparent,
    ):
        with pytest.raises(StaleError):
            use()
