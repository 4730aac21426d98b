"""The version of what plugins are written against."""

from __future__ import annotations

# (major, minor). What is removed from it, or changed so that a working filter breaks, counts the major number up, after
# it was deprecated for two minor releases of fastgate; what is added counts the minor one up.
PLUGIN_API = (1, 0)


def unsupported(declared: object) -> str | None:
    """Say why a plugin of this `fastgate_api`, such as "1" or "1.2", does not run here; None when it does."""
    here = ".".join(map(str, PLUGIN_API))
    major, _, minor = declared.partition(".") if isinstance(declared, str) else ("", "", "")
    if not major.isdecimal() or not (minor or "0").isdecimal():
        return f'fastgate_api is a version such as "{here}", not {declared!r}'
    if int(major) != PLUGIN_API[0] or int(minor or "0") > PLUGIN_API[1]:
        return f"it needs plugin API {declared}, and this is {here}"
    return None
