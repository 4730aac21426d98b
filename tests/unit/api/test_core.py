"""Kinds of Kubernetes itself, which have no CRD: what is read of them, and what is refused."""

import pytest

from fastgate import api

SLICE = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"port": 80}]}


def parsed(kind, version="v1", **content):
    return api.parse({"apiVersion": version, "kind": kind, "metadata": {"name": "a"}, **content})


def slice_(**content):
    return parsed("EndpointSlice", "discovery.k8s.io/v1", **{**SLICE, **content})


def service(*ports, **spec):
    return parsed("Service", spec={"ports": list(ports), **spec})


def test_services():
    port = service(
        {"port": 80, "targetPort": "web", "nodePort": 30000}, clusterIP="None", selector={"a": "b"}
    ).spec.ports[0]
    assert (port.protocol, port.port, port.target_port, port.app_protocol, port.name) == ("TCP", 80, "web", None, None)
    assert parsed("Service", spec={}).spec.type == "ClusterIP"


def test_endpoint_slices():
    found = slice_(
        endpoints=[{"addresses": ["10.0.0.1"], "conditions": {"ready": False}, "nodeName": "n", "zone": "z"}]
    )
    assert found.endpoints[0].conditions.ready is False
    assert slice_(endpoints=None, ports=None).endpoints is None
    assert slice_(ports=[{}]).ports[0].port is None


def test_what_holds_data():
    secret = parsed("Secret", data={"a": "Yg=="}, type="kubernetes.io/tls", immutable=True)
    assert (secret.type, secret.data) == ("kubernetes.io/tls", {"a": "Yg=="})
    assert parsed("Secret").type == "Opaque"
    assert parsed("ConfigMap", data={"a": "b"}, binaryData={"c": "ZA=="}).data == {"a": "b"}
    assert parsed("Namespace", spec={"finalizers": ["kubernetes"]}).metadata.name == "a"


def bundle(name, **spec):
    version = "certificates.k8s.io/v1beta1"
    return parsed("ClusterTrustBundle", version, metadata={"name": name}, spec={"trustBundle": "", **spec})


def test_cluster_trust_bundles_are_named_for_their_signers():
    assert bundle("a").spec.signer_name == ""
    assert bundle("example.com:a:b", signerName="example.com/a").metadata.name == "example.com:a:b"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: parsed("Service"), "is required"),
        (lambda: bundle("a:b"), "the name must have no ':' without a signer"),
        (lambda: bundle("b", signerName="example.com/a"), "the name must start with 'example.com:a:', for its signer"),
        (lambda: bundle("example.com:a:B", signerName="example.com/a"), "is not a DNS subdomain"),
        (lambda: bundle("a", trustBundle=1), "must be a valid string"),
        (lambda: service({"port": 0}), "greater than or equal to 1, not 0"),
        (lambda: service({"port": 80, "protocol": "tcp"}), "did you mean 'TCP'"),
        (lambda: service({"name": "a"}), "is required"),
        (lambda: service(type="clusterIP"), "did you mean 'ClusterIP'"),
        (lambda: slice_(addressType="ipv4"), "did you mean 'IPv4'"),
        (lambda: slice_(endpoints=[{"addresses": []}]), "at least 1 item"),
        (lambda: slice_(endpoints=[{"addresses": ["10.0.0.1"] * 101}]), "at most 100 items"),
        (lambda: slice_(endpoints=[{"addresses": ["10.0.0.1"]}] * 1001), "at most 1000 items"),
        (lambda: slice_(ports=[{"port": 70000}]), "less than or equal to 65535"),
        (lambda: slice_(ports=[{"port": 1}] * 101), "at most 100 items"),
        (lambda: parsed("EndpointSlice", "discovery.k8s.io/v1beta1", **SLICE), "must be 'discovery.k8s.io/v1'"),
        (lambda: parsed("Secret", data={"a": 1234}), "valid string$"),
        (lambda: parsed("Secret", data={"a": "not base64"}), "must be base64"),
        (lambda: parsed("Secret", data={"a/b": "Yg=="}), "'a/b' is not a key"),
        (lambda: parsed("Secret", stringData={"a": 1234}), "valid string$"),
        (lambda: parsed("ConfigMap", data={"..": "b"}), "is not a key"),
        (lambda: parsed("ConfigMap", data={"a": True}), "valid string, not True"),
    ],
)
def test_faults(build, message):
    with pytest.raises(api.Invalid, match=message):
        build()


def test_wrong_keys_have_the_place_of_their_value():
    with pytest.raises(api.Invalid) as e:
        parsed("Secret", data={"a/b": "Yg=="})
    assert [problem.path for problem in e.value.problems] == [("data", "a/b")]
