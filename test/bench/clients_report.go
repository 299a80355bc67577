package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"example.com/kpls-agent/test/figures"
	"example.com/kpls-agent/test/sandbox"
	"example.com/kpls-agent/test/tables"
)

// clientsReport is docs/clients.json.
type clientsReport struct {
	Conditions string `json:"conditions"`
	Rounds     int    `json:"rounds"`
	RollOuts   []felt `json:"roll_outs"`
}

// benchClients measures what clients feel of roll-outs, and writes it down.
func benchClients(ctx context.Context, out, progress io.Writer) error {
	rounds := 1
	if text := os.Getenv("ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil || rounds < 1 {
			return fmt.Errorf("ROUNDS is %q: say how often each kind of roll-out is measured, 1 or more", text)
		}
	}
	conditions, err := figures.New(time.Now(), sandbox.Version())
	if err != nil {
		return err
	}
	r := clientsReport{Conditions: conditions.Conditions(), Rounds: rounds}
	// Kafka's own rebalancing, every 300 s, would come in some roll-outs and not in others.
	err = onBrokers(ctx, progress, map[string]string{"auto.leader.rebalance.enable": "false"}, func(b *bench) error {
		r.RollOuts, err = b.feel(ctx, rounds)
		return err
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(out, "\n%s", r.table()); err != nil {
		return err
	}
	return r.write(".")
}

// write writes docs/clients.json, docs/clients.svg and the table in docs/performance.md.
func (r *clientsReport) write(root string) error {
	docs := filepath.Join(root, "docs")
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(docs, "clients.json"), append(data, '\n'), 0o644); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(docs, "clients.svg"), []byte(r.plot()), 0o644); err != nil {
		return err
	}
	return tables.Replace(filepath.Join(docs, "performance.md"), "clients", r.table())
}

// table is two tables in Markdown, of the methods and of the clients by method, and the picture.
func (r *clientsReport) table() string {
	var b strings.Builder
	b.WriteString(
		"| roll-out of 3 brokers by | seconds | leader moves | records sent | failed | lost | duplicated | later than 0.5 s | longest stall |\n" +
			"| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
	)
	for _, m := range methods {
		rolls := r.by(m)
		var sum clientReport
		for _, c := range r.clientsOf(m, "") {
			sum.Sent += c.Sent
			sum.Failed += c.Failed
			sum.Lost += c.Lost
			sum.Duplicated += c.Duplicated
			sum.Late += c.Late
			sum.Longest = max(sum.Longest, c.Longest)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %d | %d | %.0f a roll-out | %.2f s |\n", m.name,
			span(rolls, "%.1f", func(f felt) float64 { return f.Seconds }),
			span(rolls, "%.0f", func(f felt) float64 { return float64(f.Moves) }), sum.Sent, sum.Failed, sum.Lost,
			sum.Duplicated, float64(sum.Late)/float64(len(rolls)), sum.Longest)
	}
	b.WriteString("\n| stalls: p50 / p99 / longest, in seconds |")
	for _, m := range methods {
		b.WriteString(" " + m.name + " |")
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(methods)) + "\n")
	for _, name := range r.clientNames() {
		fmt.Fprintf(&b, "| %s |", name)
		for _, m := range methods {
			q := summarize(r.clientsOf(m, name))
			fmt.Fprintf(&b, " %.3f / %.2f / %.2f |", q.P50, q.P99, q.Longest)
		}
		b.WriteString("\n")
	}
	fmt.Fprintf(&b, "\nRoll-outs by each: %d; of p50 and p99 the median is given, of the longest the longest. %s",
		r.Rounds, r.Conditions)
	b.WriteString("\n![The stalls of each client by each method](clients.svg)\n")
	return b.String()
}

// span is the least and the largest of some roll-outs.
func span(rolls []felt, format string, of func(felt) float64) string {
	var values []float64
	for _, f := range rolls {
		values = append(values, of(f))
	}
	least, most := fmt.Sprintf(format, slices.Min(values)), fmt.Sprintf(format, slices.Max(values))
	if least == most {
		return least
	}
	return least + "-" + most
}

// by are the roll-outs by a method.
func (r *clientsReport) by(m method) []felt {
	var rolls []felt
	for _, f := range r.RollOuts {
		if f.Method == m.name {
			rolls = append(rolls, f)
		}
	}
	return rolls
}

// clientsOf are the accounts of one client, or with an empty name of all, in all
// roll-outs by a method.
func (r *clientsReport) clientsOf(m method, name string) []clientReport {
	var all []clientReport
	for _, f := range r.by(m) {
		for _, c := range f.Clients {
			if name == "" || c.Client == name {
				all = append(all, c)
			}
		}
	}
	return all
}

func (r *clientsReport) clientNames() []string {
	var names []string
	for _, c := range r.RollOuts[0].Clients {
		names = append(names, c.Client)
	}
	return names
}

// summarize is the median of quantiles and the longest of the longest stalls.
func summarize(all []clientReport) clientReport {
	median := func(of func(clientReport) float64) float64 {
		sorted := slices.SortedFunc(slices.Values(all),
			func(a, b clientReport) int { return cmp.Compare(of(a), of(b)) })
		return of(sorted[len(sorted)/2])
	}
	longest := func(c clientReport) float64 { return c.Longest }
	return clientReport{
		P50:     median(func(c clientReport) float64 { return c.P50 }),
		P99:     median(func(c clientReport) float64 { return c.P99 }),
		Longest: longest(slices.MaxFunc(all, func(a, b clientReport) int { return cmp.Compare(a.Longest, b.Longest) })),
	}
}
