"""The exposition, read by Prometheus's own parser."""

import os
import re
import time
from datetime import UTC, datetime
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fastgate.admin.metrics import MAX_ENDPOINTS, exposition
from fastgate.core import engine
from fastgate.health import Checked
from fastgate.ir import Endpoint, KeyPair
from fastgate.runtime import LastReload
from fastgate.statistics import OWN, FilterSeries, ListenerSeries, Series, Statistics, Totals
from fastgate.translate.expiry import Shown

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "metrics.md"
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) ?\| (\w*) ?\| (.+) \|$", re.MULTILINE)
ODD = 'HTTPRoute/ns/"odd\\name\n'


def families(totals, checked=(), last=LastReload(), certificates=()):
    text = exposition(totals, dict.fromkeys(OWN, 3), checked, last, certificates, ready=True)
    found = list(text_string_to_metric_families(text))
    assert len({family.name for family in found}) == len(found)  # the samples of a family stand together
    return {family.name: family for family in found}


def shown(listener, end, *names):
    over = datetime.fromtimestamp(end, UTC)
    return Shown(listener, KeyPair("digest", names, "RSA 2048", over, over, b"", b""))


def totals():
    out = Totals({name: 2 for name, _, _ in engine.counters()}, {"no_route": 1}, {"connect_failed": 4})
    series = out.series["Gateway/ns/g/l", ODD] = Series(latency_sum=1_500_000, received=7, sent=9)
    series.status_class[2] = 5
    series.latency[0], series.latency[-1] = 3, 2
    stamp = out.filters["ns/stamp"] = FilterSeries(calls=7, waiting=1, latency_sum=2_500_000_000, counts={"hits": 9})
    stamp.errors[1] = 4
    stamp.latency[2] = 6
    tls = out.listeners["Gateway/ns/g/tls"] = ListenerSeries(connections=6, active=2, received=11, datagrams_dropped=3)
    tls.handshakes[4] = 5
    return out


def test_every_family_is_typed_and_told():
    for name, family in families(totals()).items():
        assert name.startswith("fastgate_") or name == "process_start_time_seconds"
        assert family.documentation
        assert family.type in ("counter", "gauge", "histogram")


def test_counters_of_the_engine_keep_their_kind():
    found = families(totals())
    assert found["fastgate_requests"].type == "counter"
    assert found["fastgate_requests"].samples[0].name == "fastgate_requests_total"
    assert found["fastgate_connections_open"].type == "gauge"
    assert found["fastgate_upstream_errors"].samples[0][1:3] == ({"reason": "connect_failed"}, 4)


def test_labels_survive_whatever_is_in_them():
    (sample,) = families(totals())["fastgate_requests_by_route"].samples
    assert sample.labels == {"listener": "Gateway/ns/g/l", "route": ODD, "code": "2xx"}
    assert sample.value == 5


def test_a_histogram_is_cumulative_and_in_seconds():
    samples = families(totals())["fastgate_request_duration_seconds"].samples
    buckets = [s for s in samples if s.name.endswith("_bucket")]
    assert [s.value for s in buckets] == sorted(s.value for s in buckets)
    assert (buckets[0].labels["le"], buckets[0].value) == ("0.0001", 3)
    assert (buckets[-1].labels["le"], buckets[-1].value) == ("+Inf", 5)
    assert {s.name.rpartition("_")[2]: s.value for s in samples if "le" not in s.labels} == {"sum": 1.5, "count": 5}


def test_filters_are_shown_by_name():
    found = families(totals())
    named = {"filter": "ns/stamp"}

    def samples(name):
        return [(sample.labels, sample.value) for sample in found[name].samples]

    assert samples("fastgate_filter_calls") == [(named, 7)]
    assert samples("fastgate_filter_waiting") == [(named, 1)]
    assert samples("fastgate_filter_errors") == [
        ({**named, "kind": kind}, n) for kind, n in (("failed", 0), ("timeout", 4), ("overloaded", 0), ("open", 0))
    ]
    assert samples("fastgate_filter_counts") == [({**named, "name": "hits"}, 9)]
    time = {s.name.rpartition("_")[2]: s.value for s in found["fastgate_filter_duration_seconds"].samples}
    assert (time["sum"], time["count"]) == (2.5, 6)


def test_listeners_below_http_are_shown_by_name():
    found = families(totals())
    named = {"listener": "Gateway/ns/g/tls"}

    def samples(name):
        return [(sample.labels, sample.value) for sample in found[name].samples]

    assert samples("fastgate_listener_connections") == [(named, 6)]
    assert samples("fastgate_listener_relays_open") == [(named, 2)]
    assert samples("fastgate_tls_handshakes") == [({**named, "version": "1.3", "result": "resumed"}, 5)]
    assert samples("fastgate_relay_received_bytes") == [(named, 11)]
    assert samples("fastgate_datagrams") == [
        ({**named, "what": what}, n) for what, n in (("received", 0), ("sent", 0), ("dropped", 3))
    ]


def test_what_filters_and_listeners_count_outlives_the_manager():
    before, after = Statistics(), Statistics()
    before._base = totals()
    after.restore([before.document()])
    assert after.totals().filters == before.totals().filters == totals().filters
    assert after.totals().listeners == before.totals().listeners == totals().listeners


def test_checked_endpoints_are_shown_and_bounded():
    checked = [Checked("b", Endpoint("::1", port + 1), healthy=port > 1, why="") for port in range(MAX_ENDPOINTS + 9)]
    found = families(Totals(), [*checked, Checked("b", Endpoint("::1", 1, weight=7), healthy=False, why="")])
    shown = found["fastgate_endpoint_healthy"].samples
    assert len(shown) == MAX_ENDPOINTS
    assert (shown[0].labels, shown[0].value) == ({"backend": "b", "endpoint": "[::1]:1"}, 0)
    assert found["fastgate_endpoints_unhealthy"].samples[0].value == 2


def unit_of(name):
    return next((unit for unit in ("seconds", "bytes") if unit in name), "")


CHECKED = [Checked("b", Endpoint("::1", 1), healthy=True, why="")]


def test_the_document_lists_every_metric_as_it_is():
    documented = {name: (kind, re.findall(r"`(\w+)`", labels), unit, text) for name, kind, labels, unit, text in
                  ROW.findall(DOCUMENT.read_text())}  # fmt: skip
    found = {}
    for family in families(totals(), CHECKED, certificates=[shown("l", 1)]).values():
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = [label for label in family.samples[0].labels if label != "le"]
        found[name] = (family.type, labels, unit_of(name), family.documentation)
    assert documented == found


def test_the_last_reload_is_shown():
    found = families(totals(), last=LastReload(successful=False, succeeded_at=1234.5))
    assert found["fastgate_config_last_reload_successful"].samples[0].value == 0
    assert found["fastgate_config_last_reload_success_timestamp_seconds"].samples[0].value == 1234.5


def test_the_start_of_this_process_is_shown():
    began = families(totals())["process_start_time_seconds"].samples[0].value
    assert began < time.time()
    assert abs(began - Path(f"/proc/{os.getpid()}").stat().st_ctime) < 5  # made when it was first looked at


def test_certificates_say_when_they_are_over():
    certificates = [shown("g/l", 900, "a", "b"), shown("g/l", 800, "a"), shown("g/m", 700)]
    samples = families(Totals(), certificates=certificates)["fastgate_certificate_not_after_timestamp_seconds"].samples
    assert [(sample.labels, sample.value) for sample in samples] == [
        ({"listener": "g/l", "name": "a", "key": "RSA 2048"}, 800),
        ({"listener": "g/m", "name": "", "key": "RSA 2048"}, 700),
    ]
