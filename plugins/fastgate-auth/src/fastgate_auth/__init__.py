"""Authentication by API keys and by names and passwords (RFC 7617) as fastgate filters.

IDENTITY is where filters behind them find who it is: `context[fastgate_auth.IDENTITY]`.
"""

from __future__ import annotations

from fastgate_auth.api_key import APIKey
from fastgate_auth.basic import BasicAuth
from fastgate_auth.config import APIKeyConfig, BasicAuthConfig
from fastgate_auth.identity import IDENTITY

__all__ = ["IDENTITY", "APIKey", "APIKeyConfig", "BasicAuth", "BasicAuthConfig"]
