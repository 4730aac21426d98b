"""Who gets the canary, that they keep it, and what backends, load balancers, clients and caches are told."""

from collections import Counter
from importlib.metadata import entry_points

import pytest
from pydantic import ValidationError

from fastgate import Catalog, Context, Endpoint, Request, Response
from fastgate_canary import Canary, CanaryConfig
from fastgate_canary.assignment import chosen
from fastgate_canary.places import matcher

USERS = [f"user-{n}" for n in range(10_000)]
SHOP = "Backend/default/shop"
STABLE = [Endpoint(SHOP, "10.0.0.1", 80), Endpoint(SHOP, "10.0.0.2", 80, weight=0)]
NEW = [Endpoint(SHOP, "10.0.1.1", 80, weight=1), Endpoint(SHOP, "10.0.1.2", 80, weight=3)]


def canary(percentage=50, **config):
    config = {"forward": {"header": "x-release"}, "cookie": {}} | config
    return Canary(CanaryConfig.model_validate({"percentage": percentage, **config}))


async def exchange(chooser, headers=(), response=None, **request):
    """Send one request through the filter; return the request, its context and the response."""
    request, context = Request(headers=headers, **request), Context()
    response = response or Response(200)
    await chooser.on_request(request, context)
    await chooser.on_response(request, context, response)
    return request, context, response


def cookie_of(response):
    return response.headers["set-cookie"].partition(";")[0]


# --- who ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("percentage", [0, 0.5, 10, 50, 99, 100])
def test_the_share_is_the_percentage(percentage):
    share = sum(chosen(user, "", percentage) for user in USERS) / len(USERS) * 100
    assert share == pytest.approx(percentage, abs=1.5)
    assert share == percentage or percentage not in (0, 100)


def test_raising_the_percentage_only_adds_users():
    before = set()
    for percentage in (0, 1, 5, 25, 25.1, 80, 100):
        now = {user for user in USERS if chosen(user, "s", percentage)}
        assert before <= now
        before = now
    assert before == set(USERS)


def test_where_users_stand_is_fixed_for_ever():
    """Another hash in another release would move everyone."""
    assert [chosen(user, "shop-v2", 50) for user in USERS[:12]] == [
        True,
        False,
        True,
        True,
        False,
        True,
        True,
        False,
        False,
        True,
        False,
        False,
    ]


def test_another_salt_chooses_other_users():
    one, other = ({user for user in USERS if chosen(user, salt, 10)} for salt in ("a", "b"))
    assert len(one & other) < 200  # 100 are expected


# --- what users are known by -----------------------------------------------------------------------------------------


async def test_a_newcomer_gets_a_cookie_and_stays():
    chooser = canary()
    sides = Counter()
    for _ in range(50):
        request, _, response = await exchange(chooser)
        side = request.headers["x-release"]
        sides[side] += 1
        again, _, answer = await exchange(canary(), {"cookie": f"a=b; {cookie_of(response)}; c"})
        assert again.headers["x-release"] == side
        assert "set-cookie" not in answer.headers
    assert set(sides) == {"canary", "stable"}


async def test_a_header_comes_before_the_cookie():
    chooser = canary(header="x-user")
    for user in USERS[:20]:
        request, context, response = await exchange(chooser, {"x-user": user})
        expected = chosen(user, "", 50)
        assert request.headers["x-release"] == ("canary" if expected else "stable")
        assert context.log["canary"] is expected
        assert context.counts == {"canary_requests" if expected else "stable_requests": 1}
        assert "set-cookie" not in response.headers
    assert "set-cookie" in (await exchange(chooser))[2].headers


async def test_without_cookie_strangers_are_stable():
    request, _, response = await exchange(canary(100, header="x-user", cookie=None))
    assert request.headers["x-release"] == "stable"
    assert response.headers == {"vary": "x-user"}


@pytest.mark.parametrize("value", ["", "short", "x" * 65, '"quoted-0123456789"', "bad,char-0123456789"])
async def test_a_cookie_that_no_gateway_gave_is_replaced(value):
    _, _, response = await exchange(canary(), {"cookie": f"fastgate_canary={value}"})
    assert cookie_of(response) != f"fastgate_canary={value}"


async def test_the_first_of_several_cookies_counts():
    one, other = "a" * 22, next(c * 22 for c in "bcdefgh" if chosen(c * 22, "", 50) != chosen("a" * 22, "", 50))
    sides = []
    for first, second in ((one, other), (other, one)):
        fields = [("cookie", f"x=y;fastgate_canary={first}"), ("cookie", f"fastgate_canary={second}")]
        sides.append((await exchange(canary(), fields))[0].headers["x-release"])
    assert len(set(sides)) == 2


async def test_testers_choose_for_themselves():
    never, always = (
        canary(0, override={"header": "x-test"}),
        canary(100, override={"header": "x-test", "stable": "old"}),
    )
    for chooser, wish, got in (
        (never, "always", "canary"),
        (always, "old", "stable"),
        (never, "never", "stable"),
        (never, "Always", "stable"),
        (always, "never", "canary"),
    ):
        assert (await exchange(chooser, {"x-test": wish}))[0].headers["x-release"] == got


async def test_clients_cannot_forge_what_the_backend_is_told():
    request, _, _ = await exchange(canary(0), [("X-Release", "canary"), ("x-release", "canary")])
    assert request.headers.getall("x-release") == ["stable"]


# --- what clients and caches are told ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cookie", "scheme", "attributes"),
    [
        ({}, "http", "Path=/; SameSite=Lax; Max-Age=2592000; HttpOnly"),
        ({}, "https", "Path=/; SameSite=Lax; Max-Age=2592000; Secure; HttpOnly"),
        ({"secure": False}, "https", "Path=/; SameSite=Lax; Max-Age=2592000; HttpOnly"),
        (
            {
                "path": "/shop",
                "domain": "a.example",
                "maxAge": 0,
                "secure": True,
                "httpOnly": False,
                "sameSite": "None",
            },
            "http",
            "Path=/shop; SameSite=None; Domain=a.example; Secure",
        ),
    ],
)
async def test_attributes_of_the_cookie(cookie, scheme, attributes):
    _, _, response = await exchange(canary(cookie={"name": "side", **cookie}), scheme=scheme)
    pair, _, rest = response.headers["set-cookie"].partition("; ")
    assert pair.startswith("side=")
    assert rest == attributes


async def test_cookies_of_the_backend_stay():
    _, _, response = await exchange(canary(), response=Response(200, headers={"set-cookie": "s=1"}))
    assert response.headers.getall("set-cookie")[0] == "s=1"
    assert len(response.headers.getall("set-cookie")) == 2


async def test_no_cache_gives_a_name_to_others():
    chooser = canary()
    _, _, response = await exchange(chooser, response=Response(200, headers={"cache-control": "max-age=60"}))
    assert response.headers["cache-control"] == 'max-age=60, no-cache="set-cookie"'
    _, _, response = await exchange(chooser, {"cookie": cookie_of(response)}, Response(200, headers={"a": "b"}))
    assert "cache-control" not in response.headers


@pytest.mark.parametrize(
    ("before", "after"),
    [("", "x-user, x-test, Cookie"), ("cookie, Accept", "cookie, Accept, x-user, x-test"), ("*", "*")],
)
async def test_caches_are_told_what_it_depends_on(before, after):
    chooser = canary(header="x-user", override={"header": "x-test"})
    _, _, response = await exchange(chooser, response=Response(200, headers={"vary": before} if before else {}))
    assert response.headers["vary"] == after


async def test_a_response_without_its_request_phase_is_left_alone():
    """As for a request that another filter answered first."""
    response = Response(200)
    await canary().on_response(Request(), Context(), response)
    assert "set-cookie" not in response.headers


async def test_several_of_them_on_one_rule_decide_on_their_own():
    request, context, response = Request(), Context(), Response()
    both = [canary(100, cookie={"name": name}, forward={"header": name}) for name in ("one", "two")]
    for chooser in both:
        await chooser.on_request(request, context)
    for chooser in reversed(both):
        await chooser.on_response(request, context, response)
    assert (request.headers["one"], request.headers["two"]) == ("canary", "canary")
    two, one = response.headers.getall("set-cookie")
    assert one.removeprefix("one=")[:22] != two.removeprefix("two=")[:22]


# --- which endpoint ----------------------------------------------------------------------------------------------------


async def choices(chooser, headers, endpoints, count=400):
    request, context, _ = await exchange(chooser, headers)
    found = [await chooser.on_upstream(request, context, endpoints) for _ in range(count)]
    return Counter(one and one.address for one in found)


async def test_endpoints_of_the_decided_side_are_chosen_by_weight():
    chooser = canary(50, endpoints=["10.0.1.0/24"], override={"header": "x-test"})
    got = await choices(chooser, {"x-test": "always"}, STABLE + NEW)
    assert set(got) == {"10.0.1.1", "10.0.1.2"}
    assert 40 < got["10.0.1.1"] < 170  # 100 are expected
    assert set(await choices(chooser, {"x-test": "never"}, STABLE + NEW)) == {"10.0.0.1"}


async def test_a_side_without_endpoints_leaves_it_to_the_load_balancer():
    chooser = canary(50, endpoints=["10.0.1.0/24"], override={"header": "x-test"})
    assert set(await choices(chooser, {"x-test": "always"}, STABLE)) == {None}
    assert set(await choices(chooser, {"x-test": "never"}, NEW)) == {None}
    assert set(await choices(chooser, {"x-test": "always"}, NEW)) == {None}
    assert set(await choices(canary(100), {}, STABLE + NEW)) == {None}
    assert await chooser.on_upstream(Request(), Context(), STABLE + NEW) is None


@pytest.mark.parametrize(
    ("place", "there", "elsewhere"),
    [
        ("10.0.0.7", ("10.0.0.7", 1), ("10.0.0.8", 1)),
        ("10.0.0.0/24", ("10.0.0.255", 1), ("10.0.1.0", 1)),
        ("10.0.0.7:80", ("10.0.0.7", 80), ("10.0.0.7", 81)),
        ("10.0.0.0/24:80", ("10.0.0.9", 80), ("10.0.0.9", 8080)),
        ("2001:db8::7", ("2001:db8::7", 1), ("2001:db8::8", 1)),
        ("2001:db8::/64", ("2001:db8::8", 1), ("10.0.0.7", 1)),
        ("[2001:db8::7]:80", ("2001:db8::7", 80), ("2001:db8::7", 1)),
    ],
)
def test_places_of_the_canary(place, there, elsewhere):
    runs_canary = matcher([place])
    assert (runs_canary(*there), runs_canary(*elsewhere)) == (True, False)
    assert not matcher([])(*there)


# --- configurations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"percentage": 101}, "less than or equal to 100"),
        ({"percentage": -1}, "greater than or equal to 0"),
        ({"cookie": None}, "header, cookie or both"),
        ({"forward": None}, "forward, endpoints or both"),
        ({"endpoints": ["shop-v2"]}, "endpoints"),
        ({"endpoints": ["10.0.0.1/24"]}, "host bits"),
        ({"endpoints": ["10.0.0.1:0"]}, "no port"),
        ({"endpoints": ["10.0.0.0/24:x"]}, "endpoints"),
        ({"header": "X-Release"}, "would overwrite"),
        ({"override": {"header": "x-RELEASE"}}, "would overwrite"),
        ({"forward": {"header": "a b"}}, "forward.header"),
        ({"forward": {"header": "a", "canary": "x\r\ny"}}, "forward.canary"),
        ({"cookie": {"sameSite": "None"}}, "needs secure: true"),
        ({"cookie": {"name": "__Host-side"}}, "needs secure: true"),
        ({"cookie": {"name": "__Host-side", "secure": True, "path": "/a"}}, "needs path / and no domain"),
        ({"cookie": {"name": "a=b"}}, "cookie.name"),
        ({"cookie": {"path": "/;a"}}, "cookie.path"),
        ({"cookie": {"domain": "a;b"}}, "cookie.domain"),
        ({"percent": 1}, "percent"),
    ],
)
def test_wrong_configurations_are_refused(config, message):
    with pytest.raises(ValidationError, match=message):
        canary(**config)


def test_it_is_installed():
    assert entry_points(group="fastgate.filters", name="Canary")
    found = Catalog().check("Canary", {"percentage": 5, "cookie": {"maxAge": 60}, "forward": {"header": "x"}})
    assert found.cls is Canary
    assert found.phases == {"request", "upstream", "response"}
    config = found.validated({"percentage": 5, "cookie": {"maxAge": 60}, "forward": {"header": "x"}})
    assert found.instance(config).config.cookie.max_age == 60
