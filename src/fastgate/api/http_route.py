"""HTTPRoute (apis/v1/httproute_types.go), standard channel of v1.7.0."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from fastgate.api.base import (
    SET,
    Duration,
    Group,
    HeaderName,
    HeaderValue,
    Hostname,
    Kind,
    Model,
    ObjectName,
    PortNumber,
    PreciseHostname,
    SectionName,
    fault,
    map_by,
)
from fastgate.api.metadata import Metadata
from fastgate.api.routes import (
    BackendObjectReference,
    BackendRef,
    ParentReferences,
    check_parent_refs,
    check_rule_names,
)
from fastgate.durations import milliseconds

_PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+")
_MAX_MATCHES = 128
Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


class HTTPHeader(Model):
    """A field to set or add."""

    name: HeaderName
    value: HeaderValue


Headers = Annotated[list[HTTPHeader], Field(max_length=16), map_by("name")]


class HTTPHeaderFilter(Model):
    """Edits of a head."""

    set: Headers | None = None
    add: Headers | None = None
    remove: Annotated[list[str], Field(max_length=16), SET] | None = None


class HTTPPathModifier(Model):
    """What becomes of a path."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: Annotated[str, Field(max_length=1024)] | None = None
    replace_prefix_match: Annotated[str, Field(max_length=1024)] | None = None

    @model_validator(mode="after")
    def _type_and_value_agree(self) -> Self:
        for name, value in (
            ("ReplaceFullPath", self.replace_full_path),
            ("ReplacePrefixMatch", self.replace_prefix_match),
        ):
            field = name[0].lower() + name[1:]
            if self.type == name and value is None:
                raise fault(f"{field} must be specified when type is set to '{name}'")
            if self.type != name and value is not None:
                raise fault(f"type must be '{name}' when {field} is set")
        return self


class HTTPRequestRedirectFilter(Model):
    """Answer with a redirect."""

    scheme: Literal["http", "https"] | None = None
    hostname: PreciseHostname | None = None
    path: HTTPPathModifier | None = None
    port: PortNumber | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class HTTPURLRewriteFilter(Model):
    """Change the request on its way."""

    hostname: PreciseHostname | None = None
    path: HTTPPathModifier | None = None


class Fraction(Model):
    """numerator / denominator."""

    numerator: Annotated[int, Field(ge=0, le=2**31 - 1)]
    denominator: Annotated[int, Field(ge=1, le=2**31 - 1)] = 100

    @model_validator(mode="after")
    def _at_most_one(self) -> Self:
        if self.numerator > self.denominator:
            raise fault("numerator must be less than or equal to denominator")
        return self


class HTTPRequestMirrorFilter(Model):
    """Send a copy elsewhere."""

    backend_ref: BackendObjectReference
    percent: Annotated[int, Field(ge=0, le=100)] | None = None
    fraction: Fraction | None = None

    @model_validator(mode="after")
    def _percent_or_fraction(self) -> Self:
        if self.percent is not None and self.fraction is not None:
            raise fault("Only one of percent or fraction may be specified in HTTPRequestMirrorFilter")
        return self


_ORIGIN = r"(^\*$)|(^(http(s)?):\/\/(((\*\.)?([a-zA-Z0-9\-]+\.)*[a-zA-Z0-9-]+|\*)(:([0-9]{1,5}))?)$)"
Origin = Annotated[str, Field(min_length=1, max_length=253, pattern=_ORIGIN)]


class HTTPCORSFilter(Model):
    """Cross-origin requests."""

    allow_origins: Annotated[list[Origin], Field(max_length=64), SET] | None = None
    allow_credentials: bool | None = None
    allow_methods: Annotated[list[Method | Literal["*"]], Field(max_length=9), SET] | None = None
    allow_headers: Annotated[list[HeaderName], Field(max_length=64), SET] | None = None
    expose_headers: Annotated[list[HeaderName], Field(max_length=64), SET] | None = None
    max_age: Annotated[int, Field(ge=1, le=2**31 - 1)] = 5

    @model_validator(mode="after")
    def _all_or_some(self) -> Self:
        for name, what, values in (
            ("AllowOrigins", "origins", self.allow_origins),
            ("AllowMethods", "methods", self.allow_methods),
            ("AllowHeaders", "methods", self.allow_headers),
        ):
            if values is not None and "*" in values and len(values) > 1:
                raise fault(f"{name} cannot contain '*' alongside other {what}")
        return self


class LocalObjectReference(Model):
    """An object in the same namespace."""

    group: Group
    kind: Kind
    name: ObjectName


_FILTER_FIELDS = {
    "RequestHeaderModifier": ("requestHeaderModifier", "request_header_modifier"),
    "ResponseHeaderModifier": ("responseHeaderModifier", "response_header_modifier"),
    "RequestMirror": ("requestMirror", "request_mirror"),
    "RequestRedirect": ("requestRedirect", "request_redirect"),
    "URLRewrite": ("urlRewrite", "url_rewrite"),
    "ExtensionRef": ("extensionRef", "extension_ref"),
    "CORS": ("cors", "cors"),
}


class HTTPRouteFilter(Model):
    """One filter: `type` names the field that holds it."""

    type: Literal[
        "RequestHeaderModifier",
        "ResponseHeaderModifier",
        "RequestMirror",
        "RequestRedirect",
        "URLRewrite",
        "ExtensionRef",
        "CORS",
    ]
    request_header_modifier: HTTPHeaderFilter | None = None
    response_header_modifier: HTTPHeaderFilter | None = None
    request_mirror: HTTPRequestMirrorFilter | None = None
    request_redirect: HTTPRequestRedirectFilter | None = None
    url_rewrite: HTTPURLRewriteFilter | None = Field(default=None, alias="urlRewrite")
    extension_ref: LocalObjectReference | None = None
    cors: HTTPCORSFilter | None = None

    @model_validator(mode="after")
    def _type_and_value_agree(self) -> Self:
        for type_, (field, attribute) in _FILTER_FIELDS.items():
            value = getattr(self, attribute)
            if value is not None and self.type != type_:
                raise fault(f"filter.{field} must be nil if the filter.type is not {type_}")
            if value is None and self.type == type_:
                raise fault(f"filter.{field} must be specified for {type_} filter.type")
        return self


_ONCE = ("CORS", "RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite")


def _filters(owner: HTTPRouteRule | HTTPBackendRef) -> None:
    types: list[str] = [f.type for f in owner.filters or ()]
    if "RequestRedirect" in types and "URLRewrite" in types:
        raise fault("May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both")
    for type_ in _ONCE:
        if types.count(type_) > 1:
            raise fault(f"{type_} filter cannot be repeated")


class HTTPBackendRef(BackendRef):
    """One of a rule's backends."""

    filters: Annotated[list[HTTPRouteFilter], Field(max_length=16)] | None = None

    @model_validator(mode="after")
    def _filters_agree(self) -> Self:
        _filters(self)
        return self


class HTTPPathMatch(Model):
    """A condition on the path."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Annotated[str, Field(max_length=1024)] = "/"

    @model_validator(mode="after")
    def _is_a_path(self) -> Self:
        value, where = self.value, "when type one of ['Exact', 'PathPrefix']"
        if self.type == "RegularExpression":
            return self
        if not value.startswith("/"):
            raise fault(f"value must be an absolute path and start with '/' {where}")
        for part in ("//", "/./", "/../", "%2f", "%2F", "#"):
            if part in value:
                raise fault(f"must not contain '{part}' {where}")
        for end in ("/..", "/."):
            if value.endswith(end):
                raise fault(f"must not end with '{end}' {where}")
        if not _PATH.fullmatch(value):
            raise fault(
                f"must only contain valid characters (matching ^{_PATH.pattern}$) for types ['Exact', 'PathPrefix']"
            )
        return self


class HTTPHeaderMatch(Model):
    """A condition on a header."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    name: HeaderName
    value: HeaderValue


class HTTPQueryParamMatch(Model):
    """A condition on a query parameter."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    name: HeaderName
    value: Annotated[str, Field(min_length=1, max_length=1024)]


class HTTPRouteMatch(Model):
    """Conditions that must all hold."""

    path: HTTPPathMatch = Field(default_factory=HTTPPathMatch)
    headers: Annotated[list[HTTPHeaderMatch], Field(max_length=16), map_by("name")] | None = None
    query_params: Annotated[list[HTTPQueryParamMatch], Field(max_length=16), map_by("name")] | None = None
    method: Method | None = None


class HTTPRouteTimeouts(Model):
    """Times of one rule."""

    request: Duration | None = None
    backend_request: Duration | None = None

    @model_validator(mode="after")
    def _backend_within_request(self) -> Self:
        if self.request is not None and self.backend_request is not None:
            request = milliseconds(self.request)
            if request and milliseconds(self.backend_request) > request:
                raise fault("backendRequest timeout cannot be longer than request timeout")
        return self


class HTTPRouteRetry(Model):
    """When to try again."""

    codes: Annotated[list[Annotated[int, Field(ge=400, le=599)]], SET] | None = None
    attempts: Annotated[int, Field(ge=0, le=2**63 - 1)] = 1
    backoff: Duration | None = None


class HTTPRouteRule(Model):
    """Matches, what happens to the request, and where it goes."""

    name: SectionName | None = None
    matches: Annotated[list[HTTPRouteMatch], Field(max_length=64)] = Field(default_factory=lambda: [HTTPRouteMatch()])
    filters: Annotated[list[HTTPRouteFilter], Field(max_length=16)] | None = None
    backend_refs: Annotated[list[HTTPBackendRef], Field(max_length=16)] | None = None
    timeouts: HTTPRouteTimeouts | None = None
    retry: HTTPRouteRetry | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if not self.filters and not self.backend_refs:
            return self
        _filters(self)
        if self.backend_refs and any(f.request_redirect is not None for f in self.filters or ()):
            raise fault("RequestRedirect filter must not be used together with backendRefs")
        if len(self.matches) == 1 and self.matches[0].path.type == "PathPrefix":
            return self
        for where, prefix in (
            ("", "When"),
            *(("backendRefs", "Within backendRefs, when") for _ in self.backend_refs or ()),
        ):
            owners = self.backend_refs or () if where else (self,)
            for owner in owners:
                for f in owner.filters or ():
                    for modifier in (f.request_redirect, f.url_rewrite):
                        path = modifier.path if modifier is not None else None
                        if path is not None and path.type == "ReplacePrefixMatch":
                            raise fault(
                                f"{prefix} using {f.type} filter with path.replacePrefixMatch, "
                                "exactly one PathPrefix match must be specified"
                            )
        return self


class HTTPRouteSpec(Model):
    """Spec of an HTTPRoute."""

    parent_refs: ParentReferences | None = None
    hostnames: Annotated[list[Hostname], Field(max_length=16)] | None = None
    rules: Annotated[list[HTTPRouteRule], Field(min_length=1, max_length=16)] = Field(
        default_factory=lambda: [HTTPRouteRule()]
    )

    @model_validator(mode="after")
    def _rules(self) -> Self:
        check_parent_refs(self.parent_refs or [])
        check_rule_names(rule.name for rule in self.rules)
        if sum(len(rule.matches) for rule in self.rules) > _MAX_MATCHES:
            raise fault(
                "While 16 rules and 64 matches per rule are allowed, the total number of matches across all rules in a "
                "route must be less than 128"
            )
        return self


class HTTPRoute(Model):
    """An HTTPRoute."""

    api_version: Literal["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"]
    kind: Literal["HTTPRoute"]
    metadata: Metadata
    spec: HTTPRouteSpec
