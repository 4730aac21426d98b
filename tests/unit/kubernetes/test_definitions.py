from __future__ import annotations

import pytest

from fastgate.kubernetes.definitions import bundle, unsupported
from fastgate.kubernetes.kinds import KINDS

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def test_the_definitions_say_version_and_channel(api, following, until):
    annotations = {
        "gateway.networking.k8s.io/bundle-version": "v1.7.0",
        "gateway.networking.k8s.io/channel": "experimental",
    }
    seen = []
    async with following("CustomResourceDefinition") as cache:
        assert bundle(cache) == ("", "")
        cache.on_metadata = seen.append
        await api.put(CRDS, KINDS["Gateway"].full, "", metadata={"annotations": annotations})
        await until(lambda: seen)
        assert seen == [("CustomResourceDefinition", "", "gateways.gateway.networking.k8s.io")]
        assert bundle(cache) == ("v1.7.0", "experimental")


@pytest.mark.parametrize(
    ("version", "is_supported"), [("v1.7.0", True), ("v1.7.3", True), ("", True), ("v1.5.1", False)]
)
def test_patches_of_one_minor_version_agree(version, is_supported):
    assert (unsupported(version) == "") is is_supported


def test_a_definition_is_named_for_its_plural():
    assert KINDS["BackendTLSPolicy"].full == "backendtlspolicies.gateway.networking.k8s.io"
