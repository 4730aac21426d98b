//go:build tools

// Package helm names what is built from this module.
package helm

import _ "helm.sh/helm/v4/cmd/helm"
