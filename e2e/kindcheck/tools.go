//go:build tools

// Package tools pins actionlint in go.mod, so that `go mod tidy` keeps it.
package tools

import _ "github.com/rhysd/actionlint/cmd/actionlint"
