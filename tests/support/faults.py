"""One faulty spec for every rule of the CRDs of Gateway API v1.7.0, with what the API server says to it."""

from __future__ import annotations

B = [{"name": "b", "port": 80}]
PREFIX = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"}
EXACT = [{"path": {"type": "Exact", "value": "/a"}}]


def listener(**fields):
    return {"name": "l", "port": 80, "protocol": "HTTP", **fields}


def gateway(*listeners, **fields):
    return {"gatewayClassName": "fastgate", "listeners": list(listeners) or [listener()], **fields}


def listener_set(*listeners):
    return {"parentRef": {"name": "gw"}, "listeners": list(listeners)}


def rule(**fields):
    return {"rules": [fields]}


def filters(*items, **fields):
    return rule(filters=list(items), **fields)


def path(value, type_="PathPrefix"):
    return rule(matches=[{"path": {"type": type_, "value": value}}])


def layer4(**fields):
    return {"rules": [{"backendRefs": B}], **fields}


def tls_route(**fields):
    return {"hostnames": ["a.example.com"], **layer4(**fields)}


def policy(validation=(), **fields):
    return {
        "targetRefs": [{"group": "", "kind": "Service", "name": "a"}],
        "validation": {"hostname": "a.example.com", "wellKnownCACertificates": "System", **dict(validation)},
        **fields,
    }


def targets(*sections):
    target = {"group": "", "kind": "Service", "name": "a"}
    return [{**target, "sectionName": section} if section else target for section in sections]


LAYER4 = (("TLSRoute", tls_route), ("TCPRoute", layer4), ("UDPRoute", layer4))
REDIRECT = {"type": "RequestRedirect", "requestRedirect": {}}
REWRITE = {"type": "URLRewrite", "urlRewrite": {}}
HEADERS = {"add": [{"name": "a", "value": "b"}]}
VALUES = {
    "RequestHeaderModifier": ("requestHeaderModifier", HEADERS),
    "ResponseHeaderModifier": ("responseHeaderModifier", HEADERS),
    "RequestMirror": ("requestMirror", {"backendRef": {"name": "b", "port": 80}}),
    "RequestRedirect": ("requestRedirect", {}),
    "URLRewrite": ("urlRewrite", {}),
    "ExtensionRef": ("extensionRef", {"group": "a.b", "kind": "C", "name": "d"}),
    "CORS": ("cors", {}),
}
WHERE = "when type one of ['Exact', 'PathPrefix']"
ONE_MATCH = "filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified"
CHARACTERS = "^(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|[%][0-9a-fA-F]{2})+$"
HOSTNAME = "^(\\*\\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
KEYS = "must be in the form of an optional DNS subdomain prefix followed by a required name segment of up to 63 characters."
LONG_KEY = "a." * 140 + "com/x"

FAULTS: list[tuple[str, dict, str]] = [
    ("HTTPRoute", {"parentRefs": [{"name": "a"}, {"name": "a", "sectionName": "b"}]},
     "sectionName must be specified when parentRefs includes 2 or more references to the same parent"),
    ("HTTPRoute", {"parentRefs": [{"name": "a"}, {"name": "a"}]},
     "sectionName must be unique when parentRefs includes 2 or more references to the same parent"),
    ("HTTPRoute", {"rules": [{"name": "a"}, {"name": "a"}]}, "Rule name must be unique within the route"),
    ("HTTPRoute", {"rules": [{"matches": [{}] * 64}, {"matches": [{}] * 64}, {"matches": [{}]}]},
     "While 16 rules and 64 matches per rule are allowed, the total number of matches across all rules in a route must be less than 128"),
    ("HTTPRoute", filters(REDIRECT, backendRefs=B), "RequestRedirect filter must not be used together with backendRefs"),
    ("HTTPRoute", filters({"type": "RequestRedirect", "requestRedirect": {"path": PREFIX}}, matches=EXACT),
     f"When using RequestRedirect {ONE_MATCH}"),
    ("HTTPRoute", filters({"type": "URLRewrite", "urlRewrite": {"path": PREFIX}}, matches=EXACT), f"When using URLRewrite {ONE_MATCH}"),
    ("HTTPRoute", rule(matches=EXACT, backendRefs=[{**B[0], "filters": [{"type": "RequestRedirect", "requestRedirect": {"path": PREFIX}}]}]),
     f"Within backendRefs, when using RequestRedirect {ONE_MATCH}"),
    ("HTTPRoute", rule(matches=EXACT, backendRefs=[{**B[0], "filters": [{"type": "URLRewrite", "urlRewrite": {"path": PREFIX}}]}]),
     f"Within backendRefs, When using URLRewrite {ONE_MATCH}"),
    ("HTTPRoute", rule(backendRefs=[{"name": "b"}]), "Must have port for Service reference"),
    ("HTTPRoute", filters(REDIRECT, REWRITE),
     "May specify either httpRouteFilterRequestRedirect or httpRouteFilterRequestRewrite, but not both"),
    *(("HTTPRoute", filters(*[{"type": t, VALUES[t][0]: VALUES[t][1]}] * 2), f"{t} filter cannot be repeated")
      for t in ("CORS", "RequestHeaderModifier", "ResponseHeaderModifier", "RequestRedirect", "URLRewrite")),
    *(("HTTPRoute", filters({"type": t}), f"filter.{name} must be specified for {t} filter.type") for t, (name, _) in VALUES.items()),
    *(("HTTPRoute", filters({**(REDIRECT if t != "RequestRedirect" else REWRITE), name: value}),
       f"filter.{name} must be nil if the filter.type is not {t}") for t, (name, value) in VALUES.items()),
    *(("HTTPRoute", filters({"type": "CORS", "cors": {f"allow{what}": ["*", other]}}), f"Allow{what} cannot contain '*' alongside other {word}")
      for what, other, word in (("Headers", "a", "methods"), ("Methods", "GET", "methods"), ("Origins", "http://a", "origins"))),
    ("HTTPRoute", filters({"type": "RequestMirror", "requestMirror": {"backendRef": B[0], "percent": 1, "fraction": {"numerator": 1}}}),
     "Only one of percent or fraction may be specified in HTTPRequestMirrorFilter"),
    ("HTTPRoute", filters({"type": "RequestMirror", "requestMirror": {"backendRef": B[0], "fraction": {"numerator": 2, "denominator": 1}}}),
     "numerator must be less than or equal to denominator"),
    ("HTTPRoute", filters({"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath"}}}),
     "replaceFullPath must be specified when type is set to 'ReplaceFullPath'"),
    ("HTTPRoute", filters({"type": "URLRewrite", "urlRewrite": {"path": {**PREFIX, "replaceFullPath": "/"}}}),
     "type must be 'ReplaceFullPath' when replaceFullPath is set"),
    ("HTTPRoute", filters({"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch"}}}),
     "replacePrefixMatch must be specified when type is set to 'ReplacePrefixMatch'"),
    ("HTTPRoute", filters({"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/", "replacePrefixMatch": "/"}}}),
     "type must be 'ReplacePrefixMatch' when replacePrefixMatch is set"),
    ("HTTPRoute", path("a"), f"value must be an absolute path and start with '/' {WHERE}"),
    *(("HTTPRoute", path(f"/a{part}b"), f"must not contain '{part}' {WHERE}") for part in ("//", "/./", "/../", "%2f", "%2F", "#")),
    *(("HTTPRoute", path(f"/a{end}"), f"must not end with '{end}' {WHERE}") for end in ("/..", "/.")),
    ("HTTPRoute", path("/a b"), f"must only contain valid characters (matching {CHARACTERS}) for types ['Exact', 'PathPrefix']"),
    ("HTTPRoute", rule(timeouts={"request": "1s", "backendRequest": "2s"}), "backendRequest timeout cannot be longer than request timeout"),
    ("Gateway", gateway(addresses=[{"value": "10.0.0.1"}] * 2), "IPAddress values must be unique"),
    ("Gateway", gateway(addresses=[{"type": "Hostname", "value": "a"}] * 2), "Hostname values must be unique"),
    ("Gateway", gateway(addresses=[{"type": "Hostname", "value": "A"}]),
     f"Hostname value must be empty or contain only valid characters (matching {HOSTNAME})"),
    ("Gateway", gateway(infrastructure={"annotations": {"a/b/c": ""}}), f"Annotation keys {KEYS}"),
    ("Gateway", gateway(infrastructure={"labels": {"-": ""}}), f"Label keys {KEYS}"),
    ("Gateway", gateway(infrastructure={"annotations": {LONG_KEY: ""}}),
     "If specified, the annotation key's prefix must be a DNS subdomain not longer than 253 characters in total."),
    ("Gateway", gateway(infrastructure={"labels": {LONG_KEY: ""}}),
     "If specified, the label key's prefix must be a DNS subdomain not longer than 253 characters in total."),
    *((kind, build(listener(tls={"certificateRefs": [{"name": "c"}]})), "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']")
      for kind, build in (("Gateway", gateway), ("ListenerSet", listener_set))),
    *((kind, build(listener(protocol="HTTPS", tls={"mode": "Passthrough"})), "tls mode must be Terminate for protocol HTTPS")
      for kind, build in (("Gateway", gateway), ("ListenerSet", listener_set))),
    *((kind, build(listener(protocol="TLS")), "tls mode must be set for protocol TLS")
      for kind, build in (("Gateway", gateway), ("ListenerSet", listener_set))),
    *((kind, build(listener(protocol="TCP", hostname="a")), "hostname must not be specified for protocols ['TCP', 'UDP']")
      for kind, build in (("Gateway", gateway), ("ListenerSet", listener_set))),
    *((kind, build(listener(), listener(name="m")), "Combination of port, protocol and hostname must be unique for each listener")
      for kind, build in (("Gateway", gateway), ("ListenerSet", listener_set))),
    *((kind, build(listener(protocol="HTTPS", tls={})), "certificateRefs or options must be specified when mode is Terminate")
      for kind, build in (("Gateway", gateway), ("ListenerSet", listener_set))),
    *((kind, build(parentRefs=[{"name": "a"}, {"name": "a", "sectionName": "b"}]),
       "sectionName must be specified when parentRefs includes 2 or more references to the same parent") for kind, build in LAYER4),
    *((kind, build(parentRefs=[{"name": "a", "port": 1}, {"name": "a", "port": 2}]),
       "sectionName must be unique when parentRefs includes 2 or more references to the same parent") for kind, build in LAYER4),
    *((kind, build(rules=[{"backendRefs": [{"name": "b"}]}]), "Must have port for Service reference") for kind, build in LAYER4),
    ("TLSRoute", tls_route(hostnames=["a.example.com", "192.0.2.1"]), "Hostnames cannot contain an IP"),
    ("BackendTLSPolicy", policy(targetRefs=targets("", "a")),
     "sectionName must be specified when targetRefs includes 2 or more references to the same target"),
    ("BackendTLSPolicy", policy(targetRefs=targets("a", "b", "a")),
     "sectionName must be unique when targetRefs includes 2 or more references to the same target"),
    ("BackendTLSPolicy", policy({"caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "a"}]}),
     "must not contain both CACertificateRefs and WellKnownCACertificates"),
    ("BackendTLSPolicy", {**policy(), "validation": {"hostname": "a", "caCertificateRefs": []}},
     "must specify either CACertificateRefs or WellKnownCACertificates"),
    *(("BackendTLSPolicy", policy({"subjectAltNames": [name]}), f"SubjectAltName element must {what}")
      for name, what in (
          ({"type": "Hostname"}, "contain Hostname, if Type is set to Hostname"),
          ({"type": "URI", "uri": "spiffe://a/b", "hostname": "a"}, "not contain Hostname, if Type is not set to Hostname"),
          ({"type": "URI"}, "contain URI, if Type is set to URI"),
          ({"type": "Hostname", "hostname": "a", "uri": "spiffe://a/b"}, "not contain URI, if Type is not set to URI"),
      )),
    *((kind, build(listener(), listener(port=81)), "duplicate name 'l'") for kind, build in (("Gateway", gateway), ("ListenerSet", listener_set))),
]  # fmt: skip
