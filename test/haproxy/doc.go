// Package haproxy holds what `kpls-agent render haproxy` writes against a real HAProxy: it is valid, and a reload in
// the middle of a roll-out sends no client to a broker whose probe is closed. Brokers are small servers in the test.
// The system test has a real roll-out behind the same file.
package haproxy
