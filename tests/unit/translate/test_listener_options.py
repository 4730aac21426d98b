"""Options of TLS of listeners: what they mean, and that their users read the same."""

import re
from pathlib import Path

import pytest

from fastgate.ir import TLS12, TLS13, Tls
from fastgate.translate.listener_options import GROUPS, NAMES, TLS12_CIPHERS, TLS13_SUITES, options_of
from fastgate.translate.tls_options import OptionError, foreign

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs" / "tls.md").read_text()


def test_without_options_the_library_chooses():
    assert options_of("HTTPS", {}) == Tls((), TLS12, TLS13, alpn=("http/1.1",))
    assert options_of("TLS", {}) == Tls(())


def test_lists_keep_their_order_without_repetitions():
    options = {"fastgate.dev/curves": " P-384:X25519, P-384", "fastgate.dev/alpn": "postgresql,imap"}
    found = options_of("TLS", options)
    assert (found.groups, found.alpn) == ("P-384:X25519", ("postgresql", "imap"))


@pytest.mark.parametrize("name", ["x" * 256, "é", "a\nb"])
def test_names_of_protocols_fit_into_the_extension(name):
    with pytest.raises(OptionError) as error:
        options_of("TLS", {"fastgate.dev/alpn": name})
    assert error.value.key == "fastgate.dev/alpn"
    assert options_of("TLS", {"fastgate.dev/alpn": "x" * 255}).alpn == ("x" * 255,)


def test_options_of_others_are_told_apart():
    options = {"example.com/a": "", "fastgate.dev/b": "", "c": ""}
    assert foreign(options) == ["example.com/a"]
    for key in ("fastgate.dev/b", "c"):
        with pytest.raises(OptionError, match="is not an option"):
            options_of("HTTPS", {key: ""})


def test_the_document_has_every_option_and_value():
    table = {row[0]: row[1] for row in re.findall(r"^\| `(fastgate\.dev/[^`]+)` \| (.*?) \|", DOCUMENT, re.MULTILINE)}
    assert list(table) == list(NAMES)
    values = {name: re.findall(r"`([^`]+)`", text) for name, text in table.items()}
    keys, ciphers = values["fastgate.dev/ciphers"][:2], values["fastgate.dev/ciphers"][2:]
    assert {key + cipher for key in keys for cipher in ciphers} == set(TLS12_CIPHERS)
    assert values["fastgate.dev/cipher-suites"] == list(TLS13_SUITES)
    assert values["fastgate.dev/curves"] == list(GROUPS)
