package machines

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"example.com/kpls-agent/test/sandbox"
)

// NFTables starts a load balancer of packets in the kernel, as a cloud's is: it proxies nothing, a
// flow that is up goes on when its broker is taken out, and a new one is left without an answer.
func (b *Bed) NFTables(ctx context.Context, p Probing) (*Balancer, error) {
	l := &Balancer{bed: b, changes: map[int32][]sandbox.Change{}}
	if err := b.packets(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var probes sync.WaitGroup
	for _, m := range b.Machines {
		probes.Go(func() { l.probe(ctx, m, p) })
	}
	l.stop = func() error {
		cancel()
		probes.Wait()
		return run(b.LB.Command(context.WithoutCancel(ctx), "nft", "flush", "ruleset"))
	}
	return l, nil
}

// Straight leads each port to its broker whatever the probes say: there is no balancer.
func (b *Bed) Straight(ctx context.Context) (*Balancer, error) {
	l := &Balancer{bed: b, changes: map[int32][]sandbox.Change{}}
	err := b.packets(ctx)
	for _, m := range b.Machines {
		err = errors.Join(err, l.lead(ctx, m, true))
	}
	l.stop = func() error { return run(b.LB.Command(context.WithoutCancel(ctx), "nft", "flush", "ruleset")) }
	return l, err
}

// packets sets up forwarding by a map of ports, which is still empty.
func (b *Bed) packets(ctx context.Context) error {
	nft := b.LB.Command(ctx, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward && exec nft -f -")
	nft.Stdin = strings.NewReader(fmt.Sprintf(`table ip lb {
  map live { type inet_service : ipv4_addr . inet_service
  }
  chain pre { type nat hook prerouting priority dstnat
    dnat ip to tcp dport map @live
  }
  chain post { type nat hook postrouting priority srcnat
    ct status dnat masquerade
  }
  chain in { type filter hook input priority filter
    tcp dport %d-%d drop
  }
}
`, firstPort, firstPort+Brokers-1))
	return run(nft)
}

// probe probes one broker until ctx ends, and takes it in and out.
func (l *Balancer) probe(ctx context.Context, m *Machine, p Probing) {
	tick := time.NewTicker(p.Interval)
	defer tick.Stop()
	up, row := false, 0
	for {
		pctx, cancel := context.WithTimeout(ctx, p.Interval)
		conn, err := l.bed.LB.Dial(pctx, "tcp", m.Probe())
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			conn.Close()
		}
		if (err == nil) == up {
			row = 0
		} else if row++; row == p.Rise && !up || row == p.Fall && up {
			up, row = !up, 0
			if err := l.lead(ctx, m, up); err == nil {
				l.note(m.ID, up)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// lead makes new connections to a broker's port reach it, or not.
func (l *Balancer) lead(ctx context.Context, m *Machine, up bool) error {
	port := firstPort + int(m.ID) - 1
	rule := fmt.Sprintf("delete element ip lb live { %d }", port)
	if up {
		rule = fmt.Sprintf("add element ip lb live { %d : %s . %s }", port, m.Addr, ExternalPort)
	}
	return run(l.bed.LB.Command(ctx, "nft", rule))
}
