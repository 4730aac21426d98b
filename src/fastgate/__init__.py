"""fastgate: the Kubernetes Gateway API as a Python package, with a compiled data plane.

What `__all__` names is public and follows semantic versioning. Names are imported when they are first used, so that a
worker process, which needs none of them, starts without models and YAML.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgate.api.metadata import Metadata, Resource
    from fastgate.core.client_hello import parse_client_hello
    from fastgate.core.http1 import normalize_path, parse_request, parse_response
    from fastgate.errors import ConfigurationError, Error, ParseError, StaleError, StoppedError
    from fastgate.gateway import Gateway
    from fastgate.heads import RequestHead, ResponseHead
    from fastgate.plugins.context import Context, StateKey
    from fastgate.plugins.discovery import Catalog
    from fastgate.plugins.duration import Duration
    from fastgate.plugins.filter import Filter, NoConfig, Phase
    from fastgate.plugins.headers import Headers
    from fastgate.plugins.hookspecs import Metric, hookimpl
    from fastgate.plugins.identity import Client, Endpoint, TlsIdentity
    from fastgate.plugins.request import Request
    from fastgate.plugins.response import Response
    from fastgate.plugins.trace import TraceParent
    from fastgate.plugins.values import ConfigMapRef, SecretRef
    from fastgate.plugins.version import PLUGIN_API
    from fastgate.problems import Problem, Severity
    from fastgate.router import Match, Router
    from fastgate.runtime import Report
    from fastgate.store import Store

__all__ = [
    "PLUGIN_API",
    "Catalog",
    "Client",
    "ConfigMapRef",
    "ConfigurationError",
    "Context",
    "Duration",
    "Endpoint",
    "Error",
    "Filter",
    "Gateway",
    "Headers",
    "Match",
    "Metadata",
    "Metric",
    "NoConfig",
    "ParseError",
    "Phase",
    "Problem",
    "Report",
    "Request",
    "RequestHead",
    "Resource",
    "Response",
    "ResponseHead",
    "Router",
    "SecretRef",
    "Severity",
    "StaleError",
    "StateKey",
    "StoppedError",
    "Store",
    "TlsIdentity",
    "TraceParent",
    "__version__",
    "hookimpl",
    "normalize_path",
    "parse_client_hello",
    "parse_request",
    "parse_response",
]

_MODULES = {
    "PLUGIN_API": "plugins.version",
    "Catalog": "plugins.discovery",
    "Client": "plugins.identity",
    "ConfigMapRef": "plugins.values",
    "ConfigurationError": "errors",
    "Context": "plugins.context",
    "Duration": "plugins.duration",
    "Endpoint": "plugins.identity",
    "Error": "errors",
    "Filter": "plugins.filter",
    "Gateway": "gateway",
    "Headers": "plugins.headers",
    "Match": "router",
    "Metadata": "api.metadata",
    "Metric": "plugins.hookspecs",
    "NoConfig": "plugins.filter",
    "ParseError": "errors",
    "Phase": "plugins.filter",
    "Problem": "problems",
    "Report": "runtime",
    "Request": "plugins.request",
    "RequestHead": "heads",
    "Resource": "api.metadata",
    "Response": "plugins.response",
    "ResponseHead": "heads",
    "Router": "router",
    "SecretRef": "plugins.values",
    "Severity": "problems",
    "StaleError": "errors",
    "StateKey": "plugins.context",
    "StoppedError": "errors",
    "Store": "store",
    "TlsIdentity": "plugins.identity",
    "TraceParent": "plugins.trace",
    "hookimpl": "plugins.hookspecs",
    "normalize_path": "core.http1",
    "parse_client_hello": "core.client_hello",
    "parse_request": "core.http1",
    "parse_response": "core.http1",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "__version__":
        try:
            value: Any = version("fastgate")
        except PackageNotFoundError:
            value = "0+unknown"
    elif name in _MODULES:
        value = getattr(import_module(f"fastgate.{_MODULES[name]}"), name)
    else:
        return _deprecated(name)
    globals()[name] = value
    return value


def _deprecated(name: str) -> Any:
    """What takes the place of a name that goes away; it is not kept, so that every use is noted."""
    from fastgate.plugins import deprecation  # noqa: PLC0415 - for a name that there is not, or not for long

    found = deprecation.DEPRECATED.get(name)
    if found is None:
        raise AttributeError(f"module 'fastgate' has no attribute {name!r}")
    value = getattr(sys.modules[__name__], found.replacement)
    deprecation.used(name, found, depth=3)
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
