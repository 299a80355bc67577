package balancer

import (
	"slices"
	"strings"
)

// resource is one instance of Terraform's.
type resource struct {
	object
	address, module, kind, name, key string
}

// terraform is what `terraform show -json` or `tofu show -json` prints, of a state or of a plan.
type terraform struct {
	resources []resource
	// known are resources by what others call them: id, ARN, self link.
	known map[string]resource
	// expressions are those of the configuration, by module and address without keys.
	expressions map[string]object
	plan        bool
}

// readTerraform turns resources into the documents that the cloud itself would give, and says of which cloud.
func readTerraform(in *inputs) {
	doc := in.by[kindTerraform][0]
	file := in.from[kindTerraform]
	if doc.text("errored") == "true" {
		in.fault(file, "is a plan that ended with an error: it is not whole; correct that, and make the plan again")
		return
	}
	t := &terraform{expressions: map[string]object{}, known: map[string]resource{}}
	values := doc.objects("values")
	if planned := doc.objects("planned_values"); len(planned) > 0 {
		values, t.plan = planned, true
	}
	for _, v := range values {
		for _, m := range v.objects("root_module") {
			t.module(m)
		}
	}
	for _, c := range doc.objects("configuration") {
		for _, m := range c.objects("root_module") {
			t.configuration("", m)
		}
	}
	t.later(doc)
	for _, r := range t.resources {
		for _, name := range []string{"id", "arn", "self_link"} {
			if id := r.text(name); id != "" {
				t.known[id] = r
			}
		}
	}
	switch {
	case len(t.resources) == 0:
		in.fault(file, "has no resources: nothing has been applied in that folder, or another workspace is selected; "+
			"see `terraform workspace show`, or give a plan: `terraform show -json PLANFILE`")
	case t.has("azurerm_lb"):
		in.cloud = "azure"
		t.azure(in)
	case t.has("aws_lb") || t.has("aws_lb_listener"):
		in.cloud = "aws"
		t.aws(in)
	case t.has("google_compute_region_network_endpoint") || t.has("google_compute_service_attachment"):
		in.cloud = "gcp"
		t.gcp(in)
	default:
		in.fault(file, "has no load balancer among its %d resources; expected azurerm_lb, aws_lb or "+
			"google_compute_region_network_endpoint", len(t.resources))
	}
}

// module collects the resources of a module and of those that it calls.
func (t *terraform) module(m object) {
	address := m.text("address")
	for _, r := range m.objects("resources") {
		if mode := r.text("mode"); mode != "managed" && mode != "" {
			continue
		}
		for _, v := range r.objects("values") {
			v.whole = true
			t.resources = append(t.resources, resource{
				object: v, address: r.text("address"), module: unkeyed(address), kind: r.text("type"),
				name: r.text("name"), key: r.text("index"),
			})
		}
	}
	for _, c := range m.objects("child_modules") {
		t.module(c)
	}
}

// configuration collects the expressions of a module and of those that it calls.
func (t *terraform) configuration(module string, m object) {
	for _, r := range m.objects("resources") {
		for _, e := range r.objects("expressions") {
			t.expressions[module+" "+r.text("type")+"."+r.text("name")] = e
		}
	}
	for _, calls := range m.objects("module_calls") {
		for name := range calls.fields {
			for _, call := range calls.objects(name) {
				for _, inner := range call.objects("module") {
					t.configuration(strings.TrimPrefix(module+".module."+name, "."), inner)
				}
			}
		}
	}
}

// unkeyed is a module's address without the keys of its instances.
func unkeyed(address string) string {
	var out strings.Builder
	depth := 0
	for _, r := range address {
		switch r {
		case '[':
			depth++
		case ']':
			depth--
		default:
			if depth == 0 {
				out.WriteRune(r)
			}
		}
	}
	return out.String()
}

// later marks what a plan does not know yet.
func (t *terraform) later(doc object) {
	changes := map[string]object{}
	for _, c := range doc.objects("resource_changes") {
		for _, change := range c.objects("change") {
			for _, after := range change.objects("after_unknown") {
				changes[c.text("address")] = after
			}
		}
	}
	for _, r := range t.resources {
		for name, v := range changes[r.address].fields {
			if _, set := r.fields[name]; !set && unknownIn(v) {
				r.fields[name] = unknown{}
			} else if list, ok := r.fields[name].([]any); ok && unknownIn(v) {
				r.fields[name] = laterIn(list, v)
			}
		}
	}
}

// laterIn marks what is unknown in a list of blocks; a list of values is unknown as a whole.
func laterIn(list []any, marks any) any {
	of, ok := marks.([]any)
	if !ok {
		return unknown{}
	}
	for i, e := range list {
		fields, isBlock := e.(map[string]any)
		if !isBlock {
			return unknown{}
		}
		if i >= len(of) {
			break
		}
		after, _ := of[i].(map[string]any)
		for name, v := range after {
			if _, set := fields[name]; !set && unknownIn(v) {
				fields[name] = unknown{}
			}
		}
	}
	return list
}

// unknownIn is true if any part of a value is known only after the apply.
func unknownIn(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case []any:
		return slices.ContainsFunc(v, unknownIn)
	case map[string]any:
		for _, e := range v {
			if unknownIn(e) {
				return true
			}
		}
	}
	return false
}

func (t *terraform) has(kind string) bool { return len(t.of(kind)) > 0 }

func (t *terraform) of(kind string) []resource {
	var out []resource
	for _, r := range t.resources {
		if r.kind == kind {
			out = append(out, r)
		}
	}
	return out
}

// id is how this comparison calls a resource: by its name where the readers go by names, by what a VM is called, or by
// its address.
func (r resource) id() string {
	name := r.text("name")
	switch {
	case strings.HasPrefix(r.kind, "aws_lb"):
		return r.address
	case r.kind == "azurerm_network_interface":
		return "planned/networkInterfaces/" + name
	case name != "" && !strings.HasPrefix(r.kind, "aws_"):
		return "planned/" + name
	case r.text("id") != "":
		return r.text("id")
	default:
		return r.address
	}
}

// refer is what an attribute refers to: where a plan does not know it yet, the configuration says which resource it is.
// `block` is that of the attribute, empty for none. The result is empty where it cannot be said.
func (t *terraform) refer(r resource, block, attribute string) string {
	holder, e := r.object, t.expressions[r.module+" "+r.kind+"."+r.name]
	if block != "" {
		blocks := r.objects(block)
		if len(blocks) == 0 {
			return ""
		}
		holder = blocks[0]
		if blocks = e.objects(block); len(blocks) > 0 {
			e = blocks[0]
		}
	}
	for _, known := range holder.texts(attribute) {
		if known != "" {
			return t.link(known)
		}
	}
	for _, x := range e.objects(attribute) {
		if found, ok := t.instance(r, x.texts("references")); ok {
			return found.id()
		}
	}
	return ""
}

// link is how this comparison calls what an id is of.
func (t *terraform) link(id string) string {
	if r, ok := t.known[id]; ok {
		return r.id()
	}
	return id
}

// instance is the resource that references lead to: the one with the same key, or the only one. Any other key would
// have to be computed, which only Terraform does.
func (t *terraform) instance(r resource, references []string) (resource, bool) {
	for _, ref := range references {
		parts := strings.Split(unkeyed(ref), ".")
		if len(parts) < 2 {
			continue
		}
		var all []resource
		for _, c := range t.resources {
			if c.kind != parts[0] || c.name != parts[1] || c.module != r.module {
				continue
			}
			if c.key != "" && c.key == r.key && slices.Contains(references, "each.key") {
				return c, true
			}
			all = append(all, c)
		}
		if len(all) == 1 {
			return all[0], true
		}
	}
	return resource{}, false
}

// renamed copies attributes under the names of the cloud's own documents. An attribute of several names is that of the
// first one that there is.
func renamed(from object, names map[string]string) map[string]any {
	out := map[string]any{}
	for to, attributes := range names {
		for attribute := range strings.SplitSeq(attributes, " ") {
			if v, ok := from.value(attribute); ok {
				out[to] = v
				break
			}
		}
	}
	return out
}

// list makes a document with one list in it.
func list(name string, all []any) object {
	return object{map[string]any{name: all}, true}
}

// orUnknown is an id as a field: what could not be said is not shown.
func orUnknown(id string) any {
	if id == "" {
		return unknown{}
	}
	return id
}
