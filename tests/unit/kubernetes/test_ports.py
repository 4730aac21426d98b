"""The ports of the Service of a Gateway's data planes."""

from __future__ import annotations

import pytest
from provisioned import gateway

from fastgate.ir import Endpoints, Ir, Socket
from fastgate.kubernetes.controller import ports_of
from fastgate.translate.realms import Portion

HTTP = {"name": "http", "port": 80, "protocol": "HTTP"}
HTTPS = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "c"}]}}
DNS = {"name": "dns", "port": 53, "protocol": "UDP"}


@pytest.mark.parametrize(
    ("sockets", "ports"),
    [
        ((), [("TCP", 80), ("TCP", 443), ("UDP", 53)]),  # the certificate is not there yet
        ((Socket("", 80, ()), Socket("", 8443, ())), [("TCP", 80), ("TCP", 443), ("TCP", 8443), ("UDP", 53)]),
        ((Socket("", 443, (), datagrams=True),), [("TCP", 80), ("TCP", 443), ("UDP", 53), ("UDP", 443)]),
    ],
)
def test_ports_of_the_service_are_those_that_are_named_and_those_that_are_served(sockets, ports):
    source = gateway(listeners=[HTTP, HTTPS, DNS])
    assert list(ports_of(source, Portion(Ir(sockets), Endpoints()))) == ports
