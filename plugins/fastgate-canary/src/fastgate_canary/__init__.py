"""Canary releases for fastgate: a share of the users, always the same ones, gets the new version."""

from fastgate_canary.config import CanaryConfig, Cookie, Forward, Override
from fastgate_canary.filter import Canary

__all__ = ["Canary", "CanaryConfig", "Cookie", "Forward", "Override"]
