package sandbox

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"

	"example.com/kpls-agent/test/sandbox/supervise"
)

// The ports of the published procedure; each broker has an address of its own.
const (
	InternalPort   = 9092
	ControllerPort = 29092
	ExternalPort   = 39092
)

// zooKeeperID and zooKeeperPort are of a cluster's ZooKeeper, where it has one.
const zooKeeperID, zooKeeperPort = 100, 2181

// Broker is one Kafka process and its directory, which holds server.properties,
// the data, the log and the supervisor's files.
type Broker struct {
	ID   int32
	Host string // loopback address
	Dir  string
	Role Role

	release release // of its version
	ctl     supervise.Controller
}

// Properties is the path of the broker's server.properties.
func (b *Broker) Properties() string { return filepath.Join(b.Dir, "server.properties") }

// Log is the path of the process's output.
func (b *Broker) Log() string { return filepath.Join(b.Dir, "server.log") }

// Addr is the broker's own address with a port.
func (b *Broker) Addr(port int) string { return net.JoinHostPort(b.Host, strconv.Itoa(port)) }

// Internal is the address of the inter-broker listener.
func (b *Broker) Internal() string { return b.Addr(InternalPort) }

// Command is the argv by which another process does start, stop, restart, status
// or kill; status prints one line that names the running process, and exits 3
// when none runs.
func (b *Broker) Command(verb string) []string { return []string{b.ctl.Program, verb, b.Dir} }

// Start starts the process and returns right after its exec.
func (b *Broker) Start(ctx context.Context) error { return b.ctl.Start(ctx, b.Dir) }

// Restart stops the process in the orderly way and starts it.
func (b *Broker) Restart(ctx context.Context) error { return b.ctl.Restart(ctx, b.Dir) }

// Kill sends SIGKILL and waits for the exit.
func (b *Broker) Kill(ctx context.Context) error { return supervise.Kill(ctx, b.Dir) }

// Process is the running process, or supervise.ErrNotRunning.
func (b *Broker) Process() (supervise.Process, error) { return supervise.Status(b.Dir) }

// Events says when the process was stopped, exited and was started, oldest first.
func (b *Broker) Events() ([]supervise.Event, error) { return supervise.Events(b.Dir) }

// LogTail is the end of the process's output, at most n bytes.
func (b *Broker) LogTail(n int) string {
	data, err := os.ReadFile(b.Log())
	if err != nil {
		return err.Error()
	}
	return string(data[max(0, len(data)-n):])
}

// Edit changes the broker's server.properties.
func (b *Broker) Edit(change func(string) string) error {
	data, err := os.ReadFile(b.Properties())
	if err != nil {
		return err
	}
	return os.WriteFile(b.Properties(), []byte(change(string(data))), 0o640)
}

// AddListener adds a PLAINTEXT listener on the broker's own address by hand, the
// way the published procedure does: a new process will have it.
func (b *Broker) AddListener(name string, port int, advertised string) error {
	return b.Edit(func(file string) string {
		for key, item := range map[string]string{
			"listeners":                      name + "://" + b.Addr(port),
			"advertised.listeners":           name + "://" + advertised,
			"listener.security.protocol.map": name + ":PLAINTEXT",
		} {
			line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(key) + `=.*$`)
			file = line.ReplaceAllString(file, "$0,"+item)
		}
		return file
	})
}
