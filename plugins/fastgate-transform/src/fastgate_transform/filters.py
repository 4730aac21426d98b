"""The filters. They are `def`: large documents take time, which threads have and an event loop has not."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import fastgate
from fastgate_transform import documents
from fastgate_transform.config import JSONResponseTransformConfig, JSONTransformConfig
from fastgate_transform.program import Program, UnfitError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastgate_transform.config import RequestTransformation, ResponseTransformation

_MOST_AT_ONCE = 240 * 1024  # bytes; a gateway takes 256 KiB from a filter, with what belongs to them
_PARTIAL, _NOT_MODIFIED = 206, 304
_WITHOUT_BODY = (204, _NOT_MODIFIED)  # RFC 9110 section 6.4.1
_DIGESTS = ("content-digest", "content-md5", "digest", "repr-digest")  # of a body that is replaced


class TransformError(Exception):
    """A response could not be transformed after its head was sent."""


class _Requests:
    """What is done to bodies of requests."""

    def __init__(self, config: RequestTransformation) -> None:
        self._config = config
        self._program = Program(config.steps)

    def head(self, request: fastgate.Request, context: fastgate.Context) -> fastgate.Response | None:
        """Transform a buffered request, or refuse it."""
        body = request.body
        if not body:
            return None
        if not _is_one_of(request.headers, types := self._config.content_types):
            refuse = self._config.other_types == "Refuse"
            return _refused(context, 415, f"the content type must be {' or '.join(types)}") if refuse else None
        if _is_encoded(request.headers):  # RFC 9110 section 15.5.16
            return _refused(context, 415, "the content must not be encoded", {"accept-encoding": "identity"})
        try:
            transformed = _transformed(self._program, body)
        except documents.MalformedError as e:
            return _refused(context, 400, f"the body is not valid JSON: {e}")
        except UnfitError as e:
            return _refused(context, 422, f"the body does not have the expected form: {e}")
        request.body = transformed
        _forget_digests(request.headers)
        context.count("json_requests_transformed")
        return None


class _Responses:
    """What is done to bodies of responses."""

    def __init__(self, config: ResponseTransformation) -> None:
        self._config = config
        self._program = Program(config.steps)
        self._collected = fastgate.StateKey[bytearray]("collected JSON")  # one's own: a rule may have several filters

    def ask(self, request: fastgate.Request) -> None:
        """Ask the backend for a whole document that is not compressed."""
        request.headers["accept-encoding"] = "identity"
        del request.headers["range"], request.headers["if-range"]

    def head(
        self, request: fastgate.Request, context: fastgate.Context, response: fastgate.Response
    ) -> fastgate.Response | None:
        """Decide whether the body is transformed; 502 when it should be and cannot."""
        if response.status != _NOT_MODIFIED and not _is_one_of(response.headers, self._config.content_types):
            return None
        if request.method != "HEAD" and response.status not in _WITHOUT_BODY:
            if why := _obstacle(response):
                context.count("json_responses_untransformed")
                if self._config.on_invalid == "Pass":
                    return None
                context.logger.warning("a response cannot be transformed: %s", why)
                return fastgate.Response(502, "the backend's response cannot be transformed\n")
            context[self._collected] = bytearray()
        _forget_digests(response.headers)
        etag = response.headers.get("etag", "W/")
        if not etag.startswith("W/"):  # RFC 9110 section 8.8.1: it stands for other bytes now
            response.headers["etag"] = f"W/{etag}"
        return None

    def body(self, context: fastgate.Context, chunk: bytes, end: bool) -> bytes | None:
        """Keep what comes, and send the transformed document at the end."""
        collected = context.get(self._collected)
        if collected is None:
            return None
        collected += chunk
        if len(collected) > self._config.max_bytes:
            return self._given_up(context, collected, f"it is longer than {self._config.max_bytes} bytes")
        if not end:
            return b""
        if not collected:
            return None
        try:
            transformed = _transformed(self._program, collected)
        except (documents.MalformedError, UnfitError) as e:
            return self._given_up(context, collected, str(e))
        context.count("json_responses_transformed")
        return transformed

    def _given_up(self, context: fastgate.Context, collected: bytearray, why: str) -> bytes:
        context.count("json_responses_untransformed")
        if self._config.on_invalid == "Fail":
            raise TransformError(f"the response cannot be transformed: {why}")
        del context[self._collected]
        return bytes(collected)


class JSONTransform(fastgate.Filter[JSONTransformConfig]):
    """Transforms the bodies of requests, which are waited for, and of their responses."""

    buffer_body = 128 * 1024  # the most that a gateway waits for

    def __init__(self, config: JSONTransformConfig | None = None) -> None:
        """Compile the steps."""
        super().__init__(config)
        self._requests = _Requests(self.config.request) if self.config.request is not None else None
        self._responses = _Responses(self.config.response) if self.config.response is not None else None

    def on_request(self, request: fastgate.Request, context: fastgate.Context) -> fastgate.Response | None:
        """Transform the request's body."""
        if self._responses is not None:
            self._responses.ask(request)
        return self._requests.head(request, context) if self._requests is not None else None

    def on_response(
        self, request: fastgate.Request, context: fastgate.Context, response: fastgate.Response
    ) -> fastgate.Response | None:
        """Decide whether the body is transformed."""
        return self._responses.head(request, context, response) if self._responses is not None else None

    def on_response_body(
        self, request: fastgate.Request, context: fastgate.Context, response: fastgate.Response, chunk: bytes, end: bool
    ) -> bytes | None:
        """Transform the response's body."""
        return self._responses.body(context, chunk, end) if self._responses is not None else None


class JSONResponseTransform(fastgate.Filter[JSONResponseTransformConfig]):
    """Transforms the bodies of responses, and lets those of requests stream."""

    def __init__(self, config: JSONResponseTransformConfig | None = None) -> None:
        """Compile the steps."""
        super().__init__(config)
        self._responses = _Responses(self.config)

    def on_request(self, request: fastgate.Request, context: fastgate.Context) -> None:
        """Ask for what can be transformed."""
        self._responses.ask(request)

    def on_response(
        self, request: fastgate.Request, context: fastgate.Context, response: fastgate.Response
    ) -> fastgate.Response | None:
        """Decide whether the body is transformed."""
        return self._responses.head(request, context, response)

    def on_response_body(
        self, request: fastgate.Request, context: fastgate.Context, response: fastgate.Response, chunk: bytes, end: bool
    ) -> bytes | None:
        """Transform the response's body."""
        return self._responses.body(context, chunk, end)


def _transformed(program: Program, body: bytes | bytearray) -> bytes:
    transformed = documents.dumps(program.apply(documents.loads(body)))
    if len(transformed) > _MOST_AT_ONCE:
        raise UnfitError(f"it would be longer than {_MOST_AT_ONCE} bytes")
    return transformed


def _is_one_of(headers: fastgate.Headers, types: Iterable[str]) -> bool:
    found = headers.get("content-type", "").partition(";")[0].strip().lower()
    return any(fnmatchcase(found, one) for one in types)


def _is_encoded(headers: fastgate.Headers) -> bool:
    return headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")


def _obstacle(response: fastgate.Response) -> str:
    if _is_encoded(response.headers):
        return "it is encoded"
    return "it is a part of a document" if response.status == _PARTIAL else ""


def _forget_digests(headers: fastgate.Headers) -> None:
    for name in _DIGESTS:
        if name in headers:
            del headers[name]


def _refused(
    context: fastgate.Context, status: int, why: str, headers: dict[str, str] | None = None
) -> fastgate.Response:
    context.count("json_requests_refused")
    return fastgate.Response(status, f"{why}\n", headers or {})
