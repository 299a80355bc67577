package system

import (
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
)

// figure is one thing that was measured.
type figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
	Goal  string  `json:"goal,omitempty"`
	Note  string  `json:"note,omitempty"`
}

// figures are all that were measured in this run, in that order.
var figures []figure

// measured notes a figure; goal and note may be empty.
func measured(name string, value float64, unit, goal, note string) {
	figures = append(figures, figure{name, value, unit, goal, note})
}

// report prints the figures, and writes them to the file that FIGURES names.
func report() error {
	w := tabwriter.NewWriter(os.Stdout, 0, 8, 2, ' ', 0)
	for _, f := range figures {
		fmt.Fprintf(w, "%s\t%.4g %s\t%s\t%s\n", f.Name, f.Value, f.Unit, f.Goal, f.Note)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	path := os.Getenv("FIGURES")
	if path == "" {
		return nil
	}
	text, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}
