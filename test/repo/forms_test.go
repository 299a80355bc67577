package repo

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

// The hosting platform is not here to judge these files: their form is held instead.
func TestWorkflow(t *testing.T) {
	var workflow struct {
		Permissions map[string]string `yaml:"permissions"`
		Jobs        map[string]struct {
			Timeout int `yaml:"timeout-minutes"`
			Steps   []struct {
				Uses string         `yaml:"uses"`
				Run  string         `yaml:"run"`
				With map[string]any `yaml:"with"`
			} `yaml:"steps"`
		} `yaml:"jobs"`
	}
	parse(t, "../../.github/workflows/ci.yml", &workflow)
	if len(workflow.Permissions) != 1 || workflow.Permissions["contents"] != "read" {
		t.Errorf("the token of a run may do more than read: %v", workflow.Permissions)
	}
	if len(workflow.Jobs) == 0 {
		t.Error("no jobs")
	}
	for name, job := range workflow.Jobs {
		if job.Timeout == 0 || job.Timeout > 90 {
			t.Errorf("%s may run for %d minutes", name, job.Timeout)
		}
		runs := 0
		for _, step := range job.Steps {
			if strings.HasSuffix(step.Run, ".ci/run") {
				runs++
			}
			if step.Uses != "" && !regexp.MustCompile(`^actions/[a-z-]+@v\d+$`).MatchString(step.Uses) {
				t.Errorf("%s uses %s, which is neither the platform's own nor pinned", name, step.Uses)
			}
			if strings.HasPrefix(step.Uses, "actions/checkout@") && step.With["fetch-depth"] != 0 {
				t.Errorf("%s has no history: %v", name, step.With)
			}
			if strings.HasPrefix(step.Uses, "actions/setup-go@") && step.With["go-version-file"] != "go.mod" {
				t.Errorf("%s does not take Go's version from go.mod: %v", name, step.With)
			}
		}
		if runs != 1 {
			t.Errorf("%s calls .ci/run %d times", name, runs)
		}
	}
	if info, err := os.Stat("../../.ci/run"); err != nil || info.Mode()&0o111 == 0 {
		t.Errorf(".ci/run cannot be run: %v", err)
	}
}

func TestIssueForms(t *testing.T) {
	asked := map[string][]string{
		"fault.yml":    {"`kpls-agent version`", "`kpls-agent status -o json`", "`kpls-agent check`"},
		"question.yml": {"`kpls-agent version`"},
	}
	for name, commands := range asked {
		var form struct {
			Name, Description string
			Body              []struct {
				Type        string
				ID          string
				Attributes  map[string]any
				Validations map[string]bool
			}
		}
		path := filepath.Join("../../.github/ISSUE_TEMPLATE", name)
		parse(t, path, &form)
		if form.Name == "" || form.Description == "" {
			t.Errorf("%s has no name or description", name)
		}
		ids := map[string]bool{}
		for i, field := range form.Body {
			switch field.Type {
			case "markdown":
				if field.Attributes["value"] == nil {
					t.Errorf("%s: field %d is empty", name, i)
				}
			case "textarea", "input":
				if field.Attributes["label"] == nil || field.ID == "" || ids[field.ID] {
					t.Errorf("%s: field %d has no label or no id of its own", name, i)
				}
				ids[field.ID] = true
			default:
				t.Errorf("%s: field %d is of type %q", name, i, field.Type)
			}
		}
		for _, command := range commands {
			if !strings.Contains(read(t, path), command) {
				t.Errorf("%s does not ask for %s", name, command)
			}
		}
	}
}

func parse(t *testing.T, path string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(read(t, path)), into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}
