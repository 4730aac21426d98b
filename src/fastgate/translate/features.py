"""What of the Gateway API is served: GatewayClass.status.supportedFeatures, from which the suite infers its tests."""

from __future__ import annotations

VERSION = "v1.7.0"  # of the API that is supported

# Features of pkg/features (Gateway API v1.7.0) that are served, in alphabetical order as the API asks for.
# GatewayHTTPSListenerDetectMisdirectedRequests is not claimed: requests of HTTP/1 are answered 421, but the feature is
# defined by connections of HTTP/2, which are not served.
SUPPORTED_FEATURES = (
    "BackendTLSPolicy",
    "BackendTLSPolicySANValidation",
    "ClusterTrustBundle",
    "Gateway",
    "GatewayAddressEmpty",
    "GatewayBackendClientCertificate",
    "GatewayFrontendClientCertificateValidation",
    "GatewayFrontendClientCertificateValidationInsecureFallback",
    "GatewayHTTPListenerIsolation",
    "GatewayPort8080",
    "GatewayRouteHostnameIntersectionPrecedence",
    "GatewayStaticAddresses",
    "HTTPRoute",
    "HTTPRoute303RedirectStatusCode",
    "HTTPRoute307RedirectStatusCode",
    "HTTPRoute308RedirectStatusCode",
    "HTTPRouteBackendProtocolWebSocket",
    "HTTPRouteBackendRequestHeaderModification",
    "HTTPRouteBackendTimeout",
    "HTTPRouteBackendURLRewrite",
    "HTTPRouteDestinationPortMatching",
    "HTTPRouteHostRewrite",
    "HTTPRouteMethodMatching",
    "HTTPRouteNamedRouteRule",
    "HTTPRouteParentRefPort",
    "HTTPRoutePathRedirect",
    "HTTPRoutePathRewrite",
    "HTTPRoutePortRedirect",
    "HTTPRouteQueryParamMatching",
    "HTTPRouteRequestTimeout",
    "HTTPRouteResponseHeaderModification",
    "HTTPRouteSchemeRedirect",
    "ListenerSet",
    "ReferenceGrant",
    "TCPRoute",
    "TLSRoute",
    "TLSRouteModeMixed",
    "TLSRouteModeTerminate",
    "UDPRoute",
)


# Where data planes are provisioned: what becomes of spec.infrastructure is served, too; addresses are the Service's.
PROVISIONED_FEATURES = tuple(sorted({*SUPPORTED_FEATURES, "GatewayInfrastructure"} - {"GatewayStaticAddresses"}))


def features_of(features: tuple[str, ...], *, bundles: bool) -> tuple[str, ...]:
    """Return those of the features that are served where ClusterTrustBundles can be had, or cannot."""
    return tuple(name for name in features if bundles or name != "ClusterTrustBundle")
