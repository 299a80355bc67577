package main

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// typed are commands in the documents: in backticks, and in blocks for a shell.
var (
	typed    = regexp.MustCompile("`(?:sudo )?(kpls-agent [^`]+)`")
	block    = regexp.MustCompile("(?s)\n *```(?:sh|console)\n(.*?)\n *```")
	inBlock  = regexp.MustCompile(`(?m)(?:^|[\s'"]|host/)(kpls-agent [a-z][^\n]*)`)
	endsWith = regexp.MustCompile(`\s*(?:[;|&>]|2>).*`)
)

// TestCommandsOfDocuments: every command of the documents has flags that there are, and those that it needs. A command
// without any words is its name.
func TestCommandsOfDocuments(t *testing.T) {
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, path := range append(files, "../../README.md") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.ReplaceAll(string(data), "\\\n", " ")
		var commands []string
		for _, m := range typed.FindAllStringSubmatch(text, -1) {
			if words := strings.Fields(m[1]); len(words) > 2 && !strings.ContainsAny(m[1], "[.") {
				commands = append(commands, m[1])
			}
		}
		for _, m := range block.FindAllStringSubmatch(text, -1) {
			for _, m := range inBlock.FindAllStringSubmatch(m[1], -1) {
				if !strings.Contains(m[1], "|| echo exit code") { // which is mistyped, to show what is said
					commands = append(commands, m[1])
				}
			}
		}
		for _, command := range commands {
			n++
			if why := untypable(command); why != "" {
				t.Errorf("%s: %s: %s", filepath.Base(path), command, why)
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d commands were found", n)
	}
}

// untypable is why a command cannot be run as it is written, or "".
func untypable(command string) string {
	words := strings.Fields(strings.NewReplacer("'", "", `"`, "", " N", " 1", "TARGET", "json").Replace(endsWith.ReplaceAllString(command, "")))
	cmd, rest, err := newRoot(&shared{stdout: io.Discard, stderr: io.Discard}).Find(words[1:])
	if err == nil {
		err = cmd.ParseFlags(rest)
	}
	if err == nil {
		err = cmd.ValidateRequiredFlags()
	}
	if err == nil && cmd.Args != nil {
		err = cmd.ValidateArgs(cmd.Flags().Args())
	}
	if err != nil && err != pflag.ErrHelp { //nolint:errorlint // pflag returns it as it is
		return err.Error()
	}
	return ""
}
