package balancer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"example.com/kpls-agent/internal/config"
)

// kind is one kind of document.
type kind struct {
	name string
	// cloud is that of the kind; Terraform's is known only from its resources.
	cloud string
	// command makes such a document.
	command string
	is      func(object) bool
	// key tells documents of one kind from each other: two with the same key are a mistake. Nil allows one.
	key func(object) string
}

func fields(names ...string) func(object) bool {
	return func(o object) bool { return o.has(names...) }
}

func compute(name string) func(object) bool {
	return func(o object) bool { return o.text("kind") == "compute#"+name }
}

func text(name string) func(object) string {
	return func(o object) string { return o.text(name) }
}

const (
	kindTerraform    = "terraform"
	kindAzureLB      = "azure load balancer"
	kindAzureService = "azure private link service"
	kindAWSBalancers = "aws load balancers"
	kindAWSListeners = "aws listeners"
	kindAWSGroups    = "aws target groups"
	kindAWSHealth    = "aws target health"
	kindAWSAttribute = "aws attributes"
	kindAWSServices  = "aws endpoint services"
	kindGCPEndpoint  = "gcp network endpoint"
	kindGCPGroup     = "gcp network endpoint group"
	kindGCPService   = "gcp service attachment"
	kindGCPRule      = "gcp forwarding rule"
	kindGCPBackend   = "gcp backend service"
	kindHAProxy      = "haproxy configuration"
	kindHAProxyStat  = "haproxy statistics"
	kindHAProxyState = "haproxy servers' state"
)

// kinds are all JSON documents that are known, the most certain first.
var kinds = []kind{
	{kindTerraform, "", "terraform show -json", fields("format_version"), nil},
	{
		kindAzureService, "azure", "az network private-link-service show -o json",
		fields("loadBalancerFrontendIpConfigurations"), text("name"),
	},
	{kindAzureLB, "azure", "az network lb show -o json", fields("frontendIPConfigurations"), nil},
	{
		kindAWSHealth, "aws", "aws elbv2 describe-target-health", fields("TargetHealthDescriptions"),
		text("TargetGroupArn"),
	},
	{kindAWSAttribute, "aws", "aws elbv2 describe-target-group-attributes", fields("Attributes"), attributesOf},
	{kindAWSBalancers, "aws", "aws elbv2 describe-load-balancers", fields("LoadBalancers"), nil},
	{kindAWSListeners, "aws", "aws elbv2 describe-listeners", fields("Listeners"), nil},
	{kindAWSGroups, "aws", "aws elbv2 describe-target-groups", fields("TargetGroups"), nil},
	{
		kindAWSServices, "aws", "aws ec2 describe-vpc-endpoint-service-configurations", fields("ServiceConfigurations"),
		nil,
	},
	{
		kindGCPEndpoint, "gcp", "gcloud compute network-endpoint-groups list-network-endpoints --format json",
		fields("networkEndpoint"), nil,
	},
	{
		kindGCPGroup, "gcp", "gcloud compute network-endpoint-groups describe --format json",
		compute("networkEndpointGroup"), nil,
	},
	{
		kindGCPService, "gcp", "gcloud compute service-attachments describe --format json",
		compute("serviceAttachment"), text("name"),
	},
	{
		kindGCPRule, "gcp", "gcloud compute forwarding-rules describe --format json", compute("forwardingRule"), nil,
	},
	{
		kindGCPBackend, "gcp", "gcloud compute backend-services describe --format json", compute("backendService"), nil,
	},
}

// inputs are the documents by kind.
type inputs struct {
	by map[string][]object
	// from has the documents' names by kind and key, for what is said of a second one.
	from map[string]string
	// texts are documents that are no JSON, by kind.
	texts  map[string]string
	names  []string
	cloud  string
	faults config.Faults
}

// read sorts documents by kind. All that is wrong is said at once.
func read(docs []Document) (*inputs, error) {
	in := &inputs{by: map[string][]object{}, from: map[string]string{}, texts: map[string]string{}}
	if len(docs) == 0 {
		in.fault("", "no document was given; name one with --balancer FILE")
	}
	for _, d := range docs {
		in.names = append(in.names, d.Name)
		in.document(d)
	}
	if len(in.faults) > 0 {
		return nil, in.faults
	}
	return in, nil
}

func (in *inputs) fault(file, format string, args ...any) {
	in.faults = append(in.faults, config.Fault{File: file, Text: fmt.Sprintf(format, args...)})
}

// document sorts one in.
func (in *inputs) document(d Document) {
	data := bytes.TrimPrefix(d.Data, []byte("\xef\xbb\xbf"))
	if i := bytes.IndexByte(data[:min(len(data), 64)], 0); i >= 0 || bytes.HasPrefix(data, []byte("\xff\xfe")) ||
		bytes.HasPrefix(data, []byte("\xfe\xff")) {
		in.fault(d.Name, "is UTF-16, as `>` of Windows PowerShell writes it; write it with "+
			"`| Set-Content -Encoding utf8 FILE`, or redirect in cmd.exe or a Unix shell")
		return
	}
	data = bytes.TrimSpace(data)
	switch {
	case len(data) == 0:
		in.fault(d.Name, "is empty: the command has printed nothing; run it again without the redirection, and see "+
			"what it says")
	case data[0] == '{' || data[0] == '[':
		in.json(d.Name, data)
	default:
		in.plain(d.Name, string(data))
	}
}

// json sorts in a stream of JSON values.
func (in *inputs) json(name string, data []byte) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	for {
		var v any
		err := dec.Decode(&v)
		if errors.Is(err, io.EOF) {
			return
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			in.fault(name, "ends in the middle of its JSON, in line %d: it is cut off; run the command again",
				1+bytes.Count(data, []byte("\n")))
			return
		}
		if err != nil {
			line := 1 + bytes.Count(data[:min(int(dec.InputOffset()), len(data))], []byte("\n"))
			in.fault(name, "is no JSON from line %d on (%v); run the command again, with -o json (az), --output json "+
				"(aws) or --format json (gcloud), and redirect its standard output alone", line, err)
			return
		}
		in.parsed(name, v)
	}
}

// parsed sorts in one JSON value; a list is its elements.
func (in *inputs) parsed(name string, v any) {
	if list, ok := v.([]any); ok {
		if len(list) == 0 {
			in.fault(name, "is an empty list: the command has found nothing; see whether its subscription, region, "+
				"project and names are right")
		}
		for _, e := range list {
			in.parsed(name, e)
		}
		return
	}
	o, ok := asObject(v, false)
	if !ok {
		in.fault(name, "has a JSON value that is no object; give the whole answer of the command, without --query")
		return
	}
	for _, token := range []string{"NextToken", "NextMarker", "nextLink", "nextPageToken"} {
		if o.text(token) != "" {
			in.fault(name, "is one page of several: %s is set; ask for all of them: without --max-items and "+
				"--page-size (aws), or follow %s and join the pages", token, token)
			return
		}
	}
	if list, ok := o.value("value"); ok && len(o.fields) <= 2 {
		in.parsed(name, list) // a list of ARM
		return
	}
	in.sort(name, o)
}

// sort puts an object to those of its kind.
func (in *inputs) sort(name string, o object) {
	for _, k := range kinds {
		if !k.is(o) {
			continue
		}
		if k.name == kindGCPEndpoint {
			in.endpoint(name, o)
			return
		}
		key := k.name
		if k.key != nil {
			key += " " + k.key(o)
		}
		if before, ok := in.from[key]; ok {
			in.fault(name, "is a second document of the kind %s, after %s; give one for each load balancer, as `%s` "+
				"prints it%s", k.name, before, k.command, nameless(k.name))
			return
		}
		in.take(k.name, key, name, o)
		return
	}
	if e := o.objects("error"); len(e) == 1 && e[0].has("message") {
		in.fault(name, "is a refusal and no answer: %s; correct that, and run the command again", e[0].text("message"))
		return
	}
	var commands []string
	for _, k := range kinds {
		commands = append(commands, "`"+k.command+"`")
	}
	in.fault(name, "is no document that is known; expected what one of these prints: %s, haproxy.cfg, `show stat`, "+
		"`show servers state`", strings.Join(commands, ", "))
}

// endpoint takes one endpoint: a document has one for each port.
func (in *inputs) endpoint(name string, o object) {
	before, ok := in.from[kindGCPEndpoint]
	if ok && before != name {
		if len(in.by[kindGCPEndpoint]) > 0 {
			in.fault(name, "is a second document of the kind %s, after %s; give one for each load balancer",
				kindGCPEndpoint, before)
			in.by[kindGCPEndpoint] = nil
		}
		return
	}
	in.take(kindGCPEndpoint, kindGCPEndpoint, name, o)
}

// nameless says how a document that does not name its subject gets the name.
func nameless(kind string) string {
	switch kind {
	case kindAWSHealth, kindAWSAttribute:
		return "; it must name its group, as with --query \"{TargetGroupArn: '$group', TargetHealthDescriptions: " +
			"TargetHealthDescriptions}\""
	default:
		return ""
	}
}

func (in *inputs) take(kind, key, name string, o object) {
	in.by[kind] = append(in.by[kind], o)
	in.from[key] = name
}

// plain sorts in what is no JSON.
func (in *inputs) plain(name, data string) {
	kind := ""
	switch lines := strings.SplitN(data, "\n", 3); {
	case strings.HasPrefix(data, "# pxname,"):
		kind = kindHAProxyStat
	case len(lines) > 1 && strings.HasPrefix(lines[1], "# be_id "):
		kind = kindHAProxyState
	case haproxySection.MatchString(data):
		kind = kindHAProxy
	case strings.Contains(data, "kind: compute#") || strings.Contains(data, "networkEndpoint:"):
		in.fault(name, "is YAML; run the command again with --format json")
		return
	default:
		in.fault(name, "is neither JSON nor of HAProxy; run the command again with -o json (az), --output json (aws) "+
			"or --format json (gcloud)")
		return
	}
	if before, ok := in.from[kind]; ok {
		in.fault(name, "is a second document of the kind %s, after %s; give one, such as what `cat /etc/haproxy/*.cfg` "+
			"prints", kind, before)
		return
	}
	in.from[kind], in.texts[kind] = name, data
}

// clouds are those of the documents.
func (in *inputs) clouds() []string {
	var out []string
	for _, k := range kinds {
		if len(in.by[k.name]) > 0 && k.cloud != "" && (len(out) == 0 || out[len(out)-1] != k.cloud) {
			out = append(out, k.cloud)
		}
	}
	if len(in.texts) > 0 {
		out = append(out, "haproxy")
	}
	if len(in.by[kindTerraform]) > 0 {
		out = append(out, "terraform")
	}
	return out
}
