"""The matcher: C interface, see fg_match_fn of csrc/fg_image.h."""

from libc.stdint cimport uint32_t

from fastgate.core.image cimport fg_image, fg_match_query, fg_match_result

cdef void match(const fg_image *image, uint32_t socket, const fg_match_query *query, fg_match_result *result) noexcept nogil
