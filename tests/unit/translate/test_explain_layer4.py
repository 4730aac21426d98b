from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from fastgate.cli import app
from fastgate.ir import (
    Cluster,
    Endpoint,
    Endpoints,
    Ir,
    Listener,
    Relay,
    ServerName,
    Socket,
    UpstreamTls,
    WeightedBackend,
)
from fastgate.translate.explain_layer4 import Target, describe, explain, target_of, to_json

ENDPOINTS = Endpoints({"db": (Endpoint("10.0.0.1", 5432), Endpoint("::1", 5432)), "none": ()}, {})
TLS = {"none": UpstreamTls("db.example.com", authorities=("0123456789abcdef",))}
SPOKEN = "TLS as db.example.com, verified by authorities 0123456789ab"


def name(hostname, route, *, passthrough=False):
    backends = (WeightedBackend(3, "db"), WeightedBackend(1, "none"), WeightedBackend(1, None))
    return ServerName(hostname, Relay(f"TLSRoute/ns/{route}/0", f"TLSRoute/ns/{route}", "rule", backends, passthrough))


def listener(label, protocol, hostname, *names):
    return Listener(f"Gateway/ns/gw/{label}", "ns/gw", label, hostname, protocol, names=names)


IR = Ir(
    (
        Socket(
            "",
            443,
            (
                listener("https", "HTTPS", "www.example.com"),
                listener("here", "TLS", "a.example.com", name("", "ends")),
                listener("through", "TLS", "*.example.com", name("b.example.com", "b", passthrough=True)),
            ),
        ),
        Socket("", 53, (listener("tcp", "TCP", "", name("", "tcp")),)),
        Socket("", 53, (listener("udp", "UDP", "", name("", "udp")),), datagrams=True),
        Socket("", 54, (listener("nothing", "UDP", ""),), datagrams=True),
    ),
    (Cluster("db"), Cluster("none")),
)


def told(url):
    (way,) = explain(IR, target_of(url))
    return describe(way, ENDPOINTS, TLS).split("\n")


def test_the_most_specific_listener_and_name_take_a_connection():
    assert told("tls://b.example.com") == [
        "socket    :443",
        "listener  Gateway/ns/gw/through (*.example.com)",
        "TLS       passes through",
        "name      b.example.com",
        "route     TLSRoute/ns/b (rule)",
        "backend   3 of 5: db (10.0.0.1:5432, [::1]:5432)",
        "          1 of 5: none (no ready endpoint), " + SPOKEN,
        "          1 of 5: closed",
    ]
    assert told("tls://A.example.com.")[1:5] == [
        "listener  Gateway/ns/gw/here (a.example.com)",
        "          not Gateway/ns/gw/through: it is less specific",
        "TLS       ends here",
        "name      any",
    ]


def test_https_is_a_matter_of_requests():
    assert told("tls://www.example.com:443")[1:] == [
        "listener  Gateway/ns/gw/https (www.example.com)",
        "          not Gateway/ns/gw/through: it is less specific",
        "TLS       ends here; requests are matched then: explain METHOD https://...",
    ]


def test_what_nothing_takes_goes_nowhere():
    assert told("tls://c.example.com")[1:] == [
        "listener  Gateway/ns/gw/through (*.example.com)",
        "route     none: the connection is closed",
    ]
    assert told("tls://example.org")[1:] == ["listener  none has this server name: the connection is closed"]
    assert told("tls://:443")[1:] == ["listener  none has this server name: the connection is closed"]
    assert told("udp://any:54")[1:] == ["listener  Gateway/ns/gw/nothing", "route     none: datagrams are dropped"]
    assert explain(IR, target_of("tcp://any:443")) == ()


def test_udp_and_tcp_of_one_port_are_told_apart():
    assert told("udp://127.0.0.1:53")[:3] == [
        "socket    udp::53", "listener  Gateway/ns/gw/udp", "route     TLSRoute/ns/udp (rule)",
    ]  # fmt: skip
    assert told("udp://127.0.0.1:53")[-1] == "          1 of 5: dropped"
    assert told("tcp://[::1]:53")[:2] == ["socket    :53", "listener  Gateway/ns/gw/tcp"]


def test_for_programs():
    (way,) = explain(IR, target_of("tls://b.example.com"))
    assert to_json(way, ENDPOINTS, TLS) == {
        "socket": ":443",
        "listener": "Gateway/ns/gw/through",
        "otherListeners": [],
        "hostname": "b.example.com",
        "tls": "passes through",
        "route": "TLSRoute/ns/b",
        "rule": "TLSRoute/ns/b/0",
        "ruleName": "rule",
        "action": [
            "3 of 5: db (10.0.0.1:5432, [::1]:5432)",
            "1 of 5: none (no ready endpoint), " + SPOKEN,
            "1 of 5: closed",
        ],
    }
    (way,) = explain(IR, target_of("tls://example.org"))
    assert to_json(way, ENDPOINTS, TLS) == {
        "socket": ":443", "listener": None, "otherListeners": [], "hostname": None, "tls": None, "route": None,
        "rule": None, "ruleName": None, "action": [],
    }  # fmt: skip


def test_a_connection_may_have_no_server_name():
    assert target_of("tls://") == Target("tls", "", 443)


@pytest.mark.parametrize("url", ["tcp://host", "udp://:x", "http://a/", "tls://a/path", "quic://a:1"])
def test_what_is_no_target(url):
    with pytest.raises(ValueError, match=r"is not tls://name|Port could not be cast"):
        target_of(url)


def run(path, *arguments):
    return CliRunner().invoke(app, ["explain", "-f", str(path), *arguments])


def test_the_command(tmp_path):
    (tmp_path / "a.yaml").write_text("""apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: fastgate}
spec: {controllerName: fastgate.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec: {gatewayClassName: fastgate, listeners: [{name: dns, port: 53, protocol: UDP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {name: dns}
spec: {parentRefs: [{name: gw}], rules: [{backendRefs: [{group: fastgate.dev, kind: Backend, name: b}]}]}
---
apiVersion: fastgate.dev/v1alpha1
kind: Backend
metadata: {name: b}
spec: {endpoints: [{address: 192.0.2.53, port: 53}, {address: dns.example.com, port: 53}]}
""")
    found = run(tmp_path, "udp://dns:53")
    assert found.exit_code == 0
    assert (
        found.stdout.splitlines()[-1] == "backend   1 of 1: Backend/default/b/udp (192.0.2.53:53, dns.example.com:53)"
    )
    (answer,) = json.loads(run(tmp_path, "--json", "udp://dns:53").stdout)["answers"]
    assert answer["route"] == "UDPRoute/default/dns"
    nobody = run(tmp_path, "tcp://dns:53")
    assert (nobody.exit_code, nobody.stdout) == (1, "no listener of tcp serves port 53\n")
    assert run(tmp_path, "tcp://dns").exit_code == 2
    assert run(tmp_path, "GET", "http://dns:53/").exit_code == 1
