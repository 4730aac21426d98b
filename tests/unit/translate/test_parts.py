from __future__ import annotations

from datetime import datetime
from types import SimpleNamespace

import pytest

from fastgate.durations import milliseconds, spelled
from fastgate.translate.conditions import Condition, GatewayStatus, ListenerStatus, Statuses, to_json
from fastgate.translate.hostnames import covers, intersects
from fastgate.translate.http_route import normalized_path
from fastgate.translate.precedence import age, hostname_key
from fastgate.translate.programmed import Bound, resolve
from fastgate.translate.selectors import selects


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "value"),
        [("0s", 0), ("0h0m0s0ms", 0), ("1h", 3_600_000), ("1m30s", 90_000), ("10ms", 10), ("99999s", 99_999_000)],
    )
    def test_parts_add_up(self, text, value):
        assert milliseconds(text) == value

    def test_no_duration_is_no_limit(self):
        assert milliseconds(None) == 0

    @pytest.mark.parametrize("text", ["", "1", "s", "1d", "-1s", "1.5s", "1s ", "1000000s"])
    def test_everything_else_is_refused(self, text):
        with pytest.raises(ValueError, match="not a duration"):
            milliseconds(text)

    @pytest.mark.parametrize("text", ["0s", "1ms", "90ms", "1s", "1m30s", "1h1m1s1ms", "99999h59m59s999ms"])
    def test_they_are_written_in_their_largest_units(self, text):
        assert spelled(milliseconds(text)) == text

    @pytest.mark.parametrize("duration", [-1, milliseconds("99999h59m59s999ms") + 1])
    def test_what_cannot_be_written(self, duration):
        with pytest.raises(ValueError, match="no duration between"):
            spelled(duration)


class TestHostnames:
    @pytest.mark.parametrize(
        ("pattern", "hostname", "expected"),
        [
            ("", "", True),
            ("", "a.example.com", True),
            ("*.example.com", "a.example.com", True),
            ("*.example.com", "a.b.example.com", True),
            ("*.example.com", "*.b.example.com", True),
            ("*.example.com", "*.example.com", True),
            ("*.example.com", "example.com", False),
            ("*.example.com", "badexample.com", False),
            ("*.b.example.com", "*.example.com", False),
            ("*.example.com", "", False),
            ("a.example.com", "b.example.com", False),
            ("a.example.com", "*.example.com", False),
        ],
    )
    def test_a_pattern_covers_what_belongs_to_it(self, pattern, hostname, expected):
        assert covers(pattern, hostname) is expected

    def test_patterns_intersect_when_one_covers_the_other(self):
        assert intersects("*.example.com", "a.example.com")
        assert intersects("a.example.com", "*.example.com")
        assert not intersects("*.a.example.com", "*.b.example.com")

    def test_the_order_is_exact_then_long_wildcards_then_any(self):
        names = ["", "*.example.com", "*.a.example.com", "a.example.com", "z.org"]
        assert sorted(names, key=hostname_key) == ["a.example.com", "z.org", "*.a.example.com", "*.example.com", ""]


class TestAges:
    def test_times_with_different_offsets_compare_as_instants(self):
        early = datetime.fromisoformat("2026-01-01T12:00:00+02:00")
        late = datetime.fromisoformat("2026-01-01T11:00:00+00:00")
        assert age(early, "z", "z") < age(late, "a", "a")

    def test_objects_without_a_time_are_equally_old_and_tie_by_name(self):
        assert age(None, "a", "b") < age(None, "b", "a") < age(datetime.fromisoformat("1990-01-01T00:00:00Z"), "a", "a")


class TestSelectors:
    @staticmethod
    def selector(labels=None, **requirement):
        expressions = [SimpleNamespace(**{"values": None, **requirement})] if requirement else None
        return SimpleNamespace(match_labels=labels, match_expressions=expressions)

    def test_no_selector_selects_nothing_and_an_empty_one_everything(self):
        assert not selects(None, {"a": "b"})
        assert selects(self.selector(), {})

    @pytest.mark.parametrize(
        ("operator", "values", "labels", "expected"),
        [
            ("In", ["x"], {"k": "x"}, True),
            ("In", ["x"], {"k": "y"}, False),
            ("In", ["x"], {}, False),
            ("NotIn", ["x"], {"k": "x"}, False),
            ("NotIn", ["x"], {}, True),
            ("Exists", None, {"k": ""}, True),
            ("Exists", None, {}, False),
            ("DoesNotExist", None, {}, True),
            ("DoesNotExist", None, {"k": "x"}, False),
        ],
    )
    def test_requirements_hold_as_the_api_server_defines_them(self, operator, values, labels, expected):
        assert selects(self.selector(key="k", operator=operator, values=values), labels) is expected

    def test_all_labels_have_to_be_equal(self):
        assert selects(self.selector({"a": "1", "b": "2"}), {"a": "1", "b": "2", "c": "3"})
        assert not selects(self.selector({"a": "1", "b": "2"}), {"a": "1"})


class TestPaths:
    @pytest.mark.parametrize(
        ("path", "normal"),
        [("/a%7Eb", "/a~b"), ("/%c3%a9", "/%C3%A9"), ("/%2f", "/%2F"), ("/%41", "/A"), ("/plain", "/plain")],
    )
    def test_only_unreserved_escapes_are_decoded(self, path, normal):
        assert normalized_path(path) == normal


def condition(type_, status="Unknown", reason="Pending"):
    return Condition(type_, status, reason, "", 7)


def gateway(*listeners):
    return Statuses(
        gateways={("default", "gw"): GatewayStatus((condition("Accepted", "True"), condition("Programmed")), listeners)}
    )


def waiting(name, *sockets):
    return ListenerStatus(name, (), 0, (condition("Programmed"),), sockets)


def verdicts(statuses):
    status = statuses.gateways["default", "gw"]
    return status.conditions[1].status, [listener.conditions[0].status for listener in status.listeners]


class TestProgrammed:
    def test_a_listener_is_programmed_when_all_its_sockets_are_bound(self):
        before = gateway(waiting("http", "1.2.3.4:80", "1.2.3.5:80"))
        assert verdicts(resolve(before, {"": {"1.2.3.4:80": Bound(("1.2.3.4",))}})) == ("Unknown", ["Unknown"])
        after = resolve(before, {"": {"1.2.3.4:80": Bound(("1.2.3.4",)), "1.2.3.5:80": Bound(("1.2.3.5",))}})
        assert verdicts(after) == ("True", ["True"])
        assert after.gateways["default", "gw"].addresses == (("IPAddress", "1.2.3.4"), ("IPAddress", "1.2.3.5"))

    def test_a_socket_that_cannot_be_bound_is_said_on_its_listener(self):
        before = gateway(waiting("http", ":80"), waiting("alt", ":8080"))
        after = resolve(before, {"": {":80": Bound(error="permission denied"), ":8080": Bound(("127.0.0.1",))}})
        assert verdicts(after) == ("True", ["False", "True"])
        failed = after.gateways["default", "gw"].listeners[0].conditions[0]
        assert (failed.reason, failed.message, failed.generation) == ("PortUnavailable", "permission denied", 7)

    def test_a_gateway_without_a_bound_socket_is_not_programmed(self):
        after = resolve(gateway(waiting("http", ":80")), {"": {":80": Bound(error="address in use")}})
        assert verdicts(after) == ("False", ["False"])
        assert after.gateways["default", "gw"].conditions[1].reason == "AddressNotUsable"

    def test_what_translation_decided_stays(self):
        unserved = ListenerStatus("tcp", (), 0, (condition("Programmed", "False", "Invalid"),))
        before = gateway(unserved, waiting("http", ":80"))
        assert resolve(before, {"": {}}) == before
        assert verdicts(resolve(before, {"": {":80": Bound(("::1",))}})) == ("True", ["False", "True"])


def test_a_status_as_json_carries_the_observed_generation_and_the_controller():
    document = to_json(gateway(waiting("http", ":80")).gateways["default", "gw"])
    assert document["conditions"][0] == {
        "type": "Accepted",
        "status": "True",
        "reason": "Pending",
        "message": "",
        "observedGeneration": 7,
    }
    assert document["listeners"][0]["attachedRoutes"] == 0
    assert document["attachedListenerSets"] == 0
