from __future__ import annotations

import os
import sys

import pytest
from datagrams import Peer
from filtered import INSTALLED
from tls_backend import TlsBackend, server_context

from wire import Backend, Proxy, config


@pytest.fixture
def backend():
    one = Backend()
    yield one
    one.close()


@pytest.fixture(params=["thread", "process"])
def form(request):
    """How the engine runs: every wire test is run in both forms, unless it names the one that it needs."""
    return request.param


@pytest.fixture
def backends():
    """Make backends that are closed when the test ends."""
    made = []

    def make(host="127.0.0.1", **options):
        made.append(Backend(host, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def tls_backends():
    """Make backends that speak TLS and are closed when the test ends."""
    made = []

    def make(*args):
        made.append(TlsBackend(server_context(*args)))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def peers():
    """Make sockets for datagrams that are closed when the test ends."""
    made = []

    def make(*where):
        made.append(Peer(*where))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def proxies(form):
    """Start proxies that are stopped when the test ends."""
    started = []

    def start(configuration=None, endpoints=None, **options):
        options.setdefault("threads", form == "thread")
        proxy = Proxy(configuration or config(), endpoints if endpoints is not None else {}, **options)
        started.append(proxy)
        return proxy

    yield start
    for proxy in started:
        proxy.close()


@pytest.fixture
def proxy(proxies, backend):
    return proxies(config(), {"c": (backend.endpoint,)})


@pytest.fixture(scope="module")
def installed():
    """The example filters are found by this process, and by those that it starts."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [INSTALLED, before]))
    sys.path.insert(0, INSTALLED)
    yield
    sys.path.remove(INSTALLED)
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


@pytest.fixture(params=["offloaded", "inline"])
def inline(request):
    return request.param == "inline"
