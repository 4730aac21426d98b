"""What options say: addresses, and how many workers there are when nobody says so."""

import os

import pytest

from fastgate import settings


@pytest.fixture
def cgroup(tmp_path):
    """A cgroup of version 2, and what it and its parents are granted."""
    own = tmp_path / "cgroup"
    own.write_text("0::/pod/container\n")
    (tmp_path / "fs" / "pod" / "container").mkdir(parents=True)

    def grant(path, text):
        (tmp_path / "fs" / path / "cpu.max").write_text(text)
        return settings.cgroup_quota(tmp_path / "fs", own)

    return grant


def test_the_least_of_all_groups_counts(cgroup):
    assert cgroup("pod/container", "max 100000\n") is None
    assert cgroup("pod", "150000 100000\n") == 1.5
    assert cgroup("pod/container", "400000 100000\n") == 1.5
    assert cgroup("", "50000 100000\n") == 0.5


def test_a_system_without_cgroups_has_no_quota(tmp_path):
    assert settings.cgroup_quota(tmp_path, tmp_path / "missing") is None


@pytest.mark.parametrize(("quota", "workers"), [(None, 4), (2.9, 2), (8.0, 4), (0.5, 1)])
def test_workers_are_as_many_as_affinity_and_quota_allow(monkeypatch, quota, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    monkeypatch.setattr(settings, "cgroup_quota", lambda *_: quota)
    assert settings.default_workers() == workers


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("127.0.0.1:9901", ("127.0.0.1", 9901)),
        ("[::1]:9901", ("::1", 9901)),
        ("2001:db8::1:9901", ("2001:db8::1", 9901)),  # as Kubernetes puts it together
        (":9901", ("127.0.0.1", 9901)),
        ("*:9901", ("*", 9901)),
        ("off", None),
    ],
)
def test_addresses_to_listen_on(text, read):
    assert settings.host_port(text) == read


def test_addresses_are_spelled_as_in_urls():
    assert settings.spelled("192.0.2.1", 9901) == "192.0.2.1:9901"
    assert settings.spelled("2001:db8::1", 9901) == "[2001:db8::1]:9901"
