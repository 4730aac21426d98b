"""Types of the compiled module: the writer of the table of secrets."""

from collections.abc import Iterable

from fastgate import ir

TICKET_KEY: int

def build(key_pairs: Iterable[ir.KeyPair], authorities: Iterable[ir.Authorities]) -> bytearray: ...
