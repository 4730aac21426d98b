"""Whether memory grows while requests pass an example plugin: `python -m benchmarks.growth`.

Proportional memory (PSS) of the manager, the worker and the plugin process after each tenth of the requests. What the first
tenth takes is warming up; growth is what comes after it. Requests are unlike one another, so that whatever is kept for each
user, key or document would be seen.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import bcrypt
import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from benchmarks.load import backend, cpu_ns, settled, started
from benchmarks.peers import BACKEND_PORT, PORT, available
from benchmarks.plugged import filter_resource, plugged, tree

if TYPE_CHECKING:
    from benchmarks.peers import Peer

STEPS = 10

# `send(n)`, the method, path, fields and body of request n, stands before this.
SCRIPT = """
local sent, got, statuses = FIRST, 0, {}
function request()
  sent = sent + 1
  return wrk.format(send(sent))
end
function response(status)
  got = got + 1
  statuses[status] = (statuses[status] or 0) + 1
  if got == COUNT then
    for status, times in pairs(statuses) do io.write(status, "=", times, " ") end
    io.write("\\n")
    io.flush()
    wrk.thread:stop()
  end
end
"""


@dataclass(frozen=True)
class Case:
    """A plugin under the load that it is made for.

    Attributes:
        send: Lua: `function send(n)`, which returns method, path, fields and body of request n.
        resources: what the configuration refers to.
        expected: all statuses that there may be, the commonest first.
    """

    name: str
    kind: str
    config: dict[str, object]
    send: str
    resources: list[dict[str, object]] = field(default_factory=list)
    expected: tuple[int, ...] = (200,)


def secret(key: str, text: str) -> dict[str, object]:
    """Return a Secret of one key."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {key: text}}


def lua_list(texts: list[str]) -> str:
    """Return texts as a table of Lua."""
    return "{" + ", ".join(json.dumps(text) for text in texts) + "}"


def with_tokens() -> Case:
    """JWT: RS256; of ten tokens one has a signature that is wrong."""
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    end = int(time.time()) + 86400
    tokens = [jwt.encode({"sub": f"user-{n}", "exp": end}, key, "RS256") for n in range(1000)]
    tokens = [token if n % 10 else token[:-8] + "AAAAAAAA" for n, token in enumerate(tokens)]
    return Case(
        "jwt", "JWT", {"keys": {"inline": public.decode()}, "claimsToHeaders": {"x-user": "sub"}},
        f"""local tokens = {lua_list(tokens)}
        function send(n) return "GET", "/", {{authorization = "Bearer " .. tokens[n % #tokens + 1]}} end""",
        expected=(200, 401),
    )  # fmt: skip


def with_keys() -> Case:
    """APIKey: of ten keys one is unknown, and never the same one."""
    keys = [f"key-{n}" for n in range(100)]
    lines = "\n".join(f"user-{key}:{hashlib.sha256(key.encode()).hexdigest()}" for key in keys)
    return Case(
        "auth: APIKey", "APIKey", {"keys": {"name": "s", "key": "keys"}, "identityHeader": "x-user"},
        """function send(n)
          return "GET", "/", {["x-api-key"] = n % 10 > 0 and "key-" .. n % 100 or "unknown-" .. n}
        end""",
        [secret("keys", lines)], (200, 401),
    )  # fmt: skip


def with_passwords() -> Case:
    """BasicAuth: two passwords that are right, and without credentials; a wrong one would cost a hash each time."""
    lines = "\n".join(f"user{n}:{bcrypt.hashpw(b'secret', bcrypt.gensalt(4)).decode()}" for n in range(2))
    return Case(
        "auth: BasicAuth", "BasicAuth", {"users": {"name": "s", "key": "users"}, "identityHeader": "x-user"},
        """local known = {[0] = "Basic dXNlcjA6c2VjcmV0", "Basic dXNlcjE6c2VjcmV0"}
        function send(n) return "GET", "/", {authorization = n % 10 > 0 and known[n % 2] or nil, ["x-n"] = tostring(n)} end""",
        [secret("users", lines)], (200, 401),
    )  # fmt: skip


def cases() -> list[Case]:
    """Return the plugins under plugins/, all of them."""
    return [
        with_tokens(),
        with_keys(),
        with_passwords(),
        Case(
            "ratelimit", "RateLimit", {"requests": 5, "per": 3600, "key": "{header:x-user}"},
            # Of two requests one has a key of its own, the others share a thousand keys, which are soon empty.
            """function send(n)
              return "GET", "/", {["x-user"] = n % 2 > 0 and "once-" .. n or "often-" .. n % 2000}
            end""",
            expected=(200, 429),
        ),
        Case(
            "canary", "Canary", {
                "percentage": 10, "header": "x-user-id", "cookie": {"maxAge": 60}, "override": {"header": "x-canary"},
                "forward": {"header": "x-release"},
            },
            # One of three is known by a field, one by nothing and gets a cookie, one has a cookie.
            """function send(n)
              if n % 3 == 0 then return "GET", "/", {["x-user-id"] = "user-" .. n} end
              return "GET", "/", n % 3 == 1 and {} or {cookie = "fastgate_canary=user-" .. n}
            end""",
        ),
        Case(
            "transform", "JSONTransform", {
                "request": {"steps": [
                    {"rename": {"path": "$.items[*].sku", "to": "article"}}, {"set": {"path": "/meta/source", "value": "gateway"}},
                ]},
                "response": {"steps": [{"remove": "$..notes"}, {"wrap": "data"}]},
            },
            # Of a hundred documents one is no JSON.
            """function send(n)
              local body = '{"n": ' .. n .. ', "items": [{"sku": "a-' .. n .. '"}, {"sku": "b"}]}'
              return "POST", "/json", {["content-type"] = "application/json"}, n % 100 > 0 and body or "{"
            end""",
            expected=(200, 400),
        ),
        Case(
            "otlp", "OTLPLogs", {
                "endpoint": f"http://127.0.0.1:{BACKEND_PORT}/v1/logs", "requestHeaders": ["x-tenant"],
            },
            """function send(n) return "GET", "/" .. n .. "?q=" .. n, {["x-tenant"] = "tenant-" .. n} end""",
        ),
    ]  # fmt: skip


def load(case: Case, directory: Path, first: int, count: int) -> Counter[int]:
    """Send requests, and return how often each status came."""
    script = directory / "growth.lua"
    script.write_text(case.send + SCRIPT.replace("FIRST", str(first)).replace("COUNT", str(count)))
    command = ["wrk", "-t1", "-c64", "-d24h", "-s", str(script), f"http://127.0.0.1:{PORT}/"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        found = next(filter(None, (re.findall(r"(\d+)=(\d+)", line) for line in client.stdout)))
        client.send_signal(signal.SIGINT)  # its main thread would wait for the end of the time
        client.communicate()
    return Counter({int(status): int(times) for status, times in found})


def memory(pids: list[int]) -> tuple[int, int]:
    """KiB of proportional memory of processes once they stand still: all, and without pages of files."""
    settled(pids)
    texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    sizes = {
        kind: sum(int(re.search(rf"^{kind}:\s+(\d+)", text, re.MULTILINE)[1]) for text in texts)
        for kind in ("Pss", "Pss_File")
    }
    return sizes["Pss"], sizes["Pss"] - sizes["Pss_File"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1_000_000, help="through each plugin")
    parser.add_argument("--only", action="append", help="filter type; may be given again; default: all")
    options = parser.parse_args()
    count = options.requests // STEPS
    print(f"KiB of all processes (PSS) after {count} requests, and growth in the {count * (STEPS - 1)} after them")
    print(
        f"{'plugin':16} {'after':>8} {'growth':>8} {'of it no files':>14} {'last half':>10} {'CPU us/req':>10}   statuses"
    )
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        plain = next(peer for peer in available(directory) if peer.name == "fastgate")
        with backend(directory):
            for case in cases():
                if not options.only or case.kind in options.only:
                    filter_ = filter_resource("f", case.kind, config=case.config, timeout="5s")
                    peer = plugged(plain, "fastgate-growth", {"/": ["f"]}, [filter_, *case.resources])
                    measure(case, peer, directory, count)


def measure(case: Case, peer: Peer, directory: Path, count: int) -> None:
    """Send the requests of a case in steps, and print what memory became of."""
    with started(peer, directory, core=None) as process:
        sizes, statuses = [], Counter()
        for step in range(STEPS):
            statuses += load(case, directory, step * count, count)
            pids = tree(process.pid)
            sizes.append(memory(pids))
            if step == 0:
                first = pids
        if pids != first:
            sys.exit(f"{case.name}: processes were replaced: {first}, {pids}")
        if set(statuses) != set(case.expected):
            sys.exit(f"{case.name}: statuses {dict(statuses)}, expected {case.expected}")
        growth, own = (sizes[-1][i] - sizes[0][i] for i in (0, 1))
        late = sizes[-1][1] - sizes[STEPS // 2 - 1][1]
        cpu = sum(map(cpu_ns, pids)) / 1000 / (count * STEPS)
        counts = " ".join(f"{status}: {times}" for status, times in statuses.items())
        print(f"{case.name:16} {sizes[0][0]:8} {growth:8} {own:14} {late:10} {cpu:10.1f}   {counts}", flush=True)


if __name__ == "__main__":
    main()
