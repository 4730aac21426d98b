"""Objects of data planes at an API server: made, kept, and taken away again."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from provisioned import DEFAULTS, INSTANCE, gateway, wanted

from fastgate.kubernetes.infrastructure import provisioner as provisioners
from fastgate.kubernetes.infrastructure.owned import OWN_KINDS
from fastgate.kubernetes.infrastructure.provisioner import Provisioner

NAME = ("default", "gw")
GW = ("default", "gw-fastgate")  # its objects
ALWAYS = ("ServiceAccount", "Secret", "Service", "Deployment")


def collection(kind):
    return OWN_KINDS[kind].path(OWN_KINDS[kind].versions[0])


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(provisioners, "APART", 0.01)
    monkeypatch.setattr(provisioners, "FIRST_DELAY", 0.005)


@pytest.fixture
def provisioning(client):
    """Run a provisioner."""

    @asynccontextmanager
    async def run(may_write=lambda: True):
        found = Provisioner(client, DEFAULTS, may_write, INSTANCE, ())
        found.is_known = lambda _: True
        found.changed = []
        found.on_change = found.changed.append
        task = asyncio.ensure_future(found.run())
        try:
            yield found
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return run


def names(api, kind):
    return [each["metadata"]["name"] for each in api.all(collection(kind))]


def writes(api):
    return [(method, path) for method, path, _ in api.requests if method != "GET"]


async def changed(api, kind, *taken, **content):
    """Change an object of ours; `taken` are what we do not manage any more then."""
    before = api.get(collection(kind), "gw-fastgate")
    without = ("resourceVersion", *taken)
    metadata = {key: value for key, value in before["metadata"].items() if key not in without}
    await api.put(collection(kind), "gw-fastgate", metadata=metadata, **content)


async def made(api, until, kinds=ALWAYS):
    await until(lambda: all(names(api, kind) for kind in kinds))


async def test_what_is_wanted_is_made_and_what_is_the_same_is_not_written_again(api, provisioning, until):
    async with provisioning() as found:
        found.want({NAME: wanted()})
        await made(api, until)
        assert {kind: names(api, kind) for kind in ALWAYS} == {key: ["gw-fastgate"] for key in ALWAYS}
        before = len(writes(api))
        found.want({NAME: wanted()})
        found.want({NAME: wanted(None, ("TCP", 80), ("TCP", 443))})
        await until(lambda: len(api.get(collection("Service"), "gw-fastgate")["spec"]["ports"]) == 2)
        await until(lambda: not found._due and not found._busy)
        assert len(writes(api)) == before + 1  # Pods stay
        assert not found.problem(NAME)


async def test_addresses_are_those_of_the_service(api, provisioning, until):
    async with provisioning() as found:
        found.want({NAME: wanted()})
        await made(api, until)
        await until(lambda: found.addresses(NAME) == ())
        ingress = [{"ip": "192.0.2.1"}, {"hostname": "lb.example.com"}]
        await changed(api, "Service", status={"loadBalancer": {"ingress": ingress}})
        await until(lambda: found.addresses(NAME))
        assert found.addresses(NAME) == (("IPAddress", "192.0.2.1"), ("Hostname", "lb.example.com"))
        assert NAME in found.changed


async def test_a_service_of_the_cluster_has_the_addresses_of_the_cluster(api, provisioning, until):
    async with provisioning() as found:
        found.want({NAME: wanted(said={"service": {"type": "ClusterIP"}})})
        await made(api, until)
        spec = api.get(collection("Service"), "gw-fastgate")["spec"]
        await changed(api, "Service", spec={**spec, "clusterIPs": ["10.0.0.1", "fd00::1"]})
        await until(lambda: found.addresses(NAME) == (("IPAddress", "10.0.0.1"), ("IPAddress", "fd00::1")))


async def test_what_somebody_changes_or_deletes_is_as_it_was_again(api, provisioning, until):
    async with provisioning() as found:
        found.want({NAME: wanted()})
        await made(api, until)
        await until(lambda: not found._due)
        for kind in ALWAYS:
            await api.delete(collection(kind), "gw-fastgate")
            await made(api, until, [kind])
        await changed(api, "Service", "managedFields", spec={"type": "ClusterIP"})
        await until(lambda: api.get(collection("Service"), "gw-fastgate")["spec"]["type"] == "LoadBalancer")
        await changed(api, "Secret", "managedFields", data={})
        await until(lambda: api.get(collection("Secret"), "gw-fastgate")["data"])


async def test_replicas_that_are_not_said_any_more_are_left_as_they_are(api, provisioning, until):
    async with provisioning() as found:
        found.want({NAME: wanted(said={"replicas": 3})})
        await made(api, until)
        await until(lambda: not found._due and not found._busy)
        for said in ({"autoscaling": {"maxReplicas": 9}}, {"args": ["--workers=1"]}):
            found.want({NAME: wanted(said=said)})
            await until(lambda: found._documents[NAME] and not found._due and not found._busy)
        managers = [query["fieldManager"] for query in api.asked("PATCH", "/deployments/")]
        assert managers == ["fastgate", "fastgate-former", "fastgate", "fastgate"]


async def test_what_others_add_is_nothing_to_write_for(api, provisioning, until):
    async with provisioning() as found:
        found.want({NAME: wanted()})
        await made(api, until)
        await until(lambda: not found._due and not found._busy)
        before = len(writes(api))
        for kind in ALWAYS:
            await changed(api, kind, status={"replicas": 3}, more="of somebody else")
            version = api.get(collection(kind), "gw-fastgate")["metadata"]["resourceVersion"]
            await until(lambda: found._there((kind, *GW)).metadata.resource_version == version)  # noqa: B023 - until then
        assert len(writes(api)) == before
        assert set(found._applied) == {(kind, *GW) for kind in ALWAYS}


async def test_what_is_not_wanted_any_more_is_deleted_and_nothing_of_others(api, provisioning, until):
    foreign = {"app.kubernetes.io/managed-by": "fastgate", "app.kubernetes.io/instance": INSTANCE}
    await api.put(collection("Service"), "by-hand", metadata={"labels": foreign})
    async with provisioning() as found:
        found.want({NAME: wanted(said={"podDisruptionBudget": {"minAvailable": 1}, "networkPolicy": True})})
        await made(api, until, [*ALWAYS, "PodDisruptionBudget", "NetworkPolicy"])
        found.want({NAME: wanted(said={"kind": "DaemonSet"})})
        await made(api, until, ["DaemonSet"])
        await changed(api, "DaemonSet", status={"numberAvailable": 1})
        await until(
            lambda: not any(names(api, kind) for kind in ("Deployment", "PodDisruptionBudget", "NetworkPolicy"))
        )
        found.want({})
        await until(lambda: not any(names(api, kind) for kind in ("ServiceAccount", "Secret", "DaemonSet")))
        await until(lambda: names(api, "Service") == ["by-hand"])
    assert found.addresses(NAME) is None


async def test_data_planes_stay_until_those_instead_of_them_serve(api, provisioning, until):
    async with provisioning() as found:
        found.want({NAME: wanted()})
        await made(api, until)
        api.faults.append(("/daemonsets/gw-fastgate", 422, {"reason": "Invalid"}))
        found.want({NAME: wanted(said={"kind": "DaemonSet", "tolerations": [{"operator": "None"}]})})
        await until(lambda: found.problem(NAME))
        assert found.problem(NAME) == "DaemonSet default/gw-fastgate: Invalid on purpose"
        assert names(api, "Deployment")
        await made(api, until, ["DaemonSet"])
        await until(lambda: not found.problem(NAME))
        assert names(api, "Deployment")
        await changed(api, "DaemonSet", status={"numberAvailable": 1})
        await until(lambda: not names(api, "Deployment"))


async def test_a_gateway_that_is_to_have_no_pods_waits_for_none(api, provisioning, until):
    async with provisioning() as found:
        found.want({NAME: wanted(said={"networkPolicy": True})})
        await made(api, until, [*ALWAYS, "NetworkPolicy"])
        found.want({NAME: wanted(said={"replicas": 0})})
        await until(lambda: not names(api, "NetworkPolicy"))


async def test_what_is_held_stays_as_it_is_and_nothing_is_made_of_it(api, provisioning, until):
    async with provisioning() as found:
        found.want({NAME: wanted(said={"service": {"type": "ClusterIP"}})})
        await made(api, until)
        await until(lambda: not found._due and not found._busy)
        before = len(writes(api))
        found.want({NAME: wanted(is_held=True), ("default", "new"): wanted(gateway("new"), is_held=True)})
        await until(lambda: not found._due and not found._busy and not found._sweep_due)
        assert len(writes(api)) == before
        found.want({NAME: wanted(), ("default", "new"): wanted(gateway("new"), is_held=True)})
        await until(lambda: api.get(collection("Service"), "gw-fastgate")["spec"]["type"] == "LoadBalancer")
        assert names(api, "Service") == ["gw-fastgate"]


async def test_nothing_is_deleted_where_gateways_are_not_known(api, provisioning, until):
    async with provisioning() as found:
        found.want({NAME: wanted()})
        await made(api, until)
        found.is_known = lambda namespace: namespace != "default"
        before = len(writes(api))
        found.want({})
        await until(lambda: not found._sweep_due)
        assert len(writes(api)) == before
        found.is_known = lambda namespace: namespace == "default"
        found.want({})
        await until(lambda: not any(names(api, kind) for kind in ALWAYS))


async def test_deletions_that_are_refused_are_tried_again_together(api, provisioning, until, monkeypatch):
    monkeypatch.setattr(provisioners, "LAST_DELAY", 0.01)
    async with provisioning() as found:
        rounds = []
        sweep_again = found._sweep_again
        found._sweep_again = lambda: rounds.append(None) or sweep_again()
        found.want({NAME: wanted()})
        await made(api, until)
        await until(lambda: not found._due and not found._busy)
        api.faults += [(f"/{OWN_KINDS[kind].plural}/gw-fastgate", 403, {}) for kind in ALWAYS for _ in range(4)]
        found.want({})
        await until(lambda: not any(names(api, kind) for kind in ALWAYS))
        assert 4 <= len(rounds) <= len([method for method, _ in writes(api) if method == "DELETE"]) / len(ALWAYS)


async def test_nothing_is_deleted_before_it_is_said_what_is_wanted(api, provisioning, until):
    async with provisioning() as first:
        first.want({NAME: wanted()})
        await made(api, until)
    before = len(writes(api))
    async with provisioning() as second:
        await until(lambda: all(owned.complete.is_set() for owned in second._owned))
        await until(lambda: api.watching.get(collection("Service")))
        assert len(writes(api)) == before
        second.want({NAME: wanted()})
        await until(lambda: len(second._applied) == len(ALWAYS))
        assert names(api, "Deployment") == ["gw-fastgate"]


async def test_an_object_of_somebody_else_is_not_touched_and_is_told_of(api, provisioning, until):
    await api.put(collection("Service"), "gw-fastgate", spec={"type": "ClusterIP"})
    async with provisioning() as found:
        found.want({NAME: wanted()})
        await until(lambda: found.problem(NAME))
        assert found.problem(NAME) == (
            "Service default/gw-fastgate exists and is not of this Gateway: it is not touched"
        )
        assert api.get(collection("Service"), "gw-fastgate")["spec"] == {"type": "ClusterIP"}
        await api.delete(collection("Service"), "gw-fastgate")
        await made(api, until)
        await until(lambda: not found.problem(NAME))
        assert found.changed.count(NAME) >= 2


async def test_objects_of_a_gateway_of_the_same_name_that_was_deleted_are_waited_for(api, provisioning, until):
    async with provisioning() as found:
        found.want({NAME: wanted()})
        await made(api, until)
        before = api.get(collection("Deployment"), "gw-fastgate")["metadata"]["ownerReferences"]
        again = gateway()
        other = msgspec.structs.replace(again, metadata=msgspec.structs.replace(again.metadata, uid="another"))
        found.want({NAME: wanted(other)})
        await until(lambda: "not of this Gateway" in found.problem(NAME))
        assert api.get(collection("Deployment"), "gw-fastgate")["metadata"]["ownerReferences"] == before
        for kind in ALWAYS:
            await api.delete(collection(kind), "gw-fastgate")
        await until(lambda: not found.problem(NAME))
        await made(api, until)
        (owner,) = api.get(collection("Deployment"), "gw-fastgate")["metadata"]["ownerReferences"]
        assert owner["uid"] == "another"


async def test_a_right_that_is_missing_is_named_and_the_rest_is_made_later(api, provisioning, until):
    async with provisioning() as found:
        await until(lambda: all(owned.complete.is_set() for owned in found._owned))
        api.faults.append(("/deployments/gw-fastgate", 403, {"reason": 'User "u" cannot get resource'}))
        found.want({NAME: wanted()})
        await until(lambda: found.problem(NAME))
        assert found.problem(NAME).startswith("no right to get deployments.apps in namespace default")
        api.faults.append(("/deployments/gw-fastgate", 403, {"reason": "exceeded quota"}))
        await until(lambda: found.problem(NAME) == "Deployment default/gw-fastgate: exceeded quota on purpose")
        await made(api, until)
        await until(lambda: not found.problem(NAME))


async def test_one_object_that_is_refused_holds_no_other_up(api, provisioning, until):
    async with provisioning() as found:
        await until(lambda: all(owned.complete.is_set() for owned in found._owned))
        api.faults += [("/services/gw-fastgate", 422, {"reason": "Invalid"}) for _ in range(50)]
        found.want({NAME: wanted()})
        await made(api, until, ("ServiceAccount", "Secret", "Deployment"))
        await until(lambda: found.problem(NAME))
        assert not names(api, "Service")
        assert found.problem(NAME) == "Service default/gw-fastgate: Invalid on purpose"


async def test_a_kind_that_nobody_may_list_holds_no_other_up(api, provisioning, until):
    api.faults += [("/networkpolicies", 403, {"reason": "Forbidden"}) for _ in range(50)]
    async with provisioning() as found:
        found.want({NAME: wanted()})
        await made(api, until)
        await until(lambda: not found.problem(NAME))


async def test_two_gateways_whose_objects_have_one_name_do_not_fight(api, provisioning, until):
    first, other = wanted(gateway(gatewayClassName="a-b")), ("default", "gw-a")
    async with provisioning() as found:
        found.want({NAME: first})
        await until(lambda: found.addresses(NAME) == ())
        found.want({NAME: first, other: wanted(gateway("gw-a", gatewayClassName="b"))})
        await until(lambda: found.problem(other))
        assert "default/gw-a-b exists and is not of this Gateway" in found.problem(other)
        assert not found.problem(NAME)
        assert (found.addresses(NAME), found.addresses(other)) == ((), None)
        await api.delete(collection("Deployment"), "gw-a-b")
        await until(lambda: names(api, "Deployment") == ["gw-a-b"])


async def test_who_does_not_lead_writes_nothing_until_it_does(api, provisioning, until):
    leads = False
    async with provisioning(lambda: leads) as found:
        found.want({NAME: wanted()})
        await until(lambda: not found._due and not found._busy)
        assert not writes(api)
        leads = True
        found.look_at_all()
        await made(api, until)


async def test_a_watch_that_is_cut_goes_on_and_one_that_is_too_old_begins_with_a_list(api, provisioning, until):
    async with provisioning() as found:
        found.want({NAME: wanted()})
        await made(api, until)
        for forget in (False, True):
            await api.cut(forget=forget)
            await api.delete(collection("Service"), "gw-fastgate")
            await made(api, until, ["Service"])
