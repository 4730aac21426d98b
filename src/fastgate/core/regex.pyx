"""Regular expressions of routes, by RE2: linear in the text, bounded in memory, not anchored."""

from libc.stdint cimport uint8_t

cdef extern from "fg_re2.h" nogil:
    fg_re2 *fg_re2_new(const uint8_t *pattern, size_t size, char *why, size_t why_size)
    bint fg_re2_search(const fg_re2 *re, const uint8_t *text, size_t size)
    void fg_re2_free(fg_re2 *re)


cdef fg_re2 *re2_new(const uint8_t *pattern, size_t size, char *why, size_t why_size) noexcept nogil:
    return fg_re2_new(pattern, size, why, why_size)


cdef bint re2_search(const fg_re2 *re, const uint8_t *text, size_t size) noexcept nogil:
    return fg_re2_search(re, text, size)


cdef void re2_free(fg_re2 *re) noexcept nogil:
    fg_re2_free(re)


def check(str pattern):
    """Return why RE2 refuses the pattern, or None when it accepts it."""
    cdef char why[256]
    cdef fg_re2 *re
    try:
        text = pattern.encode("latin-1")
    except UnicodeEncodeError as e:
        return f"character {pattern[e.start]!r} cannot stand in a path or a field value"
    re = fg_re2_new(text, len(text), why, sizeof(why))
    if re == NULL:
        return why.decode("latin-1")
    fg_re2_free(re)
    return None


def search(str pattern, str text):
    """Say whether the pattern finds something in the text; ValueError when RE2 refuses the pattern."""
    cdef char why[256]
    cdef bytes p = pattern.encode("latin-1"), t = text.encode("latin-1", "replace")
    cdef fg_re2 *re = fg_re2_new(p, len(p), why, sizeof(why))
    cdef bint found
    if re == NULL:
        raise ValueError(why.decode("latin-1"))
    found = fg_re2_search(re, t, len(t))
    fg_re2_free(re)
    return found
