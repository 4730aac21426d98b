//go:build tools

// Package suite names what is built from this module: the conformance tests, and the server behind their Gateways.
package suite

import (
	_ "sigs.k8s.io/gateway-api-conformance-images/echo-basic"
	_ "sigs.k8s.io/gateway-api/conformance"
)
