"""Transformation of JSON bodies for fastgate: members are set, removed and renamed, documents patched and wrapped."""

from fastgate_transform.config import (
    JSONResponseTransformConfig,
    JSONTransformConfig,
    RequestTransformation,
    ResponseTransformation,
    Step,
)
from fastgate_transform.filters import JSONResponseTransform, JSONTransform

__all__ = [
    "JSONResponseTransform",
    "JSONResponseTransformConfig",
    "JSONTransform",
    "JSONTransformConfig",
    "RequestTransformation",
    "ResponseTransformation",
    "Step",
]
