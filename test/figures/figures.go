// Package figures keeps what was measured, and writes it into the documents.
package figures

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"example.com/kpls-agent/test/tables"
)

// tolerance is how much above a goal a figure may be that is not far off.
const tolerance = 1.2

// Figure is one thing measured. Less is better.
type Figure struct {
	Name  string   `json:"figure"`
	Unit  string   `json:"unit,omitempty"`
	Goal  *float64 `json:"goal_at_most,omitempty"` // nil where there is none
	Value float64  `json:"measured"`
	Note  string   `json:"note,omitempty"`
}

func (f Figure) verdict() string {
	switch {
	case f.Goal == nil:
		return ""
	case f.Value <= *f.Goal:
		return "reached"
	default:
		return "missed"
	}
}

// Report is all that one run measured, and where.
type Report struct {
	Date    string   `json:"date"`
	Cores   int      `json:"cores"`
	Kernel  string   `json:"kernel"`
	Go      string   `json:"go"`
	Kafka   string   `json:"kafka"`
	Load    string   `json:"load_average_before"` // 1, 5 and 15 minutes: what else the machine did
	Figures []Figure `json:"figures"`
}

// New is an empty report of this machine, now, with this version of Kafka.
func New(now time.Time, kafka string) (Report, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return Report{}, fmt.Errorf("read the kernel's version: %w", err)
	}
	load, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return Report{}, err
	}
	return Report{
		Date: now.UTC().
			Format(time.DateOnly),
		Cores:  runtime.NumCPU(),
		Kernel: unix.ByteSliceToString(name.Release[:]),
		Go:     runtime.Version(),
		Kafka:  kafka,
		Load:   strings.Join(strings.Fields(string(load))[:3], " "),
	}, nil
}

// Add adds to the figures.
func (r *Report) Add(f ...Figure) { r.Figures = append(r.Figures, f...) }

// FarOff is true if a goal is missed by more than a machine's mood explains.
func (r *Report) FarOff() bool {
	for _, f := range r.Figures {
		if f.Goal != nil && f.Value > *f.Goal*tolerance {
			return true
		}
	}
	return false
}

// Table is the figures in Markdown.
func (r *Report) Table() string {
	var b strings.Builder
	b.WriteString("| figure | goal | measured | verdict | |\n| --- | --- | --- | --- | --- |\n")
	for _, f := range r.Figures {
		goal := ""
		if f.Goal != nil {
			goal = "<= " + f.amount(*f.Goal)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", f.Name, goal, f.amount(f.Value), f.verdict(), f.Note)
	}
	b.WriteString("\n" + r.Conditions())
	return b.String()
}

// Conditions is the line below a table: where and when the figures are from.
func (r *Report) Conditions() string {
	return fmt.Sprintf("Kafka %s, %d cores, Linux %s, %s, %s; load average before: %s.\n", r.Kafka, r.Cores, r.Kernel,
		r.Go, r.Date, r.Load)
}

func (f Figure) amount(v float64) string {
	return strings.TrimSpace(fmt.Sprintf("%.4g %s", v, f.Unit))
}

// Write writes docs/NAME.json below root, and the table between the marks NAME of documents.
func (r *Report) Write(root, name string, documents ...string) error {
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "docs", name+".json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	for _, d := range documents {
		if err := tables.Replace(filepath.Join(root, d), name, r.Table()); err != nil {
			return fmt.Errorf("write the table: %w", err)
		}
	}
	return nil
}
