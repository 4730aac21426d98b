"""What the image says of connections below HTTP."""

from libc.stdint cimport uint32_t

from fastgate.core.image cimport fg_ref
from fastgate.core.segment cimport Segment

cdef fg_ref tls_of(Segment seg, object tls, uint32_t hosts) except *
cdef fg_ref upstream_tls_of(Segment seg, object tls) except *
cdef fg_ref relays_of(Segment seg, list relays, list patches) except *
