"""fastgate: the Kubernetes Gateway API as a Python package, with a compiled data plane.

What `__all__` names is public and follows semantic versioning. Names are imported when they are first used, so that a
worker process, which needs none of them, starts without models and YAML.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastgate.core.client_hello import parse_client_hello
    from fastgate.core.http1 import normalize_path, parse_request, parse_response
    from fastgate.errors import ConfigurationError, Error, ParseError, StoppedError
    from fastgate.gateway import Gateway
    from fastgate.message import Request, Response
    from fastgate.problems import Problem, Severity
    from fastgate.router import Match, Router
    from fastgate.runtime import Report

__all__ = [
    "ConfigurationError",
    "Error",
    "Gateway",
    "Match",
    "ParseError",
    "Problem",
    "Report",
    "Request",
    "Response",
    "Router",
    "Severity",
    "StoppedError",
    "__version__",
    "normalize_path",
    "parse_client_hello",
    "parse_request",
    "parse_response",
]

_MODULES = {
    "ConfigurationError": "errors",
    "Error": "errors",
    "Gateway": "gateway",
    "Match": "router",
    "ParseError": "errors",
    "Problem": "problems",
    "Report": "runtime",
    "Request": "message",
    "Response": "message",
    "Router": "router",
    "Severity": "problems",
    "StoppedError": "errors",
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
        raise AttributeError(f"module 'fastgate' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
