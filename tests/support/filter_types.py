"""Filters that tests configure; none of them does anything."""

from __future__ import annotations

from pydantic import BaseModel, Field

import fastgate
from fastgate.plugins.discovery import Catalog


class StampConfig(BaseModel):
    header: str = "x-stamp"
    times: int = Field(default=1, ge=1)
    note: str | None = "none"


class Stamp(fastgate.Filter[StampConfig]):
    async def on_request(self, request, context):
        return None

    async def on_request_body(self, request, context, chunk, end):
        return None


class KeyConfig(BaseModel):
    token: fastgate.SecretRef
    words: list[fastgate.ConfigMapRef] = []


class Keys(fastgate.Filter[KeyConfig]):
    buffer_body = 1024

    async def on_request(self, request, context):
        return None


class Log(fastgate.Filter):
    def on_log(self, request, context, response):
        return None


CATALOG = Catalog({"Stamp": Stamp, "Keys": Keys, "Log": Log}, installed=False)
