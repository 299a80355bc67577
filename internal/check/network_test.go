package check

import (
	"fmt"
	"strings"
	"testing"

	"example.com/kpls-agent/internal/config"
)

// TestNetwork: what the cloud of the advertised names would refuse, or would not do, is a warning.
func TestNetwork(t *testing.T) {
	const azure, aws, gcp = "abc.eastus.azure.3199745.tidbcloud.com", "abc.us-west-2.aws.3199015.tidbcloud.com", "abc.us-west1.gcp.3199745.tidbcloud.com"
	two := func(domain string, second int, more string) string {
		listener := func(name string, port, probe int) string {
			return fmt.Sprintf("  %s:\n    bind: 0.0.0.0:%d\n    security_protocol: PLAINTEXT\n    advertised: <broker_id>.%s.%s:<port>\n    probe_port: %d\n", name, port, strings.ToLower(name), domain, probe)
		}
		return "version: 1\ncluster: kafka-pls\nlisteners:\n" + listener("EXTERNAL", 39092, 39192) + listener("EXTERNAL2", 39093, 39193) + more +
			fmt.Sprintf("brokers:\n  1: {ports: {EXTERNAL: 9093, EXTERNAL2: %d}}\n  2: {ports: {EXTERNAL: 9094, EXTERNAL2: %d}}\n", second, second+1)
	}
	many := func(domain string, n int) string {
		var b strings.Builder
		b.WriteString("version: 1\ncluster: kafka-pls\nlisteners:\n  EXTERNAL:\n    bind: 0.0.0.0:39092\n    security_protocol: PLAINTEXT\n    advertised: <broker_id>." + domain + ":<port>\n    probe_port: 39192\nbrokers:\n")
		for i := 1; i <= n; i++ {
			fmt.Fprintf(&b, "  %d: {ports: {EXTERNAL: %d}}\n", i, 9000+i)
		}
		return b.String()
	}
	long := strings.Replace(two(aws, 9193, ""), "cluster: kafka-pls", "cluster: a-name-that-is-too-long-for-a-load-balancer", 1)
	const bootstrap = "  BOOTSTRAP:\n    bind: 0.0.0.0:39090\n    security_protocol: PLAINTEXT\n    bootstrap: {of: EXTERNAL, port: 9092}\n    probe_port: 39190\n"
	closed := func(domain string) string {
		return strings.Replace(two(domain, 9193, ""), "    probe_port: 39192\n", "    probe_port: 39192\n    during_restart: close\n", 1)
	}
	const interval = "load_balancer: {interval: 2s}\n"
	for name, c := range map[string]struct {
		manifest string
		want     []string // beginnings of warnings; none is ok
		silent   bool
	}{
		"azure, same ports":            {manifest: two(azure, 9093, "")},
		"azure, with a bootstrap port": {manifest: two(azure, 9093, bootstrap)},
		"aws, other ports":             {manifest: two(aws, 9193, "")},
		"aws, a long name":             {manifest: long},
		"aws, same ports":              {manifest: two(aws, 9093, ""), want: []string{"aws, by the advertised names, would refuse: manifest.yaml:15: brokers.1.ports.EXTERNAL2: ", "aws, by the advertised names, would refuse: manifest.yaml:16: brokers.2.ports.EXTERNAL2: "}},
		"gcp, same ports":              {manifest: two(gcp, 9093, ""), want: []string{"gcp, by the advertised names, would refuse: manifest.yaml:15: brokers.1.ports.EXTERNAL2: ", "gcp, by the advertised names, would refuse: manifest.yaml:16: "}},
		"gcp, other ports":             {manifest: two(gcp, 9193, "")},
		"gcp, a bootstrap port":        {manifest: two(gcp, 9193, bootstrap), want: []string{"gcp, by the advertised names, would refuse: manifest.yaml:17: listeners.BOOTSTRAP.bootstrap: "}},
		"gcp, close":                   {manifest: closed(gcp), want: []string{"`during_restart: close` of EXTERNAL does nothing on Google Cloud"}},
		"azure, close":                 {manifest: closed(azure), want: []string{"EXTERNAL has `during_restart: close`"}},
		"aws, 50 brokers":              {manifest: many(aws, 50)},
		"aws, 51 brokers":              {manifest: many(aws, 51), want: []string{"aws, by the advertised names, would refuse: manifest.yaml: needs 51 ports of a load balancer"}},
		"azure, 1501 brokers":          {manifest: many(azure, 1501), want: []string{"azure, by the advertised names, would refuse: manifest.yaml:9: brokers: all listeners together need 1501 rules"}},
		"azure, an interval of 2s":     {manifest: two(azure, 9093, "") + interval, want: []string{"azure, by the advertised names, would refuse: manifest.yaml:17: load_balancer.interval: "}},
		"gcp, an interval of 2s":       {manifest: two(gcp, 9193, "") + interval},
		"other names":                  {manifest: two("kafka.example.com", 9193, ""), silent: true},
		"no table":                     {manifest: strings.Split(strings.ReplaceAll(two(aws, 9093, ""), "    probe_port", "    port_base: 9000\n    probe_port"), "brokers:")[0], silent: true},
	} {
		if name == "no table" {
			c.manifest = strings.Replace(c.manifest, "port_base: 9000", "port_base: 9100", 1)
		}
		m, err := config.ParseManifest("manifest.yaml", []byte(c.manifest))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		found := checkNetwork(m)
		var got []string
		for _, f := range found {
			if f.Level == Warning {
				got = append(got, f.Text)
			}
			if f.What != "network" || f.Level == Fault {
				t.Errorf("%s: %+v", name, f)
			}
		}
		same := len(got) == len(c.want)
		for i := range c.want {
			same = same && strings.HasPrefix(got[i], c.want[i])
		}
		if !same || c.silent != (len(found) == 0) {
			t.Errorf("%s:\ngot  %s\nwant %s", name, strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
		}
	}
}
