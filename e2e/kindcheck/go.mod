// Reads what is for machines with Docker and for a forge: kind's configuration, and workflows.
//
// kind's parser and its rules are in `internal` folders, which Go opens only to import paths below
// sigs.k8s.io/kind/pkg: hence the name.
module sigs.k8s.io/kind/pkg/rocketmart

go 1.26.0

require (
	github.com/rhysd/actionlint v1.7.12
	sigs.k8s.io/kind v0.33.0
)
