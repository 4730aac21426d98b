"""The exposition, read by Prometheus's own parser."""

from prometheus_client.parser import text_string_to_metric_families

from fastgate.admin.metrics import MAX_ENDPOINTS, exposition
from fastgate.core import engine
from fastgate.health import Checked
from fastgate.ir import Endpoint
from fastgate.statistics import OWN, Series, Totals

ODD = 'HTTPRoute/ns/"odd\\name\n'


def families(totals, checked=()):
    text = exposition(totals, dict.fromkeys(OWN, 3), checked, ready=True)
    found = list(text_string_to_metric_families(text))
    assert len({family.name for family in found}) == len(found)  # the samples of a family stand together
    return {family.name: family for family in found}


def totals():
    out = Totals({name: 2 for name, _, _ in engine.counters()}, {"no_route": 1}, {"connect_failed": 4})
    series = out.series["Gateway/ns/g/l", ODD] = Series(latency_sum=1_500_000, received=7, sent=9)
    series.status_class[2] = 5
    series.latency[0], series.latency[-1] = 3, 2
    return out


def test_every_family_is_typed_and_told():
    for name, family in families(totals()).items():
        assert name.startswith("fastgate_")
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


def test_checked_endpoints_are_shown_and_bounded():
    checked = [Checked("b", Endpoint("::1", port + 1), healthy=port > 1, why="") for port in range(MAX_ENDPOINTS + 9)]
    found = families(Totals(), [*checked, Checked("b", Endpoint("::1", 1, weight=7), healthy=False, why="")])
    shown = found["fastgate_endpoint_healthy"].samples
    assert len(shown) == MAX_ENDPOINTS
    assert (shown[0].labels, shown[0].value) == ({"backend": "b", "endpoint": "[::1]:1"}, 0)
    assert found["fastgate_endpoints_unhealthy"].samples[0].value == 2
