from __future__ import annotations

import pytest
from data_planes import GATEWAY, Plane, hub_of, write

from fastgate.remote.identities import Authority


@pytest.fixture(scope="session")
def authority():
    return Authority.new()


@pytest.fixture
async def hub(authority):
    async with hub_of(authority) as found:
        yield found


@pytest.fixture
def plane(authority, tmp_path):
    """Make data planes of Gateways."""

    def make(address, name="pod", gateway=GATEWAY, by=authority):
        return Plane(address, write(by.data_plane(gateway), tmp_path / f"{name}-identity"), name)

    return make
