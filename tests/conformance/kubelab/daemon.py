"""The cluster's own process: its node and its Services. lifecycle.py starts it in the cluster's network."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from kubelab.api import Api
from kubelab.cluster import named
from kubelab.node import Node
from kubelab.services import Proxy


async def _serve(name: str, state: Path, images: dict[str, str]) -> None:
    cluster = named(name, state)
    async with Api(cluster.kubeconfig) as api, asyncio.TaskGroup() as tasks:
        tasks.create_task(Node(api, cluster, images).run())
        tasks.create_task(Proxy(api).run())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--image", action="append", default=[], metavar="NAME=COMMAND")
    options = parser.parse_args()
    asyncio.run(_serve(options.name, options.state, dict(image.split("=", 1) for image in options.image)))


if __name__ == "__main__":
    main()
