"""The kinds of fastgate.dev: their rules, and docs/configuration.md, which names every field with its default."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from fastgate import api, ir
from fastgate.api.base import GROUP
from fastgate.api.fastgate import BackendSpec, GatewayParametersSpec
from fastgate.api.filters import FilterSpec
from fastgate.durations import milliseconds
from fastgate.translate.parameters import merged

DOCUMENT = (Path(__file__).parents[3] / "docs" / "configuration.md").read_text()
ENDPOINT = {"address": "10.0.0.1", "port": 80}
TLS = {"hostname": "a.example", "wellKnownCACertificates": "System"}


def parsed(kind, spec):
    return api.parse(
        {"apiVersion": "fastgate.dev/v1alpha1", "kind": kind, "metadata": {"name": "a"}, "spec": spec}
    ).spec


def backend(**spec):
    return parsed("Backend", {"endpoints": [ENDPOINT], **spec})


def filter_(**spec):
    return parsed("Filter", {"type": "Stamp", **spec})


def targets(*refs):
    return {"targetRefs": [{"group": GROUP, "kind": "HTTPRoute", **ref} for ref in refs]}


def limits(**values):
    return parsed("GatewayParameters", {"limits": values})


@pytest.mark.parametrize(
    ("build", "spec", "message"),
    [
        (backend, {"endpoints": []}, "at least 1 item"),
        (backend, {"endpoints": [ENDPOINT, ENDPOINT]}, "duplicate endpoint 10.0.0.1 port 80"),
        (backend, {"endpoints": [{**ENDPOINT, "weight": -1}]}, "greater than or equal to 0, not -1"),
        (backend, {"endpoints": [{**ENDPOINT, "port": 65536}]}, "less than or equal to 65535, not 65536"),
        (backend, {"protocol": "http2"}, "must be 'http'.*, not 'http2': did you mean 'http'"),
        (backend, {"protocol": "https"}, "tls must be specified for protocol https"),
        (backend, {"tls": {"hostname": "a"}}, "exactly one of caCertificateRefs and wellKnownCACertificates"),
        (backend, {"tls": {**TLS, "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "a"}]}}, "exactly one of"),
        (backend, {"tls": {**TLS, "hostname": "*.a"}}, "a DNS name in lower case, not"),
        (backend, {"healthCheck": {"path": "healthz"}}, "must be a path that starts with"),
        (backend, {"healthCheck": {"path": "/", "timeout": "0s"}}, "timeout must be longer than 0s"),
        (backend, {"healthCheck": {"path": "/", "interval": "1s", "timeout": "2s"}}, "must not be shorter than timeout"),
        (backend, {"healthCheck": {"path": "/", "intervall": "1s"}}, "did you mean 'interval'"),
        (filter_, {"type": "a/b/c"}, "the name of a filter, or 'distribution/Name', not 'a/b/c'"),
        (filter_, {"type": ""}, "at least 1 character"),
        (filter_, {"timeout": "0ms"}, "at least 1ms and at most 60s, not 0ms"),
        (filter_, {"timeout": "61s"}, "at least 1ms and at most 60s, not 61s"),
        (filter_, {"config": []}, "valid dictionary"),
        (filter_, {"onError": "skip"}, "must be 'Deny' or 'Skip', not 'skip': did you mean 'Skip'"),
        (filter_, {"execution": "inline"}, "did you mean 'Inline'"),
        (filter_, {"onerror": "Skip"}, "unknown field 'onerror': did you mean 'onError'"),
        (filter_, targets({"name": "a", "group": ""}), "a target must be of group gateway.networking.k8s.io, not ''"),
        (filter_, targets({"name": "a", "kind": "Service"}), "must be 'Gateway', 'ListenerSet' or 'HTTPRoute', not 'Service'"),
        (filter_, {"position": "BeforeRouting"}, "targetRefs must name Gateways or ListenerSets"),
        (filter_, {"position": "BeforeRouting", **targets({"name": "a"})}, "targetRefs must name Gateways or ListenerSets"),
        (filter_, {"position": "Before"}, "must be 'BeforeRouting' or 'AfterRouting', not 'Before'"),
        (filter_, targets({"name": "a", "namespace": "b"}), "unknown field 'namespace'"),
        (filter_, targets({"name": "a"}, {"name": "a"}), "HTTPRoute a must be named once only"),
        (filter_, targets({"name": "a"}, {"name": "a", "sectionName": "b"}), "with every reference to HTTPRoute a, or with none"),
        (filter_, targets(*({"name": f"a{n}"} for n in range(17))), "at most 16 items"),
        (limits, {"headTimeout": "99999h"}, "at most 1000h, not 99999h"),
        (limits, {"headTimeout": 10}, "valid string, not 10"),
        (limits, {"bodyBytes": 2**63}, "less than or equal to"),
        (limits, {"requestLine": 65536, "headBytes": 1024}, "requestLine .65536. must not be larger than headBytes .1024."),
        (limits, {"headByte": 1024}, "did you mean 'headBytes'"),
    ],
)  # fmt: skip
def test_faults(build, spec, message):
    with pytest.raises(api.Invalid, match=message):
        build(**spec)


def test_the_configuration_of_a_filter_is_taken_as_it_is():
    config = {"none": None, "list": [None, {"a": None}], "onError": 1, "nested": {"a": [True, "x", 1.5]}}
    assert filter_(config=config).config == config
    assert filter_(config=None).config == {}
    assert filter_(config=config, execution=None).execution == "Offloaded"


def test_targets_are_told_apart_by_their_sections():
    spec = filter_(**targets({"name": "a", "sectionName": "x"}, {"name": "a", "sectionName": "y"}, {"name": "b"}))
    assert [(ref.name, ref.section_name) for ref in spec.target_refs] == [("a", "x"), ("a", "y"), ("b", None)]


def test_templates_are_for_text_lines():
    with pytest.raises(api.Invalid, match="template needs format text, not json"):
        parsed("GatewayParameters", {"accessLog": {"format": "json", "template": "{status}"}})
    with pytest.raises(api.Invalid, match="no column"):
        parsed("GatewayParameters", {"accessLog": {"template": "{statu}"}})


def test_every_limit_reaches_the_engine_in_its_unit():
    for limit in fields(ir.Limits):
        name = re.sub(r"_(.)", lambda m: m[1].upper(), limit.name)
        given, expected = ("7s", 7000) if name.endswith(("Timeout", "Window")) else (1024, 1024)
        if name in ("headFields", "interimResponses"):
            given = expected = 7
        assert getattr(merged(limits(**{name: given}), ir.Settings()).limits, limit.name) == expected, name


def documented(heading):
    """Field to default, as the page has them."""
    section = DOCUMENT.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return dict(re.findall(r"^\| `([\w.\[\]]+)` \| (.*?) \|", section, re.MULTILINE))


def flattened(model, prefix=""):
    """Field to model field, of a model and those inside of it."""
    for name, field in model.model_fields.items():
        path = prefix + (field.alias or name)
        yield path, field
        inner = api._model_in(field.annotation)
        if inner is not None:
            yield from flattened(inner, path + ("[]." if "list[" in str(field.annotation) else "."))


@pytest.mark.parametrize(
    ("kind", "spec"),
    [("Backend", BackendSpec), ("Filter", FilterSpec), ("GatewayParameters", GatewayParametersSpec)],
)
def test_the_page_names_every_field_and_no_other(kind, spec):
    assert set(documented(kind)) == {path for path, _ in flattened(spec)}


def test_the_page_tells_the_defaults():
    for kind, spec in (("Backend", BackendSpec), ("Filter", FilterSpec)):
        for path, field in flattened(spec):
            value = field.get_default(call_default_factory=True)
            default = "required" if field.is_required() else "none" if value is None else f"`{value}`"
            assert documented(kind)[path] == default, path
    page = documented("GatewayParameters")
    for limit in fields(ir.Limits):
        name = "limits." + re.sub(r"_(.)", lambda m: m[1].upper(), limit.name)
        text = page[name].strip("`")
        assert (int(text) if text.isdecimal() else milliseconds(text)) == limit.default, name
    settings = ir.Settings()
    assert [page["proxyProtocol"], page["clientCertificateHeader"]] == ["`false`", "`false`"]
    assert (settings.proxy_protocol, settings.client_cert) == (False, False)
    assert [page[name] for name in ("trustedHops", "underscores", "requestId", "via", "accessLog.format")] == [
        f"`{settings.trusted_hops}`", f"`{settings.underscores}`".lower(), f"`{settings.request_id}`".lower(),
        f"`{settings.via}`", f"`{settings.access_log.value}`",
    ]  # fmt: skip
