"""An authority of controllers and data planes, and what it issues."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from fastgate.remote import identities
from fastgate.remote.identities import Authority, Identity, IdentityError

GATEWAY = ("default", "gw")


def test_what_it_issued_it_knows_again_and_nothing_else(authority):
    identity = authority.data_plane(GATEWAY)
    again = Authority(authority.certificate, authority.key)
    assert again.issued(identity, GATEWAY)
    assert not again.issued(identity, ("default", "other"))
    assert not again.issued(authority.controller(), GATEWAY)
    assert not Authority.new().issued(identity, GATEWAY)
    assert not again.issued(replace(identity, key=authority.data_plane(GATEWAY).key), GATEWAY)
    assert not again.issued(replace(identity, authority=b""), GATEWAY)
    assert not again.issued(Identity(b"", b"", b""), GATEWAY)


def test_it_is_renewed_at_two_thirds_of_its_life(authority):
    now = datetime.now(UTC)
    assert timedelta(days=59) < authority.data_plane(GATEWAY).renews_at() - now < timedelta(days=61)
    assert timedelta(days=19) < authority.controller().renews_at() - now < timedelta(days=21)
    with pytest.raises(IdentityError):
        Identity(b"no certificate", b"", b"").renews_at()


def test_the_authority_may_sign_and_what_it_signs_may_not(authority):
    def signs(pem):
        return x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.BasicConstraints).value.ca

    assert signs(authority.certificate)
    assert not signs(authority.controller().certificate)
    assert not signs(authority.data_plane(GATEWAY).certificate)


@pytest.mark.parametrize("damaged", ["certificate", "key", "of another one"])
def test_an_authority_that_cannot_be_used_is_refused(authority, damaged):
    parts = {"certificate": (b"x", authority.key), "key": (authority.certificate, b"x")}
    with pytest.raises(IdentityError, match="authority"):
        Authority(*parts.get(damaged, (authority.certificate, Authority.new().key)))


def test_a_key_is_not_shown(authority):
    assert "PRIVATE" not in repr(authority.data_plane(GATEWAY))


@pytest.mark.parametrize(
    ("names", "gateway"),
    [
        ([("URI", "fastgate://gateway/default/gw")], GATEWAY),
        ([("DNS", "a"), ("URI", "fastgate://gateway/default/gw")], GATEWAY),
        ([("URI", "fastgate://gateway/default/gw"), ("URI", "fastgate://gateway/default/other")], None),
        ([("URI", "fastgate://gateway/default/gw/more")], None),
        ([("URI", "fastgate://gateway//gw")], None),
        ([("URI", "https://gateway/default/gw")], None),
        ([("DNS", "fastgate://gateway/default/gw")], None),
    ],
)
def test_the_uri_of_a_certificate_names_the_gateway(names, gateway):
    assert identities.gateway_of({"subjectAltName": names}) == gateway


def test_no_certificate_names_none():
    assert identities.gateway_of(None) is None
    assert identities.gateway_of({}) is None
