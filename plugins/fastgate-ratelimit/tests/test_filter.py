"""What a limit does to requests: with the buckets of this process, and plain calls."""

import re
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from fastgate import Catalog, Context, Request, Response, SecretRef
from fastgate_jwt import CLAIMS
from fastgate_ratelimit import Config, RateLimit
from fastgate_ratelimit.bucket import SECOND, Rate, take
from fastgate_ratelimit.store import StoreError


@pytest.fixture
async def running(tmp_path):
    """Make a filter that runs; it is stopped after the test."""
    filters = []

    async def run(**config):
        config = {"store": {"type": "local", "directory": str(tmp_path), "size": 64}, **config}
        filters.append(RateLimit(Config.model_validate(config)))
        await filters[-1].start()
        return filters[-1]

    yield run
    for one in filters:
        await one.stop()


async def call(one, client="192.0.2.1", *, method="GET", path="/", headers=(), claims=None, owner="", **more):
    request = Request(method, path, client=(client, 5000), headers=headers, **more)
    context = Context(filter=owner)
    if claims is not None:
        context[CLAIMS] = claims
    return await one.on_request(request, context), request, context


async def allowed(one, *args, **kwargs):
    return (await call(one, *args, **kwargs))[0] is None


async def test_a_burst_passes_and_no_more(running):
    one = await running(requests=1, per=60, burst=3)
    assert [await allowed(one) for _ in range(5)] == [True] * 3 + [False] * 2
    answer, _, context = await call(one)
    assert answer.status == 429
    assert context.counts == {"ratelimit_limited": 1}
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert await allowed(one, "192.0.2.2")


async def test_what_responses_say(running):
    one = await running(requests=2, per=60, name="api")
    _, request, context = await call(one)
    response = Response(200)
    await one.on_response(request, context, response)
    assert dict(response.headers) == {"ratelimit-policy": '"api";q=2;w=60', "ratelimit": '"api";r=1;t=30'}
    await call(one)
    answer, _, _ = await call(one)
    assert dict(answer.headers) == {
        "content-type": "text/plain; charset=utf-8",
        "retry-after": "30",
        "ratelimit-policy": '"api";q=2;w=60',
        "ratelimit": '"api";r=0;t=30',
    }


async def test_two_limits_of_a_route_say_both(running):
    second, hour = await running(requests=5, per=0.5, name="second"), await running(requests=100, per=3600, name="hour")
    request, context, response = Request(), Context(), Response(200)
    for one in (second, hour):
        assert await one.on_request(request, context) is None
        await one.on_response(request, context, response)
    assert response.headers["ratelimit-policy"] == '"second";q=5, "hour";q=100;w=3600'
    assert response.headers["ratelimit"] == '"second";r=4;t=1, "hour";r=99;t=36'


async def test_responses_say_nothing_if_asked(running):
    one = await running(requests=1, per=60, headers=False)
    _, request, context = await call(one)
    response = Response(200)
    await one.on_response(request, context, response)
    assert dict(response.headers) == {}
    assert "ratelimit" not in (await call(one))[0].headers


@pytest.mark.parametrize("policy", ["Allow", "Deny"])
async def test_a_store_that_fails(running, monkeypatch, policy):
    one = await running(requests=1, per=60, onFailure=policy)

    async def fail(*_):
        raise StoreError("no")

    monkeypatch.setattr(one._store, "take", fail)
    answer, request, context = await call(one)
    assert context.counts == {"ratelimit_failed": 1}
    if policy == "Allow":
        assert answer is None
        response = Response(200)
        await one.on_response(request, context, response)
        assert dict(response.headers) == {}
    else:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "first", "same", "other"),
    [
        ("{client}", {"client": "192.0.2.1"}, {"client": "::ffff:192.0.2.1"}, {"client": "192.0.2.2"}),
        ("{client}", {"client": "2001:db8::1"}, {"client": "2001:db8::ffff:1"}, {"client": "2001:db8:0:1::1"}),
        ("{header:x-user}", {"headers": {"X-User": "a"}}, {"headers": {"x-user": "a"}}, {"headers": {"x-user": "A"}}),
        ("{header:x-user}", {}, {"headers": {"x-user": ""}}, {"headers": {"x-user": "a"}}),
        ("{claim:sub}", {"claims": {"sub": "a"}}, {"claims": {"sub": "a", "x": 1}}, {"claims": {"sub": "b"}}),
        ("{claim:a.b}", {"claims": {"a": {"b": 1}}}, {"claims": {"a": {"b": 1}}}, {"claims": {"a": {"b": 2}}}),
        ("{claim:sub}", {}, {"claims": {}}, {"claims": {"sub": "b"}}),
        ("{route}", {"route": "HTTPRoute/a/b"}, {"route": "HTTPRoute/a/b"}, {"route": "HTTPRoute/a/c"}),
        ("{rule}", {"rule": "1"}, {"rule": "1"}, {"rule": "2"}),
        ("{host}", {"authority": "A.example:80"}, {"authority": "a.example"}, {"authority": "b.example"}),
        ("{method} {path}", {"path": "/a?x"}, {"path": "/a?y"}, {"method": "PUT", "path": "/a"}),
        ("all", {}, {"client": "192.0.2.9"}, {"owner": "shop/another"}),
        (
            "{header:a}{header:b}",
            {"headers": {"a": "xy", "b": "z"}},
            {"headers": {"b": "z", "a": "xy"}},
            {"headers": {"a": "x", "b": "yz"}},
        ),
    ],
)
async def test_what_has_a_bucket_of_its_own(running, key, first, same, other):
    one = await running(requests=1, per=3600, key=key)
    assert await allowed(one, **first)
    assert not await allowed(one, **same)
    assert await allowed(one, **other)


async def test_prefixes_of_addresses(running):
    one = await running(requests=1, per=3600, ipv4Prefix=24, ipv6Prefix=128)
    assert await allowed(one, "192.0.2.1")
    assert not await allowed(one, "192.0.2.200")
    assert await allowed(one, "2001:db8::1")
    assert await allowed(one, "2001:db8::2")


def test_claims_need_the_plugin_that_validates_them(monkeypatch):
    monkeypatch.setitem(sys.modules, "fastgate_jwt", None)
    with pytest.raises(ValidationError, match=r"pip install fastgate-ratelimit\[jwt\]"):
        Config(requests=1, key="{claim:sub}")


# --- arithmetic ------------------------------------------------------------------------------------------------------


def test_a_bucket_fills_steadily():
    rate = Rate(interval=SECOND // 10, burst=5)
    full_at, passed = 0, []
    for now in range(0, 2 * SECOND, SECOND // 100):
        decision, full_at = take(rate, full_at, 10 * SECOND + now)
        if decision.allowed:
            passed.append(now // (SECOND // 100))
    assert passed == [0, 1, 2, 3, 4, *range(10, 200, 10)]


def test_what_a_decision_says():
    rate = Rate(interval=SECOND, burst=2)
    now = 100 * SECOND
    first, full_at = take(rate, 0, now)
    assert (first.allowed, first.remaining, first.wait, first.full) == (True, 1, 0, SECOND)
    second, full_at = take(rate, full_at, now)
    assert (second.allowed, second.remaining, second.wait, second.full) == (True, 0, SECOND, 2 * SECOND)
    third, full_at = take(rate, full_at, now + SECOND // 4)
    assert (third.allowed, third.remaining, third.wait) == (False, 0, 3 * SECOND // 4)
    assert take(rate, full_at, now + SECOND)[0].allowed


@pytest.mark.parametrize("nonsense", [1 << 62, -(1 << 62)])
def test_a_time_that_cannot_be_does_not_stay(nonsense):
    rate = Rate(interval=SECOND, burst=2)
    decision, full_at = take(rate, nonsense, 100 * SECOND)
    assert decision.full <= rate.capacity
    assert take(rate, full_at, 103 * SECOND)[0].remaining == 1


# --- configurations --------------------------------------------------------------------------------------------------

REDIS = {"type": "redis", "url": "redis://cache"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "Field required"),
        ({"requests": 0}, "greater than or equal to 1"),
        ({"requests": 1, "per": 0}, "greater than 0"),
        ({"requests": 10_000_000, "per": 1}, "more than 1,000,000 requests a second"),
        ({"requests": 1, "per": 86400, "burst": 1000}, "more than a year to fill"),
        ({"requests": 1, "key": ""}, "at least 1 character"),
        ({"requests": 1, "key": "{clint}"}, "there is no {clint}"),
        ({"requests": 1, "key": "{header}"}, "there is no {header}"),
        ({"requests": 1, "key": "{client:x}"}, "there is no {client:x}"),
        ({"requests": 1, "key": "{client"}, "has a brace that is of no placeholder"),
        ({"requests": 1, "ipv6Prefix": 129}, "less than or equal to 128"),
        ({"requests": 1, "onFailure": "Skip"}, "'Allow' or 'Deny'"),
        ({"requests": 1, "name": 'a"'}, "should match pattern"),
        ({"requests": 1, "store": {"type": "memcached"}}, "'local', 'redis'"),
        ({"requests": 1, "store": {"type": "local", "url": "redis://a"}}, "Extra inputs are not permitted"),
        ({"requests": 1, "store": {"type": "local", "directory": "tmp"}}, "should match pattern"),
        ({"requests": 1, "store": {"type": "redis"}}, "Field required"),
        ({"requests": 1, "store": {**REDIS, "url": "http://a"}}, "should match pattern"),
        ({"requests": 1, "store": {**REDIS, "url": "redis://:hush@a"}}, "a URL with a password belongs in a Secret"),
        ({"requests": 1, "store": {**REDIS, "timeout": 0}}, "greater than 0"),
        ({"requests": 1, "rate": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_configuration(config, said):
    with pytest.raises(ValidationError, match=re.escape(said)):
        Config.model_validate(config)


def test_a_url_of_a_secret_that_is_none():
    config = Config.model_validate({"requests": 1, "store": {"type": "redis", "url": {"name": "cache", "key": "url"}}})
    store = config.store.model_copy(update={"url": SecretRef.of("http://cache")})
    with pytest.raises(ValueError, match="redis://"):
        RateLimit(config.model_copy(update={"store": store}))


def test_it_is_installed_as_its_readme_says():
    found = Catalog().check("RateLimit")
    assert found.cls is RateLimit
    assert found.phases == {"request", "response"}
    text = (Path(__file__).parents[1] / "README.md").read_text()
    documents = list(yaml.safe_load_all(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1]))
    specs = [one["spec"] for one in documents if one["kind"] == "Filter"]
    assert [found.validated(spec["config"])["store"]["type"] for spec in specs] == ["local", "redis"]
