from __future__ import annotations

from dataclasses import replace

import pytest

from fastgate.ir import (
    Cluster,
    Endpoint,
    Endpoints,
    Forward,
    Ir,
    Listener,
    Match,
    PathKind,
    PathMatch,
    Respond,
    Rule,
    Socket,
    UpstreamTls,
    ValueKind,
    ValueMatch,
    VirtualHost,
    WeightedBackend,
)
from fastgate.translate.explain import describe, describe_unreachable, explain, request_of, upstream_tls
from fastgate.translate.shadows import shadows, unreachable_rules

CLUSTER = "Service/default/web/80"


def rule(name, action=None):
    return Rule(f"HTTPRoute/default/{name}/0", f"HTTPRoute/default/{name}", "", action or Respond(200, name))


def prefix(value, name, method="", headers=(), query=()):
    return Match(
        PathMatch(PathKind.PREFIX, value.rstrip("/")), method, conditions(headers), conditions(query), rule(name)
    )


def exact(value, name, **more):
    return Match(PathMatch(PathKind.EXACT, value), "", conditions(more.get("headers", ())), (), rule(name))


def regex(value, name):
    return Match(PathMatch(PathKind.REGEX, value), "", (), (), rule(name))


def conditions(pairs):
    return tuple(ValueMatch(name, ValueKind.EXACT, value) for name, value in pairs)


def host(hostname, *matches):
    return VirtualHost(hostname, matches)


def listener(name, hostname, *hosts):
    return Listener(f"Gateway/default/gw/{name}", "default/gw", name, hostname, "HTTP", hosts)


def ir(*listeners, port=80):
    return Ir((Socket("", port, listeners),), (Cluster(CLUSTER),))


def matched(configuration, method, url, headers=()):
    (explanation,) = explain(configuration, request_of(method, url, headers))
    return explanation.match and explanation.match.rule.route.rpartition("/")[2]


class TestRequests:
    def test_an_absolute_url_gives_host_port_path_and_query(self):
        request = request_of("GET", "https://Shop.Example.com/a/../b%7e?x=1&x=2&flag")
        assert (request.host, request.port, request.path) == ("shop.example.com", 443, "/b~")
        assert request.query == {"x": "1", "flag": ""}

    def test_a_host_header_decides_the_host_and_the_url_the_port(self):
        request = request_of("GET", "http://127.0.0.1:8080/", [("Host", "a.example.com:99")])
        assert (request.host, request.port) == ("a.example.com", 8080)

    @pytest.mark.parametrize("url", ["/only/a/path", "ftp://example.com/", "http:///x", "http://a/b/../../c"])
    def test_what_is_no_url_or_climbs_above_the_root_is_refused(self, url):
        with pytest.raises(ValueError, match=r"not an absolute|climbs"):
            request_of("GET", url)

    @pytest.mark.parametrize(
        ("path", "normal"),
        [("/a/./b", "/a/b"), ("/a/b/..", "/a/"), ("/a/.", "/a/"), ("/a//b", "/a//b"), ("/%2e/a", "/a")],
    )
    def test_dot_segments_are_removed_and_empty_segments_kept(self, path, normal):
        assert request_of("GET", f"http://h{path}").path == normal


class TestMatching:
    def test_a_prefix_is_compared_by_segments(self):
        configuration = ir(listener("http", "", host("", prefix("/foo", "foo"))))
        assert matched(configuration, "GET", "http://h/foo") == "foo"
        assert matched(configuration, "GET", "http://h/foo/bar") == "foo"
        assert matched(configuration, "GET", "http://h/foobar") is None

    def test_only_the_most_specific_listener_sees_the_request(self):
        configuration = ir(
            listener("exact", "a.example.com", host("", prefix("/only", "exact"))),
            listener("any", "", host("", prefix("/", "any"))),
        )
        (explanation,) = explain(configuration, request_of("GET", "http://a.example.com/elsewhere"))
        assert explanation.listener.name == "exact"
        assert explanation.match is None
        assert explanation.other_listeners == ("Gateway/default/gw/any",)
        assert matched(configuration, "GET", "http://b.example.com/elsewhere") == "any"

    def test_a_less_specific_host_gets_what_the_more_specific_one_does_not_match(self):
        configuration = ir(
            listener(
                "http", "", host("a.example.com", prefix("/a", "exact")), host("*.example.com", prefix("/", "wild"))
            )
        )
        assert matched(configuration, "GET", "http://a.example.com/a") == "exact"
        assert matched(configuration, "GET", "http://a.example.com/b") == "wild"
        assert matched(configuration, "GET", "http://example.com/b") is None

    def test_every_better_placed_candidate_says_its_first_failing_condition(self):
        configuration = ir(
            listener(
                "http",
                "",
                host(
                    "",
                    exact("/b", "path"),
                    prefix("/a", "method", method="POST"),
                    prefix("/a", "absent", headers=[("x-user", "1")]),
                    prefix("/a", "value", headers=[("x-kind", "1")]),
                    prefix("/a", "query", query=[("q", "1")]),
                    prefix("/", "last"),
                ),
            )
        )
        (explanation,) = explain(configuration, request_of("GET", "http://h/a?q=2", [("X-Kind", "2")]))
        assert [entry.reason for entry in explanation.rejected] == [
            "path /a is not exactly /b",
            "method GET is not POST",
            "header x-user is absent",
            "header x-kind '2' is not '1'",
            "query parameter q '2' is not '1'",
        ]
        assert explanation.match.rule.route == "HTTPRoute/default/last"

    def test_nothing_listens_on_another_port(self):
        assert explain(ir(listener("http", "")), request_of("GET", "http://h:81/")) == ()

    def test_the_text_names_listener_route_rule_match_and_backends(self):
        forward = Forward(
            (WeightedBackend(3, CLUSTER), WeightedBackend(1, None, respond=Respond(500, "invalid_backend")))
        )
        match = Match(PathMatch(PathKind.PREFIX, ""), "", (), (), rule("web", forward))
        configuration = ir(listener("http", "", host("", prefix("/a", "other"), match)))
        (explanation,) = explain(configuration, request_of("GET", "http://h/"))
        text = describe(explanation, Endpoints({CLUSTER: (Endpoint("10.0.0.1", 80), Endpoint("2001:db8::1", 80))}), {})
        assert text.splitlines() == [
            "socket    :80",
            "listener  Gateway/default/gw/http (any hostname)",
            "tried     in order of precedence, without a match:",
            "          HTTPRoute/default/other/0: path under /a",
            "              path / is not under /a",
            "hostname  any",
            "route     HTTPRoute/default/web",
            "rule      0",
            "match     path under /",
            "backend   3 of 4: Service/default/web/80 (10.0.0.1:80, [2001:db8::1]:80)",
            "          1 of 4: answers 500 (invalid_backend)",
        ]

    @pytest.mark.parametrize(
        ("tls", "said"),
        [
            (
                UpstreamTls("a.example.com", authorities=("0123456789abcdef", "fedcba9876543210")),
                "TLS as a.example.com, verified by authorities 0123456789ab, fedcba987654",
            ),
            (
                UpstreamTls(
                    "a.example.com", ("DNS:b", "URI:s://c"), system_trust=True, certificate="00112233445566778899"
                ),
                "TLS as a.example.com, verified for DNS:b or URI:s://c by authorities of the system, "
                "showing certificate 001122334455",
            ),
        ],
    )
    def test_the_text_says_how_tls_is_spoken(self, tls, said):
        match = Match(PathMatch(PathKind.PREFIX, ""), "", (), (), rule("web", Forward((WeightedBackend(1, CLUSTER),))))
        configuration = replace(ir(listener("http", "", host("", match))), clusters=(Cluster(CLUSTER, tls=tls),))
        (explanation,) = explain(configuration, request_of("GET", "http://h/"))
        text = describe(explanation, Endpoints({CLUSTER: (Endpoint("10.0.0.1", 80),)}), upstream_tls(configuration))
        assert text.splitlines()[-1] == f"backend   1 of 1: {CLUSTER} (10.0.0.1:80), {said}"

    def test_the_text_of_a_miss_says_404(self):
        (explanation,) = explain(ir(listener("http", "a.example.com")), request_of("GET", "http://h/"))
        assert describe(explanation, Endpoints(), {}).endswith("none has this hostname: answers 404 (no_route)")


class TestShadows:
    def test_the_second_of_equal_matches_never_matches(self):
        configuration = ir(listener("http", "", host("", prefix("/a", "first"), prefix("/a", "second"))))
        (shadow,) = shadows(configuration)
        assert (shadow.match.rule.route, shadow.by.rule.route) == (
            "HTTPRoute/default/second",
            "HTTPRoute/default/first",
        )
        assert list(unreachable_rules(configuration)) == ["HTTPRoute/default/second/0"]

    def test_a_candidate_with_fewer_conditions_later_is_reachable(self):
        configuration = ir(
            listener("http", "", host("", prefix("/a", "more", headers=[("x", "1")]), prefix("/a", "less")))
        )
        assert shadows(configuration) == ()

    def test_a_pattern_that_finds_everything_covers_every_prefix(self):
        configuration = ir(listener("http", "", host("", exact("/a", "a"), regex("/.*", "all"), prefix("/b", "b"))))
        assert list(unreachable_rules(configuration)) == ["HTTPRoute/default/b/0"]

    def test_a_host_whose_traffic_goes_to_a_more_specific_listener_is_unreachable(self):
        configuration = ir(
            listener("exact", "a.example.com"), listener("any", "", host("a.example.com", prefix("/", "lost")))
        )
        (shadow,) = shadows(configuration)
        assert shadow.by == "Gateway/default/gw/exact"

    def test_a_rule_with_one_reachable_match_is_reachable(self):
        configuration = ir(
            listener("http", "", host("", prefix("/a", "first"), prefix("/a", "both"), prefix("/", "both")))
        )
        assert len(shadows(configuration)) == 1
        assert unreachable_rules(configuration) == {}

    def test_a_less_specific_host_is_covered_where_the_listener_has_that_host_only(self):
        hosts = (host("a.example.com", prefix("/", "exact")), host("*.example.com", prefix("/deep", "wild")))
        assert list(unreachable_rules(ir(listener("narrow", "a.example.com", *hosts)))) == ["HTTPRoute/default/wild/0"]
        assert unreachable_rules(ir(listener("wide", "", *hosts))) == {}

    def test_the_text_says_for_each_candidate_what_is_in_its_way(self):
        configuration = ir(
            listener("exact", "a.example.com"),
            listener(
                "any",
                "",
                host("a.example.com", prefix("/", "lost")),
                host("", prefix("/a", "first"), prefix("/a", "second")),
            ),
        )
        assert describe_unreachable(configuration) == [
            "HTTPRoute/default/lost/0 can never match:",
            "    path under /, host a.example.com, Gateway/default/gw/any: "
            "requests for a.example.com go to Gateway/default/gw/exact",
            "HTTPRoute/default/second/0 can never match:",
            "    path under /a, host any, Gateway/default/gw/any: "
            "HTTPRoute/default/first/0 takes it first (path under /a)",
        ]
