// Command stub is a Terraform provider that knows the schemas of a real one and nothing else. So OpenTofu checks every
// argument, block and type of a configuration, and plans and applies it, without a cloud and without the provider. It
// knows no enumeration and no range: what the real provider refuses of a value, it takes.
//
// Its name says which schema it reads: terraform-provider-azurerm reads azurerm.json in the folder $STUB_SCHEMAS, as
// test/network/extract writes it.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "stub:", err)
		os.Exit(1)
	}
}

func serve() error {
	name, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(os.Args[0]), "terraform-provider-"), "_")
	text, err := os.ReadFile(filepath.Join(os.Getenv("STUB_SCHEMAS"), name+".json"))
	if err != nil {
		return err
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		return err
	}
	p := provider{settings: s.Provider.schema(), resources: map[string]*tfprotov5.Schema{}}
	for resource, r := range s.Resources {
		p.resources[resource] = r.schema()
	}
	return tf5server.Serve("registry.opentofu.org/hashicorp/"+name, func() tfprotov5.ProviderServer { return &p })
}

// schema is what test/network/extract writes.
type schema struct {
	Provider  resource            `json:"provider"`
	Resources map[string]resource `json:"resource_schemas"`
}

type resource struct {
	Block block `json:"block"`
}

type block struct {
	Attributes map[string]attribute `json:"attributes"`
	Blocks     map[string]nested    `json:"block_types"`
}

type attribute struct {
	Type                         json.RawMessage
	Required, Optional, Computed bool
}

type nested struct {
	Mode  string `json:"nesting_mode"`
	Block block  `json:"block"`
	Min   int64  `json:"min_items"`
	Max   int64  `json:"max_items"`
}

func (r resource) schema() *tfprotov5.Schema {
	return &tfprotov5.Schema{Block: r.Block.schema()}
}

func (b block) schema() *tfprotov5.SchemaBlock {
	out := &tfprotov5.SchemaBlock{}
	for _, name := range slices.Sorted(maps.Keys(b.Attributes)) {
		a := b.Attributes[name]
		out.Attributes = append(out.Attributes, &tfprotov5.SchemaAttribute{
			Name: name, Type: typeOf(a.Type), Required: a.Required, Optional: a.Optional, Computed: a.Computed,
		})
	}
	for _, name := range slices.Sorted(maps.Keys(b.Blocks)) {
		n := b.Blocks[name]
		one := &tfprotov5.SchemaNestedBlock{
			TypeName: name, Block: n.Block.schema(), MinItems: n.Min, MaxItems: n.Max,
			Nesting: tfprotov5.SchemaNestedBlockNestingModeList,
		}
		if n.Mode == "single" {
			one.Nesting = tfprotov5.SchemaNestedBlockNestingModeSingle
		}
		out.BlockTypes = append(out.BlockTypes, one)
	}
	return out
}

// typeOf reads a type as Terraform's JSON has it: "string", or ["list", "string"].
func typeOf(text json.RawMessage) tftypes.Type {
	var parts []json.RawMessage
	if json.Unmarshal(text, &parts) == nil && len(parts) == 2 {
		element := typeOf(parts[1])
		switch {
		case element.Is(tftypes.DynamicPseudoType): // a collection has elements of one type; which, is not known here
			return tftypes.DynamicPseudoType
		case string(parts[0]) == `"map"`:
			return tftypes.Map{ElementType: element}
		}
		return tftypes.List{ElementType: element}
	}
	switch string(text) {
	case `"string"`:
		return tftypes.String
	case `"number"`:
		return tftypes.Number
	case `"bool"`:
		return tftypes.Bool
	}
	return tftypes.DynamicPseudoType
}

// provider answers what validate, plan and apply ask. The embedded interface is nil: any other question ends it, and
// the test that asked.
type provider struct {
	tfprotov5.ProviderServer
	settings  *tfprotov5.Schema
	resources map[string]*tfprotov5.Schema
}

func (p *provider) GetMetadata(
	context.Context, *tfprotov5.GetMetadataRequest,
) (*tfprotov5.GetMetadataResponse, error) {
	out := &tfprotov5.GetMetadataResponse{}
	for _, name := range slices.Sorted(maps.Keys(p.resources)) {
		out.Resources = append(out.Resources, tfprotov5.ResourceMetadata{TypeName: name})
	}
	return out, nil
}

func (p *provider) GetProviderSchema(
	context.Context, *tfprotov5.GetProviderSchemaRequest,
) (*tfprotov5.GetProviderSchemaResponse, error) {
	return &tfprotov5.GetProviderSchemaResponse{Provider: p.settings, ResourceSchemas: p.resources}, nil
}

func (p *provider) PrepareProviderConfig(
	_ context.Context, r *tfprotov5.PrepareProviderConfigRequest,
) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: r.Config}, nil
}

func (p *provider) ConfigureProvider(
	context.Context, *tfprotov5.ConfigureProviderRequest,
) (*tfprotov5.ConfigureProviderResponse, error) {
	return &tfprotov5.ConfigureProviderResponse{}, nil
}

func (p *provider) StopProvider(
	context.Context, *tfprotov5.StopProviderRequest,
) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}

func (p *provider) GetResourceIdentitySchemas(
	context.Context, *tfprotov5.GetResourceIdentitySchemasRequest,
) (*tfprotov5.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov5.GetResourceIdentitySchemasResponse{}, nil
}

func (p *provider) ValidateResourceTypeConfig(
	context.Context, *tfprotov5.ValidateResourceTypeConfigRequest,
) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	return &tfprotov5.ValidateResourceTypeConfigResponse{}, nil
}

func (p *provider) UpgradeResourceState(
	_ context.Context, r *tfprotov5.UpgradeResourceStateRequest,
) (*tfprotov5.UpgradeResourceStateResponse, error) {
	s, ok := p.resources[r.TypeName]
	if !ok {
		return nil, fmt.Errorf("there is no resource %s", r.TypeName)
	}
	v, err := r.RawState.Unmarshal(s.ValueType())
	if err != nil {
		return nil, err
	}
	state, err := tfprotov5.NewDynamicValue(s.ValueType(), v)
	return &tfprotov5.UpgradeResourceStateResponse{UpgradedState: &state}, err
}

func (p *provider) ReadResource(
	_ context.Context, r *tfprotov5.ReadResourceRequest,
) (*tfprotov5.ReadResourceResponse, error) {
	return &tfprotov5.ReadResourceResponse{NewState: r.CurrentState, Private: r.Private}, nil
}

// ImportResourceState knows the id, and nothing else of what is imported.
func (p *provider) ImportResourceState(
	_ context.Context, r *tfprotov5.ImportResourceStateRequest,
) (*tfprotov5.ImportResourceStateResponse, error) {
	s, ok := p.resources[r.TypeName]
	if !ok {
		return nil, fmt.Errorf("there is no resource %s", r.TypeName)
	}
	imported := fields{"id": tftypes.NewValue(tftypes.String, r.ID)}
	for _, a := range s.Block.Attributes {
		if a.Name != "id" {
			imported[a.Name] = tftypes.NewValue(a.Type, nil)
		}
	}
	for _, b := range s.Block.BlockTypes {
		kind := b.ValueType()
		imported[b.TypeName] = tftypes.NewValue(kind, nil)
		if kind.Is(tftypes.List{}) { // a block that is not there is an empty list
			imported[b.TypeName] = tftypes.NewValue(kind, []tftypes.Value{})
		}
	}
	state, err := tfprotov5.NewDynamicValue(
		s.ValueType(), tftypes.NewValue(s.ValueType(), map[string]tftypes.Value(imported)))
	return &tfprotov5.ImportResourceStateResponse{
		ImportedResources: []*tfprotov5.ImportedResource{{TypeName: r.TypeName, State: &state}},
	}, err
}

func (p *provider) GetFunctions(
	context.Context, *tfprotov5.GetFunctionsRequest,
) (*tfprotov5.GetFunctionsResponse, error) {
	return &tfprotov5.GetFunctionsResponse{}, nil
}

// PlanResourceChange plans what was asked for; what the provider would set is unknown.
func (p *provider) PlanResourceChange(
	_ context.Context, r *tfprotov5.PlanResourceChangeRequest,
) (*tfprotov5.PlanResourceChangeResponse, error) {
	planned, err := p.change(r.TypeName, r.ProposedNewState, func(a *tfprotov5.SchemaAttribute, f fields) tftypes.Value {
		// Of some types the schema does not know what they are made of: nothing could be made up for them.
		if v := f[a.Name]; !a.Computed || !v.IsNull() || a.Type.Is(tftypes.DynamicPseudoType) {
			return v
		}
		return tftypes.NewValue(a.Type, tftypes.UnknownValue)
	})
	return &tfprotov5.PlanResourceChangeResponse{PlannedState: planned, PlannedPrivate: r.PriorPrivate}, err
}

// ApplyResourceChange makes what was planned. A text that the provider would set is made up, and all else is empty.
// The text says what it belongs to, such as /azurerm_lb_probe/external/id: so a test sees what a reference leads to.
func (p *provider) ApplyResourceChange(
	_ context.Context, r *tfprotov5.ApplyResourceChangeRequest,
) (*tfprotov5.ApplyResourceChangeResponse, error) {
	made, err := p.change(r.TypeName, r.PlannedState, func(a *tfprotov5.SchemaAttribute, f fields) tftypes.Value {
		v := f[a.Name]
		switch {
		case v.IsFullyKnown():
			return v
		case a.Type.Is(tftypes.String):
			return tftypes.NewValue(a.Type, "/"+r.TypeName+"/"+f.name()+"/"+a.Name)
		}
		return empty(a.Type)
	})
	return &tfprotov5.ApplyResourceChangeResponse{NewState: made, Private: r.PlannedPrivate}, err
}

func empty(t tftypes.Type) tftypes.Value {
	switch {
	case t.Is(tftypes.List{}):
		return tftypes.NewValue(t, []tftypes.Value{})
	case t.Is(tftypes.Map{}):
		return tftypes.NewValue(t, map[string]tftypes.Value{})
	case t.Is(tftypes.Number):
		return tftypes.NewValue(t, 0)
	case t.Is(tftypes.Bool):
		return tftypes.NewValue(t, false)
	}
	return tftypes.NewValue(t, nil)
}

// fields are the attributes and blocks of one block.
type fields map[string]tftypes.Value

func (f fields) name() string {
	var out string
	if v, ok := f["name"]; ok && v.IsKnown() && !v.IsNull() && v.Type().Is(tftypes.String) {
		if err := v.As(&out); err != nil {
			return err.Error()
		}
	}
	return out
}

// valueOf is what an attribute becomes.
type valueOf func(*tfprotov5.SchemaAttribute, fields) tftypes.Value

// change gives every attribute of a resource its value; a resource that goes stays null.
func (p *provider) change(name string, from *tfprotov5.DynamicValue, value valueOf) (*tfprotov5.DynamicValue, error) {
	s, ok := p.resources[name]
	if !ok {
		return nil, fmt.Errorf("there is no resource %s", name)
	}
	v, err := from.Unmarshal(s.ValueType())
	if err != nil || v.IsNull() {
		return from, err
	}
	v, err = inBlock(s.Block, v, value)
	if err != nil {
		return nil, err
	}
	out, err := tfprotov5.NewDynamicValue(s.ValueType(), v)
	return &out, err
}

// inBlock does so for a block and all blocks in it.
func inBlock(b *tfprotov5.SchemaBlock, v tftypes.Value, value valueOf) (tftypes.Value, error) {
	var f fields
	if v.IsNull() || !v.IsKnown() {
		return v, nil
	}
	if err := v.As((*map[string]tftypes.Value)(&f)); err != nil {
		return v, err
	}
	for _, a := range b.Attributes {
		f[a.Name] = value(a, f)
	}
	for _, n := range b.BlockTypes {
		if n.Nesting != tfprotov5.SchemaNestedBlockNestingModeList || !f[n.TypeName].IsKnown() {
			continue
		}
		var items []tftypes.Value
		if err := f[n.TypeName].As(&items); err != nil {
			return v, err
		}
		for i := range items {
			var err error
			if items[i], err = inBlock(n.Block, items[i], value); err != nil {
				return v, err
			}
		}
		f[n.TypeName] = tftypes.NewValue(f[n.TypeName].Type(), items)
	}
	return tftypes.NewValue(v.Type(), map[string]tftypes.Value(f)), nil
}
