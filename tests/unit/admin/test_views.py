"""What may be a credential is in no view, no status, no problem and no text form of a translation."""

import base64
import json
from types import SimpleNamespace

import yaml
from certificates import filled
from filter_types import CATALOG
from golden_render import render

from fastgate.admin import views
from fastgate.core.snapshot import build
from fastgate.sources.findings import problems_of
from fastgate.sources.objects import Objects, Source
from fastgate.stages import stages_of
from fastgate.tickets import TicketKeys
from fastgate.translate import explain as explanations
from fastgate.translate import translate
from fastgate.translate.conditions import all_json

SECRET = "open-sesame-0815"
DOCUMENTS = f"""
apiVersion: v1
kind: Secret
metadata: {{name: token}}
stringData: {{a: {SECRET}}}
---
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {{name: keys}}
spec: {{type: Keys, config: {{token: {{name: token, key: a}}}}}}
---
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {{name: in-the-wrong-place}}
spec: {{type: Keys, config: {{token: {SECRET}}}}}
---
apiVersion: fastgate.dev/v1alpha1
kind: Filter
metadata: {{name: misspelt}}
spec: {{type: Keys, config: {{token: {{name: token, key: a, value: {SECRET}}}}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: gw}}
spec: {{gatewayClassName: fastgate, listeners: [{{name: http, port: 80, protocol: HTTP}}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: r}}
spec:
  parentRefs: [{{name: gw}}]
  rules:
  - filters: [{{type: ExtensionRef, extensionRef: {{group: fastgate.dev, kind: Filter, name: keys}}}}]
"""


HTTPS = """
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: fastgate}
spec: {controllerName: fastgate.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: fastgate
  listeners: [{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: a}]}}]
"""
PAIR = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "a"},
    "type": "kubernetes.io/tls",
    "data": {"tls.crt": "@certificate a.example.com", "tls.key": "@key a.example.com"},
}


def test_values_of_secrets_are_not_shown():
    loaded = Objects().load(Source(document) for document in yaml.safe_load_all(DOCUMENTS))
    assert loaded.problems == ()
    translation = translate(loaded.store, CATALOG)
    (match,) = translation.ir.sockets[0].listeners[0].hosts[0].matches
    (plugin,) = match.rule.filters.plugins
    encoded = base64.b64encode(SECRET.encode()).decode()
    assert json.loads(plugin.config)["token"]["value"] == encoded
    shown = views.configuration(SimpleNamespace(translation=translation))
    texts = [
        json.dumps(shown),
        json.dumps(all_json(translation.statuses)),
        repr(translation),
        repr(loaded),
        repr(stages_of([plugin])),
        str(problems_of(loaded, translation)),
    ]
    assert [text for text in texts if SECRET in text or encoded in text] == []
    (rule,) = {json.dumps(m["rule"]) for m in shown["ir"]["sockets"][0]["listeners"][0]["hosts"][0]["matches"]}
    (filter_,) = json.loads(rule)["filters"]["plugins"]
    assert filter_["config"] == {"token": {"key": "a", "name": "token", "value": "[redacted]"}, "words": []}
    assert filter_["phases"] == ["request"]


def test_keys_of_certificates_are_not_shown():
    certificate, key = (base64.b64decode(filled(PAIR)["data"][name]) for name in ("tls.crt", "tls.key"))
    documents = [*yaml.safe_load_all(HTTPS), filled(PAIR)]
    loaded = Objects().load(Source(document) for document in documents)
    assert loaded.problems == ()
    translation = translate(loaded.store, CATALOG)
    (pair,) = translation.ir.key_pairs
    assert (pair.chain, pair.key) == (certificate, key)
    shown = views.configuration(SimpleNamespace(translation=translation))
    assert shown["ir"]["key_pairs"] == [
        {
            "digest": pair.digest,
            "names": ["a.example.com"],
            "key_type": "ECDSA P-256",
            "not_before": "2020-01-01T00:00:00+00:00",
            "not_after": "2120-01-01T00:00:00+00:00",
        }
    ]
    request = explanations.request_of("GET", "https://a.example.com/")
    (explanation,) = explanations.explain(translation.ir, request)
    tickets = TicketKeys()
    tickets.refresh(1.0)
    image = build(translation.ir)
    spoken = explanations.upstream_tls(translation.ir)
    texts = [
        json.dumps(shown),
        json.dumps(all_json(translation.statuses)),
        json.dumps(render(translation)),
        json.dumps(explanations.to_json(explanation, translation.endpoints, spoken)),
        explanations.describe(explanation, translation.endpoints, spoken),
        repr(translation),
        repr(loaded),
        repr(tickets),
        str(problems_of(loaded, translation)),
        image.decode("latin-1"),
    ]
    lines = [line for line in key.decode().splitlines() if "-----" not in line]
    secrets = [*lines, base64.b64encode(key).decode(), *tickets.document()["keys"]]
    assert [text for text in texts if any(secret in text for secret in secrets)] == []
    assert pair.digest in image.decode("latin-1")
