"""Environment and command line of a container."""

from __future__ import annotations

import base64
import os
import re
import shlex
from typing import TYPE_CHECKING

from kubelab.downward import field
from kubelab.network import API_SERVICE
from kubelab.volumes import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kubelab.api import Api, Document

_REFERENCE = re.compile(r"\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


async def variables(api: Api, pod: Document, container: Document, address: str) -> dict[str, str]:
    """What the container's process finds in its environment; waits for what is referred to."""
    namespace = pod["metadata"]["namespace"]
    found = {
        "PATH": os.environ["PATH"],
        "HOME": "/tmp",
        "HOSTNAME": pod["metadata"]["name"],
        "KUBERNETES_SERVICE_HOST": API_SERVICE,
        "KUBERNETES_SERVICE_PORT": "443",
    }
    for each in container.get("env", ()):
        source = each.get("valueFrom", {})
        if "fieldRef" in source:
            value = field(pod, address, source["fieldRef"]["fieldPath"])
        elif "secretKeyRef" in source:
            reference = source["secretKeyRef"]
            data = await read(api, namespace, "secrets", reference["name"])
            value = base64.b64decode(data[reference["key"]]).decode()
        elif "configMapKeyRef" in source:
            reference = source["configMapKeyRef"]
            value = (await read(api, namespace, "configmaps", reference["name"]))[reference["key"]]
        elif source:
            continue  # resources: none are limited
        else:
            value = expanded(each.get("value", ""), found)
        found[each["name"]] = value
    return found


def expanded(text: str, values: Mapping[str, str]) -> str:
    """With $(NAME) replaced where NAME is known."""
    return _REFERENCE.sub(lambda match: values.get(match[1], match[0]), text)


def command(container: Document, entry_point: str, values: Mapping[str, str]) -> list[str]:
    """What the container runs; `entry_point` is that of its image."""
    words = container.get("command") or shlex.split(entry_point)
    return [expanded(word, values) for word in (*words, *container.get("args", ()))]
