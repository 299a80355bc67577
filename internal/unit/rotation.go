package unit

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// WhatRotation is the line of JudgeRotation.
const WhatRotation = "log rotation"

// byHUP is what a JVM exits with after SIGHUP, when it has shut down as after SIGTERM.
const byHUP = 129

// JudgeRotation looks in logrotate's folder, /etc/logrotate.d, for scripts that send SIGHUP to Kafka.
func (p Picture) JudgeRotation(dir string) []Verdict {
	files, err := os.ReadDir(dir)
	if err != nil && !os.IsNotExist(err) {
		return []Verdict{{WhatRotation, Warning, fmt.Sprintf("cannot be seen (%v)", err)}}
	}
	var out []Verdict
	for _, f := range files {
		path := filepath.Join(dir, f.Name())
		text, err := readStart(path)
		switch {
		case f.IsDir():
		case err != nil:
			out = append(out, Verdict{WhatRotation, Warning, fmt.Sprintf("%s cannot be read (%s)", path, reason(err))})
		case p.rotationHangsUp(string(text)):
			out = append(out, p.judgeHangup(path))
		}
	}
	if len(out) == 0 {
		out = []Verdict{{WhatRotation, OK, "no SIGHUP from logrotate"}}
	}
	return out
}

func (p Picture) judgeHangup(path string) Verdict {
	again := p.Restart == "always" || p.Restart == "on-failure" && !slices.Contains(p.SuccessExitStatus, byHUP) ||
		p.Restart == "on-success" && slices.Contains(p.SuccessExitStatus, byHUP)
	const fix = "remove that command: Kafka's own appenders rotate, and copytruncate does for other files"
	if again {
		return Verdict{
			WhatRotation,
			Warning,
			fmt.Sprintf("%s sends SIGHUP, at which Kafka ends and Restart=%s starts it again, past the agent; %s", path,
				p.Restart, fix),
		}
	}
	return Verdict{
		WhatRotation,
		Fault,
		fmt.Sprintf("%s sends SIGHUP, at which Kafka ends with status %d, and with Restart=%s it stays down; %s", path,
			byHUP, or(p.Restart, "no"), fix),
	}
}

// rotationHangsUp is true for a configuration that is about Kafka and has a script with a SIGHUP.
func (p Picture) rotationHangsUp(text string) bool {
	if !strings.Contains(text, "kafka") &&
		!slices.ContainsFunc(p.Names,
			func(n string) bool { return strings.Contains(text, strings.TrimSuffix(n, ".service")) }) {
		return false
	}
	var script strings.Builder
	inside := false
	for line := range strings.Lines(text) {
		switch word := strings.TrimSpace(line); {
		case slices.Contains([]string{"postrotate", "prerotate", "firstaction", "lastaction", "preremove"}, word):
			inside = true
		case word == "endscript":
			inside = false
		case inside:
			script.WriteString(line)
		}
	}
	for _, c := range lookInto("", known("sh", "-c", script.String()), word{"/", true}, nil).found {
		ofUnit := slices.ContainsFunc(c.words, func(w word) bool {
			return strings.Contains(w.text, "kafka") || slices.Contains(p.Names, w.text) ||
				slices.Contains(p.Names, w.text+".service")
		})
		reload := c.name() == "systemctl" && ofUnit &&
			slices.ContainsFunc(c.words, func(w word) bool { return w.text == "reload" }) &&
			p.reloadHangsUp()
		signal := c.name() == "systemctl" && ofUnit && hupWord(c.words)
		if reload || signal || c.hangsUp() {
			return true
		}
	}
	return false
}

func (p Picture) reloadHangsUp() bool {
	run, _ := p.commands()
	return slices.ContainsFunc(run, func(c command) bool { return c.setting == "ExecReload=" && c.hangsUp() })
}
