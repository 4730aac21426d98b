"""Plugins of the process: what is found, what is refused, and what their hooks do."""

import sys
import types
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import field_validator

from fastgate import Metric, Resource, hookimpl
from fastgate.admin import plugged
from fastgate.ir import Cluster, Ir, Socket
from fastgate.plugins.manager import AmendError, Hooks
from fastgate.problems import Severity
from fastgate.sources.objects import Objects, Source
from fastgate.sources.plugged import Plugged


def plugin(**functions):
    """A module of hooks."""
    module = types.ModuleType("plugin")
    for name, function in functions.items():
        setattr(module, name, function)
    return module


def kinds(found):
    return plugin(fastgate_resource_kinds=hookimpl(lambda: found))


def hooks(**plugins):
    return Hooks(plugins, look=False)


def only_problem(found):
    (problem,) = found.problems
    assert problem.severity is Severity.WARNING  # a plugin never keeps the gateway from starting
    return problem.message


# --- which are used --------------------------------------------------------------------------------------------------


def test_what_is_installed_is_found(install):
    install(
        "dist-hooks",
        {"one": "mod_one", "two": "mod_two:plugin"},
        group="fastgate",
        mod_one="import fastgate\n@fastgate.hookimpl\ndef fastgate_startup(): pass",
        mod_two="import fastgate\nclass Two:\n    @fastgate.hookimpl\n    def fastgate_metrics(self): pass\nplugin = Two()",
    )
    found = Hooks()
    assert [(p.name, p.hooks) for p in found.plugins if p.name == "dist-hooks"] == [
        ("dist-hooks", ("fastgate_startup",)),
        ("dist-hooks", ("fastgate_metrics",)),
    ]
    assert found.has("fastgate_metrics")
    assert not found.has("fastgate_amend_ir")
    assert found.problems == []


def test_a_failing_import_disables_its_distribution(install):
    install(
        "dist-bad",
        {"bad": "mod_bad", "fine": "mod_fine"},
        group="fastgate",
        mod_bad="raise RuntimeError('odd')",
        mod_fine="import fastgate\n@fastgate.hookimpl\ndef fastgate_startup(): pass",
    )
    found = Hooks()
    message = only_problem(found)
    assert message.startswith("distribution dist-bad is disabled: mod_bad cannot be imported: RuntimeError: odd (")
    assert message.endswith("/mod_bad.py:1)")
    assert not found.has("fastgate_startup")
    assert "mod_bad" not in sys.modules


@pytest.mark.parametrize(
    ("functions", "said"),
    [
        (
            {"fastgate_start": hookimpl(lambda: None)},
            r"there is no hook fastgate_start; did you mean fastgate_startup\?",
        ),
        ({"fastgate_startup": lambda: None}, "fastgate_startup is not marked with @fastgate.hookimpl"),
        ({"fastgate_startup": hookimpl(lambda banana: banana)}, "banana"),
    ],
)
def test_a_hook_that_there_is_not_disables_its_plugin(functions, said):
    found = hooks(odd=plugin(fastgate_shutdown=hookimpl(lambda: None), **functions))
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(only_problem(found))
    assert found.plugins == []
    assert not found.has("fastgate_shutdown")


def test_an_optional_hook_need_not_exist():
    found = hooks(a=plugin(fastgate_of_tomorrow=hookimpl(optionalhook=True)(lambda: None)))
    assert found.problems == []
    assert [p.hooks for p in found.plugins] == [()]


class Colour(Resource):
    spec: dict[str, str]


PAINT = ("acme.dev/v1", "Paint")


def paint(**more):
    return {"apiVersion": "acme.dev/v1", "kind": "Paint", "metadata": {"name": "red"}, "spec": {"is": "red"}, **more}


def test_kinds_of_plugins_are_validated_and_stored():
    loaded = Objects(hooks(a=kinds({PAINT: Colour})).kinds).load([Source(paint())])
    assert loaded.problems == ()
    assert loaded.store.get("Paint", "default", "red").spec == {"is": "red"}
    refused = Objects(hooks(a=kinds({PAINT: Colour})).kinds).load([Source(paint(spec=[], more=1))])
    assert [problem.message for problem in refused.problems] == [
        "must be a valid dictionary",
        "unknown field 'more'",
    ]
    (unknown,) = Objects().load([Source(paint())]).problems
    assert "kind Paint of acme.dev/v1 is not served" in unknown.message


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ({("gateway.example/v1", "Filter"): Colour}, "a kind of a is left out: Filter is a kind of fastgate's own"),
        ({PAINT: dict}, "a kind of a is left out: the model of Paint is not a class derived from fastgate.Resource"),
        ({"Paint": Colour}, "a kind of a is left out: a kind is named by apiVersion and kind, not by 'Paint'"),
        (7, "fastgate_resource_kinds of a failed: TypeError: 'int' object is not iterable"),
    ],
)
def test_kinds_that_cannot_be_used(found, said):
    assert only_problem(hooks(a=kinds(found))) == said


def test_two_plugins_have_no_kind_of_one_name():
    found = hooks(a=kinds({PAINT: Colour}), b=kinds({("other.dev/v1", "Paint"): Colour}))
    assert only_problem(found) == "a kind of b is left out: Paint is a kind of another plugin, too"
    assert found.kinds == {PAINT: Colour}


def test_a_model_that_fails_refuses_its_resource():
    class Odd(Resource):
        spec: str

        @field_validator("spec")
        @classmethod
        def _fail(cls, value):
            raise RuntimeError(value)

    loaded = Objects({PAINT: Odd}).load([Source(paint(spec="odd"))])
    assert [problem.message for problem in loaded.problems] == ["the model of Paint failed: RuntimeError: odd"]


def test_resources_are_given_to_who_amends():
    def amend(ir, resources):
        return replace(ir, sockets=(Socket(resources.get("Paint", "default", "red").spec["is"], 80, ()),))

    loaded = Objects({PAINT: Colour}).load([Source(paint())])
    assert hooks(a=amending(amend)).amend(IR, loaded.store).sockets[0].address == "red"


# --- how they are called ---------------------------------------------------------------------------------------------


async def test_start_and_end_wait_and_survive_failures(caplog):
    calls = []

    @hookimpl
    async def waits():
        calls.append("waits")

    @hookimpl
    def raises():
        calls.append("raises")
        raise RuntimeError("odd")

    @hookimpl
    async def raises_later():
        calls.append("raises later")
        raise RuntimeError("odd")

    found = hooks(
        a=plugin(fastgate_startup=raises), b=plugin(fastgate_startup=raises_later), c=plugin(fastgate_startup=waits)
    )
    await found.call_and_wait("fastgate_startup")
    assert calls == ["raises", "raises later", "waits"]
    assert [record.getMessage() for record in caplog.records] == [
        "fastgate_startup of a failed",
        "fastgate_startup of b failed",
    ]
    await found.call_and_wait("fastgate_shutdown")


def test_metrics_are_served_unless_they_spoil_the_page(caplog):
    good = [
        Metric("acme_things", 'things of "acme"\nand others', "counter", [({"kind": 'a"\\\n'}, 3), ({"kind": "b"}, 4)]),
        Metric("acme_level", "level", "gauge", [({}, 0.5)]),
    ]
    bad = [
        Metric("fastgate_requests", "ours", "counter", []),
        Metric("acme_level", "twice", "gauge", []),
        Metric("a b", "no name", "gauge", []),
        Metric("acme_x", "no label", "gauge", [({"a b": "c"}, 1)]),
        Metric("acme_y", "no number", "gauge", [({}, "many")]),
        Metric("acme_z", "no kind", "histogram", []),
        Metric("acme_n", None, "gauge", []),
        "no metric",
    ]

    def partly():
        yield good[0]
        raise RuntimeError("odd")

    found = hooks(a=plugin(fastgate_metrics=hookimpl(lambda: good + bad)), b=plugin(fastgate_metrics=hookimpl(partly)))
    collected = found.collect("fastgate_metrics")
    assert [name for name, _ in collected] == ["a"] * 10
    families = {family.name: family for family in text_string_to_metric_families(plugged.exposition(collected))}
    assert {(n, s.value) for n, f in families.items() for s in f.samples} == {
        ("acme_things", 3.0),
        ("acme_things", 4.0),
        ("acme_level", 0.5),
    }
    assert families["acme_things"].samples[0].labels == {"kind": 'a"\\\n'}
    messages = [record.getMessage() for record in caplog.records]
    assert sum(message.startswith("a metric of plugin a is left out: ") for message in messages) == len(bad)


def amending(function):
    return plugin(fastgate_amend_ir=hookimpl(function))


IR = Ir(clusters=(Cluster("Service/a/b/80"),))


def test_the_ir_is_amended_by_one_after_the_other():
    seen = []

    def first(ir):
        return replace(ir, sockets=(Socket("", 80, ()),))

    def second(ir):
        seen.append(ir)

    def third():
        seen.append(None)

    assert hooks(a=amending(first), b=amending(second), c=amending(third)).amend(IR) == first(IR)
    assert seen == [first(IR), first(IR), None, None]


def impure(results):
    def amend():
        return results.pop()

    return amend


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda ir: ir.nothing, "fastgate_amend_ir of a failed: AttributeError"),
        (impure([IR, Ir()]), "is not pure"),
        (impure([IR, None]), "is not pure"),
        (lambda ir: ir.clusters, "returned a tuple, not an Ir"),
        (lambda: Ir(clusters=(Cluster("Service/x"),)), "added clusters: Service/x"),
    ],
)
def test_what_amends_in_a_wrong_way_is_refused(function, said):
    with pytest.raises(AmendError, match=said):
        hooks(a=amending(function)).amend(IR)


# --- sources of resources --------------------------------------------------------------------------------------------


class Vault:
    name = "vault"

    def __init__(self):
        self.documents = [{"kind": "A"}]
        self.fails = False

    def read(self):
        if self.fails:
            raise OSError("no vault")
        return self.documents


def test_sources_are_read_and_keep_what_they_had():
    vault, asked = Vault(), []
    found = hooks(a=plugin(fastgate_config_sources=hookimpl(lambda changed: asked.append(changed) or [vault])))
    changed = object()
    sources = Plugged(found, changed)
    assert asked == [changed]
    documents, problems = sources.read()
    assert ([(d.value, d.file) for d in documents], problems) == ([({"kind": "A"}, "vault")], [])
    assert documents[0].value is not vault.documents[0]  # which the plugin may change
    vault.fails = True
    again, problems = sources.read()
    assert [d.value for d in again] == [{"kind": "A"}]
    assert [str(p) for p in problems] == ["vault: warning: cannot be read: OSError: no vault"]
    vault.fails, vault.documents = False, []
    assert sources.read() == ([], [])


def test_without_plugins_there_is_nothing():
    assert Plugged().read() == ([], [])
    assert hooks().collect("fastgate_metrics") == []
    assert hooks().amend(IR) is IR
