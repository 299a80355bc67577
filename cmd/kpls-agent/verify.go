package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/login"
	"example.com/kpls-agent/internal/settings"
)

type verifyOptions struct {
	bootstrap, maps    []string
	manifest, listener string
	user, mechanism    string
	passwordFile, ca   string
	client             string
	balancer, hosts    []string
	output             output
}

func newVerify(s *shared) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify {--bootstrap HOST:PORT | --balancer FILE}",
		Short: "Be the customer: reach every broker through the advertised names", Args: noWords,
		Long: "Bootstraps as a customer does, compares the address that every broker advertises with the manifest, " +
			"sees\n" +
			"that the broker itself answers there, and produces to and consumes from a partition led by each broker, in\n" +
			"a topic that it makes and removes again. Says what customers see, and where what has to be changed: the\n" +
			"command line, the manifest, the broker, the load balancer, the customer's name server or login. Exits with\n" +
			"1 on any fault, and with 2 if it cannot begin. With -o json it prints one object in every case. Where the\n" +
			"customer's names cannot be resolved, --map says where they lead.\n\n" +
			"With --balancer it asks nobody. It compares files with the manifest: what az, aws, gcloud, terraform or\n" +
			"HAProxy print of the load balancer that is there. It finds swapped brokers, missing and further ports, and\n" +
			"the switches that break Kafka's connections. What no file shows is listed, and never taken for missing.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(o.balancer) > 0 {
				return o.compareBalancer(s)
			}
			opts, err := o.options(s)
			if err != nil {
				return o.unusable(s, err)
			}
			report := kafka.Verify(cmd.Context(), opts)
			if err := printReport(s, report, o.output); err != nil {
				return err
			}
			if !report.OK {
				return &exitError{exitFailed, errors.New("something is wrong for customers")}
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.bootstrap, "bootstrap", nil, "`addresses` of the listener, as a customer is given them")
	f.StringArrayVar(&o.maps, "map", nil, "`NAME=ADDRESS`: where an advertised host or host:port leads; repeat it, "+
		"or NAME may begin with *. for all below a domain")
	f.StringVar(&o.manifest, "manifest", "", "manifest `file`; default: the one in the settings")
	f.StringVar(&o.listener, "listener", "", "managed listener; default: the only one, or EXTERNAL")
	f.StringVar(&o.user, "user", "", "user `name` for a SASL listener")
	f.StringVar(&o.mechanism, "mechanism", "SCRAM-SHA-512", "SASL mechanism: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
	f.StringVar(&o.passwordFile, "password-file", "", "`file` with the user's password")
	f.StringVar(&o.ca, "ca-file", "", "PEM `file` with the certificates that may sign the brokers'")
	f.StringVar(&o.client, "client-properties", "", "Kafka client properties `file` with the customer's login, "+
		"instead of --user, --mechanism, --password-file and --ca-file")
	f.StringArrayVar(&o.balancer, "balancer", nil, "compare what is there, as in `FILE`, with the manifest, and connect to "+
		"nothing; - reads standard input; repeat it for several documents of one load balancer")
	f.StringArrayVar(&o.hosts, "host", nil, "with --balancer: `ID=NAME` says which VM is a broker's, as the files call it (a "+
		"network interface, an instance, an address); repeat it")
	c.MarkFlagsOneRequired("bootstrap", "balancer")
	c.MarkFlagsMutuallyExclusive("bootstrap", "balancer")
	c.MarkFlagsMutuallyExclusive("bootstrap", "host")
	c.MarkFlagsMutuallyExclusive("client-properties", "user")
	c.MarkFlagsMutuallyExclusive("client-properties", "password-file")
	c.MarkFlagsMutuallyExclusive("client-properties", "ca-file")
	o.output.flag(f)
	return c
}

func (o verifyOptions) options(s *shared) (kafka.VerifyOptions, error) {
	v := kafka.VerifyOptions{
		Bootstrap: o.bootstrap, Want: map[int32]string{}, Map: map[string]string{},
		Others: map[string][]string{}, Shared: map[string]int{}, Topic: "kpls-agent-verify-" + nonce(),
	}
	m, err := o.readManifest(s)
	if err != nil {
		return v, err
	}
	v.Optional = m.Optional()
	for _, b := range m.Brokers {
		d, err := m.For(b.ID)
		if err != nil {
			return v, err
		}
		e, err := o.pick(d)
		if err != nil {
			return v, err
		}
		v.Want[b.ID] = advertised(e)
		for _, other := range d.Endpoints {
			if other.Name != e.Name && advertised(other) != advertised(e) { // a bootstrap listener has the same
				v.Others[other.Name] = append(v.Others[other.Name], advertised(other))
			}
		}
		v.Login.Protocol, v.Listener = e.SecurityProtocol, e.Name
		v.Probes, v.Ports = append(v.Probes, e.ProbePort), append(v.Ports, e.BindPort)
	}
	for _, l := range m.Listeners {
		if l.Bootstrap.Of != "" && l.Bootstrap.Of == v.Listener {
			v.Shared[strconv.Itoa(l.Bootstrap.Port)] = l.BindPort
		}
	}
	for _, addr := range o.bootstrap {
		if err := kafka.CheckAddress(addr, v.Want); err != nil {
			return v, fmt.Errorf("--bootstrap %w", err)
		}
	}
	if v.Login, err = o.login(v.Login.Protocol); err != nil {
		return v, err
	}
	return v, o.mapping(&v)
}

// readManifest is the file that was named, or that of the settings.
func (o verifyOptions) readManifest(s *shared) (*config.Manifest, error) {
	path := o.manifest
	if path == "" {
		vm, err := s.settings()
		if err != nil {
			return nil, err
		}
		path = vm.Manifest
	}
	data, err := os.ReadFile(path)
	if err != nil {
		err = fmt.Errorf("read the manifest: %w", err)
		if errors.Is(err, fs.ErrPermission) {
			return nil, settings.Denied(err)
		}
		return nil, fmt.Errorf("%w; name the file with --manifest", err)
	}
	return config.ParseManifest(path, data)
}

func advertised(e config.Endpoint) string {
	return net.JoinHostPort(e.AdvertisedHost, strconv.Itoa(e.AdvertisedPort))
}

// login is the customer's.
func (o verifyOptions) login(protocol string) (kafka.Login, error) {
	if o.client != "" {
		c, err := login.ReadClient(o.client)
		if err != nil {
			return kafka.Login{}, err
		}
		if c.Protocol != protocol {
			return kafka.Login{}, fmt.Errorf("%s is for a listener with %s, and the manifest's has %s; correct "+
				"security.protocol", o.client, c.Protocol, protocol)
		}
		return host.ClientLogin(c, login.NewTokens(c)), nil
	}
	l := kafka.Login{Protocol: protocol, Roots: func() (*x509.CertPool, error) { return login.PEMRoots(o.ca) }}
	if strings.HasPrefix(protocol, "SASL_") {
		if o.user == "" || o.passwordFile == "" {
			return l, fmt.Errorf("a listener with %s needs a user; name one with --user and --password-file, or "+
				"with --client-properties", protocol)
		}
		l.Mechanism, l.User = o.mechanism, settings.SASL{Username: o.user, PasswordFile: o.passwordFile}.Credentials
	}
	return l, nil
}

// pick finds the listener that customers use.
func (o verifyOptions) pick(d config.Desired) (config.Endpoint, error) {
	name := strings.ToUpper(o.listener)
	if name == "" && len(d.Endpoints) == 1 {
		return d.Endpoints[0], nil
	}
	if name == "" {
		name = "EXTERNAL"
	}
	var names []string
	for _, e := range d.Endpoints {
		if e.Name == name {
			return e, nil
		}
		names = append(names, e.Name)
	}
	return config.Endpoint{}, fmt.Errorf("the manifest has no listener %s; it has %s", name, strings.Join(names, ", "))
}

// mapping resolves --map against the names of the manifest.
func (o verifyOptions) mapping(v *kafka.VerifyOptions) error {
	for _, entry := range o.maps {
		name, to, ok := strings.Cut(entry, "=")
		if !ok || name == "" || to == "" {
			return fmt.Errorf("--map %q: expected NAME=ADDRESS", entry)
		}
		domain, below := strings.CutPrefix(name, "*")
		if !below {
			v.Map[name] = to
			continue
		}
		for _, want := range v.Want {
			if host, _, err := net.SplitHostPort(want); err == nil && strings.HasSuffix(host, domain) {
				v.Map[host] = to
			}
		}
		for _, b := range v.Bootstrap {
			if host, _, err := net.SplitHostPort(b); err == nil && strings.HasSuffix(host, domain) {
				v.Map[host] = to
			}
		}
	}
	return nil
}

// unusable is about flags and files with which nothing can be tried. Programs get an object also then.
func (o verifyOptions) unusable(s *shared, err error) error {
	if o.output == asJSON {
		if err := writeJSON(s.stdout, kafka.VerifyNothing(err)); err != nil {
			return err
		}
	}
	return invalid(err)
}

func printReport(s *shared, r kafka.VerifyReport, out output) error {
	if out == asJSON {
		return writeJSON(s.stdout, r)
	}
	t := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "BROKER\tADVERTISES\tCONNECT\tPRODUCE\tCONSUME\tRESULT")
	for _, b := range r.Brokers {
		result := "ok"
		switch {
		case b.Fault != nil:
			result = b.Fault.Code
		case !b.OK:
			result = "not tried"
		}
		fmt.Fprintf(t, "%d\t%s\t%s\t%s\t%s\t%s\n", b.Broker, orDash(b.Got), brief(b.Connected), brief(b.Produced),
			brief(b.Consumed), result)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(s.stdout, r.Advice())
	return err
}

func brief(m kafka.Millis) string {
	d := time.Duration(m)
	if d == 0 {
		return "-"
	}
	return d.Round(100 * time.Microsecond).String()
}
