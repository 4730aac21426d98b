"""UDP while configurations, endpoints, workers and managers change."""

import socket
from pathlib import Path

import pytest
from datagrams import KEY, counted, exchange, udp, where

from fastgate.instance import Instance
from wire import config


async def in_loop(call, *arguments):
    """Call something on the event loop that it belongs to."""
    call(*arguments)


def test_a_backend_of_weight_0_gets_nothing(proxies, peers):
    none, all_ = peers(), peers()
    proxy = proxies(udp((0, "n"), (1, "a")), {"n": (none.endpoint,), "a": (all_.endpoint,)})
    for _ in range(20):
        exchange(peers(), all_, proxy)
    assert none.nothing()


@pytest.mark.parametrize(
    ("configuration", "endpoints"),
    [
        (udp(), {"c": ()}),
        (udp(), {}),
        (udp((0, "c")), None),
        (udp((1, None)), None),
        (udp(relay=False), None),
    ],
    ids=["no endpoints", "unknown cluster", "weight 0", "invalid backend", "no route"],
)
def test_datagrams_that_lead_nowhere_are_dropped_and_counted(proxies, peers, configuration, endpoints):
    backend, client = peers(), peers()
    proxy = proxies(configuration, {"c": (backend.endpoint,)} if endpoints is None else endpoints)
    for n in (1, 2):
        client.send(b"x", where(proxy))
        proxy.wait_for(lambda n=n: counted(proxy).datagrams_dropped == n)
    assert (counted(proxy).datagrams_received, counted(proxy).active) == (2, 0)
    proxy.apply(udp(), {"c": (backend.endpoint,)})
    exchange(client, backend, proxy)


def test_a_reload_moves_sessions_only_where_it_must(proxies, peers):
    old, new, client = peers(), peers(), peers()
    proxy = proxies(udp("o"), {"o": (old.endpoint,)})
    session = exchange(client, old, proxy)
    endpoints = {"o": (old.endpoint,), "n": (new.endpoint,)}
    proxy.apply(udp((1, "o"), (1_000_000, "n")), endpoints)
    assert exchange(client, old, proxy) == session
    exchange(peers(), new, proxy)
    client.send(b"last question", where(proxy))
    _, source = old.receive()
    proxy.apply(udp("n"), endpoints)
    old.send(b"last answer", source)
    assert client.receive()[0] == b"last answer"
    exchange(client, new, proxy)
    assert old.nothing()


def test_endpoints_that_come_and_go(proxies, peers):
    one, two, client = peers(), peers(), peers()
    proxy = proxies(udp(), {"c": (one.endpoint,)})
    session = exchange(client, one, proxy)
    proxy.endpoints({"c": (one.endpoint, two.endpoint)})
    assert exchange(client, one, proxy) == session
    proxy.endpoints({"c": (two.endpoint,)})
    exchange(client, two, proxy)


def test_a_listener_that_goes_and_comes_back(proxies, peers, backend):
    one, client = peers(), peers()
    proxy = proxies(udp(), {"c": (one.endpoint,)})
    exchange(client, one, proxy)
    port = where(proxy)[1]
    proxy.apply(config(), {"c": (backend.endpoint,)})
    assert KEY not in proxy.manager.bound
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind(("127.0.0.1", port))  # nobody has it
    proxy.apply(udp(), {"c": (one.endpoint,)})
    exchange(client, one, proxy)


# --- the ends of workers -----------------------------------------------------------------------------------------------


def test_in_a_drain_sessions_go_on_until_they_are_silent(proxies, peers):
    backend, client, late = peers(), peers(), peers()
    proxy = proxies(udp(limits={"idle_timeout": 1000}), {"c": (backend.endpoint,)})
    session = exchange(client, backend, proxy)
    to = where(proxy)
    proxy.start_drain()
    late.send(b"new", to)
    client.send(b"known", to)
    assert backend.receive() == (b"known", session)
    backend.send(b"answer", session)
    assert client.receive()[0] == b"answer"
    proxy.wait_for(lambda: counted(proxy).datagrams_dropped == 1)
    proxy.wait_for(proxy.draining.done)
    assert proxy.draining.result()
    assert backend.nothing()


@pytest.mark.parametrize("form", ["process"], indirect=True)
def test_a_worker_that_is_replaced_answers_what_was_asked_of_it(proxies, peers):
    backend, client = peers(), peers()
    configuration = udp(limits={"idle_timeout": 2000})
    proxy = proxies(configuration, {"c": (backend.endpoint,)})
    client.send(b"slow", where(proxy))
    _, before = backend.receive()
    (pid,) = proxy.manager.pids
    proxy.run(proxy.manager.renew(configuration, {"c": (backend.endpoint,)}, 10))
    for n in range(20):  # who drains takes none of them
        client.send(b"%d" % n, where(proxy))
        data, after = backend.receive()
        assert data == b"%d" % n
        assert after != before
    backend.send(b"late", before)
    assert client.receive()[0] == b"late"
    proxy.wait_for(lambda: not proxy.manager.retiring)
    proxy.wait_for(lambda: not Path(f"/proc/{pid}").exists())  # it was waited for, too


@pytest.mark.parametrize("form", ["process"], indirect=True)
@pytest.mark.parametrize("renew", [False, True], ids=["workers stay", "workers are replaced"])
def test_a_successor_of_the_manager_takes_sockets_over(proxies, peers, tmp_path, renew):
    backend, client = peers(), peers()
    configuration = udp()
    instance = Instance.claim("udp", tmp_path / "run")
    first = proxies(configuration, {"c": (backend.endpoint,)}, workers=2, instance=instance)
    session, to = exchange(client, backend, first), where(first)
    client.send(b"slow", to)
    assert backend.receive() == (b"slow", session)
    runners = [worker.runner for worker in first.manager._supervisor.all()]
    first.run(in_loop(first.manager.leave))
    second = proxies(configuration, {"c": (backend.endpoint,)}, workers=2, instance=instance, renew=renew)
    second.run(in_loop(second.manager.retire, 10))
    assert where(second) == to
    second.wait_for(lambda: (exchange(client, backend, second) == session) is not renew)
    for _ in range(20):
        assert (exchange(client, backend, second) == session) is not renew
    backend.send(b"late", session)
    assert client.receive()[0] == b"late"
    second.run(second.manager.stop())
    for runner in runners:  # this process is still their parent
        first.run(runner.ended())
