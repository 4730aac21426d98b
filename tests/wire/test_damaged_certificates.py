"""Certificates that somebody damaged, on their way to workers."""

import pytest
from certificates import issued, pem
from cryptography.hazmat.primitives.asymmetric import ec
from mutation import damaged
from secure import Authority, config, listener, open_tls, terminating, trusting

from fastgate import certificates, ir

ROOT = Authority()
A = ROOT.issue("a.example")


@pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")
def test_what_is_left_of_damaged_certificates_is_refused_alone_or_served(proxies, backend):
    """One that a worker would refuse refuses everything with it: it has to be told before."""
    key = ec.generate_private_key(ec.SECP256R1())
    whole = issued(("d.example",), key, (ROOT.certificate.subject, ROOT.key))
    served, trusted, refused = [], [], 0
    for text in damaged(whole, seed=5, count=1_000):
        try:
            served.append(certificates.key_pair(text, pem(key)))
            trusted.append(certificates.authorities(text))
        except certificates.CertificateError:
            refused += 1
    assert refused > 500
    assert len(served) > 50
    digests = tuple({each.digest: each for each in trusted})
    clients = ir.ClientValidation(digests, required=False)
    listeners = [listener(terminating(each), f"h{n}.example", f"h{n}") for n, each in enumerate(served)]
    proxy = proxies(
        config(
            *listeners,
            listener(terminating(A, clients=clients), "a.example"),
            pairs=(*served, A),
            authorities=tuple({each.digest: each for each in trusted}.values()),
        ),
        {"c": (backend.endpoint,)},
    )
    backend.answer_all(b"HTTP/1.1 204 No Content\r\n\r\n")
    client = open_tls(proxy, trusting(ROOT))
    client.send(b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
    assert client.head().startswith(b"HTTP/1.1 204")
