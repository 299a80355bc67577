// Command extract makes the schema of a few resources of a Terraform provider, for the stub provider of the tests, out
// of an npm package with prebuilt bindings of that provider (@cdktn/provider-..., @cdktf/provider-...). The bindings
// are made from the provider's own schema; names, types and what is required, optional or computed stand in their
// .jsii. The providers themselves cannot be had by a Go build alone. It is run by hand:
//
//	npm pack @cdktn/provider-azurerm@16.1.0
//	go run ./test/network/extract cdktn-provider-azurerm-16.1.0.tgz azurerm_lb azurerm_lb_rule >azurerm.json
//
// What the bindings do not say: whether an optional attribute is computed as well, whether a list is a set, and all
// rules of values (enumerations, ranges).
package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: extract PACKAGE.tgz RESOURCE...")
		os.Exit(2)
	}
	out, err := extract(os.Args[1], os.Args[2:])
	if err == nil {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", " ")
		err = e.Encode(out)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "extract:", err)
		os.Exit(1)
	}
}

// Schema is one provider's entry in what `tofu providers schema -json` prints, with where it is from.
type Schema struct {
	From      string              `json:"from"`    // npm package and version
	Version   string              `json:"version"` // of the provider
	Provider  Resource            `json:"provider"`
	Resources map[string]Resource `json:"resource_schemas"`
}

// Resource is one type of resource, or the provider's own settings.
type Resource struct {
	Block Block `json:"block"`
}

// Block has attributes and further blocks.
type Block struct {
	Attributes map[string]Attribute `json:"attributes,omitempty"`
	Blocks     map[string]Nested    `json:"block_types,omitempty"`
}

// Attribute is one argument or one value that the provider sets. Type is as in Terraform's JSON: "string", or
// ["list", "string"].
type Attribute struct {
	Type     any  `json:"type"`
	Required bool `json:"required,omitempty"`
	Optional bool `json:"optional,omitempty"`
	Computed bool `json:"computed,omitempty"`
}

// Nested is a block in a block.
type Nested struct {
	Mode  string `json:"nesting_mode"` // list or single
	Block Block  `json:"block"`
	Min   int    `json:"min_items,omitempty"`
	Max   int    `json:"max_items,omitempty"`
}

// bindings is the part of a .jsii that is read.
type bindings struct {
	Name, Version string
	Types         map[string]class
}

type class struct {
	Kind       string
	Properties []property
}

type property struct {
	Name     string
	Optional bool
	Static   bool
	Docs     struct{ Summary, Remarks string }
	Type     typeOf
}

type typeOf struct {
	Primitive  string
	FQN        string
	Collection *struct {
		Kind        string
		ElementType typeOf
	}
	Union *struct{ Types []typeOf }
}

func extract(tgz string, wanted []string) (*Schema, error) {
	b, err := read(tgz)
	if err != nil {
		return nil, err
	}
	out := &Schema{From: b.Name + "@" + b.Version, Resources: map[string]Resource{}}
	for name, c := range b.Types {
		if strings.Contains(name, ".provider.") && strings.HasSuffix(name, "ProviderConfig") {
			out.Provider = Resource{b.block(name, "")}
		}
		resource, version := b.resource(name, c)
		if slices.Contains(wanted, resource) {
			out.Version = version
			out.Resources[resource] = Resource{b.block(name+"Config", name)}
		}
	}
	for _, name := range wanted {
		if _, ok := out.Resources[name]; !ok {
			return nil, fmt.Errorf("%s has no resource %s", tgz, name)
		}
	}
	return out, nil
}

// read takes .jsii out of the package.
func read(tgz string) (*bindings, error) {
	file, err := os.Open(tgz)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unzipped, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	files := tar.NewReader(unzipped)
	for {
		head, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("%s has no .jsii", tgz)
		}
		if err != nil {
			return nil, err
		}
		if path.Base(head.Name) == ".jsii" {
			var b bindings
			return &b, json.NewDecoder(files).Decode(&b)
		}
	}
}

// page is the registry's page that the bindings link for an argument: provider, version, resource, argument.
var page = regexp.MustCompile(`/providers/hashicorp/([a-z-]+)/([0-9.]+)/docs(?:/resources/([a-z0-9_]+))?(?:/index)?#([a-z0-9_]+) `)

// resource is the type and the provider's version of a class, or nothing.
func (b *bindings) resource(name string, c class) (resource, version string) {
	isResource := func(p property) bool { return p.Name == "tfResourceType" }
	if c.Kind != "class" || !slices.ContainsFunc(c.Properties, isResource) {
		return "", ""
	}
	for _, p := range b.Types[name+"Config"].Properties {
		if m := page.FindStringSubmatch(p.Docs.Summary + " " + p.Docs.Remarks + " "); m != nil {
			provider, _, _ := strings.Cut(m[1], "-") // google-beta's resources begin with google_
			return provider + "_" + strings.TrimPrefix(m[3], provider+"_"), m[2]
		}
	}
	return "", ""
}

// ofLanguage are the arguments that every resource or provider has.
var ofLanguage = []string{
	"alias", "connection", "count", "dependsOn", "forEach", "lifecycle", "provider", "provisioners",
}

// block is what can be given (an interface) with what only the provider sets (properties of a class).
func (b *bindings) block(given, all string) Block {
	out := Block{Attributes: map[string]Attribute{}, Blocks: map[string]Nested{}}
	for _, p := range b.Types[given].Properties {
		if slices.Contains(ofLanguage, p.Name) {
			continue
		}
		inner, isBlock := b.inner(p)
		if !isBlock {
			out.Attributes[argument(p)] = Attribute{
				Type: b.terraform(p.Type), Required: !p.Optional, Optional: p.Optional,
			}
			continue
		}
		nested := Nested{Mode: "list", Block: b.block(inner, inner+"OutputReference")}
		switch {
		case p.Name == "timeouts":
			nested.Mode = "single"
		case !list(p.Type):
			nested.Max = 1
		}
		if !p.Optional {
			nested.Min = 1
		}
		out.Blocks[argument(p)] = nested
	}
	for _, p := range b.Types[all].Properties {
		name := argument(p)
		_, argumentToo := out.Attributes[name]
		_, blockToo := out.Blocks[name]
		if argumentToo || blockToo || p.Static || strings.HasSuffix(p.Name, "Input") || ofBindings[p.Name] {
			continue
		}
		out.Attributes[name] = Attribute{Type: b.terraform(p.Type), Computed: true}
	}
	if id, ok := out.Attributes["id"]; ok && id.Optional { // an argument of old providers only; now the provider sets it
		id.Computed = true
		out.Attributes["id"] = id
	}
	return out
}

// ofBindings are properties that the bindings add.
var ofBindings = map[string]bool{"internalValue": true, "fqn": true}

// inner is the type of what is in a block, for a property that is one.
func (b *bindings) inner(p property) (string, bool) {
	name := structure(p.Type)
	return name, b.Types[name].Kind == "interface" && strings.HasPrefix(p.Docs.Summary, argument(p)+" block.")
}

// argument is the provider's name of a property: the documents' link has it, and the bindings made theirs from it.
func argument(p property) string {
	if m := page.FindStringSubmatch(p.Docs.Summary + " " + p.Docs.Remarks + " "); m != nil {
		return m[4]
	}
	var out strings.Builder
	for _, r := range p.Name {
		if unicode.IsUpper(r) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToLower(r))
	}
	return out.String()
}

// structure is the first type with a name that is the provider's.
func structure(t typeOf) string {
	switch {
	case t.FQN != "" && !strings.HasSuffix(t.FQN, ".IResolvable"):
		return t.FQN
	case t.Collection != nil:
		return structure(t.Collection.ElementType)
	case t.Union != nil:
		for _, one := range t.Union.Types {
			if name := structure(one); name != "" {
				return name
			}
		}
	}
	return ""
}

func list(t typeOf) bool {
	return t.Collection != nil || t.Union != nil && slices.ContainsFunc(t.Union.Types, list)
}

// terraform is a type as Terraform's JSON has it.
func (b *bindings) terraform(t typeOf) any {
	switch {
	case t.Union != nil:
		ofProvider := func(one typeOf) bool { return !strings.HasSuffix(one.FQN, ".IResolvable") }
		return b.terraform(t.Union.Types[slices.IndexFunc(t.Union.Types, ofProvider)])
	case t.Collection != nil && t.Collection.Kind == "map":
		return []any{"map", b.terraform(t.Collection.ElementType)}
	case t.Collection != nil:
		return []any{"list", b.terraform(t.Collection.ElementType)}
	case t.Primitive == "string", t.Primitive == "number":
		return t.Primitive
	case t.Primitive == "boolean":
		return "bool"
	}
	return "dynamic"
}
