package balancer

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/render"
)

// powerShell is text as `>` of Windows PowerShell 5 writes it.
func powerShell(text []byte) []byte {
	var b bytes.Buffer
	b.WriteString("\xff\xfe")
	for _, u := range utf16.Encode([]rune(string(text))) {
		_ = binary.Write(&b, binary.LittleEndian, u)
	}
	return b.Bytes()
}

// TestUnusable: what cannot be compared is refused with the next step, and never called missing.
func TestUnusable(t *testing.T) {
	lb, err := os.ReadFile("testdata/azure/lb.show.json")
	if err != nil {
		t.Fatal(err)
	}
	service, err := os.ReadFile("testdata/azure/external.show.json")
	if err != nil {
		t.Fatal(err)
	}
	listeners, err := os.ReadFile("testdata/aws/listeners.json")
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.ReplaceAll(bytes.ReplaceAll(lb, []byte(`"frontendPort": 909`), []byte(`"frontendPort": 1909`)), []byte(`"kpls-cluster": "kafka-pls"`), []byte(`"x": "y"`))
	paged := append(append([]byte(`{"NextToken": "eyJ", `), bytes.TrimSpace(listeners)[1:]...), '\n')
	page := func(field string) []byte { return []byte(`{"value": [], "` + field + `": "https://x/?skip=2"}`) }
	for name, c := range map[string]struct {
		docs []string
		says string
	}{
		"cut off":                {[]string{string(lb[:len(lb)/2])}, "ends in the middle of its JSON, in line "},
		"UTF-16":                 {[]string{string(powerShell(lb))}, "is UTF-16, as `>` of Windows PowerShell writes it; write it with "},
		"UTF-16, the other end":  {[]string{"\xfe\xff\x00{\x00}"}, "is UTF-16"},
		"UTF-16 without a mark":  {[]string{string(powerShell(lb)[2:])}, "is UTF-16"},
		"empty":                  {[]string{" \n"}, "is empty: the command has printed nothing; run it again without the redirection"},
		"an empty list":          {[]string{"[]"}, "is an empty list: the command has found nothing; see whether its subscription"},
		"one page (aws)":         {[]string{string(paged)}, "is one page of several: NextToken is set; ask for all of them"},
		"one page (ARM)":         {[]string{string(page("nextLink"))}, "is one page of several: nextLink is set"},
		"one page (gcp)":         {[]string{string(page("nextPageToken"))}, "is one page of several: nextPageToken is set"},
		"two load balancers":     {[]string{string(lb), string(lb)}, "b: is a second document of the kind azure load balancer, after a; give one for each load balancer, as `az network lb show -o json` prints it"},
		"one service twice":      {[]string{string(service), string(service)}, "b: is a second document of the kind azure private link service, after a"},
		"groups without a name":  {[]string{`{"TargetHealthDescriptions": []}` + "\n" + `{"TargetHealthDescriptions": []}`}, "it must name its group, as with --query"},
		"two haproxy.cfg":        {[]string{"frontend x\n", "frontend x\n"}, "b: is a second document of the kind haproxy configuration, after a; give one, such as what `cat /etc/haproxy/*.cfg` prints"},
		"two clouds":             {[]string{string(lb), string(listeners)}, "the documents are of azure and aws; compare one load balancer at a time"},
		"another cluster":        {[]string{string(other)}, "has none of the manifest's ports; it has 19093, 19094, 19095 and 4 more: it is of another cluster (kafka-pls-lb), or the manifest is"},
		"another cluster's tag":  {[]string{strings.Replace(string(lb), `"kpls-cluster": "kafka-pls"`, `"kpls-cluster": "billing"`, 1)}, "is of cluster billing, and the manifest is of kafka-pls; name the manifest of billing with --manifest"},
		"a refusal of the cloud": {[]string{`{"error": {"code": "AuthorizationFailed", "message": "The client does not have authorization"}}`}, "is a refusal and no answer: The client does not have authorization"},
		"another document":       {[]string{`{"Vpcs": []}`}, "is no document that is known; expected what one of these prints: `terraform show -json`, `az network"},
		"a table":                {[]string{"Location    Name\n--------  ----\neastus  kafka"}, "is neither JSON nor of HAProxy; run the command again with -o json (az)"},
		"YAML":                   {[]string{"- networkEndpoint:\n    port: 39092\n"}, "is YAML; run the command again with --format json"},
		"a value":                {[]string{`[9093]`}, "has a JSON value that is no object; give the whole answer of the command, without --query"},
		"a warning before":       {[]string{"{WARNING: this command is in preview}"}, "is no JSON from line 1 on"},
		"no documents":           {nil, "no document was given; name one with --balancer FILE"},
		"nothing applied":        {[]string{`{"format_version": "1.0"}`}, "has no resources: nothing has been applied in that folder"},
		"a plan that failed":     {[]string{`{"format_version": "1.2", "errored": true}`}, "is a plan that ended with an error: it is not whole"},
		"another plan":           {[]string{`{"format_version": "1.2", "values": {"root_module": {"resources": [{"address": "x.y", "mode": "managed", "type": "x", "name": "y", "values": {}}]}}}`}, "has no load balancer among its 1 resources; expected azurerm_lb"},
		"all at once":            {[]string{"", "[]"}, "b: is an empty list"},
	} {
		var docs []Document
		for i, text := range c.docs {
			docs = append(docs, Document{string(rune('a' + i)), []byte(text)})
		}
		r, err := Compare(network(t, "manifest.azure.yaml"), docs, Options{})
		if err == nil || !strings.Contains(err.Error(), c.says) || r != nil {
			t.Errorf("%s:\ngot  %v\nwant %s", name, err, c.says)
		}
	}
}

// TestSeveralInOne: JSON lines, lists and a byte order mark are read.
func TestSeveralInOne(t *testing.T) {
	f := formOf(t, "az network lb show")
	docs := documents(t, f)
	services := slices.Concat([]byte("\xef\xbb\xbf["), docs[1].Data, []byte(","), docs[2].Data, []byte("]"))
	arm := slices.Concat([]byte(`{"value": [`), docs[1].Data, []byte(","), docs[2].Data, []byte("]}"))
	for name, data := range map[string][]byte{"list": services, "ARM's list": arm, "stream": slices.Concat(docs[1].Data, docs[2].Data)} {
		r, err := Compare(network(t, "manifest.azure.yaml"), []Document{docs[0], {"services", data}}, Options{Hosts: f.hosts})
		if err != nil || !r.OK {
			t.Errorf("%s: %v %+v", name, err, r)
		}
	}
}

// TestUnseen: a document that was not given, or a field that a command leaves out, is not shown. It is neither missing
// nor right.
func TestUnseen(t *testing.T) {
	for _, c := range []struct {
		form, what string
		without    string
		edits      []edit
		hosts      bool
		unseen     string
		matters    bool
	}{
		{form: "az network lb show", what: "an old azure-cli leaves out noHealthyBackendsBehavior", edits: one(show, "probes.0.noHealthyBackendsBehavior", nil), hosts: true, unseen: "noHealthyBackendsBehavior"},
		{form: "az network lb show", what: "a command leaves out enableTcpReset", edits: one(show, "loadBalancingRules.0.enableTcpReset", nil), hosts: true, unseen: "enableTcpReset"},
		{form: "az network lb show", what: "a command leaves out the threshold", edits: one(show, "probes.0.probeThreshold", nil), hosts: true, unseen: "the threshold of the probe"},
		{form: "az network lb show", what: "a command leaves out enableProxyProtocol", edits: one("azure/external.show.json", "enableProxyProtocol", nil), hosts: true, unseen: "enableProxyProtocol", matters: true},
		{form: "az network lb show", what: "no --host", unseen: "which broker's VM it is", matters: true},
		{form: "aws", what: "no --host", unseen: "which broker's VM it is", matters: true},
		{form: "gcloud", what: "no --host", unseen: "which broker's VM it is", matters: true},
		{form: "aws", what: "no target health", without: "aws/target-health.jsonl", hosts: true, unseen: "which VM the port leads to", matters: true},
		{form: "aws", what: "no target groups", without: "aws/target-groups.json", hosts: true, unseen: "the probe", matters: true},
		{form: "aws", what: "no attributes", without: "aws/attributes.jsonl", hosts: true, unseen: "proxy_protocol_v2.enabled", matters: true},
		{form: "aws", what: "no attributes", without: "aws/attributes.jsonl", hosts: true, unseen: "tcp.idle_timeout.seconds"},
		{form: "aws", what: "no listeners", without: "aws/listeners.json", hosts: true, unseen: "the ports", matters: true},
		{form: "aws", what: "no endpoint service", without: "aws/endpoint-services.json", hosts: true, unseen: "the endpoint service"},
		{form: "gcloud", what: "no endpoints", without: "gcp/endpoints.json", hosts: true, unseen: "the ports", matters: true},
		{form: "gcloud", what: "no service attachment", without: "gcp/service-attachment.json", hosts: true, unseen: "the service attachment, and with it whether PROXY protocol is on", matters: true},
		{form: "gcloud", what: "no backend service", without: "gcp/backend-service.json", hosts: true, unseen: "whether there is a health check"},
		{form: "haproxy.cfg", what: "a port that is a variable", edits: one(cfg, "bind 127.0.0.1:9093", `bind "${ADDRESS}:${PORT}"`), unseen: "a port that clients connect to", matters: true},
		{form: "haproxy.cfg", what: "rules choose the backend", edits: one(cfg, "    default_backend external-b1", "    use_backend external-b1 if { src 10.0.0.0/8 }"), unseen: "which VM the port leads to", matters: true},
		{form: "haproxy.cfg", what: "a backend in another file", edits: one(cfg, "    default_backend external-b1", "    default_backend elsewhere"), unseen: "the probe", matters: true},
		{form: "HAProxy's socket", what: "no haproxy.cfg", without: cfg, unseen: "the ports that clients connect to: neither `show stat` nor `show servers state` has them", matters: true},
	} {
		f := formOf(t, c.form)
		docs := documents(t, f)
		for _, e := range c.edits {
			plant(t, docs, e)
		}
		docs = slices.DeleteFunc(docs, func(d Document) bool { return d.Name == c.without })
		var o Options
		if c.hosts {
			o.Hosts = f.hosts
		}
		r, err := Compare(network(t, "manifest."+f.cloud+".yaml"), docs, o)
		if err != nil {
			t.Errorf("%s, %s: %v", c.form, c.what, err)
			continue
		}
		i := slices.IndexFunc(r.Unseen, func(u Unseen) bool { return u.What == c.unseen })
		if len(r.Findings) > 0 || i < 0 || r.Unseen[i].Matters != c.matters || (c.matters && r.OK) {
			t.Errorf("%s, %s: ok %t\n%s", c.form, c.what, r.OK, r.Advice())
		}
	}
}

// TestNames: without --host the names that render gives are a hint, and a wrong one is found.
func TestNames(t *testing.T) {
	docs := documents(t, formOf(t, "az rest"))
	for _, e := range swapAzure(rest, "properties.") {
		plant(t, docs, e)
	}
	r, err := Compare(network(t, "manifest.azure.yaml"), docs, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "EXTERNAL, broker 1, port 9093: rule EXTERNAL-b1 leads to EXTERNAL-b2, by its name broker 2's: clients get " +
		"a broker that does not lead their partitions"
	if len(r.Findings) != 2 || r.Findings[0].Text != want {
		t.Errorf("got  %+v\nwant %s", r.Findings, want)
	}
	for name, id := range map[string]int32{"external-b12": 12, "kafka-pls-external-b3": 3, "b1-39092": 1, "b1-39092-39192": 1, "EXTERNAL-B7": 7, "web1": -1, "lab2": -1, "b": -1} {
		if got, ok := named(name); ok != (id >= 0) || (ok && got != id) {
			t.Errorf("%s is of broker %d %t", name, got, ok)
		}
	}
}

// TestManyBrokers: 300 brokers take at most a second.
func TestManyBrokers(t *testing.T) {
	const brokers = 300
	var manifest, rules, pools strings.Builder
	manifest.WriteString("version: 1\ncluster: kafka-pls\nlisteners:\n  EXTERNAL:\n    bind: 0.0.0.0:39092\n    security_protocol: PLAINTEXT\n    advertised: <broker_id>.abc.example.com:<port>\n    probe_port: 39192\nload_balancer: {interval: 5s, healthy_threshold: 2}\nbrokers:\n")
	hosts := map[int32][]string{}
	for i := 1; i <= brokers; i++ {
		fmt.Fprintf(&manifest, "  %d: {ports: {EXTERNAL: %d}}\n", i, 10000+i)
		fmt.Fprintf(&rules, `{"name": "b%d", "frontendPort": %d, "backendPort": 39092, "protocol": "Tcp", "enableTcpReset": true, "enableFloatingIP": false, "idleTimeoutInMinutes": 15, "frontendIPConfiguration": {"id": "/f/external"}, "backendAddressPool": {"id": "/p/b%d"}, "probe": {"id": "/q/external"}},`, i, 10000+i, i)
		fmt.Fprintf(&pools, `{"name": "b%d", "backendIPConfigurations": [{"id": "/networkInterfaces/nic%d/ipConfigurations/x"}]},`, i, i)
		hosts[int32(i)] = []string{fmt.Sprintf("nic%d", i)}
	}
	doc := `{"name": "lb", "frontendIPConfigurations": [{"name": "external"}], "probes": [{"name": "external", "port": 39192, "protocol": "Tcp", "intervalInSeconds": 5, "probeThreshold": 2, "noHealthyBackendsBehavior": "AllProbedUp"}], "loadBalancingRules": [` +
		strings.TrimSuffix(rules.String(), ",") + `], "backendAddressPools": [` + strings.TrimSuffix(pools.String(), ",") + `]}`
	m, err := config.ParseManifest("manifest.yaml", []byte(manifest.String()))
	if err != nil {
		t.Fatal(err)
	}
	n, err := render.Resolve(m, render.Options{})
	if err != nil {
		t.Fatal(err)
	}
	service := `{"name": "s", "enableProxyProtocol": false, "loadBalancerFrontendIpConfigurations": [{"id": "/f/external"}]}`
	begin := time.Now()
	r, err := Compare(n, []Document{{"lb", []byte(doc)}, {"service", []byte(service)}}, Options{Hosts: hosts})
	if took := time.Since(begin); err != nil || !r.OK || len(r.Rows) != brokers || took > time.Second {
		t.Errorf("%s: %v\n%s", took, err, r.Advice())
	} else {
		t.Logf("%d brokers: %s", brokers, took)
	}
}

// TestBindPorts: all that HAProxy takes as an address.
func TestBindPorts(t *testing.T) {
	for text, c := range map[string]struct {
		want  []int
		whole bool
	}{
		":9093":                 {[]int{9093}, true},
		"*:9093":                {[]int{9093}, true},
		"[::]:9093":             {[]int{9093}, true},
		"127.0.0.1:9093,:9094":  {[]int{9093, 9094}, true},
		":9093-9095":            {[]int{9093, 9094, 9095}, true},
		"/run/haproxy/x.sock":   {nil, true},
		"unix@/run/x,ipv4@:902": {[]int{902}, true},
		"${ADDRESS}:${PORT}":    {nil, false},
		":9093-x":               {nil, false},
		":0":                    {nil, false},
	} {
		got, whole := bindPorts([]string{text, "accept-proxy"})
		if !slices.Equal(got, c.want) || whole != c.whole {
			t.Errorf("%s: %v %t", text, got, whole)
		}
	}
}

// TestMangled: documents of which parts are missing, or of another type, are compared or refused, and nothing else.
func TestMangled(t *testing.T) {
	for _, f := range forms {
		n := network(t, "manifest."+f.cloud+".yaml")
		docs := documents(t, f)
		for seed := range uint64(20) {
			r := rand.New(rand.NewPCG(seed, 0))
			var spoiled []Document
			for _, d := range docs {
				if strings.HasPrefix(string(d.Data), "{") || strings.HasPrefix(string(d.Data), "[") {
					d.Data = mangledText(t, r, d.Data)
				}
				spoiled = append(spoiled, d)
			}
			report, err := Compare(n, spoiled, Options{Hosts: f.hosts})
			if (report == nil) == (err == nil) {
				t.Errorf("%s, seed %d: %v %v", f.name, seed, report, err)
			}
		}
	}
}

func mangledText(t *testing.T, r *rand.Rand, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	dec := json.NewDecoder(bytes.NewReader(text))
	for dec.More() {
		var v any
		if err := dec.Decode(&v); err != nil {
			t.Fatal(err)
		}
		made, err := json.Marshal(mangled(r, v))
		if err != nil {
			t.Fatal(err)
		}
		out.Write(made)
	}
	return out.Bytes()
}

// mangled replaces about every tenth field.
func mangled(r *rand.Rand, v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			others := []any{nil, []any{}, "x", map[string]any{}, []any{nil, 1., "y", []any{}}}
			if n := r.IntN(10 * len(others)); n < len(others) {
				v[k] = others[n]
			} else {
				v[k] = mangled(r, v[k])
			}
		}
	case []any:
		for i := range v {
			v[i] = mangled(r, v[i])
		}
	}
	return v
}

// FuzzCompare: no document makes the comparison fail but by an error.
func FuzzCompare(f *testing.F) {
	n := network(f, "manifest.azure.yaml")
	for _, form := range forms {
		for _, d := range documents(f, form) {
			f.Add(d.Data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Compare(n, []Document{{"x", data}}, Options{})
		if (r == nil) == (err == nil) {
			t.Errorf("%v %v", r, err)
		}
		if r != nil {
			_ = r.Advice()
		}
	})
}
