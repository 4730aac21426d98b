"""Certificates and keys: what is taken, what is known of it, and what is said of the rest."""

import base64
import warnings
from types import SimpleNamespace

import certificates as made
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509 import ocsp

from fastgate.certificates import CertificateError, authorities, key_pair, key_pair_of

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
LEAF = made.pem(made.issued(("a.example.com",), EC))


@pytest.mark.parametrize(
    ("key", "type_"),
    [
        (RSA, "RSA 2048"),
        (EC, "ECDSA P-256"),
        (ec.generate_private_key(ec.SECP384R1()), "ECDSA P-384"),
        (ed25519.Ed25519PrivateKey.generate(), "Ed25519"),
    ],
)
def test_key_pairs(key, type_):
    names = ("A.example.com", "*.b.example.com", "192.0.2.1", "::1")
    found = key_pair(made.pem(made.issued(names, key)), made.pem(key))
    assert found.key_type == type_
    assert found.names == ("a.example.com", "*.b.example.com", "192.0.2.1", "::1")
    assert (found.not_before, found.not_after) == (made.BEGIN, made.END)


def test_a_certificate_without_names_has_none():
    assert key_pair(made.pem(made.issued((), EC)), made.pem(EC)).names == ()


def test_chains_are_kept_in_their_order_and_decide_the_digest():
    root_key = ec.generate_private_key(ec.SECP256R1())
    root = made.issued(("root",), root_key)
    leaf = made.issued(("a.example.com",), EC, issuer=(root.subject, root_key))
    alone = key_pair(made.pem(leaf), made.pem(EC))
    with_text = b"subject=a\n" + made.pem(leaf) + b"\nsubject=root\n" + made.pem(root)
    chained = key_pair(with_text, made.pem(EC))
    assert chained.chain == made.pem(leaf) + made.pem(root)
    assert chained.digest != alone.digest
    assert chained == key_pair(made.pem(leaf) + made.pem(root), made.pem(EC))
    with pytest.raises(CertificateError, match="not the key of the first certificate"):
        key_pair(made.pem(root) + made.pem(leaf), made.pem(EC))


def test_older_forms_of_keys_are_read():
    for key in (RSA, EC):
        older = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        assert key_pair(made.pem(made.issued(("a",), key)), older).key == made.pem(key)


def encrypted(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))


OTHER = "tls.key is not the key of the first certificate in tls.crt"


@pytest.mark.parametrize(
    ("chain", "key", "message"),
    [
        (b"Hello world", made.pem(EC), "tls.crt holds no certificate in PEM"),
        (b"", made.pem(EC), "tls.crt holds no certificate in PEM"),
        (made.pem(EC), made.pem(EC), "tls.crt has a certificate that cannot be read"),
        (LEAF[:200] + LEAF[-60:], made.pem(EC), "tls.crt has a certificate that cannot be read"),
        (LEAF, b"Hello world", "tls.key holds no private key that can be read"),
        (LEAF, LEAF, "tls.key holds no private key that can be read"),
        (LEAF, made.pem(EC)[:80], "tls.key holds no private key that can be read"),
        (LEAF, encrypted(EC), "tls.key is encrypted"),
        (LEAF, made.pem(RSA), OTHER),
        (LEAF, made.pem(ec.generate_private_key(ec.SECP256R1())), OTHER),
        (
            LEAF,
            made.pem(ec.generate_private_key(ec.SECP256K1())),
            "tls.key is of curve secp256k1, which is not supported",
        ),
        (LEAF, made.pem(ed448.Ed448PrivateKey.generate()), "tls.key is neither RSA nor ECDSA nor Ed25519"),
        (LEAF, made.pem(dsa.generate_private_key(1024)), "tls.key is neither RSA nor ECDSA nor Ed25519"),
        (LEAF, made.pem(rsa.generate_private_key(65537, 1024)), "tls.key has 1024 bits; RSA keys have at least 2048"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",  # keys differ from process to process
)
def test_what_cannot_be_used_says_why(chain, key, message):
    with pytest.raises(CertificateError) as e:
        key_pair(chain, key)
    assert str(e.value) == message
    assert e.value.__suppress_context__ or e.value.__context__ is None  # nothing of the library's words


def test_a_truncated_certificate_is_an_error_of_ours():
    for cut in range(0, len(LEAF) - 1, 7):
        with pytest.raises(CertificateError):
            key_pair(LEAF[:cut], made.pem(EC))


def test_a_corrupted_certificate_is_read_or_an_error_of_ours():
    der = x509.load_pem_x509_certificate(LEAF).public_bytes(Encoding.DER)
    refused = 0
    for position in range(len(der)):
        for value in (0, 6, 0x30, 0x7F, 0x80, 0xFF, der[position] ^ 1):
            corrupted = der[:position] + bytes([value]) + der[position + 1 :]
            text = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(corrupted) + b"-----END CERTIFICATE-----\n"
            with warnings.catch_warnings(action="ignore"):  # the library warns of what it still reads
                try:
                    key_pair(text, made.pem(EC))
                except CertificateError:
                    refused += 1
    assert refused > 1000


def secret(type_="kubernetes.io/tls", **data):
    encoded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
    return SimpleNamespace(type=type_, data=encoded)


def test_secrets():
    assert key_pair_of(secret(tls_crt=LEAF, tls_key=made.pem(EC))) == key_pair(LEAF, made.pem(EC))
    for found, message in (
        (secret(None, tls_crt=LEAF, tls_key=made.pem(EC)), "is of type Opaque, not kubernetes.io/tls"),
        (secret(tls_crt=LEAF), "has no tls.key"),
        (secret(tls_key=made.pem(EC)), "has no tls.crt"),
        (secret(tls_crt=b"", tls_key=made.pem(EC)), "has no tls.crt"),
        (SimpleNamespace(type="kubernetes.io/tls", data=None), "has no tls.crt"),
    ):
        with pytest.raises(CertificateError, match=message):
            key_pair_of(found)


def test_keys_stay_out_of_representations():
    assert "PRIVATE" not in repr(key_pair(LEAF, made.pem(EC)))
    assert "BEGIN" not in repr(authorities(LEAF))


def test_authorities_have_no_duplicates():
    other = made.pem(made.issued(("b",)))
    found = authorities(LEAF + other + LEAF)
    assert found.bundle == LEAF + other
    assert found == authorities(LEAF + b"text\n" + other)
    assert len(x509.load_pem_x509_certificates(found.bundle)) == 2
    with pytest.raises(CertificateError, match=r"bundle\.pem holds no certificate in PEM"):
        authorities(b"", "bundle.pem")


def ocsp_response(status=ocsp.OCSPResponseStatus.SUCCESSFUL):
    if status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
        return ocsp.OCSPResponseBuilder.build_unsuccessful(status).public_bytes(Encoding.DER)
    leaf = made.issued(("a.example.com",), EC)
    builder = ocsp.OCSPResponseBuilder().add_response(
        leaf, leaf, hashes.SHA256(), ocsp.OCSPCertStatus.GOOD, made.BEGIN, made.END, None, None
    )
    response = builder.responder_id(ocsp.OCSPResponderEncoding.NAME, leaf).sign(EC, hashes.SHA256())
    return response.public_bytes(Encoding.DER)


def stapled(response):
    data = {"tls.crt": LEAF, "tls.key": made.pem(EC), "tls.ocsp-staple": response}
    encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
    return key_pair_of(SimpleNamespace(type="kubernetes.io/tls", data=encoded))


def test_a_staple_is_a_part_of_the_pair():
    response = ocsp_response()
    found, without = stapled(response), key_pair(LEAF, made.pem(EC))
    assert (found.staple, without.staple) == (response, b"")
    assert found.digest != without.digest
    assert "staple" not in repr(found)


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (b"", "has no tls.ocsp-staple"),
        (b"hello", "tls.ocsp-staple is no OCSP response in DER"),
        (ocsp_response(ocsp.OCSPResponseStatus.TRY_LATER), "is an OCSP response that says try_later"),
    ],
)
def test_a_staple_that_says_nothing_is_refused(response, why):
    with pytest.raises(CertificateError, match=why):
        stapled(response)
