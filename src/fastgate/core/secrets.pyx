"""Writes the table of secrets (csrc/fg_secrets.h). What it returns is for a sealed memfd and for nothing else."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastgate.core.image cimport FG_DIGEST, fg_checksum, fg_ref

cdef extern from "fg_secrets.h" nogil:
    const uint64_t FG_SECRETS_MAGIC

    ctypedef struct fg_secrets_header "struct fg_secrets_header":
        uint64_t magic, size, checksum
        uint32_t nentries

    ctypedef struct fg_secret "struct fg_secret":
        char digest[64]
        fg_ref chain, key, staple

    ctypedef struct fg_ticket_key "struct fg_ticket_key":
        uint8_t name[16]

TICKET_KEY = sizeof(fg_ticket_key)  # bytes, all of them random


def build(key_pairs, authorities):
    """Return the table of `ir.KeyPair`s and `ir.Authorities`, each of which may come more than once."""
    cdef dict entries = {a.digest: (a.bundle, b"", b"") for a in authorities}
    entries.update({pair.digest: (pair.chain, pair.key, pair.staple) for pair in key_pairs})
    cdef size_t at = sizeof(fg_secrets_header) + sizeof(fg_secret) * len(entries)
    cdef size_t content = sum([len(part) for parts in entries.values() for part in parts])
    cdef size_t size = (at + content + 7) & ~<size_t>7
    if size > 0xffffffff:
        raise OverflowError("certificates and keys of more than 4 GiB")
    cdef bytearray out = bytearray(size)
    cdef uint8_t *p = <uint8_t *><char *>out
    cdef fg_secrets_header *h = <fg_secrets_header *>p
    cdef fg_secret *entry = <fg_secret *>(p + sizeof(fg_secrets_header))
    cdef bytes name
    for digest, (chain, key, staple) in sorted(entries.items()):
        name = digest.encode()
        if len(name) != FG_DIGEST:
            raise ValueError(f"{digest} is not the digest of a secret")
        memcpy(entry.digest, <const char *>name, FG_DIGEST)
        entry.chain = _put(p, &at, chain)
        entry.key = _put(p, &at, key)
        entry.staple = _put(p, &at, staple)
        entry += 1
    h.magic = FG_SECRETS_MAGIC
    h.size = size
    h.nentries = <uint32_t>len(entries)
    h.checksum = fg_checksum(p + sizeof(fg_secrets_header), size - sizeof(fg_secrets_header))
    return out


cdef fg_ref _put(uint8_t *p, size_t *at, bytes part) except *:
    cdef fg_ref r
    r.off, r.len = <uint32_t>at[0], <uint32_t>len(part)
    memcpy(p + at[0], <const char *>part, r.len)
    at[0] += r.len
    return r
