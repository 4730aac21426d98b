"""Volumes of a Pod as directories of the machine."""

from __future__ import annotations

import asyncio
import base64
from typing import TYPE_CHECKING

from kubelab.api import ApiError
from kubelab.downward import field

if TYPE_CHECKING:
    from pathlib import Path

    from kubelab.api import Api, Document

_AGAIN_SECONDS = 0.25


async def make(api: Api, pod: Document, container: Document, address: str, directory: Path) -> list[tuple[Path, str]]:
    """Make those that a container mounts; (source, target). Waits until the objects behind them exist."""
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
    mounts = []
    for mount in container.get("volumeMounts", ()):
        source = directory / mount["name"]
        if not source.exists():
            source.mkdir(parents=True)
            for path, content in (await _files(api, pod, volumes[mount["name"]], address)).items():
                (source / path).parent.mkdir(parents=True, exist_ok=True)
                (source / path).write_bytes(content)
        mounts.append((source / mount.get("subPath", ""), mount["mountPath"]))
    return mounts


async def read(api: Api, namespace: str, plural: str, name: str, *, optional: bool = False) -> dict[str, str]:
    """The data of a Secret or ConfigMap. It may be created after the Pod: wait for it, as a kubelet would."""
    while True:
        try:
            return (await api.get(f"/api/v1/namespaces/{namespace}/{plural}/{name}")).get("data") or {}
        except ApiError as error:
            if error.status != 404:
                raise
            if optional:
                return {}
        await asyncio.sleep(_AGAIN_SECONDS)


async def _files(api: Api, pod: Document, source: Document, address: str) -> dict[str, bytes]:
    """Contents by path of one volume, or of one source of a projected volume."""
    namespace = pod["metadata"]["namespace"]
    optional = any(isinstance(s, dict) and s.get("optional", False) for s in source.values())
    if "projected" in source:
        parts = [await _files(api, pod, part, address) for part in source["projected"]["sources"]]
        return {path: content for part in parts for path, content in part.items()}
    if secret := source.get("secret"):
        name = secret.get("secretName") or secret["name"]
        data = await read(api, namespace, "secrets", name, optional=optional)
        return _items(secret, {key: base64.b64decode(value) for key, value in data.items()})
    if config := source.get("configMap"):
        data = await read(api, namespace, "configmaps", config["name"], optional=optional)
        return _items(config, {key: value.encode() for key, value in data.items()})
    if token := source.get("serviceAccountToken"):
        return {token["path"]: (await _token(api, pod, token)).encode()}
    if fields := source.get("downwardAPI"):
        items = [item for item in fields.get("items", ()) if "fieldRef" in item]
        return {i["path"]: field(pod, address, i["fieldRef"]["fieldPath"]).encode() for i in items}
    if "emptyDir" in source:
        return {}
    raise NotImplementedError(f"no volume of this kind: {', '.join(source)}")


def _items(source: Document, files: dict[str, bytes]) -> dict[str, bytes]:
    return {item["path"]: files[item["key"]] for item in source["items"]} if source.get("items") else files


async def _token(api: Api, pod: Document, wanted: Document) -> str:
    metadata = pod["metadata"]
    account = pod["spec"].get("serviceAccountName", "default")
    spec = {
        "audiences": [wanted["audience"]] if "audience" in wanted else [],
        "expirationSeconds": wanted.get("expirationSeconds", 3600),
        "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]},
    }
    path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return (await api.post(path, request))["status"]["token"]
