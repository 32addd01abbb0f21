// Kind-config reads a configuration of a cluster as `kind create cluster` does, with kind's own types,
// defaults and rules, and prints the cluster's name.
package main

import (
	"fmt"
	"os"

	"sigs.k8s.io/kind/pkg/internal/apis/config/encoding"
)

func main() {
	if err := read(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func read() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: kind-config FILE")
	}
	path := os.Args[1]
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	// Refuses fields that there are not.
	cluster, err := encoding.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := cluster.Validate(); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	fmt.Println(cluster.Name)
	return nil
}
