"""The models beside an API server: equal verdicts and equal defaulted objects for thousands of documents."""

import json
import re
from pathlib import Path

import crd_oracle
import faults
import gateway_api
import mutants
import pytest
import yaml

from fastgate import api
from fastgate.api.base import GROUP

# Where the models refuse on purpose what the API server takes: what they say, and why.
STRICTER = {
    r"must be an IPv4 or IPv6 address when type is IPAddress, not '[\d.]*\b0\d": "10.0.0.010 is 10.0.0.10 to some and 10.0.0.8 to others",
}
pytestmark = pytest.mark.timeout(1200)  # compiling the oracle, once for each version of it


def ours(document):
    """(the defaulted document or None, messages)."""
    try:
        resource = api.parse(document)
    except api.Invalid as e:
        return None, [f"{problem.path}: {problem.message}" for problem in e.problems]
    except api.UnknownKind as e:
        return None, [str(e)]
    return resource.model_dump(mode="json", by_alias=True, exclude_none=True), []


def seeds(kind):
    """Valid documents that have every field of a kind between them."""
    with (Path(__file__).parent / "seeds.yaml").open() as f:
        yield from (document for document in yaml.safe_load_all(f) if document["kind"] == kind)


def examples(pattern):
    """The module's documents of our kinds."""
    return [d for _, d in gateway_api.documents(pattern) if d["kind"] in gateway_api.PLURALS]


def differences(documents, channel="standard", stricter=STRICTER):
    """Documents about which the API server and the models do not agree."""
    out = []
    for document, verdict in zip(documents, crd_oracle.judge(documents, channel), strict=True):
        taken, messages = ours(document)
        if taken is None and any(re.search(said, message) for said in stricter for message in messages):
            continue
        if (taken is None) != (verdict.object is None):
            out.append((document, verdict.errors or "accepted", messages or "accepted"))
        elif taken is not None and (taken["spec"], names(taken)) != (verdict.object["spec"], names(verdict.object)):
            out.append((document, verdict.object, taken))
    return out


def names(document):
    metadata = document["metadata"]
    return metadata["name"], metadata.get("labels") or {}, metadata.get("annotations") or {}


def all_mutants(kind, version="v1", channel="standard"):
    versions = gateway_api.crd(gateway_api.PLURALS[kind], channel)["spec"]["versions"]
    schema = next(v["schema"] for v in versions if v["name"] == version)["openAPIV3Schema"]["properties"]["spec"]
    found = {}
    for seed in seeds(kind):
        document = seed if version == "v1" else {**seed, "apiVersion": f"{GROUP}/{version}"}
        for mutant in (document, *mutants.mutants(document, schema)):
            if isinstance(mutant["metadata"].get("name"), str) and mutant["metadata"]["name"]:
                found.setdefault(json.dumps(mutant, sort_keys=True), mutant)
    return list(found.values())


@pytest.mark.parametrize("kind", gateway_api.PLURALS)
def test_verdicts_and_defaults_are_the_api_servers(kind):
    assert differences(all_mutants(kind)) == []


# Versions that only the experimental channel serves; without what v1 of the standard channel does not have.
DEPRECATED = [("TLSRoute", "v1alpha2"), ("TLSRoute", "v1alpha3"), ("TCPRoute", "v1alpha2")]  # a UDPRoute is a TCPRoute
WITHOUT = {
    "it is of the experimental channel": "useDefaultGateways",
    r"sectionName must be (specified|unique)": "parentRefs that differ in their ports only",
}


@pytest.mark.parametrize(("kind", "version"), DEPRECATED)
def test_deprecated_versions_are_judged_by_their_own_crds(kind, version):
    documents = all_mutants(kind, version, "experimental")
    assert differences(documents, "experimental", {**STRICTER, **WITHOUT}) == []
    assert sum(ours(document)[0] is not None for document in documents) > 50


def test_seeds_and_the_modules_examples_are_valid():
    documents = [seed for kind in gateway_api.PLURALS for seed in seeds(kind)] + examples("examples/standard/**/*.yaml")
    assert len(documents) > 50
    assert [v.errors for v in crd_oracle.judge(documents) if v.errors] == []
    assert differences(documents) == []


def test_the_modules_invalid_examples_are_refused_by_both():
    documents = examples("hack/invalid-examples/standard/**/*.yaml")
    assert len(documents) > 10
    assert [v for v in crd_oracle.judge(documents) if v.object is not None] == []
    assert differences(documents) == []


def test_the_api_server_says_the_same_to_every_broken_rule():
    documents = [
        {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": {"name": "x"}, "spec": spec}
        for kind, spec, _ in faults.FAULTS
    ]
    for (kind, _, message), verdict in zip(faults.FAULTS, crd_oracle.judge(documents), strict=True):
        said = " ".join(m for _, m in verdict.errors).lower()
        expected = (
            "Listener name must be unique within the Gateway" if message.startswith("duplicate name") else message
        )
        assert expected.lower() in said, (kind, expected)
