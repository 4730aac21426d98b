"""Validation of JSON Web Tokens (RFC 7519) as a fastgate filter.

CLAIMS is where filters behind it find the claims of a token that was valid: `context[fastgate_jwt.CLAIMS]["sub"]`.
"""

from __future__ import annotations

from fastgate_jwt.config import Config
from fastgate_jwt.filter import CLAIMS, JWT, claim

__all__ = ["CLAIMS", "JWT", "Config", "claim"]
