// The definitions of what the Prometheus Operator reads, for the tests of the chart. Nothing is built.
module rocketmart.dev/node-binaries/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.93.1
