"""A cluster of its own for each session of tests, where the machine can have one."""

from __future__ import annotations

import os
import re
from pathlib import Path

import gateway_api
import pytest
from kubelab import fastgate, lifecycle, network
from kubelab.cluster import Namespace, named, until
from served import Served

_PREFIX = "pytest-"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A cluster that is up, with the standard channel's CRDs."""
    if missing := lifecycle.missing():
        gateway_api.unavailable(f"a cluster needs {', '.join(missing)}")
    gateway_api.directory()  # the CRDs; whoever can fetch them can fetch what is built, too
    _end_left_over()
    made = named(f"{_PREFIX}{os.getpid()}", tmp_path_factory.mktemp("cluster"))
    lifecycle.up(made, "standard", {"sh": "/bin/sh", "fastgate": str(fastgate.COMMAND)})
    yield made
    lifecycle.down(made)


@pytest.fixture
def namespace(cluster, request):
    """A namespace of the test's own."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name)[:60].strip("-")
    made = Namespace(cluster, name)
    cluster.kubectl("create", "namespace", name)
    until(lambda: "default" in made.kubectl("get", "serviceaccounts", "-o", "name"))
    yield made
    cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def served(cluster, namespace):
    made = Served(cluster, namespace)
    yield made
    made.started.end()


def _end_left_over():
    """Clusters of sessions that were killed."""
    for namespace in network.all_namespaces():
        found = re.fullmatch(rf"kubelab-({_PREFIX}(\d+))", namespace)
        if found and not Path(f"/proc/{found[2]}").exists():
            lifecycle.down(named(found[1]))
