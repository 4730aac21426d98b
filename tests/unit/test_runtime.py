"""What is served when: preparing and publishing are two moments."""

import asyncio

from fastgate import resolver, runtime
from fastgate.admin.views import status
from fastgate.gateway import sources_of
from fastgate.ir import Endpoint
from fastgate.listener_manager import ListenerManager
from fastgate.resolver import Resolver

CONFIGURATION = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec: {gatewayClassName: fastgate, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules: [{backendRefs: [{group: fastgate.dev, kind: Backend, name: b}]}]
---
apiVersion: fastgate.dev/v1alpha1
kind: Backend
metadata: {name: b}
spec: {endpoints: [{address: app.example, port: 81}]}
"""


async def refused_then_accepted():
    """What status says after a set that is refused as a whole, and after the next one."""
    manager = ListenerManager(workers=1, threads=True, ports={80: 0})
    await manager.start()
    try:
        subject = runtime.Runtime(manager, strict=True)
        await subject.apply(*sources_of(CONFIGURATION))
        assert status(subject)["refused"] == []
        await subject.apply(*sources_of(CONFIGURATION.replace("port: 81", "port: many")))
        refused = status(subject)
        await subject.apply(*sources_of(CONFIGURATION))
        return refused, status(subject)
    finally:
        await manager.stop()


def test_status_says_why_a_set_was_refused_until_another_is_served():
    refused, accepted = asyncio.run(refused_then_accepted())
    (problem,) = refused["refused"]
    assert "must be a valid integer" in problem
    assert (refused["generation"], refused["problems"]) == (1, [])
    assert accepted["refused"] == []


async def served_when_known_between():
    """The endpoints that are served when a name becomes known after the configuration was prepared."""
    known = asyncio.Event()

    async def look_up(_):
        await known.wait()
        return ("192.0.2.7",), 60.0

    manager = ListenerManager(workers=1, threads=True, ports={80: 0})
    await manager.start()
    try:
        subject = runtime.Runtime(manager)
        subject._resolver = Resolver(look_up)
        prepared = await subject.prepare(*sources_of(CONFIGURATION))
        assert not any(subject._resolver.table(prepared.translation.endpoints.names).values())
        known.set()
        await asyncio.gather(*subject._resolver._tasks.values())
        assert (await subject.publish(prepared)).applied
        return manager._publication.endpoints
    finally:
        await manager.stop()


def test_endpoints_by_name_are_those_known_when_a_configuration_is_served(monkeypatch):
    monkeypatch.setattr(resolver, "PATIENCE", 0.01)
    served = asyncio.run(served_when_known_between())
    assert served == {"Backend/default/b": (Endpoint("192.0.2.7", 81),)}
