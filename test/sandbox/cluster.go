package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"example.com/kpls-agent/test/sandbox/supervise"
)

// clusterID is the one of the published procedure.
const clusterID = "BRl69zcmTFmiPaoaANybiw"

// firstController is the node id of the first node without the broker role.
const firstController = 101

// Role is what a node does.
type Role string

// The roles of a node.
const (
	Combined       Role = "broker,controller"
	BrokerOnly     Role = "broker"
	ControllerOnly Role = "controller"
	ZooKeeper      Role = "ZooKeeper" // no node of Kafka's, but what its brokers lean on
)

// Options say what cluster to make. The zero value is three combined nodes of Version().
type Options struct {
	// Brokers have the ids 1 to Brokers; 0 is 3.
	Brokers int
	// Controllers without the broker role have the ids 101 on. With 0 every broker
	// is a controller too, unless there is a ZooKeeper.
	Controllers int
	// ZooKeeper puts one ZooKeeper server, node 100, in place of KRaft's controllers: Kafka 3 only.
	ZooKeeper bool
	// DynamicQuorum keeps the voters in the metadata log and not in a property
	// (kraft.version 1): Kafka 3.9 and later.
	DynamicQuorum bool
	// ClusterID is its id; empty is that of the published procedure.
	ClusterID string
	// Version of Kafka; empty is Version(). VersionOf, where set, says a node's own.
	Version   string
	VersionOf func(id int32) string
	// Zone, where set, gives a broker's zone (broker.rack).
	Zone func(id int32) string
	// Heap is the JVM's -Xmx; empty is 256m.
	Heap string
	// PlainJVM has brokers read their classes at each start, as on a machine of its own;
	// otherwise they start in half the time.
	PlainJVM bool
	// Properties, where set, gives a node's additional properties; they win over the sandbox's own.
	Properties func(id int32) map[string]string
	// Client is how to log in to the inter-broker listener, where Properties make
	// it another one than PLAINTEXT.
	Client []kgo.Opt
	// Format has further arguments of the command that formats a node's storage.
	Format []string
	// Logf, where set, gets a line for each long step.
	Logf func(format string, args ...any)
}

// Cluster is a Kafka cluster on 127.0.X.0/24, of which broker N has the address
// 127.0.X.N, and which leaves .100 and up to the caller, for a load balancer.
type Cluster struct {
	// Nodes are all nodes in the order in which they are started, Brokers those with the broker role.
	Nodes   []*Broker
	Brokers []*Broker
	// Dir holds everything that the cluster writes; Close removes it.
	Dir string

	opts     Options
	net      *subnet
	client   *kgo.Client
	releases map[string]release // those that nodes have, by version
}

// New prepares a cluster: directories, server.properties, formatted storage. It
// starts none; what a test wants different in a file it can change now. The caller must Close it.
func New(ctx context.Context, opts Options) (_ *Cluster, err error) {
	c := &Cluster{opts: withDefaults(opts), releases: map[string]release{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	c.opts.Logf("sandbox: Kafka %s", c.opts.Version)
	if _, err := c.fetch(ctx, c.opts.Version); err != nil {
		return nil, err
	}
	if c.net, err = takeSubnet(); err != nil {
		return nil, err
	}
	if c.Dir, err = os.MkdirTemp("", "kpls-sandbox-"); err != nil {
		return nil, err
	}
	program, err := buildBrokerctl(ctx, c.Dir)
	if err != nil {
		return nil, err
	}
	if err := c.layOut(ctx, supervise.Controller{Program: program}); err != nil {
		return nil, err
	}
	if err := c.format(ctx); err != nil {
		return nil, err
	}
	if c.client, err = c.NewClient(); err != nil {
		return nil, err
	}
	return c, nil
}

// fetch gets a version of Kafka.
func (c *Cluster) fetch(ctx context.Context, version string) (r release, err error) {
	if r, ok := c.releases[version]; ok {
		return r, nil
	}
	if r.libs, err = Libs(ctx, version); err != nil {
		return r, err
	}
	if !c.opts.PlainJVM {
		if r.archive, err = classArchive(ctx, r.libs, c.opts.Logf); err != nil {
			return r, err
		}
	}
	c.releases[version] = r
	return r, nil
}

func withDefaults(o Options) Options {
	if o.Brokers == 0 {
		o.Brokers = 3
	}
	if o.Version == "" {
		o.Version = Version()
	}
	if o.VersionOf == nil {
		o.VersionOf = func(int32) string { return o.Version }
	}
	if o.Heap == "" {
		o.Heap = "256m"
	}
	if o.Logf == nil {
		o.Logf = func(string, ...any) {}
	}
	return o
}

// layOut decides on the nodes.
func (c *Cluster) layOut(ctx context.Context, ctl supervise.Controller) error {
	add := func(id int32, host int, role Role) (*Broker, error) {
		release, err := c.fetch(ctx, c.opts.VersionOf(id))
		if err != nil {
			return nil, err
		}
		b := &Broker{
			ID:      id,
			Host:    c.net.host(host),
			Dir:     filepath.Join(c.Dir, fmt.Sprintf("node-%d", id)),
			Role:    role,
			release: release,
			ctl:     ctl,
		}
		c.Nodes = append(c.Nodes, b)
		return b, nil
	}
	role := Combined
	switch {
	case c.opts.ZooKeeper:
		role = BrokerOnly
		if _, err := add(zooKeeperID, 49, ZooKeeper); err != nil {
			return err
		}
	case c.opts.Controllers > 0:
		role = BrokerOnly
	}
	for i := range c.opts.Controllers {
		if _, err := add(int32(firstController+i), 50+i, ControllerOnly); err != nil {
			return err
		}
	}
	for i := range c.opts.Brokers {
		b, err := add(int32(i+1), i+1, role)
		if err != nil {
			return err
		}
		c.Brokers = append(c.Brokers, b)
	}
	return nil
}

// format writes each node's files and formats its storage.
func (c *Cluster) format(ctx context.Context) error {
	c.opts.Logf("sandbox: formatting %d nodes on %s", len(c.Nodes), c.net.host(0))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, b := range c.Nodes {
		g.Go(func() error {
			if err := c.prepare(b); err != nil || c.opts.ZooKeeper {
				return err
			}
			return c.formatNode(ctx, b)
		})
	}
	return g.Wait()
}

// prepare writes a node's configuration and its supervisor's specification.
func (c *Cluster) prepare(b *Broker) error {
	self, err := supervise.Self()
	if err != nil {
		return err
	}
	java, err := exec.LookPath("java")
	if err != nil {
		return err
	}
	class, text := "kafka.Kafka", c.properties(b)
	if b.Role == ZooKeeper {
		class, text = "org.apache.zookeeper.server.quorum.QuorumPeerMain", c.zooKeeperConfig(b)
	}
	argv := append([]string{java, "-Xms128m"}, jvm(c.opts.Heap, b.release)...)
	argv = append(argv, class, b.Properties())
	spec := supervise.Spec{Argv: argv, Env: []string{"PATH=" + os.Getenv("PATH")}, Owner: self}
	return errors.Join(
		os.MkdirAll(b.Dir, 0o755),
		os.WriteFile(b.Properties(), []byte(text), 0o640),
		supervise.WriteSpec(b.Dir, spec),
	)
}

func (c *Cluster) formatNode(ctx context.Context, b *Broker) error {
	id := cmp.Or(c.opts.ClusterID, clusterID)
	args := slices.Concat([]string{"format", "-t", id, "-c", b.Properties()}, c.quorumArgs(b), c.opts.Format)
	cmd := tool(ctx, b.release, "kafka.tools.StorageTool", args...)
	cmd.Dir = b.Dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("format node %d: %w\n%s", b.ID, err, out)
	}
	return nil
}

// Tool is one of Kafka's own command line tools, by its class (which differs between versions).
func (c *Cluster) Tool(ctx context.Context, class string, args ...string) *exec.Cmd {
	return tool(ctx, c.releases[c.opts.Version], class, args...)
}

func tool(ctx context.Context, r release, class string, args ...string) *exec.Cmd {
	argv := append(jvm("128m", r), class)
	return exec.CommandContext(ctx, "java", append(argv, args...)...)
}

// buildBrokerctl builds the program through which other processes control the brokers.
func buildBrokerctl(ctx context.Context, dir string) (string, error) {
	root, err := ModuleRoot()
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "brokerctl")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./test/sandbox/cmd/brokerctl")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build brokerctl: %w\n%s", err, out)
	}
	return program, nil
}

// Start starts all nodes and returns when all brokers serve and know each other.
func (c *Cluster) Start(ctx context.Context) error {
	begin := time.Now()
	for _, b := range c.Nodes {
		if err := b.Start(ctx); err != nil {
			return err
		}
	}
	if err := c.WaitServing(ctx); err != nil {
		return err
	}
	c.opts.Logf("sandbox: %d brokers serve after %.1f s", len(c.Brokers), time.Since(begin).Seconds())
	return nil
}

// Broker returns the node with an id, or nil.
func (c *Cluster) Broker(id int32) *Broker {
	for _, b := range c.Nodes {
		if b.ID == id {
			return b
		}
	}
	return nil
}

// Libs is the folder of the jars that a node runs.
func (c *Cluster) Libs(id int32) string { return c.releases[c.opts.VersionOf(id)].libs }

// Host is the n-th address of the cluster's subnet; 100 to 254 are the caller's.
func (c *Cluster) Host(n int) string { return c.net.host(n) }

// Close ends every process and removes everything, unless KPLS_SANDBOX_KEEP is
// set, which keeps the files. It may be called twice.
func (c *Cluster) Close() error {
	if c.client != nil {
		c.client.Close()
	}
	background := context.Background() //nolint:forbidigo // the caller's may have ended
	ctx, cancel := context.WithTimeout(background, time.Minute)
	defer cancel()
	var errs []error
	for _, b := range c.Nodes {
		errs = append(errs, b.Kill(ctx))
	}
	if c.Dir != "" && os.Getenv("KPLS_SANDBOX_KEEP") == "" {
		errs = append(errs, os.RemoveAll(c.Dir))
	}
	if c.net != nil {
		errs = append(errs, c.net.release())
		c.net = nil
	}
	return errors.Join(errs...)
}
