package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"example.com/kpls-agent/test/sandbox"
)

// A table stands between these lines of a document.
const (
	tableBegin = "<!-- bench -->\n"
	tableEnd   = "<!-- /bench -->"
)

// tolerance is how much above a goal STRICT=1 puts up with.
const tolerance = 1.2

// figure is one thing measured. Less is better.
type figure struct {
	Name  string   `json:"figure"`
	Unit  string   `json:"unit,omitempty"`
	Goal  *float64 `json:"goal_at_most,omitempty"` // nil where there is none
	Value float64  `json:"measured"`
	Note  string   `json:"note,omitempty"`
}

func (f figure) verdict() string {
	switch {
	case f.Goal == nil:
		return ""
	case f.Value <= *f.Goal:
		return "reached"
	default:
		return "missed"
	}
}

// report is docs/bench.json.
type report struct {
	Date    string   `json:"date"`
	Cores   int      `json:"cores"`
	Kernel  string   `json:"kernel"`
	Go      string   `json:"go"`
	Kafka   string   `json:"kafka"`
	Load    string   `json:"load_average_before"` // 1, 5 and 15 minutes: what else the machine did
	Figures []figure `json:"figures"`
}

func newReport(now time.Time) (report, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return report{}, fmt.Errorf("read the kernel's version: %w", err)
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return report{}, err
	}
	return report{
		Date: now.UTC().Format(time.DateOnly), Cores: runtime.NumCPU(), Kernel: unix.ByteSliceToString(name.Release[:]), Go: runtime.Version(),
		Kafka: sandbox.DefaultVersion, Load: strings.Join(strings.Fields(string(load))[:3], " "),
	}, nil
}

func (r *report) add(f ...figure) { r.Figures = append(r.Figures, f...) }

// farOff is true if a goal is missed by more than what STRICT=1 puts up with.
func (r *report) farOff() bool {
	for _, f := range r.Figures {
		if f.Goal != nil && f.Value > *f.Goal*tolerance {
			return true
		}
	}
	return false
}

// table is the figures in Markdown.
func (r *report) table() string {
	var b strings.Builder
	b.WriteString("| figure | goal | measured | verdict | |\n| --- | --- | --- | --- | --- |\n")
	for _, f := range r.Figures {
		goal := ""
		if f.Goal != nil {
			goal = "<= " + f.amount(*f.Goal)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", f.Name, goal, f.amount(f.Value), f.verdict(), f.Note)
	}
	fmt.Fprintf(&b, "\nKafka %s, %d cores, Linux %s, %s, %s; load average before: %s.\n", r.Kafka, r.Cores, r.Kernel, r.Go, r.Date, r.Load)
	return b.String()
}

func (f figure) amount(v float64) string {
	return strings.TrimSpace(fmt.Sprintf("%.4g %s", v, f.Unit))
}

// write writes docs/bench.json and the documents' tables.
func (r *report) write(root string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "docs", "bench.json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	for _, path := range []string{filepath.Join(root, "docs", "performance.md"), filepath.Join(root, "README.md")} {
		if err := r.insert(path); err != nil {
			return fmt.Errorf("write the table: %w", err)
		}
	}
	return nil
}

// insert puts the table in place of the one between a document's markers; a
// document without them, or none at all, stays as it is.
func (r *report) insert(path string) error {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	before, rest, begins := strings.Cut(string(data), tableBegin)
	_, after, ends := strings.Cut(rest, tableEnd)
	if !begins || !ends {
		return nil
	}
	return os.WriteFile(path, []byte(before+tableBegin+r.table()+tableEnd+after), 0o644)
}
