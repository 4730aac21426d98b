"""The matcher: C interface, see fg_match_fn and fg_find_host_fn of csrc/fg_image.h."""

from libc.stdint cimport uint8_t, uint32_t

from fastgate.core.image cimport fg_image, fg_match_query, fg_match_result

cdef void match(const fg_image *image, uint32_t socket, const fg_match_query *query, fg_match_result *result) noexcept nogil
cdef uint32_t find_host(const fg_image *image, uint32_t hosts_segment, const uint8_t *name, uint32_t size) noexcept nogil
