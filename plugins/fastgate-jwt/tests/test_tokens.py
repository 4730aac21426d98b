"""Which tokens are valid, and how the others are answered."""

import hashlib
import hmac
import time

import jwt
import pytest

from fastgate import SecretRef
from fastgate_jwt import CLAIMS, JWT, Config

SECRET = b"0123456789abcdef0123456789abcdef"


def challenge(answer):
    return answer.headers["www-authenticate"]


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "EdDSA"])
async def test_a_valid_token_passes(local, issuer, call, algorithm):
    one = local(algorithms=["RS256", "ES256", "ES384", "EdDSA"])
    answer, request, context = await call(one, issuer.token(algorithm))
    assert answer is None
    assert context[CLAIMS]["sub"] == "ada"
    assert context.log["jwt_subject"] == "ada"
    assert "authorization" not in request.headers


async def test_without_a_token_the_challenge_has_no_error(local, call):
    answer, _, context = await call(local(realm="shop"))
    assert (answer.status, challenge(answer)) == (401, 'Bearer realm="shop"')
    assert context.counts == {"jwt_missing": 1}
    answer, _, _ = await call(local(), headers={"authorization": "Basic YTpi"})
    assert (answer.status, challenge(answer)) == (401, 'Bearer realm="fastgate"')


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": 1}, "the token has expired"),
        ({"exp": None}, "the token has no claim exp"),
        ({"exp": "soon"}, "the token is malformed"),
        ({"nbf": 1e11}, "the token is not valid yet"),
        ({"aud": "other"}, "the token is for another audience"),
        ({"aud": None}, "the token has no claim aud"),
        ({"iss": "https://evil.example"}, "the token is from another issuer"),
        ({"iss": None}, "the token has no claim iss"),
        ({"tenant": None}, "the token has no claim tenant"),
    ],
)
async def test_claims_that_are_refused(local, issuer, call, claims, said):
    one = local(issuer="https://id.example", audiences=["api", "web"], require=["exp", "tenant"])
    good = {"iss": "https://id.example", "aud": ["web", "x"], "tenant": "t"}
    answer, _, _ = await call(one, issuer.token(**good))
    assert answer is None
    answer, _, context = await call(one, issuer.token(**{**good, **claims}))
    assert answer.status == 401
    assert challenge(answer) == f'Bearer realm="fastgate", error="invalid_token", error_description="{said}"'
    assert context.counts == {"jwt_invalid_token": 1}


async def test_clocks_may_differ(local, issuer, call):
    token = issuer.token(exp=time.time() - 20, nbf=time.time() - 30)
    assert (await call(local(leeway=30), token))[0] is None
    assert (await call(local(leeway=10), token))[0].status == 401


async def test_one_of_several_issuers(local, issuer, call):
    one = local(issuer=["https://a.example", "https://b.example"])
    assert (await call(one, issuer.token(iss="https://b.example")))[0] is None
    assert (await call(one, issuer.token(iss="https://b.example/")))[0].status == 401


async def test_scopes(local, issuer, call):
    one = local(scopes=["read", "write"])
    assert (await call(one, issuer.token(scope="write admin read")))[0] is None
    assert (await call(one, issuer.token(scp=["read", "write"])))[0] is None
    for claims in ({}, {"scope": "read"}, {"scope": "readwrite"}, {"scope": 7}, {"scp": [["read"], "write"]}):
        answer, _, _ = await call(one, issuer.token(**claims))
        assert answer.status == 403
        assert 'error="insufficient_scope"' in challenge(answer)
        assert 'scope="read write"' in challenge(answer)


# --- signatures ------------------------------------------------------------------------------------------------------


async def test_a_token_that_nobody_signed(local, call, forged):
    claims = {"sub": "eve", "exp": time.time() + 60}
    for algorithm in ("none", "None", "NONE", "", "ES256"):
        answer, _, _ = await call(local(), forged({"alg": algorithm, "typ": "JWT"}, claims))
        assert answer.status == 401


async def test_a_public_key_is_no_secret(local, issuer, call, forged):
    """The confusion of RFC 8725 section 2.1: the public key, which everybody has, as the secret of an HMAC."""
    signed = forged({"alg": "HS256", "typ": "JWT"}, {"sub": "eve", "exp": time.time() + 60}).rstrip(".")
    mac = hmac.digest(issuer.pem("RS256"), signed.encode(), hashlib.sha256)
    token = signed + "." + jwt.utils.base64url_encode(mac).decode()
    for one in (local("RS256"), JWT(Config.model_validate({"keys": {"inline": issuer.pem("RS256").decode()}}))):
        answer, _, _ = await call(one, token)
        assert "the token's algorithm is not allowed" in challenge(answer)


async def test_an_algorithm_that_is_not_allowed(local, issuer, call):
    one = local(algorithms=["RS256"])
    assert (await call(one, issuer.token("RS256")))[0] is None
    assert "algorithm is not allowed" in challenge((await call(one, issuer.token("ES256")))[0])


async def test_a_key_verifies_what_its_jwk_says(issuer, call):
    keys = {"keys": [issuer.jwk("RS256", alg="RS512")]}
    one = JWT(Config.model_validate({"keys": {"inline": keys}, "algorithms": ["RS256", "RS512"]}))
    assert (await call(one, issuer.token("RS256", kid=None)))[0].status == 401
    assert (await call(one, issuer.token("RS512", key=issuer.keys["RS256"], kid=None)))[0] is None


async def test_another_key(local, issuer, call):
    other = type(issuer)()
    answer, _, _ = await call(local(), other.token())
    assert "not signed with a known key" in challenge(answer)
    assert (await call(local(), issuer.token(kid="es384")))[0].status == 401  # a key of another curve


async def test_a_token_without_key_id_is_tried_with_all_that_fit(issuer, call):
    other = type(issuer)()
    keys = {"keys": [other.jwk(kid="a"), issuer.jwk(kid="b")]}
    one = JWT(Config.model_validate({"keys": {"inline": keys}}))
    assert (await call(one, issuer.token(kid=None)))[0] is None
    assert (await call(one, issuer.token(kid="b")))[0] is None
    assert (await call(one, issuer.token(kid="a")))[0].status == 401


async def test_a_secret(call):
    config = {"keys": {"secret": {"name": "hmac", "key": "k"}}, "algorithms": ["HS256"]}
    parsed = Config.model_validate(config)
    one = JWT(parsed.model_copy(update={"keys": parsed.keys.model_copy(update={"secret": SecretRef.of(SECRET)})}))
    token = jwt.encode({"sub": "ada", "exp": time.time() + 60}, SECRET, "HS256")
    assert (await call(one, token))[0] is None
    other = jwt.encode({"sub": "ada", "exp": time.time() + 60}, SECRET[::-1], "HS256")
    assert (await call(one, other))[0].status == 401


@pytest.mark.parametrize("token", ["", "x", "a.b", "a.b.c", "." * 100, "e30.e30.e30", "ä.ö.ü", "x" * 20000])
async def test_what_is_no_token(local, call, token):
    answer, _, _ = await call(local(), token)
    assert answer.status == 401
    assert 'error="invalid_token"' in challenge(answer)


async def test_an_extension_that_is_critical_and_unknown(local, issuer, call):
    token = issuer.token(headers={"crit": ["odd"], "odd": 1})
    assert (await call(local(), token))[0].status == 401


# --- places ----------------------------------------------------------------------------------------------------------


async def test_a_cookie(local, issuer, call):
    token = issuer.token()
    one = local(sources=[{"cookie": "session"}])
    answer, request, _ = await call(one, headers={"cookie": f"a=1; session={token}; b=2"})
    assert answer is None
    assert request.headers["cookie"] == "a=1; b=2"
    answer, request, _ = await call(one, headers={"cookie": f'session="{token}"'})
    assert answer is None
    assert "cookie" not in request.headers
    assert (await call(one, headers={"cookie": f"sessions={token}"}))[0].status == 401


async def test_the_query(local, issuer, call):
    one = local(sources=[{"query": "access_token"}])
    answer, request, _ = await call(one, path=f"/a?x=%20&access_token={issuer.token()}&y")
    assert answer is None
    assert request.query == "x=%20&y"


async def test_a_header_without_scheme(local, issuer, call):
    one = local(sources=[{"header": "x-token", "scheme": ""}])
    answer, request, _ = await call(one, headers={"x-token": issuer.token(), "authorization": "Basic YTpi"})
    assert answer is None
    assert dict(request.headers) == {"authorization": "Basic YTpi"}


async def test_the_scheme_is_in_any_case(local, issuer, call):
    assert (await call(local(), headers={"authorization": f"bEARER   {issuer.token()}"}))[0] is None


async def test_several_tokens_are_refused(local, issuer, call):
    token = issuer.token()
    one = local(sources=[{"header": "authorization"}, {"query": "t"}])
    for sent in ({"path": f"/?t={token}"}, {"headers": {"authorization": f"Bearer {token}"}}):
        answer, _, _ = await call(one, token, **sent)
        assert answer.status == 400
        assert 'error="invalid_request"' in challenge(answer)


async def test_a_token_is_passed_on_if_asked(local, issuer, call):
    token = issuer.token()
    _, request, _ = await call(local(forward=True), token)
    assert request.headers["authorization"] == f"Bearer {token}"


async def test_requests_without_token_may_pass(local, issuer, call):
    one = local(optional=True, claimsToHeaders={"x-user": "sub"})
    answer, request, context = await call(one, headers={"x-user": "root"})
    assert answer is None
    assert "x-user" not in request.headers
    assert CLAIMS not in context
    assert (await call(one, "x"))[0].status == 401


# --- claims ----------------------------------------------------------------------------------------------------------


async def test_claims_become_headers(local, issuer, call):
    claims = {
        "https://example.com/org": "acme",
        "realm_access": {"roles": ["a", "b,c"]},
        "admin": True,
        "level": 3,
        "name": "Zoë 100%\r\nx-evil: 1",
        "address": {"city": "Köln"},
    }
    fields = {
        "x-org": "https://example.com/org",
        "x-roles": "realm_access.roles",
        "x-admin": "admin",
        "x-level": "level",
        "x-name": "name",
        "x-address": "address",
        "x-none": "realm_access.groups",
    }
    _, request, _ = await call(local(claimsToHeaders=fields), issuer.token(**claims), headers={"X-None": "root"})
    assert dict(request.headers) == {
        "x-org": "acme",
        "x-roles": "a,b%2Cc",
        "x-admin": "true",
        "x-level": "3",
        "x-name": "Zo%C3%AB 100%25%0D%0Ax-evil: 1",
        "x-address": '{"city":"K\\u00f6ln"}',
    }


async def test_the_clients_own_copies_are_removed(local, issuer, call):
    sent = [("X-User", "root"), ("x-user", "admin")]
    _, request, _ = await call(local(claimsToHeaders={"x-user": "sub"}), issuer.token(), headers=sent)
    assert request.headers.getall("x-user") == ["ada"]
