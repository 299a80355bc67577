package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.com/kpls-agent/internal/probe"
	"example.com/kpls-agent/test/patience"
)

// ports are those that whoever reaches the VM can reach, on an agent whose broker serves.
type ports struct{ probe, http *net.TCPAddr }

func freeAddr(tb testing.TB) *net.TCPAddr {
	tb.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	addr, _ := l.Addr().(*net.TCPAddr)
	return addr
}

// openPorts opens both, and waits until they answer.
func openPorts(tb testing.TB) ports {
	tb.Helper()
	broker, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { broker.Close() })
	go func() {
		for {
			if _, err := broker.Accept(); err != nil {
				return
			}
		}
	}()
	p := ports{freeAddr(tb), freeAddr(tb)}
	log := slog.New(slog.DiscardHandler)
	prober := probe.New(probe.Options{Logger: log})
	prober.SetTargets([]probe.Target{{
		Name: "EXTERNAL", Dial: broker.Addr().String(), Check: func(context.Context) error { return nil }, Host: "127.0.0.1", Port: p.probe.Port,
	}})
	prober.Set([]string{"EXTERNAL"})
	reg, err := newRegistry(measured(tb))
	if err != nil {
		tb.Fatal(err)
	}
	beating := &pulse{}
	beating.beat()
	ctx, cancel := context.WithCancel(tb.Context())
	var parts sync.WaitGroup
	parts.Go(func() { _ = prober.Run(ctx) })
	parts.Go(func() {
		w := &web{
			addr: p.http.String(), reg: reg, ready: prober.Handler(), pulse: beating, notes: &notes{}, failed: newBindFailures(), log: log,
		}
		if err := w.serve(ctx); err != nil {
			tb.Error(err)
		}
	})
	tb.Cleanup(func() { cancel(); parts.Wait() })
	for end := time.Now().Add(patience.Long); p.ask(time.Second) != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatal(p.ask(time.Second))
		}
	}
	return p
}

// ask is what the load balancer asks: the TCP probe, and the one that speaks HTTP.
func (p ports) ask(patience time.Duration) error {
	conn, err := net.DialTimeout("tcp", p.probe.String(), patience)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, io.EOF) {
		return errors.New("the probe port does not accept and close")
	}
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + p.http.String() + "/readyz/EXTERNAL")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// abuses are the ways in which a client does a server no good.
var abuses = []struct {
	name string
	do   func(fd int)
}{
	{"says nothing, as one whose host is gone", func(int) {}},
	{"is slow", func(fd int) { send(fd, []byte("GET /metrics HTTP/1.1\r\nHost: x\r\nX-")) }},
	{"writes garbage", func(fd int) {
		garbage := make([]byte, 4096)
		_, _ = rand.Read(garbage)
		send(fd, garbage)
	}},
	{"closes its half", func(fd int) { _ = unix.Shutdown(fd, unix.SHUT_WR) }},
	{"asks much and reads nothing", func(fd int) {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 2048)
		send(fd, []byte(strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 100)))
	}},
}

func send(fd int, data []byte) { _ = unix.Sendto(fd, data, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, nil) }

// attack connects to a port from an address of its own and misbehaves, by system calls alone, so the
// client's side costs this process a descriptor and nothing else.
func attack(tb testing.TB, to *net.TCPAddr, nth int) (fd int) {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Error(err)
		return -1
	}
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1}) // leave nothing in TIME_WAIT
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 2}}); err != nil {
		tb.Error(err)
	}
	if err := unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		tb.Errorf("connection %d to %s: %v", nth, to, err)
		_ = unix.Close(fd)
		return -1
	}
	abuses[nth%len(abuses)].do(fd)
	return fd
}

// allowDescriptors sees to it that so many can be open.
func allowDescriptors(tb testing.TB, n uint64) {
	tb.Helper()
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		tb.Fatal(err)
	}
	want := unix.Rlimit{Cur: max(limit.Cur, n), Max: max(limit.Max, n)}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &want); err != nil {
		tb.Fatalf("%d open files are needed, the limit is %d: %v; raise it with ulimit -n", n, limit.Max, err)
	}
}

func descriptors(tb testing.TB) int {
	tb.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		tb.Fatal(err)
	}
	return len(list)
}

// memory is what is in use after a collection, stacks included.
func memory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// TestAbuse: ten thousand clients that stay, on each of the two ports, keep no
// probe of the load balancer waiting for them, and cost a bounded amount of
// memory and descriptors.
func TestAbuse(t *testing.T) {
	// Patience, since where the kernel's queue overflows it drops the
	// probe's SYN like any other, and that is repeated after 1, 3, 7, 15, 31 and 63 s.
	const clients, attackers, patience = 10_000, 20, 2 * time.Minute
	allowDescriptors(t, clients+2000)
	p := openPorts(t)
	for _, c := range []struct {
		name string
		at   *net.TCPAddr
		kept int // connections that the agent may keep
	}{
		{"the probe port", p.probe, 0},
		{"the HTTP port", p.http, mostConnections},
	} {
		t.Run(c.name, func(t *testing.T) {
			files, bytes, routines := descriptors(t), memory(), runtime.NumGoroutine()
			open := make([]int, clients)
			var all sync.WaitGroup
			for part := range attackers {
				all.Go(func() {
					for i := part; i < clients; i += attackers {
						open[i] = attack(t, c.at, i)
					}
				})
			}
			asked := 0
			attacking := make(chan struct{})
			go func() { all.Wait(); close(attacking) }()
			for more := true; more || asked < 20; asked++ {
				if err := p.ask(patience); err != nil {
					t.Errorf("probe %d is not answered: %v", asked, err)
				}
				select {
				case <-attacking:
					more = false
				default:
				}
			}
			bounded := func() bool {
				return descriptors(t)-files-clients <= c.kept+10 && runtime.NumGoroutine()-routines <= 2*c.kept+10
			}
			for end := time.Now().Add(patience); !bounded() && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				_ = p.ask(patience)
			}
			if !bounded() {
				t.Errorf("with %d clients: %d descriptors in addition to theirs and %d goroutines more", clients, descriptors(t)-files-clients, runtime.NumGoroutine()-routines)
			}
			more := int64(memory()) - int64(bytes)
			t.Logf("%d clients: %d probes answered, %d descriptors, %d goroutines, %d KiB more", clients, asked, descriptors(t)-files-clients, runtime.NumGoroutine()-routines, more/1024)
			if more > 32<<20 {
				t.Errorf("%d bytes more with %d clients", more, clients)
			}
			for _, fd := range open {
				_ = unix.Close(fd)
			}
		})
	}
}

// BenchmarkProbeUnderAbuse measures how long a probe of each kind waits while
// clients come, stay and come again as fast as they can, 10,000 at a time.
func BenchmarkProbeUnderAbuse(b *testing.B) {
	const clients, attackers = 10_000, 20
	allowDescriptors(b, clients+2000)
	p := openPorts(b)
	ctx, cancel := context.WithCancel(b.Context())
	var all sync.WaitGroup
	full := make(chan struct{}, attackers)
	for part := range attackers {
		all.Go(func() {
			open := make([]int, clients/attackers)
			defer func() {
				for _, fd := range open {
					_ = unix.Close(fd)
				}
			}()
			for i := 0; ctx.Err() == nil; i++ {
				at, to := i%len(open), p.probe
				if i >= len(open) {
					_ = unix.Close(open[at])
				}
				if part%2 == 0 {
					to = p.http
				}
				open[at] = attack(b, to, i)
				if i == len(open) {
					full <- struct{}{}
				}
			}
		})
	}
	for range attackers {
		<-full
	}
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		if err := p.ask(30 * time.Second); err != nil {
			b.Error(err)
		}
		took = append(took, time.Since(began))
	}
	cancel()
	all.Wait()
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(took[len(took)-1].Microseconds())/1000, "longest-ms")
}
