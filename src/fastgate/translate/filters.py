"""HTTPRoute filters that the engine knows, as `ir.Filters` and `ir.Redirect`.

What is not served raises `Unsupported`: nothing is ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastgate.grammar import NO_FIELD_VALUE, PATH, RESERVED
from fastgate.ir import Filters, HeaderEdits, PathKind, PathRewrite, Redirect

if TYPE_CHECKING:
    from collections.abc import Iterable


class Unsupported(Exception):  # noqa: N818 - a verdict on a rule, not a failure of the program
    """Something that a rule asks for is not served. The message names the field and what is wrong with it."""


# Where each type says what it does.
_FIELDS = {
    "RequestHeaderModifier": "request_header_modifier",
    "ResponseHeaderModifier": "response_header_modifier",
    "URLRewrite": "url_rewrite",
    "RequestRedirect": "request_redirect",
}


def compile_filters(filters: Iterable[Any] | None, where: str) -> tuple[Filters, Redirect | None]:
    """Return the edits of a list of filters and the redirect among them. `plugins` has what ExtensionRefs name.

    Args:
        filters: HTTPRouteFilters of a rule or of a backendRef.
        where: path of the list, for messages.

    Raises:
        Unsupported: a filter is of a type, or has a value, that is not served.
    """
    request = response = HeaderEdits()
    hostname: str | None = None
    path: PathRewrite | None = None
    redirect: Redirect | None = None
    for index, entry in enumerate(filters or ()):
        place = f"{where}[{index}]"
        if entry.type in _FIELDS and getattr(entry, _FIELDS[entry.type]) is None:
            raise Unsupported(f"{place}: a {entry.type} that says nothing is not supported")
        match entry.type:
            case "RequestHeaderModifier":
                request = _edits(entry.request_header_modifier, request, f"{place}.requestHeaderModifier")
            case "ResponseHeaderModifier":
                response = _edits(entry.response_header_modifier, response, f"{place}.responseHeaderModifier")
            case "URLRewrite":
                hostname = entry.url_rewrite.hostname
                path = _path(entry.url_rewrite.path, f"{place}.urlRewrite.path")
            case "RequestRedirect":
                redirect = _redirect(entry.request_redirect, f"{place}.requestRedirect")
            case "ExtensionRef":
                continue
            case other:
                raise Unsupported(f"{place}: filter {other} is not supported")
    return Filters(request, response, hostname, path), redirect


def _edits(modifier: Any, before: HeaderEdits, where: str) -> HeaderEdits:
    set_ = tuple((header.name, header.value) for header in modifier.set or ())
    add = tuple((header.name, header.value) for header in modifier.add or ())
    remove = tuple(modifier.remove or ())
    for name, value in (*set_, *add):
        if NO_FIELD_VALUE.search(value):
            raise Unsupported(f"{where}: the value of field {name} has control characters")
    for name in (*(name for name, _ in (*set_, *add)), *remove):
        if name.lower() in RESERVED:
            raise Unsupported(f"{where}: field {name} belongs to the connection and cannot be modified")
    return HeaderEdits(before.set + set_, before.add + add, before.remove + remove)


def _path(path: Any, where: str) -> PathRewrite | None:
    if path is None:
        return None
    if path.type == "ReplaceFullPath":
        return PathRewrite(PathKind.EXACT, _checked(path.replace_full_path, f"{where}.replaceFullPath"))
    if path.type == "ReplacePrefixMatch":
        return PathRewrite(PathKind.PREFIX, _checked(path.replace_prefix_match, f"{where}.replacePrefixMatch"))
    raise Unsupported(f"{where}: type {path.type} is not supported")


def _checked(value: str | None, where: str) -> str:
    if value is None or not PATH.fullmatch(value):
        raise Unsupported(f"{where}: {value!r} is not an absolute path")
    return value


def _redirect(redirect: Any, where: str) -> Redirect:
    return Redirect(
        status=302 if redirect.status_code is None else int(redirect.status_code),
        scheme=redirect.scheme,
        hostname=redirect.hostname,
        port=redirect.port,
        path=_path(redirect.path, f"{where}.path"),
    )
