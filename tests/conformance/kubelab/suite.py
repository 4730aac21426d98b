"""The official conformance suite, unchanged: how it is started, and what came of it."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kubelab import binaries, network

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from kubelab.cluster import Cluster

PROFILES = ("GATEWAY-HTTP", "GATEWAY-TLS", "GATEWAY-TCP", "GATEWAY-UDP")
USABLE = str(network.GATEWAYS[250])
STAND_IN = "echo-basic v0.1.0 stands in for v0.2.0 as the server behind the Gateways."
_VERDICT = re.compile(r"    --- (PASS|FAIL|SKIP): TestConformance/([^/ ]+) \(([\d.]+)s\)")
_STARTED = re.compile(r".* Running (\w+), relying on the following features")
_WHOLE = re.compile(r"--- (PASS|FAIL|SKIP): TestConformance \(([\d.]+)s\)")


@dataclass(frozen=True, slots=True)
class Run:
    """What to run against a GatewayClass. Without flags the suite reads the features to test from the GatewayClass's status."""

    gateway_class: str
    profiles: Sequence[str] = PROFILES
    only: str = ""  # a regular expression that names of tests match as a whole
    flags: Sequence[str] = ()
    usable: str = USABLE
    unusable: str = network.UNUSABLE


@dataclass(frozen=True, slots=True)
class Report:
    """Where the suite's report goes, and what it says of the implementation."""

    path: Path
    mode: str
    version: str
    organization: str = "fastgate"
    project: str = "fastgate"
    url: str = "https://fastgate.dev"
    contact: str = "https://fastgate.dev"

    def flags(self) -> Iterator[str]:
        yield f"--report-output={self.path}"
        for name in ("mode", "version", "organization", "project", "url", "contact"):
            yield f"--{name}={getattr(self, name)}"

    def say_stand_in(self) -> None:
        self.path.write_text(f"# {STAND_IN}\n{self.path.read_text()}")


@dataclass(slots=True)
class Outcome:
    """Names of tests by what came of them."""

    passed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    seconds: float = 0
    whole: bool = False  # the suite ran to its end, and nothing outside of a test failed

    def read(self, line: str) -> None:
        if verdict := _VERDICT.match(line):
            {"PASS": self.passed, "FAIL": self.failed, "SKIP": self.skipped}[verdict[1]].append(verdict[2])
        elif end := _WHOLE.match(line):
            self.seconds = float(end[2])
            self.whole = end[1] == "PASS"

    @property
    def succeeded(self) -> bool:
        return self.whole and bool(self.passed)

    def __str__(self) -> str:
        lines = [
            f"{len(self.passed)} passed, {len(self.failed)} failed, {len(self.skipped)} skipped, {self.seconds:.0f} s"
        ]
        lines += [f"  failed: {name}" for name in sorted(self.failed)]
        if not self.passed and not self.failed:
            lines.append("  no test ran")
        if not self.whole and not self.failed:
            lines.append("  the suite's own set-up or end failed")
        return "\n".join(lines)


def run(cluster: Cluster, wanted: Run, log: Path, report: Report | None = None, *, echo: bool = False) -> Outcome:
    """Run it; everything that it says goes to `log`, the names of tests to standard output, too, with `echo`."""
    outcome = Outcome()
    command = [*_command(wanted), *(report.flags() if report else ())]
    with (
        log.open("w", buffering=1) as out,
        subprocess.Popen(
            cluster.inside(*command),
            env=cluster.environment(),
            cwd=cluster.state,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process,
    ):
        for line in process.stdout or ():
            out.write(line)
            outcome.read(line)
            if echo and (started := _STARTED.match(line)):
                print(f"  {started[1]}", flush=True)  # verdicts come at the end, all together
    outcome.whole &= process.returncode == 0
    if report and report.path.exists():
        report.say_stand_in()
    return outcome


def _command(wanted: Run) -> list[str]:
    tests = f"^TestConformance$/^({wanted.only})$" if wanted.only else "^TestConformance$"
    return [
        str(binaries.program("conformance.test")),
        f"-test.run={tests}",
        "-test.timeout=80m",
        "-test.v",
        f"--gateway-class={wanted.gateway_class}",
        f"--conformance-profiles={','.join(wanted.profiles)}",
        f"--usable-address={wanted.usable}",
        f"--unusable-address={wanted.unusable}",
        *wanted.flags,
    ]
