//go:build tools

// Package tools pins Contour in go.mod, so that `go mod tidy` keeps it.
package tools

import _ "github.com/projectcontour/contour/cmd/contour"
