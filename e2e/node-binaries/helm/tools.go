//go:build tools

// Package tools pins Helm in go.mod, so that `go mod tidy` keeps it.
package tools

import _ "helm.sh/helm/v4/cmd/helm"
