"""What writes tables that lead from names to what is said of them."""

from libc.stdint cimport uint8_t, uint32_t

from fastgate.core.segment cimport Segment

cdef tuple trie(Segment seg, object root, bytes separator, bint from_right)
cdef bytes hosts_of(list entries)
cdef bytes hosts_of_groups(tuple hosts, uint32_t first)
cdef void place_hosts(uint8_t *seg, list offsets) except *
