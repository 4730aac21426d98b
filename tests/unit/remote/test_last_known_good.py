"""What a data plane served last, on disk."""

from __future__ import annotations

import os
import stat

import pytest
from data_planes import share

from fastgate.remote.last_known_good import LastKnownGood


@pytest.fixture
def kept(tmp_path):
    found = LastKnownGood(tmp_path / "state")
    found.keep(share(7))
    found.write()
    return found


def test_what_is_kept_is_read_by_the_next_process(kept, tmp_path):
    assert LastKnownGood(tmp_path / "state").read() == share(7)
    kept.keep(share(8, 2))
    kept.write()
    assert LastKnownGood(tmp_path / "state").read() == share(8, 2)
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["last-known-good"]


def test_it_is_for_this_user_only(kept, tmp_path):
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / "last-known-good").stat().st_mode) == 0o600


@pytest.mark.parametrize("at", [0, 20, 50, 100, -1])
def test_what_is_damaged_is_told_of_and_not_used(kept, tmp_path, at, caplog):
    path = tmp_path / "state" / "last-known-good"
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)
    assert kept.read() is None
    assert "not used" in caplog.text


def test_half_of_it_is_not_used(kept, tmp_path, caplog):
    path = tmp_path / "state" / "last-known-good"
    path.write_bytes(path.read_bytes()[:-10])
    assert kept.read() is None
    assert "damaged" in caplog.text


def test_nothing_is_kept_at_first_and_what_cannot_be_kept_is_told_of(tmp_path, caplog):
    (tmp_path / "file").touch()
    kept = LastKnownGood(tmp_path / "file" / "state")
    kept.keep(share(1))
    kept.write()
    assert "cannot be written" in caplog.text
    assert LastKnownGood(tmp_path / "none").read() is None


def test_what_could_not_be_kept_is_kept_when_it_is_served_again(tmp_path):
    (tmp_path / "state").touch()
    kept, served = LastKnownGood(tmp_path / "state"), share(1)
    kept.keep(served)
    kept.write()
    (tmp_path / "state").unlink()
    kept.keep(served)
    kept.write()
    assert LastKnownGood(tmp_path / "state").read() == served


def test_a_link_in_its_place_is_not_followed(tmp_path):
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"
    state.mkdir()
    (state / f"last-known-good.{os.getpid()}").symlink_to(elsewhere)
    kept = LastKnownGood(state)
    kept.keep(share(1))
    kept.write()
    assert not elsewhere.exists()
