package render

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// azureManifest is a manifest of n brokers, three zones, and listeners with their bind ports from 39092 on.
func azureManifest(n int, listeners ...string) string {
	var b strings.Builder
	b.WriteString("version: 1\ncluster: kafka-pls\nlisteners:\n")
	for i, l := range listeners {
		fmt.Fprintf(&b, "  %s:\n    bind: 0.0.0.0:%d\n    security_protocol: PLAINTEXT\n"+
			"    advertised: <broker_id>.%s.eastus.azure.3199745.tidbcloud.com:<port>\n    probe_port: %d\n",
			l, 39092+i, strings.ToLower(l)[:min(len(l), 20)], 39192+i)
	}
	b.WriteString("brokers:\n")
	for id := 1; id <= n; id++ {
		var ports []string
		for _, l := range listeners {
			ports = append(ports, fmt.Sprintf("%s: %d", l, 9092+id))
		}
		fmt.Fprintf(&b, "  %d: {ports: {%s}, zone: \"%d\"}\n", id, strings.Join(ports, ", "), (id-1)%3+1)
	}
	return b.String()
}

// azureBootstrapManifest has port 9092 for all brokers of EXTERNAL.
func azureBootstrapManifest(n int) string {
	return strings.Replace(azureManifest(n, "EXTERNAL"), "brokers:", `  ALL:
    bind: 0.0.0.0:39090
    security_protocol: PLAINTEXT
    bootstrap: {of: EXTERNAL, port: 9092}
    probe_port: 39190
brokers:`, 1)
}

// TestAzureFiles: what is written.
func TestAzureFiles(t *testing.T) {
	manifests := map[string]string{
		"three":         azureManifest(3, "EXTERNAL"),
		"two-listeners": azureManifest(12, "EXTERNAL", "EXTERNAL2"),
		"bootstrap":     azureBootstrapManifest(3),
	}
	for name, manifest := range manifests {
		for format, files := range map[string]func(*Network) (*Output, error){"terraform": azureTerraform, "arm": azureARM} {
			out, err := files(resolved(t, manifest))
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range out.Files {
				if f.Name != "main.tf" { // it is there already, as a file
					golden(t, filepath.Join("azure", name, format, f.Name), string(f.Text))
				}
			}
		}
	}
}

// TestAzureRefuses: what Azure would refuse is refused at the manifest's line.
func TestAzureRefuses(t *testing.T) {
	three := azureManifest(3, "EXTERNAL")
	nine := azureManifest(2, "A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9")
	long := strings.Repeat("A", 69)
	cases := []struct{ name, manifest, want string }{
		{"nothing", azureManifest(300, "EXTERNAL", "EXTERNAL2"), ""},
		{
			"an interval", three + "load_balancer: {interval: 1500ms}\n",
			"manifest.yaml:13: load_balancer.interval: 1.5s is no whole number of seconds, which Azure needs; write 5s",
		},
		{
			"a port", strings.Replace(three, "9094", "65535", 1),
			"manifest.yaml:11: brokers.2.ports.EXTERNAL: 65535 is above 65534, the highest port of a frontend of Azure; give " +
				"broker 2 of EXTERNAL a lower one",
		},
		{
			"one port in two zones", strings.Replace(strings.ReplaceAll(three, "9094", "9093"),
				"advertised: <broker_id>.external.eastus.azure.3199745.tidbcloud.com:<port>",
				`advertised_by_zone: {"1": "<broker_id>.z1.example.com:<port>", "2": "<broker_id>.z2.example.com:<port>", "3": "<broker_id>.z3.example.com:<port>"}`, 1),
			"manifest.yaml:11: brokers.2.ports.EXTERNAL: 9093 leads to broker 1 of EXTERNAL on the frontend of EXTERNAL already, " +
				"so it cannot lead to broker 2 of EXTERNAL; give broker 2 of EXTERNAL a port that is not taken",
		},
		{
			"too many listeners", nine,
			"manifest.yaml:3: listeners: 9 listeners need as many private link services, and a load balancer of Azure has at " +
				"most 8; render fewer listeners with --listener. A second load balancer is no way out: Azure takes a network " +
				"interface into one internal load balancer",
		},
		{
			"too many rules", azureManifest(300, "A1", "A2", "A3", "A4", "A5", "A6"),
			"manifest.yaml:34: brokers: all listeners together need 1800 rules, and a load balancer of Azure has at most 1500; " +
				"render fewer listeners with --listener. A second load balancer is no way out: Azure takes a network interface " +
				"into one internal load balancer",
		},
		{
			"long names", azureManifest(2, long),
			"manifest.yaml:4: listeners." + long + ": makes names such as " + strings.ToLower(long) + "-b2147483647 of 81 " +
				"characters for rules and pools of Azure, which takes 80; give the listener a shorter name",
		},
		{
			"loopback", strings.Replace(three, "0.0.0.0", "127.0.0.1", 1),
			"manifest.yaml:5: listeners.EXTERNAL.bind: 127.0.0.1 is this VM's own address, so no load balancer can connect to " +
				"EXTERNAL; bind an IPv4 address of the VM, or all by 0.0.0.0:39092",
		},
		{
			"a bootstrap port", strings.Replace(azureBootstrapManifest(3), "port: 9092", "port: 65535", 1),
			"manifest.yaml:12: listeners.ALL.bootstrap.port: 65535 is above 65534, the highest port of a frontend of Azure; " +
				"give all brokers a lower one",
		},
		{
			"a long cluster", strings.Replace(three, "kafka-pls", "kafka"+long, 1),
			"manifest.yaml:2: cluster: kafka" + long + " makes the name kafka" + strings.ToLower(long) + "-external of 83 " +
				"characters for a private link service of Azure, which takes 80; begin the names with another one by --name",
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := azureTerraform(resolved(t, c.manifest))
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("\ngot  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestAzureAlone: a bootstrap port is one of its listener's frontend.
func TestAzureAlone(t *testing.T) {
	n, err := Resolve(parsed(t, azureBootstrapManifest(3)), Options{Listeners: []string{"ALL"}})
	if err != nil {
		t.Fatal(err)
	}
	const want = "manifest.yaml: --listener ALL: its port is one of the frontend of EXTERNAL; add --listener EXTERNAL"
	if _, err := azureTerraform(n); err == nil || err.Error() != want {
		t.Errorf("\ngot  %v\nwant %s", err, want)
	}
}

// TestAzureWarns of a probe that is closed where no other broker can take the clients.
func TestAzureWarns(t *testing.T) {
	manifest := strings.Replace(azureBootstrapManifest(151), "    probe_port", "    during_restart: close\n    probe_port", 1)
	out, err := azureTerraform(resolved(t, manifest))
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Warnings) != 2 || !strings.HasPrefix(out.Warnings[0], "EXTERNAL has `during_restart: close`") ||
		!strings.HasPrefix(out.Warnings[1], "the pool of ALL has 151 brokers") {
		t.Errorf("got %q", out.Warnings)
	}
}

// TestAzureNICs runs the script with an az that only says how it was called.
func TestAzureNICs(t *testing.T) {
	out, err := azureARM(resolved(t, azureBootstrapManifest(2)))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string][]byte{"az": []byte("#!/bin/sh\necho az \"$@\"\n"), "nics.sh": out.Files[1].Text} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	const add = "az network nic ip-config address-pool add --resource-group kafka "
	const all = add + "--nic-name nic-1 --ip-config-name ipconfig1 --lb-name kafka-pls-lb --address-pool external-b1 --output none\n" +
		"broker 1: nic-1 is in external-b1\n" +
		add + "--nic-name nic-1 --ip-config-name ipconfig1 --lb-name kafka-pls-lb --address-pool all-all --output none\n" +
		"broker 1: nic-1 is in all-all\n" +
		add + "--nic-name nic-2 --ip-config-name main --lb-name kafka-pls-lb --address-pool external-b2 --output none\n" +
		"broker 2: nic-2 is in external-b2\n" +
		add + "--nic-name nic-2 --ip-config-name main --lb-name kafka-pls-lb --address-pool all-all --output none\n" +
		"broker 2: nic-2 is in all-all\n"
	const usage = "\nusage: nics.sh RESOURCE_GROUP ID=NIC[/IP_CONFIGURATION]...\n"
	for _, c := range []struct{ args, want string }{
		{"kafka 2=nic-2/main 1=nic-1", all},
		{"", "nics.sh: expected a resource group, and the network interface of each broker: 1 2" + usage},
		{"kafka 1=nic-1", "nics.sh: broker 2 has no network interface" + usage},
		{"kafka 1=nic-1 1=nic-2", "nics.sh: broker 1 is given twice" + usage},
		{"kafka 1=nic-1 3=nic-2", "nics.sh: 3=nic-2 names no broker of the manifest: 1 2" + usage},
		{"kafka 1=nic-1 nic-2", "nics.sh: nic-2 names no broker of the manifest: 1 2" + usage},
	} {
		run := exec.Command(filepath.Join(dir, "nics.sh"), strings.Fields(c.args)...)
		run.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
		text, err := run.CombinedOutput()
		if string(text) != c.want || (err == nil) != (c.want == all) {
			t.Errorf("%s: %v\ngot  %s\nwant %s", c.args, err, text, c.want)
		}
	}
}

// TestBootstrapPorts: one broker of each zone, three at most, ascending.
func TestBootstrapPorts(t *testing.T) {
	zone := func(zones ...string) Listener {
		var l Listener
		for i, z := range zones {
			l.Brokers = append(l.Brokers, Broker{ID: int32(i), Zone: z, Port: 9090 + i})
		}
		return l
	}
	cases := []struct {
		listener Listener
		want     string
	}{
		{zone("1", "1", "2", "2", "3", "3"), "9090,9092,9094"},
		{zone("1", "1", "1", "1"), "9090,9091,9092"},
		{zone("", "", "", "2"), "9090,9091,9093"},
		{zone("1", "2", "3", "4"), "9090,9091,9092"},
		{zone("1"), "9090"},
	}
	for _, c := range cases {
		c.listener.Name = "EXTERNAL"
		n := &Network{Listeners: []Listener{c.listener}}
		if got := n.bootstrapPorts("EXTERNAL"); got != c.want {
			t.Errorf("%v: got %s, want %s", c.listener.Brokers, got, c.want)
		}
	}
}
