"""How an implementation follows a cluster, after gateway-api-bench: `python -m benchmarks.control_plane`.

Every case has a new cluster (tests/conformance) and a new process of the implementation, on this machine; it needs root.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.control_plane.cases import CASES, SIZES

LAB = Path(__file__).parents[2] / "tests" / "conformance" / "run.py"
NAME = "bench"
POOL = "198.18.200.1-198.18.200.50"
FASTGATE = [
    str(Path(sys.executable).with_name("fastgate")),
    "run",
    "--kubernetes",
    "--workers=1",
    f"--address-pool={POOL}",
]
FASTGATE += ["--access-log=off", "--instance=benchmark", "--drain-timeout=0"]
ADDRESS = "198.18.200.1"
TRAEFIK = [
    shutil.which("traefik") or "traefik",
    "--providers.kubernetesgateway=true",
    f"--providers.kubernetesgateway.statusaddress.ip={ADDRESS}",
    f"--entrypoints.web.address={ADDRESS}:80",
    "--log.level=ERROR",
]
IMPLEMENTATIONS = {
    "fastgate": ("fastgate.dev/gateway-controller", FASTGATE),
    "traefik": ("traefik.io/gateway-controller", TRAEFIK),
}


def lab(*arguments: str) -> str:
    done = subprocess.run([sys.executable, str(LAB), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout


def run(case: str, size: int, name: str) -> dict:
    controller, command = IMPLEMENTATIONS[name]
    lab("up", "--name", NAME)
    try:
        words = [sys.executable, "-m", "benchmarks.control_plane.inside", case, str(size), name, controller, *command]
        return json.loads(lab("exec", "--name", NAME, *words).strip().splitlines()[-1])
    finally:
        lab("down", "--name", NAME)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", choices=CASES, help="all of them by default")
    parser.add_argument("--size", type=int, help="routes, rounds or ListenerSets in place of the case's own number")
    parser.add_argument("--implementation", action="append", choices=IMPLEMENTATIONS, help="both by default")
    parser.add_argument("--json", action="store_true", help="a line of JSON for each")
    options = parser.parse_args()
    for case in options.case or CASES:
        for name in options.implementation or IMPLEMENTATIONS:
            found = run(case, options.size or SIZES[case], name)
            if options.json:
                print(json.dumps(found), flush=True)
                continue
            figures = {key: value for key, value in found.items() if isinstance(value, float) or key not in found}
            figures |= {k: v for k, v in found.items() if k not in ("case", "size", "implementation")}
            said = ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in figures.items())
            print(f"{case} ({found['size']}), {name}: {said}", flush=True)


if __name__ == "__main__":
    main()
