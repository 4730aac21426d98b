"""What an API server has validated means the same, however it was decoded; and what it should not have sent harms nobody."""

from __future__ import annotations

import copy
import json
import random
from functools import cache
from pathlib import Path

import msgspec
import pytest
import yaml
from certificates import filled
from filter_types import CATALOG

from fastgate import api
from fastgate.api.structs import decoder_of
from fastgate.kubernetes.kinds import KINDS
from fastgate.store import Store
from fastgate.translate import translate
from fastgate.translate.references import KINDS as REFERRERS
from fastgate.translate.references import references_of

GOLDEN = Path(__file__).parents[2] / "golden"
BASE = list(yaml.safe_load_all((GOLDEN / "base.yaml").read_text()))
CASES = sorted((GOLDEN / "cases").glob("*.yaml"))


@cache
def documents_of(case):
    text = case.read_text().partition("---\n# expected\n")[0]
    return [completed(filled(each)) for each in [*BASE, *yaml.safe_load_all(text)] if each is not None]


def completed(document):
    """As an API server sends it."""
    kind = KINDS[document["kind"]]
    document = {"apiVersion": kind.api_version(kind.versions[0]), **document}
    return json.loads(json.dumps(document, default=lambda time: time.strftime("%Y-%m-%dT%H:%M:%SZ")))


def key_of(document):
    kind = KINDS[document["kind"]]
    return (kind.name, document["metadata"]["namespace"] if kind.namespaced else "", document["metadata"]["name"])


def decoded(document):
    model = api.model_of(document["apiVersion"], document["kind"])
    return decoder_of(model).decode(json.dumps(document).encode())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_structure_means_what_its_model_means(case):
    models, structures = {}, {}
    for document in documents_of(case):
        try:
            model = api.parse(copy.deepcopy(document))
        except (api.Invalid, api.UnknownKind):
            continue  # the API server would have refused it
        models[key_of(document)] = model
        structures[key_of(document)] = decoded(document)
    assert translate(Store(structures), CATALOG) == translate(Store(models), CATALOG)


def paths(value, path=()):
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, item in items:
        yield (*path, name)
        yield from paths(item, (*path, name))


def damaged(document, source):
    document = copy.deepcopy(document)
    for path in source.choices([p for p in paths(document) if p[0] not in ("metadata", "apiVersion", "kind")], k=2):
        parent = document
        try:
            for name in path[:-1]:
                parent = parent[name]
            before = parent[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue
        others = {str: ["", "x" * 300, "\xfc", "*", "*.", "a b", "0"], int: [0, -1, 1 << 31], list: [[]]}
        parent[path[-1]] = source.choice([None, *others.get(type(before), [])])
    return document


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_what_no_api_server_should_send_is_malformed_or_translated(case):
    source = random.Random(case.stem)
    for _ in range(8):
        store = {}
        for document in documents_of(case):
            try:
                has_fields = any(name not in ("metadata", "apiVersion", "kind") for name in document)
                resource = decoded(damaged(document, source) if has_fields and source.random() < 0.5 else document)
            except msgspec.MsgspecError:
                continue
            store[key_of(document)] = resource
            if document["kind"] in REFERRERS:
                references_of(document["kind"], resource, CATALOG)
        translate(Store(store), CATALOG)
