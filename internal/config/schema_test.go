package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v4"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/test/tables"
)

const (
	manifestSchema = "../../packaging/manifest.schema.json"
	manual         = "../../docs/configuration.md"
)

// TestManifestSchema holds the schema file equal to the decoder's declaration.
func TestManifestSchema(t *testing.T) {
	data, err := config.ManifestShape().JSONSchema("kpls-agent manifest", "The desired state of the whole Kafka cluster, the same file on every broker VM.")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, manifestSchema, string(data))
}

// TestManifestReference holds the reference in the manual equal to the decoder's declaration.
func TestManifestReference(t *testing.T) {
	if err := tables.Hold(manual, "manifest fields", "\n"+config.ManifestShape().Reference()+"\n", *update); err != nil {
		t.Error(err)
	}
}

// TestManualExamples parses every manifest of the manual.
func TestManualExamples(t *testing.T) {
	n := 0
	for i, block := range strings.Split(string(read(t, manual)), "```yaml\n")[1:] {
		example, _, _ := strings.Cut(block, "```")
		if !strings.HasPrefix(example, "version: 1\n") {
			continue
		}
		n++
		if _, err := config.ParseManifest("example", []byte(example)); err != nil {
			t.Errorf("example %d: %v", i+1, err)
		}
	}
	if n < 2 {
		t.Errorf("found %d manifests in %s", n, manual)
	}
}

// TestManifestSchemaAgrees proves the schema by a validator of its own: it takes
// what the decoder takes, and refuses what has a fault of structure.
func TestManifestSchemaAgrees(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile(manifestSchema)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range files(t, "testdata/manifest/valid/*.yaml") {
		if err := schema.Validate(asJSON(t, read(t, path))); err != nil {
			t.Errorf("%s: the schema refuses what the decoder takes: %v", path, err)
		}
	}
	for _, path := range files(t, "testdata/manifest/invalid/structure/*.yaml") {
		if schema.Validate(asJSON(t, read(t, path))) == nil {
			t.Errorf("%s: the schema takes what the decoder refuses", path)
		}
	}
}

// asJSON reads YAML as an editor does for its schema.
func asJSON(t *testing.T, data []byte) any {
	t.Helper()
	var n yaml.Node
	if err := yaml.Load(data, &n); err != nil {
		t.Fatal(err)
	}
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(nodeJSON(t, n.Content[0])))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func nodeJSON(t *testing.T, n *yaml.Node) []byte {
	t.Helper()
	var v any
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]json.RawMessage{}
		for i := 0; i < len(n.Content); i += 2 {
			m[n.Content[i].Value] = nodeJSON(t, n.Content[i+1])
		}
		v = m
	case yaml.SequenceNode:
		l := []json.RawMessage{}
		for _, c := range n.Content {
			l = append(l, nodeJSON(t, c))
		}
		v = l
	default:
		if err := n.Decode(&v); err != nil {
			t.Fatal(err)
		}
	}
	out, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestShapesAreWhole keeps every field documented, and every default valid.
func TestShapesAreWhole(t *testing.T) {
	var walk func(path string, s *config.Shape)
	walk = func(path string, s *config.Shape) {
		for i := range s.Fields {
			f := &s.Fields[i]
			at := filepath.Join(path, f.Name)
			if !strings.HasSuffix(f.Doc, ".") || strings.ContainsAny(f.Doc, "|\n") {
				t.Errorf("%s: the doc %q is no sentence for a table", at, f.Doc)
			}
			if f.Required && f.Default != "" {
				t.Errorf("%s is required and has a default", at)
			}
			walk(at, &f.Shape)
			if f.Elem != nil {
				walk(at, f.Elem)
			}
		}
	}
	walk("", config.ManifestShape())
	if _, err := os.Stat(manifestSchema); err != nil {
		t.Error(err)
	}
}
