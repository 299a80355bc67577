// Package prometheus holds what the package ships for Prometheus and Grafana
// against real Prometheus: its promtool judges the rules, and its server scrapes
// real agents next to real brokers and answers every query of the dashboard.
package prometheus
