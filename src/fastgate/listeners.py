"""Listening sockets and who accepts from them.

Each group has a socket for every worker: the slot of its number. While that worker is away for longer than a moment, or
when there are fewer workers than slots, a sibling accepts from it too.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from fastgate.control import Message, Type
from fastgate.core import snapshot
from fastgate.publication import settled
from fastgate.sockets import BindError, Group, bind
from fastgate.translate.programmed import Bound

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from fastgate.adoption import Held
    from fastgate.ir import Ir
    from fastgate.workers import Worker


class Listeners:
    """All groups of sockets.

    Attributes:
        groups: by `Socket.key`.
        fates: what became of each socket of the configuration, by `Socket.key`.
    """

    def __init__(self, ports: Mapping[int, int], workers: int) -> None:
        """Bind nothing yet. `ports`: where a listener's port is bound in its place."""
        self.groups: dict[str, Group] = {}
        self.fates: dict[str, Bound] = {}
        self._ports = ports
        self._workers = workers

    def adopt(self, held: Held) -> None:
        """Take over a socket that a worker has from another manager."""
        host, port = held.listening.getsockname()[:2]
        address = held.name.removeprefix("udp:").rpartition(":")[0].strip("[]")
        address = address or ("" if host in ("::", "0.0.0.0") else host)  # noqa: S104
        datagrams = held.listening.type == socket.SOCK_DGRAM
        group = self.groups.setdefault(held.name, Group(address, port, datagrams))
        for mine, theirs in ((group.members.get(held.slot), held.listening), (group.lock, held.lock)):
            if mine is not None and theirs is not None:
                theirs.close()  # two descriptors of one socket
        group.members.setdefault(held.slot, held.listening)
        group.lock = group.lock or held.lock

    def bind(self, config: Ir) -> None:
        """Bind what a configuration needs and is not there; what cannot be bound is in `fates`."""
        self.fates = {}
        for s in config.sockets:
            wanted = self._ports.get(s.port, s.port)
            group = self.groups.get(s.key)
            try:
                if group is None:
                    self.groups[s.key] = bind(s.address, wanted, self._workers, datagrams=s.datagrams)
                else:
                    group.fill(self._workers)
            except (BindError, OSError) as e:
                self.fates[s.key] = Bound(error=str(e))
                continue
            self.fates[s.key] = Bound(addresses=(s.address,) if s.address else own_addresses())

    def is_elsewhere(self, key: str) -> bool:
        """Whether a group is bound to another port than it would be now."""
        wanted = self._ports.get(int(key.rpartition(":")[2]), int(key.rpartition(":")[2]))
        return wanted not in (0, self.groups[key].port)

    async def settle(self, workers: Sequence[Worker], away: Collection[int] = ()) -> None:
        """Let every slot be served by its worker, those of `away` and surplus ones by siblings.

        No slot is left by one before another has it.
        """
        present = {w.number: w for w in workers}
        wanted: dict[int, set[tuple[str, int]]] = {number: set() for number in present}
        for key, group in self.groups.items():
            for slot in group.members:
                if slot in present:
                    wanted[slot].add((key, slot))
                elif workers and (slot in away or slot >= self._workers):
                    wanted[workers[slot % len(workers)].number].add((key, slot))
                else:  # its worker is being started; whoever lends a hand goes on
                    for worker in workers:
                        if (key, slot) in worker.listening:
                            wanted[worker.number].add((key, slot))
        await settled(self._listen(w, *one) for w in workers for one in sorted(wanted[w.number] - w.listening))
        await settled(self._unlisten(w, *one) for w in workers for one in sorted(w.listening - wanted[w.number]))

    async def leave(self, workers: Iterable[Worker]) -> None:
        """Let workers accept what waits and then leave every socket to others, which have them by now."""
        await settled(self._unlisten(w, *one) for w in workers for one in sorted(w.listening))

    async def close_all_but(self, wanted: set[str], workers: Sequence[Worker]) -> None:
        """Close the groups that are not wanted, after the workers have accepted what waits there."""
        for key in [key for key in self.groups if key not in wanted]:
            await settled(self._unlisten(w, k, slot) for w in workers for k, slot in sorted(w.listening) if k == key)
            self.groups.pop(key).close()

    def close(self) -> None:
        """Close everything that this process holds."""
        for group in self.groups.values():
            group.close()
        self.groups.clear()

    async def _listen(self, worker: Worker, key: str, slot: int) -> None:
        worker.listening.add((key, slot))
        message = Message(Type.LISTEN, snapshot.key(key), slot, text=key)
        await worker.ask(message, Type.LISTENING, *self.groups[key].fds(slot))

    async def _unlisten(self, worker: Worker, key: str, slot: int) -> None:
        worker.listening.discard((key, slot))
        await worker.ask(Message(Type.UNLISTEN, snapshot.key(key), slot), Type.UNLISTENED)


def own_addresses() -> tuple[str, ...]:
    """Return the sources of this machine's default routes, where others reach it; loopback when it has none."""
    found = []
    for family, probe in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as s:
            s.connect((probe, 9))  # a datagram socket sends nothing here
            found.append(s.getsockname()[0])
    return tuple(found) or ("127.0.0.1",)
