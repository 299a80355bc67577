// Command arm compares ARM templates, such as `kpls-agent render azure --format arm` writes, with Azure's own types. A
// property that a type does not have, such as one that is misspelt, is lost when a template is read into the type and
// written again. The types know no enumeration, no range, and not what is required.
package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"

	armnetwork "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: arm TEMPLATE")
		os.Exit(2)
	}
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "arm:", err)
		os.Exit(2)
	}
	lost := judge(string(text))
	for _, one := range lost {
		fmt.Println(one)
	}
	if len(lost) > 0 {
		os.Exit(1)
	}
}

// types are those of the resources; their properties alone are compared.
var types = map[string]func() any{
	"Microsoft.Network/loadBalancers":                       func() any { return &armnetwork.LoadBalancer{} },
	"Microsoft.Network/networkSecurityGroups/securityRules": func() any { return &armnetwork.SecurityRule{} },
	"Microsoft.Network/privateLinkServices":                 func() any { return &armnetwork.PrivateLinkService{} },
	"Microsoft.Network/virtualNetworks/subnets":             func() any { return &armnetwork.Subnet{} },
}

// ofTemplate are a resource's properties that the template language has, and not the resource.
var ofTemplate = []string{"apiVersion", "condition", "dependsOn", "location", "type"}

// expressions of the template language that stand for something else than a text.
var expressions = map[string]any{"zones": []any{"1"}, "subscriptions": []any{"s"}, "priority": 300.}

// judge says what a template has that Azure's types have not.
func judge(text string) []string {
	var template struct{ Resources []map[string]any }
	if err := json.Unmarshal([]byte(text), &template); err != nil {
		return []string{err.Error()}
	}
	var lost []string
	for _, r := range template.Resources {
		kind := fmt.Sprint(r["type"])
		into, ok := types[kind]
		if !ok {
			lost = append(lost, "there is no type for "+kind)
			continue
		}
		for _, name := range ofTemplate {
			delete(r, name)
		}
		given := evaluated("", r)
		again, err := throughType(given, into())
		if err != nil {
			lost = append(lost, fmt.Sprintf("%s: %v", kind, err))
			continue
		}
		lost = append(lost, missing(kind, given, again)...)
	}
	return lost
}

// evaluated has a value of its type for each expression.
func evaluated(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, inner := range v {
			out[k] = evaluated(k, inner)
		}
		return out
	case []any:
		var out []any
		for _, inner := range v {
			out = append(out, evaluated("", inner))
		}
		return out
	case string:
		if value, ok := expressions[key]; ok && strings.HasPrefix(v, "[") {
			return value
		}
	}
	return v
}

func throughType(v, into any) (any, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, into); err != nil {
		return nil, err
	}
	if text, err = json.Marshal(into); err != nil {
		return nil, err
	}
	var again any
	return again, json.Unmarshal(text, &again)
}

// missing compares what was given with what came back.
func missing(path string, given, again any) []string {
	var lost []string
	switch g := given.(type) {
	case map[string]any:
		a, _ := again.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(g)) {
			if _, ok := a[key]; !ok {
				lost = append(lost, path+"."+key+": no property of this type")
				continue
			}
			lost = append(lost, missing(path+"."+key, g[key], a[key])...)
		}
	case []any:
		a, _ := again.([]any)
		if len(a) != len(g) {
			return []string{path + ": another number of items came back"}
		}
		for i := range g {
			lost = append(lost, missing(fmt.Sprintf("%s[%d]", path, i), g[i], a[i])...)
		}
	default:
		if !reflect.DeepEqual(given, again) {
			lost = append(lost, fmt.Sprintf("%s: %v came back as %v", path, given, again))
		}
	}
	return lost
}
