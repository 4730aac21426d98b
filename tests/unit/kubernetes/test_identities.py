"""The Secrets of the authority and of what it issued."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

import pytest
from provisioned import gateway

from fastgate.kubernetes import identities
from fastgate.kubernetes.client import ApiError
from fastgate.kubernetes.identities import Identities

SECRETS = "/api/v1/secrets"
NAME, OTHER = ("default", "gw"), ("default", "other")
GATEWAYS = {NAME: gateway(), OTHER: gateway("other")}


async def keep(api, name, files):
    data = {key: base64.b64encode(content).decode() for key, content in files.items()}
    await api.put(SECRETS, name, data=data)


@pytest.fixture
async def ours(client):
    return await Identities.load(client)


async def test_whoever_is_first_makes_the_authority_and_others_read_it(api, client):
    first = await Identities.load(client)
    (secret,) = api.all(SECRETS)
    assert (secret["metadata"]["name"], secret["type"]) == (identities.AUTHORITY, "kubernetes.io/tls")
    second = await Identities.load(client)
    assert second.authority.certificate == first.authority.certificate
    assert len(api.all(SECRETS)) == 1


async def test_an_authority_that_cannot_be_read_is_waited_for(api, client, monkeypatch, caplog):
    monkeypatch.setattr(identities, "AGAIN", 0.0)
    api.faults.append(("/secrets/", 403, {"reason": "Forbidden"}))
    await Identities.load(client)
    assert "Forbidden on purpose" in caplog.text


async def test_what_a_secret_has_is_used_as_long_as_it_is_ours_for_that_gateway_and_young(api, ours):
    made = await ours.of(GATEWAYS)
    assert ours.authority.issued(made_identity(made[NAME]), NAME)
    assert await ours.of(GATEWAYS) == made
    await keep(api, "gw-fastgate", made[NAME])
    await keep(api, "other-fastgate", made[NAME])  # of another Gateway
    ours.forget()
    again = await ours.of(GATEWAYS)
    assert again[NAME] == made[NAME]
    assert again[OTHER] not in (made[NAME], made[OTHER])


async def test_what_is_old_is_renewed(api, ours, monkeypatch):
    made = await ours.of(GATEWAYS)
    await keep(api, "gw-fastgate", made[NAME])

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + timedelta(days=61)

    monkeypatch.setattr(identities, "datetime", Later)
    later = await ours.of(GATEWAYS)
    assert later[NAME] != made[NAME]


async def test_a_secret_that_cannot_be_read_holds_up_its_gateway_only(api, ours, caplog):
    api.faults += [("/secrets/other-fastgate", 403, {"reason": "Forbidden"}) for _ in range(2)]
    assert set(await ours.of(GATEWAYS)) == {NAME}
    assert set(await ours.of(GATEWAYS)) == {NAME}
    assert caplog.text.count("the identity of Gateway default/other: get") == 1
    assert set(await ours.of(GATEWAYS)) == {NAME, OTHER}


async def test_nothing_is_issued_while_nothing_answers(client, ours, monkeypatch):
    async def silent(*_args, **_more):
        raise ApiError(0, "", "silent on purpose", verb="get", path="/")

    monkeypatch.setattr(client, "request", silent)
    with pytest.raises(ApiError):
        await ours.of(GATEWAYS)


async def test_what_is_no_certificate_is_replaced(api, ours):
    await keep(api, "gw-fastgate", {"tls.crt": b"x", "tls.key": b"y", "ca.crt": b"z"})
    await api.put(SECRETS, "other-fastgate", data={"tls.crt": "%"})
    assert set(await ours.of(GATEWAYS)) == {NAME, OTHER}


def made_identity(files):
    return identities.Identity(*(files[name] for name in ("tls.crt", "tls.key", "ca.crt")))
