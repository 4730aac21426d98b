"""Two candidates for a Lease, on clocks that the test moves."""

from __future__ import annotations

import pytest
from api_server import LEASES

from fastgate.kubernetes.client import ApiError
from fastgate.kubernetes.leader import DURATION, LOOK, MARGIN, RENEW, Leader


class Clock:
    def __init__(self, start):
        self.now = start

    def __call__(self):
        return self.now


@pytest.fixture
def candidates(client):
    """Two whose clocks have nothing to do with one another."""
    return [
        (Leader(client, "system", "fastgate", name, address=f"{name}:9443", clock=clock), clock)
        for name, clock in (("one", Clock(5.0)), ("two", Clock(9_000.0)))
    ]


def spec(api):
    return api.get(LEASES, "fastgate", "system")["spec"]


async def test_the_first_one_leads_and_the_other_waits(api, candidates):
    (one, _), (two, _) = candidates
    told = []
    one.on_lead = lambda: told.append("one")
    await one.attempt()
    await two.attempt()
    await one.attempt()
    assert (one.writes(), two.writes()) == (True, False)
    assert spec(api)["holderIdentity"] == "one"
    assert spec(api)["leaseDurationSeconds"] == DURATION
    assert told == ["one"]


async def test_who_does_not_renew_stops_before_the_other_may_begin(api, candidates):
    (one, first), (two, second) = candidates
    told = []
    one.on_rest = lambda: told.append("rest")
    assert two.whereabouts() is None
    await one.attempt()
    await two.attempt()
    assert (one.whereabouts(), two.whereabouts()) == ("", "one:9443")
    second.now += RENEW + LOOK
    assert two.whereabouts() == "one:9443"
    second.now -= RENEW + LOOK
    for clock in (first, second):
        clock.now += DURATION - MARGIN
    assert not one.writes()
    assert two.whereabouts() is None
    await two.attempt()
    assert not two.writes()
    second.now += MARGIN + 0.1
    await two.attempt()
    assert two.writes()
    assert spec(api)["holderIdentity"] == "two"
    assert spec(api)["leaseTransitions"] == 1
    assert not told
    await one.attempt()
    assert told == ["rest"]
    assert (one.whereabouts(), two.whereabouts()) == ("two:9443", "")
    assert not one.writes()


async def test_an_expiry_is_judged_since_the_last_change_that_was_seen(api, candidates):
    (one, first), (two, second) = candidates
    await one.attempt()
    for _ in range(5):
        await two.attempt()
        for clock in (first, second):
            clock.now += DURATION - MARGIN - 0.5
        await one.attempt()
    await two.attempt()
    assert (one.writes(), two.writes()) == (True, False)


async def test_times_of_another_clock_mean_nothing(api, candidates):
    """A holder whose clock is a day behind is no less alive."""
    (one, _), (two, _) = candidates
    await one.attempt()
    stored = api.get(LEASES, "fastgate", "system")
    await api.put(LEASES, "fastgate", "system", spec={**stored["spec"], "renewTime": "2020-01-01T00:00:00.000000Z"})
    await two.attempt()
    assert not two.writes()


async def test_a_renewal_counts_from_before_it_was_sent(api, candidates):
    (one, clock), _ = candidates
    await one.attempt()
    until = one._until
    assert until == clock.now + DURATION - MARGIN


async def test_who_stops_hands_over_at_once(api, candidates):
    (one, _), (two, _) = candidates
    await one.attempt()
    await two.attempt()
    await one.release()
    assert not one.writes()
    assert spec(api)["holderIdentity"] == ""
    await two.attempt()
    assert two.writes()


async def test_nobody_releases_what_is_not_theirs(api, candidates):
    (one, _), (two, _) = candidates
    await one.attempt()
    await two.attempt()
    await two.release()
    assert spec(api)["holderIdentity"] == "one"


async def test_of_two_that_reach_for_it_one_gets_it(api, candidates):
    (one, first), (two, second) = candidates
    await one.attempt()
    await two.attempt()
    first.now += 20
    second.now += 20
    api.faults = [(LEASES.rpartition("/")[2] + "/fastgate", 409, {"reason": "Conflict"})]
    with pytest.raises(ApiError):
        await two.attempt()
    assert not two.writes()
    await one.attempt()
    await two.attempt()
    assert (one.writes(), two.writes()) == (True, False)


async def test_a_lease_that_somebody_deleted_is_made_again(api, candidates):
    (one, _), _ = candidates
    await one.attempt()
    await api.delete(LEASES, "fastgate", "system")
    await one.attempt()
    assert spec(api)["holderIdentity"] == "one"


async def test_while_the_api_server_is_gone_the_leader_stops_in_time(api, candidates):
    (one, clock), _ = candidates
    await one.attempt()
    api.faults = [("leases", 503, {})]
    clock.now += 2
    with pytest.raises(ApiError):
        await one.attempt()
    assert one.writes()
    clock.now += DURATION - MARGIN - 2
    assert not one.writes()
