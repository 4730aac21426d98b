"""Which bodies are transformed, which are refused, and what the heads say afterwards."""

import pytest
from pydantic import ValidationError

from fastgate import Catalog, Context, Filter, Request, Response
from fastgate_transform import (
    JSONResponseTransform,
    JSONResponseTransformConfig,
    JSONTransform,
    JSONTransformConfig,
)
from fastgate_transform.filters import TransformError

JSON = {"content-type": "application/json"}
STEPS = {"steps": [{"remove": "$..password"}]}


def both(request=None, response=None):
    config = {"request": STEPS | (request or {})}
    if response is not None:
        config["response"] = STEPS | response
    return JSONTransform(JSONTransformConfig.model_validate(config))


def of_responses(**config):
    return JSONResponseTransform(JSONResponseTransformConfig.model_validate(STEPS | config))


def post(body=b'{"a":1,"password":2}', headers=JSON, **config):
    """Send a request through a filter; return it, the answer and what was counted."""
    request, context = Request("POST", "/", headers=headers, body=body), Context()
    answer = both(config).on_request(request, context)
    return request, answer, context.counts


class Exchange:
    """A response on its way through a filter."""

    def __init__(self, subject, headers=JSON, status=200, method="GET", asked=None):
        self.subject, self.context = subject, Context()
        self.request = Request(method, headers=asked or {})
        # A backend's response has fields that a filter's own may not have.
        self.response = Response._over(Record(status, headers), [])
        assert subject.on_request(self.request, self.context) is None
        self.answer = subject.on_response(self.request, self.context, self.response)

    def body(self, *chunks):
        """What the client gets for these chunks."""
        out = []
        for n, chunk in enumerate(chunks, 1):
            result = self.subject.on_response_body(self.request, self.context, self.response, chunk, n == len(chunks))
            out.append(chunk if result is None else result)
        return b"".join(out)


class Record:
    def __init__(self, status, headers):
        self._status, self._fields = status, list(headers.items())

    def status(self):
        return self._status, ""

    def fields(self):
        return self._fields


# --- requests ----------------------------------------------------------------------------------------------------------


def test_a_request_is_transformed():
    digests = {"Content-Digest": "sha-256=:x:", "digest": "y", "content-md5": "z", "x-other": "1"}
    request, answer, counts = post(headers=JSON | digests)
    assert (answer, request.body) == (None, b'{"a":1}')
    assert request.headers == JSON | {"x-other": "1"}
    assert counts == {"json_requests_transformed": 1}


@pytest.mark.parametrize(
    "kind", ["Application/JSON; charset=utf-8", "application/problem+json", "application/vnd.api+json;v=1"]
)
def test_types_that_are_json(kind):
    assert post(headers={"content-type": kind})[0].body == b'{"a":1}'


@pytest.mark.parametrize("kind", ["text/plain", "application/jsonlines", "text/json", "application/x-ndjson", "", None])
def test_other_types_pass_or_are_refused(kind):
    headers = {} if kind is None else {"content-type": kind}
    request, answer, _ = post(headers=headers)
    assert (answer, request.journal) == (None, [])
    _, answer, counts = post(headers=headers, otherTypes="Refuse")
    assert answer.status == 415
    assert counts == {"json_requests_refused": 1}


def test_types_are_the_configurations():
    request, _, _ = post(headers={"content-type": "text/json"}, contentTypes=["text/json"])
    assert request.body == b'{"a":1}'


@pytest.mark.parametrize("body", [b"", None])
def test_without_body_there_is_nothing_to_do(body):
    request, answer, _ = post(body, otherTypes="Refuse")
    assert (answer, request.journal) == (None, [])


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 50_000, b"nope"])
def test_malformed_documents_are_400(body):
    request, answer, counts = post(body)
    assert answer.status == 400
    assert answer.body.startswith(b"the body is not valid JSON: ")
    assert (request.body, counts) == (body, {"json_requests_refused": 1})


def test_documents_of_another_form_are_422():
    _, answer, _ = post(b"[]", steps=[{"set": {"path": "/a", "value": 1}}])
    assert answer.status == 422


DOUBLED = [{"patch": [{"op": "copy", "from": "/a", "path": "/b"}]}]
FITS, LONG = (b'{"a":"' + b"x" * n + b'"}' for n in (120_000, 125_000))  # doubled: up to 240 KiB, and more


def test_documents_that_would_be_too_long_are_422():
    assert post(FITS, steps=DOUBLED)[1] is None
    assert post(LONG, steps=DOUBLED)[1].status == 422


def test_encoded_documents_are_415():
    _, answer, _ = post(headers=JSON | {"content-encoding": "gzip"})
    assert (answer.status, answer.headers["accept-encoding"]) == (415, "identity")
    assert post(headers=JSON | {"content-encoding": "Identity"})[1] is None


# --- responses ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("subject", [of_responses(), both(response={})])
@pytest.mark.parametrize("chunks", [(b'{"a":1,"password":2}',), (b'{"a":1,', b"", b'"password":2}', b"")])
def test_a_response_is_transformed_when_it_is_whole(subject, chunks):
    exchange = Exchange(subject)
    assert exchange.answer is None
    assert exchange.body(*chunks) == b'{"a":1}'
    assert exchange.context.counts == {"json_responses_transformed": 1}


def test_the_backend_is_asked_for_what_can_be_transformed():
    asked = {"accept-encoding": "br, gzip", "Range": "bytes=0-9", "if-range": '"x"', "accept": "a/b"}
    for subject in (of_responses(), both(response={})):
        assert Exchange(subject, asked=asked).request.headers == {"accept-encoding": "identity", "accept": "a/b"}
    request = Request(headers=asked)
    both().on_request(request, Context())
    assert request.journal == []


def test_without_response_steps_responses_are_left_alone():
    exchange = Exchange(both(), headers=JSON | {"etag": '"x"'})
    assert exchange.response.journal == []
    assert exchange.body(b'{"password":1}') == b'{"password":1}'


@pytest.mark.parametrize(("before", "after"), [('"x"', 'W/"x"'), ('W/"x"', 'W/"x"'), (None, None)])
@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("GET", 304), ("GET", 404)])
def test_what_described_the_old_bytes_goes(before, after, method, status):
    headers = ({} if status == 304 else JSON) | {"repr-digest": "x"} | ({"etag": before} if before else {})
    exchange = Exchange(of_responses(), headers, status, method)
    assert exchange.response.headers.get("etag") == after
    assert "repr-digest" not in exchange.response.headers


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_responses_of_other_types_are_left_alone(method):
    exchange = Exchange(of_responses(), {"content-type": "image/png", "etag": '"x"'}, method=method)
    assert (exchange.answer, exchange.response.journal) == (None, [])
    assert exchange.body(b'{"password":1}') == b'{"password":1}'


@pytest.mark.parametrize(("headers", "status"), [({"content-encoding": "gzip"}, 200), ({}, 206)])
def test_responses_that_cannot_be_transformed_are_502_or_pass(headers, status):
    exchange = Exchange(of_responses(maxBytes=10), JSON | headers, status)
    assert exchange.answer.status == 502
    assert exchange.context.counts == {"json_responses_untransformed": 1}
    exchange = Exchange(of_responses(maxBytes=10, onInvalid="Pass"), JSON | headers, status)
    assert (exchange.answer, exchange.response.journal) == (None, [])
    assert exchange.body(b'{"password":1}') == b'{"password":1}'


@pytest.mark.parametrize("chunks", [(b"{", b"nope"), (b"12345678", b"90", b"1", b"2"), (b'"12345678901"',)])
def test_bodies_that_cannot_be_transformed_fail_or_pass(chunks):
    with pytest.raises(TransformError, match="cannot be transformed"):
        Exchange(of_responses(maxBytes=10)).body(*chunks)
    exchange = Exchange(of_responses(maxBytes=10, onInvalid="Pass"))
    assert exchange.body(*chunks) == b"".join(chunks)
    assert exchange.context.counts == {"json_responses_untransformed": 1}


def test_a_response_that_would_be_too_long_is_one_that_cannot_be_transformed():
    with pytest.raises(TransformError, match="longer than 245760"):
        Exchange(of_responses(steps=DOUBLED)).body(LONG)
    assert Exchange(of_responses(steps=DOUBLED, onInvalid="Pass")).body(LONG) == LONG


def test_an_empty_response_stays_empty():
    assert Exchange(of_responses()).body(b"") == b""


def test_several_filters_of_a_rule_do_not_mix_what_they_collect():
    one, other = of_responses(), of_responses(steps=[{"wrap": "data"}])
    request, context, response = Request(), Context(), Response(headers=JSON)
    for subject in (one, other):
        subject.on_response(request, context, response)
    assert one.on_response_body(request, context, response, b"[", False) == b""
    assert other.on_response_body(request, context, response, b"", False) == b""
    assert one.on_response_body(request, context, response, b"1]", True) == b"[1]"
    assert other.on_response_body(request, context, response, b"[1]", True) == b'{"data":[1]}'


# --- configurations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "request or response"),
        ({"response": STEPS}, "use JSONResponseTransform"),
        ({"request": {"steps": []}}, "steps"),
        ({"request": STEPS | {"contentTypes": ["json"]}}, "contentTypes"),
        ({"request": STEPS | {"otherTypes": "Deny"}}, "otherTypes"),
        ({"request": STEPS, "response": STEPS | {"maxBytes": 0}}, "maxBytes"),
        ({"request": STEPS, "reply": STEPS}, "reply"),
    ],
)
def test_wrong_configurations_are_refused(config, message):
    with pytest.raises(ValidationError, match=message):
        JSONTransformConfig.model_validate(config)


def test_they_are_installed():
    catalog = Catalog()
    config = {
        "steps": [{"patch": [{"op": "move", "from": "/a", "path": "/b"}]}, {"set": {"path": "/c", "value": None}}]
    }
    found = catalog.check("JSONTransform", {"request": config})
    assert (found.cls, found.buffer_body) == (JSONTransform, 128 * 1024)
    subject = found.instance(found.validated({"request": config}))
    request = Request(headers=JSON, body=b'{"a":1}')
    subject.on_request(request, Context())
    assert request.body == b'{"b":1,"c":null}'
    found = catalog.check("JSONResponseTransform", config)
    assert found.buffer_body == 0
    assert isinstance(found.instance(found.validated(config)), Filter)
