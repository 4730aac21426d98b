"""What a record says of a request."""

import time

import pytest

from fastgate import Context, Request, Response, TraceParent
from fastgate.plugins.context import Outcome
from fastgate_otlp import OTLPLogsConfig
from fastgate_otlp.records import record

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def made(request=None, response=None, context=None, **config):
    config = OTLPLogsConfig.model_validate({"endpoint": "http://c/v1/logs", **config})
    return record(config, request or Request(), context or Context(), response or Response())


@pytest.fixture
def attributes(values):
    """Give what makes a record and returns its attributes."""
    return lambda *arguments, **config: values(made(*arguments, **config).attributes)


def test_a_request_by_the_semantic_conventions(values):
    context = Context(outcome=Outcome(0.25, 7, 130))
    context.log["user"] = "ada"
    context.log["tries"] = 2
    context.log["cached"] = True
    context.log["share"] = 0.5
    request = Request(
        "POST",
        "/b?q=1",
        raw_path="/a/../b",
        scheme="https",
        authority="[2001:db8::1]:8443",
        client=("192.0.2.7", 4242),
        headers=[("user-agent", "curl/8"), ("X-Team", "a"), ("x-team", "é")],
        id="id-1",
        route="HTTPRoute/default/shop",
        rule="first",
    )
    response = Response(201, headers={"location": "/c"})
    config = {"requestHeaders": ["X-Team", "x-none"], "responseHeaders": ["Location"]}
    before = time.time_ns()
    found = made(request, response, context, **config)
    assert before <= found.time_unix_nano == found.observed_time_unix_nano <= time.time_ns()
    assert values(found.attributes) == {
        "http.request.method": "POST",
        "url.scheme": "https",
        "url.path": "/a/../b",
        "url.query": "q=1",
        "http.response.status_code": 201,
        "client.address": "192.0.2.7",
        "client.port": 4242,
        "server.address": "2001:db8::1",
        "server.port": 8443,
        "user_agent.original": "curl/8",
        "http.request.header.x-team": ["a", "é"],
        "http.response.header.location": ["/c"],
        "http.server.request.duration": 0.25,
        "http.request.body.size": 7,
        "http.response.size": 130,
        "fastgate.id": "id-1",
        "fastgate.route": "HTTPRoute/default/shop",
        "fastgate.rule": "first",
        "fastgate.log.user": "ada",
        "fastgate.log.tries": 2,
        "fastgate.log.cached": True,
        "fastgate.log.share": 0.5,
    }
    assert (found.severity_text, found.severity_number, found.event_name) == ("INFO", 9, "fastgate.access")
    assert found.body.string_value == "POST /a/../b 201"
    assert (found.trace_id, found.span_id, found.flags) == (b"", b"", 0)


def test_a_bare_request(attributes):
    assert attributes(Request("BREW", authority="a.example", scheme="https"), Response(418)) == {
        "http.request.method": "_OTHER",
        "http.request.method_original": "BREW",
        "url.scheme": "https",
        "url.path": "/",
        "http.response.status_code": 418,
        "client.address": "127.0.0.1",
        "client.port": 50000,
        "server.address": "a.example",
        "server.port": 443,
    }


@pytest.mark.parametrize(
    ("status", "severity", "error"), [(499, "INFO", None), (500, "ERROR", "500"), (503, "ERROR", "503")]
)
def test_server_errors(values, status, severity, error):
    found = made(response=Response(status))
    assert found.severity_text == severity
    assert values(found.attributes).get("error.type") == error


def test_answers_of_the_gateway_say_why(attributes):
    found = attributes(response=Response(504, reason="upstream_timeout"))
    assert (found["error.type"], found["fastgate.reason"]) == ("upstream_timeout", "upstream_timeout")
    found = attributes(response=Response(404, reason="no_route"))
    assert ("error.type" in found, found["fastgate.reason"]) == (False, "no_route")


@pytest.mark.parametrize(
    ("query", "recorded"),
    [
        ("a=1&sig=x&b", "a=1&sig=REDACTED&b"),
        ("s%69g=x&sig", "s%69g=REDACTED&sig"),
        ("token=x&TOKEN=y", "token=REDACTED&TOKEN=y"),
        ("=&&", "=&&"),
    ],
)
def test_signatures_in_queries_are_redacted(attributes, query, recorded):
    request = Request(path=f"/?{query}")
    config = {"redactedParameters": ["sig", "token"]}
    assert attributes(request, **config)["url.query"] == recorded
    assert "url.query" not in attributes(request, query="Omit", **config)


def test_long_values_are_cut(values):
    found = made(Request(path="/" + "a" * 9000))
    assert len(values(found.attributes)["url.path"]) == len(found.body.string_value) == 4096


def test_numbers_that_no_integer_of_otlp_holds(attributes):
    context = Context()
    context.log["big"] = 2**63
    context.log["least"] = -(2**63)
    found = attributes(context=context)
    assert (found["fastgate.log.big"], found["fastgate.log.least"]) == (float(2**63), -(2**63))


def test_a_record_belongs_to_its_trace():
    found = made(context=Context(traceparent=TraceParent(TRACE, SPAN, 1)))
    assert (found.trace_id.hex(), found.span_id.hex(), found.flags) == (TRACE, SPAN, 1)
    found = made()
    assert (found.trace_id, found.span_id, found.flags) == (b"", b"", 0)
