"""Whole engines in C programs, with the real parsers: allocations counted, allocations failed, threads watched."""

from dataclasses import replace

import native
import pytest

from fastgate import ir
from fastgate.core import snapshot
from wire import config, forward, match

pytestmark = pytest.mark.timeout(600)  # the first time they are compiled
WRAP = ("-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc",)
PHASES = ("request", "request_body", "upstream", "response", "response_body", "local_reply", "log")
EDITS = ir.HeaderEdits(set=(("X-Set", "new"),), add=(("X-Added", "1"),), remove=("x-removed", "x-internal"))


def rule(name, action, filters=ir.Filters()):
    return ir.Rule(f"HTTPRoute/ns/{name}/0", f"HTTPRoute/ns/{name}", "", action, filters)


def filters(*phases, buffer_body=0):
    """One in the plugin process, then one inline."""
    plugins = (ir.Plugin(f"ns/{n}", "Any", "{}", 2000, True, n == 1, frozenset(phases), buffer_body) for n in range(2))
    return ir.Filters(plugins=tuple(plugins))


def image(tmp_path, generation):
    """What tests/csrc/fg_mix.h asks for; the two generations differ in their edits."""
    edits = replace(EDITS, add=(("X-Added", str(generation)),))
    rewrite = ir.PathRewrite(ir.PathKind.PREFIX, "/chunked")
    matches = (
        match(rule("missing", ir.Respond(404, "no_route")), "/missing"),
        match(rule("moved", ir.Redirect(302, path=ir.PathRewrite(ir.PathKind.EXACT, "/"))), "/moved"),
        match(rule("edited", forward().action, ir.Filters(edits, edits, "inside.example.com", rewrite)), "/edited"),
        match(rule("two", forward("c", "d").action), "/two"),
        match(rule("filtered", forward().action, filters(*PHASES)), "/filtered"),
        match(rule("buffered", forward().action, filters("request", "log", buffer_body=65536)), "/buffered"),
        ir.Match(
            ir.PathMatch(ir.PathKind.PREFIX, "/by"),
            "PUT",
            (ir.ValueMatch("x-choice", ir.ValueKind.EXACT, "b"),),
            (),
            rule("by-header", forward("d").action),
        ),
        match(forward()),
    )
    path = tmp_path / f"image-{generation}"
    settings = ir.Settings(access_log=ir.AccessLog.JSON)
    path.write_bytes(snapshot.build(config(*matches, settings=settings, hostname="*.example.com"), generation))
    return path


def engine(name, flags, *more, link=()):
    sources = [native.TESTS / f"{n}.c" for n in (name, "fg_rig", *more)]
    return native.program([*sources, *native.ENGINE], flags, embed=True, link=link)


def test_steady_traffic_allocates_nothing(tmp_path):
    native.run(engine("allocations", ("-O2",), "fg_alloc", link=WRAP), image(tmp_path, 1))


@pytest.mark.parametrize("path", ["/long-head", "/filtered/long-head", "/buffered/long-head"])
def test_a_failed_allocation_costs_what_needed_it(tmp_path, path):
    native.run(engine("failures", native.ADDRESS, "fg_alloc", link=WRAP), image(tmp_path, 1), path)


def test_threads_share_nothing_unsaid(tmp_path):
    log = tmp_path / "log"
    native.run(engine("soak", native.THREAD), image(tmp_path, 1), image(tmp_path, 2), log, seconds=240)
    assert log.read_bytes().endswith(b"}\n")
