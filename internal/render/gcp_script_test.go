package render

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// script is the script of a manifest in a folder with a fake gcloud, and what it is run with.
type script struct {
	t   *testing.T
	dir string
	env map[string]string
}

func newScript(t *testing.T, text string) *script {
	t.Helper()
	s := &script{t: t, dir: t.TempDir(), env: map[string]string{
		"PROJECT": "my-project", "REGION": "us-west1", "NETWORK": "kafka-vpc", "SUBNET": "brokers", "BROKER_TAG": "kafka",
		"NAT_RANGE": "10.128.0.0/24", "CONSUMERS": "customer-a=10 customer-b=5",
		"BROKER_1": "us-west1-a/kafka-1", "BROKER_2": "us-west1-b/kafka-2", "BROKER_3": "us-west1-c/kafka-3",
	}}
	fake, err := os.ReadFile("testdata/gcp/fake-gcloud")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "gcloud"), fake, 0o755); err != nil {
		t.Fatal(err)
	}
	s.render(text)
	return s
}

func (s *script) render(text string) {
	s.t.Helper()
	out, err := gcpGcloud(resolved(s.t, text))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "kpls.sh"), out.Files[0].Text, 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// run runs the script once more. It returns all commands of gcloud, those that change something, what was printed, and
// whether the script succeeded.
func (s *script) run(more ...string) (all, changes []string, text string, ok bool) {
	s.t.Helper()
	log := filepath.Join(s.dir, "log")
	if err := os.WriteFile(log, nil, 0o644); err != nil {
		s.t.Fatal(err)
	}
	c := exec.CommandContext(s.t.Context(), "bash", filepath.Join(s.dir, "kpls.sh"))
	c.Env = []string{"PATH=" + s.dir + ":" + os.Getenv("PATH"), "FAKE=" + s.dir}
	for name, value := range s.env {
		c.Env = append(c.Env, name+"="+value)
	}
	c.Env = append(c.Env, more...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	data, readErr := os.ReadFile(log)
	if readErr != nil {
		s.t.Fatal(readErr)
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimSuffix(line, "\n")
		all = append(all, line)
		if strings.Contains(line, " --quiet") {
			changes = append(changes, line)
		}
	}
	return all, changes, out.String(), err == nil
}

// TestGcloudScript: the script makes everything, and the second run only repeats what gcloud cannot compare.
func TestGcloudScript(t *testing.T) {
	s := newScript(t, cloudManifest(t, "gcp"))
	first, _, text, ok := s.run()
	if !ok {
		t.Fatal(text)
	}
	second, changes, text, ok := s.run()
	if !ok || len(changes) != 2 || !strings.Contains(changes[0], "firewall-rules update") ||
		!strings.Contains(changes[1], "service-attachments update") {
		t.Errorf("the second run changes\n%s\n%s", strings.Join(changes, "\n"), text)
	}
	if !strings.Contains(text, "Service Attachment: projects/my-project/regions/us-west1/serviceAttachments/kafka-pls\n"+
		"Bootstrap Ports of EXTERNAL: 9093,9094,9095\n") {
		t.Errorf("the values for the form are missing:\n%s", text)
	}
	golden(t, "gcp/commands.txt", "# The first run.\n"+strings.Join(first, "\n")+"\n\n# The second run.\n"+
		strings.Join(second, "\n")+"\n")
}

// TestGcloudScriptFollows: what leads elsewhere is corrected, and nothing else is touched.
func TestGcloudScriptFollows(t *testing.T) {
	s := newScript(t, cloudManifest(t, "gcp"))
	if _, _, text, ok := s.run(); !ok {
		t.Fatal(text)
	}
	endpoints := func(changes []string) []string {
		return slices.DeleteFunc(changes, func(c string) bool { return !strings.Contains(c, "network-endpoint-groups") })
	}
	s.env["BROKER_2"] = "us-west1-b/kafka-2b"
	const group = "gcloud compute network-endpoint-groups update kafka-pls --region=us-west1 "
	const old, newer = "instance=projects/my-project/zones/us-west1-b/instances/kafka-2,", "instance=projects/my-project/zones/us-west1-b/instances/kafka-2b,"
	want := []string{
		group + "--remove-endpoint=client-destination-port=9094," + old + "port=39092 --remove-endpoint=client-destination-port=9202," +
			old + "port=39093 --project=my-project --quiet",
		group + "--add-endpoint=client-destination-port=9094," + newer + "port=39092 --add-endpoint=client-destination-port=9202," +
			newer + "port=39093 --project=my-project --quiet",
	}
	if _, changes, text, ok := s.run("DRY_RUN=yes"); !ok || len(changes) > 0 || !strings.Contains(text, "+ "+strings.TrimSuffix(want[0], " --quiet")) {
		t.Errorf("a dry run changes %q and says\n%s", changes, text)
	}
	if _, changes, text, ok := s.run(); !ok || !slices.Equal(endpoints(changes), want) {
		t.Errorf("a VM that was replaced:\n%s\n%s", strings.Join(changes, "\n"), text)
	}

	fewer := strings.Replace(cloudManifest(t, "gcp"), "  3: {ports: {EXTERNAL: 9095}, zone: us-west1-c, host: 10.64.0.4}\n", "", 1)
	s.render(fewer)
	_, changes, text, ok := s.run()
	if !ok || len(endpoints(changes)) > 0 || !strings.Contains(text,
		"port 9095 leads to projects/my-project/zones/us-west1-c/instances/kafka-3:39092, and this manifest does not have it; PRUNE=yes removes it") {
		t.Errorf("a broker that was removed: %q\n%s", changes, text)
	}
	_, changes, text, ok = s.run("PRUNE=yes")
	const third = "instance=projects/my-project/zones/us-west1-c/instances/kafka-3,"
	if want := []string{group + "--remove-endpoint=client-destination-port=9095," + third + "port=39092 --remove-endpoint=client-destination-port=9203," +
		third + "port=39093 --project=my-project --quiet"}; !ok || !slices.Equal(endpoints(changes), want) {
		t.Errorf("a broker that is pruned: %q\n%s", changes, text)
	}
}

// TestGcloudScriptLarge: one request takes 500 endpoints at most.
func TestGcloudScriptLarge(t *testing.T) {
	rows := ""
	for id := 4; id <= 250; id++ {
		rows += fmt.Sprintf("  %d: {ports: {EXTERNAL: %d}}\n", id, 10000+id)
	}
	s := newScript(t, cloudManifest(t, "gcp", "load_balancer:", rows+"load_balancer:"))
	for id := 4; id <= 250; id++ {
		s.env[fmt.Sprintf("BROKER_%d", id)] = fmt.Sprintf("us-west1-a/kafka-%d", id)
	}
	_, changes, text, ok := s.run()
	var counts []int
	for _, c := range changes {
		if n := strings.Count(c, "--add-endpoint"); n > 0 {
			counts = append(counts, n)
		}
	}
	if !ok || !slices.Equal(counts, []int{400, 100}) {
		t.Errorf("endpoints in each request: %v\n%s", counts, text)
	}
}

// TestGcloudScriptRefuses: all faults at once, and nothing is changed.
func TestGcloudScriptRefuses(t *testing.T) {
	cases := []struct {
		name   string
		before bool // everything stands already
		env    map[string]string
		file   string // made in the fake's folder
		want   []string
	}{
		{"no parameters", false, map[string]string{"PROJECT": "", "CONSUMERS": "", "BROKER_3": ""}, "", []string{
			"kpls.sh: PROJECT is not set; expected a value such as PROJECT=my-project",
			`kpls.sh: CONSUMERS is not set; expected a value such as CONSUMERS="customer-project=10"`,
			"kpls.sh: BROKER_3 is not set; expected a value such as BROKER_3=us-west1-a/kafka-3",
			"kpls.sh: 3 faults; nothing was changed",
		}},
		{"wrong parameters", false, map[string]string{
			"NAT_RANGE": "10.128.0.0", "CONSUMERS": "customer-a", "BROKER_2": "us-west1-a/kafka-1", "BROKER_3": "us-east1-b/kafka-3",
		}, "", []string{
			"kpls.sh: NAT_RANGE=10.128.0.0 is no such value; expected one such as NAT_RANGE=10.128.0.0/24",
			`kpls.sh: CONSUMERS=customer-a is no such value; expected one such as CONSUMERS="customer-project=10"`,
			"kpls.sh: BROKER_2=us-west1-a/kafka-1 is the VM of another broker, too",
			"kpls.sh: BROKER_3=us-east1-b/kafka-3 is not in REGION=us-west1; a port mapping leads to VMs of its own region",
			"kpls.sh: 4 faults; nothing was changed",
		}},
		{"a customer would be cut off", true, map[string]string{"CONSUMERS": "customer-b=5"}, "", []string{
			"kpls.sh: customer-a may connect today and is not in CONSUMERS, so its connections would end; add it, or set PRUNE=yes",
			"kpls.sh: 1 faults; nothing was changed",
		}},
		{"another range", true, map[string]string{"NAT_RANGE": "10.129.0.0/24"}, "", []string{
			"kpls.sh: the subnet kafka-pls-psc has the range 10.128.0.0/24; set NAT_RANGE to it, since a range cannot be changed here",
			"kpls.sh: 1 faults; nothing was changed",
		}},
		{"what stands cannot be seen", true, nil, "denied", []string{"ERROR: (gcloud) permission denied"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t, cloudManifest(t, "gcp"))
			if c.before {
				if _, _, text, ok := s.run(); !ok {
					t.Fatal(text)
				}
			}
			maps.Copy(s.env, c.env)
			if c.file != "" {
				if err := os.WriteFile(filepath.Join(s.dir, c.file), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			_, changes, text, ok := s.run()
			if want := strings.Join(c.want, "\n") + "\n"; ok || text != want || len(changes) > 0 {
				t.Errorf("succeeds: %v, changes %q\ngot:\n%s\nwant:\n%s", ok, changes, text, want)
			}
		})
	}
}

// TestGcloudFlags: each flag of the script is one of the command's in Google's reference.
func TestGcloudFlags(t *testing.T) {
	known := map[string][]string{}
	data, err := os.ReadFile("testdata/gcp/flags.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if command, flags, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(line, "#") {
			known[command] = strings.Fields(flags)
		}
	}
	commands, err := os.ReadFile("testdata/gcp/commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for line := range strings.Lines(string(commands)) {
		words := strings.Fields(line)
		if len(words) == 0 || words[0] != "gcloud" {
			continue
		}
		command := ""
		for name := range known {
			if strings.HasPrefix(line, "gcloud compute "+name+" ") {
				command = name
			}
		}
		if command == "" {
			t.Errorf("no command of the reference: %s", line)
			continue
		}
		used[command] = true
		for _, w := range words {
			flag, _, _ := strings.Cut(w, "=")
			if strings.HasPrefix(flag, "--") && !slices.Contains(known[command], flag) && !slices.Contains(known["every command"], flag) {
				t.Errorf("%s has no flag %s", command, flag)
			}
		}
	}
	for name := range known {
		if !used[name] && name != "every command" {
			t.Errorf("flags.txt has %s, which the script does not use; remove it", name)
		}
	}
}
