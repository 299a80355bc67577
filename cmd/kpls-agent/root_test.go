package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestUsage: whatever is mistyped is an error that says what is meant, exits with 2 and prints nothing else.
func TestUsage(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"resum", `unknown command "resum" (did you mean resume?); see ` + "`kpls-agent --help`"},
		{"statsu", `unknown command "statsu" (did you mean status?); see ` + "`kpls-agent --help`"},
		{"xyz", `unknown command "xyz"; see ` + "`kpls-agent --help`"},
		{"--settings /x resum", `unknown command "resum" (did you mean resume?)`},
		{"help statsu", `unknown command "statsu" (did you mean status?)`},
		{"help status x", `unknown command "x"`},
		{"completion bsh", `unknown command "bsh"`},
		{"status now", "`kpls-agent status` takes no word \"now\"; see `kpls-agent status --help`"},
		{"restart cancel", "`kpls-agent restart` takes no word \"cancel\" (did you mean --cancel?); see"},
		{"status --watch --exit-code", "leave one of them out"},
		{"status --watsh", "unknown flag: --watsh; see `kpls-agent status --help`"},
		{"release", `required flag(s) "broker" not set; see ` + "`kpls-agent release --help`"},
		{"release --broker one", `--broker "one" is no whole number, or is out of range`},
		{"release --broker", "flag needs an argument: --broker"},
		{"verify", "at least one of the flags in the group [bootstrap balancer] is required"},
		{"plan --broker-id 1", "belong to --offline"},
	} {
		var out, errOut bytes.Buffer
		code := execute(t.Context(), strings.Fields(c.args), strings.NewReader(""), &out, &errOut)
		if code != exitUsage || !strings.Contains(errOut.String(), c.says) || strings.Count(errOut.String(), "\n") != 1 ||
			out.Len() > 0 {
			t.Errorf("%s: exit %d: %s%s", c.args, code, out.String(), errOut.String())
		}
	}
}

// TestNoBrokerVM: a command that needs a broker's VM says so elsewhere.
func TestNoBrokerVM(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kpls-agent.yaml")
	if err := os.WriteFile(path, []byte("server_properties: gone\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"status", "status --watch", "pause", "restart --cancel", "resume --yes", "plan"} {
		var out, errOut bytes.Buffer
		code := execute(t.Context(), append(strings.Fields(args), "--settings", path), strings.NewReader(""), &out, &errOut)
		if code != exitUsage || !strings.HasSuffix(errOut.String(), "gone: no such file or directory; name the broker's file as "+
			"server_properties in the settings; or run this on a broker VM\n") {
			t.Errorf("%s: exit %d: %s%s", args, code, out.String(), errOut.String())
		}
	}
}

// TestSettingsOfCommands: while the settings have a fault, a command goes by the last good ones and says so once. Where
// there are none, and where the login cannot be read, it ends.
func TestSettingsOfCommands(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "kpls-agent.yaml")
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(path, "unti: x\n")
	var errOut bytes.Buffer
	s := &shared{settingsPath: path, stderr: &errOut}
	if vm, err := s.settingsOr(dir); err == nil || errOut.Len() > 0 {
		t.Errorf("%+v: %s", vm, errOut.String())
	}
	kept := filepath.Join(dir, "settings.last-good.yaml")
	write(kept, "unit: good.service\n")
	for range 2 {
		if vm, err := s.settingsOr(dir); err != nil || vm.Unit != "good.service" {
			t.Errorf("%+v, %v", vm, err)
		}
	}
	if said := errOut.String(); strings.Count(said, "\n") != 1 || !strings.Contains(said, `unti: unknown field; did you mean "unit"?`) ||
		!strings.Contains(said, "this goes by the last good ones; correct "+path) {
		t.Error(said)
	}
	write(kept, "kafka: {client_properties: gone}\n")
	if vm, err := s.settingsOr(dir); err == nil {
		t.Errorf("%+v", vm)
	}
}

// TestHelp: whoever asks for help or the version gets it, and it is no error.
func TestHelp(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"", "Available Commands:"},
		{"--help", "kpls-agent [command]"},
		{"help", "Available Commands:"},
		{"help status", "kpls-agent status [flags]"},
		{"status --help", "kpls-agent status [flags]"},
		{"completion", "Available Commands:"},
		{"--version", "kpls-agent " + version},
		{"version", "kpls-agent " + version},
	} {
		var out, errOut bytes.Buffer
		code := execute(t.Context(), strings.Fields(c.args), strings.NewReader(""), &out, &errOut)
		if code != exitDone || !strings.Contains(out.String(), c.says) || errOut.Len() > 0 {
			t.Errorf("%q: exit %d: %s%s", c.args, code, out.String(), errOut.String())
		}
	}
	if got, want := said(t, "--version"), said(t, "version"); got != want {
		t.Errorf("--version says %q, version says %q", got, want)
	}
}

// TestExamples: each command has two examples, and each of them can be typed.
func TestExamples(t *testing.T) {
	commands := newRoot(&shared{}).Commands()
	for _, c := range commands {
		if !c.IsAvailableCommand() || c.Name() == "help" || c.Name() == "completion" {
			continue
		}
		typed := 0
		for line := range strings.Lines(c.Example) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "#") {
				continue
			}
			typed++
			for part := range strings.SplitSeq(strings.NewReplacer("&&", "|", "sudo ", "", "'", "", `"black friday"`, "x").
				Replace(line), "|") {
				if words := strings.Fields(part); words[0] == "kpls-agent" {
					parses(t, line, words[1:])
				}
			}
		}
		if typed != 2 {
			t.Errorf("%s has %d examples", c.Name(), typed)
		}
		if !strings.Contains(said(t, c.Name(), "--help"), c.Example) || c.Example == "" {
			t.Errorf("%s --help shows no examples", c.Name())
		}
	}
}

// parses is true to how a command line is read, up to where the command would begin.
func parses(t *testing.T, line string, args []string) {
	t.Helper()
	root := newRoot(&shared{})
	c, rest, err := root.Find(args)
	if err == nil {
		err = c.ParseFlags(rest)
	}
	if err == nil {
		err = errors.Join(c.ValidateArgs(c.Flags().Args()), c.ValidateRequiredFlags())
	}
	if err != nil {
		t.Errorf("%s: %v", line, err)
	}
}

// said is what a command prints that succeeds.
func said(t *testing.T, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	if code := execute(t.Context(), args, strings.NewReader(""), &out, &errOut); code != exitDone {
		t.Fatalf("%v: exit %d: %s", args, code, errOut.String())
	}
	return out.String()
}
