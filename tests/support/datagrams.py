"""UDP at both ends of running workers."""

from __future__ import annotations

import select
import socket
from dataclasses import replace

from fastgate import ir
from wire import TIMEOUT

KEY = "udp:127.0.0.1:80"
NAME = "Gateway/ns/g/dns"


def udp(*backends, address="127.0.0.1", limits=None, relay=True, log=ir.AccessLog.JSON, template=""):
    """A UDP listener before backends, each a cluster or (weight, cluster); by default before "c"."""
    weighted = tuple(ir.WeightedBackend(*(b if isinstance(b, tuple) else (1, b))) for b in backends or ("c",))
    names = (ir.ServerName("", ir.Relay("UDPRoute/ns/r/0", "UDPRoute/ns/r", "", weighted)),) if relay else ()
    listener = ir.Listener(NAME, "ns/g", "dns", "", "UDP", names=names)
    settings = ir.Settings(limits=replace(ir.Limits(), **limits or {}), access_log=log, access_log_format=template)
    clusters = tuple(ir.Cluster(b.cluster, ir.Protocol.UDP) for b in weighted if b.cluster)
    return ir.Ir((ir.Socket(address, 80, (listener,), settings, datagrams=True),), clusters)


def beside(first, second):
    """Both configurations, which share no cluster."""
    return ir.Ir(first.sockets + second.sockets, first.clusters + second.clusters)


class Peer:
    """A socket for datagrams, a client's or a backend's."""

    def __init__(self, host="127.0.0.1", port=0):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.settimeout(TIMEOUT)
        self.socket.bind((host, port))
        self.endpoint = ir.Endpoint(host, self.socket.getsockname()[1])

    def send(self, data, to):
        self.socket.sendto(data, to)

    def receive(self):
        """The next datagram, and where it came from."""
        data, source = self.socket.recvfrom(65536)
        return data, source[:2]

    def answer(self, prefix=b"re: "):
        """Answer one datagram; return it with its source."""
        data, source = self.receive()
        self.send(prefix + data, source)
        return data, source

    def nothing(self):
        """Whether nothing waits now."""
        return not select.select([self.socket], [], [], 0)[0]

    def close(self):
        self.socket.close()


def where(proxy, address="127.0.0.1", key=KEY):
    return address, proxy.manager.bound[key][1]


def counted(proxy):
    """What the listener counted, over all workers."""
    return proxy.manager.statistics.totals().listeners[NAME]


def exchange(client, backend, proxy, data=b"hello"):
    """A datagram and its answer; the session's address at the backend."""
    client.send(data, where(proxy))
    got, session = backend.answer()
    assert got == data
    assert client.receive() == (b"re: " + data, where(proxy))
    return session
