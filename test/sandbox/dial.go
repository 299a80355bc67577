package sandbox

import (
	"context"
	"net"
)

// DialFunc opens a connection, as net.Dialer.DialContext does.
type DialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// Names maps host names to addresses, in place of the private DNS zone through
// which a customer finds the load balancer.
type Names map[string]string

// Dial opens a connection to the address that a name stands for; other hosts are dialled as they are.
func (n Names) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if mapped, ok := n[host]; ok {
		addr = net.JoinHostPort(mapped, port)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, addr)
}
