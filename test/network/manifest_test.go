//go:build network

package network

import (
	"fmt"
	"strings"
)

// manifest is one of n brokers in three zones, with listeners whose ports overlap.
func manifest(n int, listeners ...string) string {
	var b strings.Builder
	b.WriteString("version: 1\ncluster: kafka-pls\nlisteners:\n")
	for i, l := range listeners {
		fmt.Fprintf(&b, "  %s:\n    bind: 0.0.0.0:%d\n    security_protocol: PLAINTEXT\n"+
			"    advertised: <broker_id>.%s.eastus.azure.3199745.tidbcloud.com:<port>\n    probe_port: %d\n",
			l, 39092+i, strings.ToLower(l), 39192+i)
	}
	b.WriteString("brokers:\n")
	for id := 1; id <= n; id++ {
		ports := make([]string, 0, len(listeners))
		for _, l := range listeners {
			ports = append(ports, fmt.Sprintf("%s: %d", l, 9092+id))
		}
		fmt.Fprintf(&b, "  %d: {ports: {%s}, zone: \"%d\"}\n", id, strings.Join(ports, ", "), (id-1)%3+1)
	}
	return b.String()
}

// withBootstrap adds port 9092 for all brokers of the listener EXTERNAL.
func withBootstrap(manifest string) string {
	return strings.Replace(manifest, "brokers:", `  ALL:
    bind: 0.0.0.0:39090
    security_protocol: PLAINTEXT
    bootstrap: {of: EXTERNAL, port: 9092}
    probe_port: 39190
brokers:`, 1)
}
