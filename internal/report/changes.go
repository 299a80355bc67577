package report

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/kpls-agent/internal/restart"
)

// Changes says in one line each, with the time, what is new since an earlier report: for logs and pipes. Words that
// only count on, such as an age, are no change. The first report, which follows none, says how everything is.
func (r *Report) Changes(before *Report) []string {
	was := map[string]string{}
	if before != nil {
		was = before.marks()
	}
	now := r.marks()
	var out []string
	at := r.At.UTC().Format(time.RFC3339)
	for _, l := range r.says() {
		if was[l.about] != now[l.about] {
			out = append(out, fmt.Sprintf("%s %s: %s", at, l.about, l.text))
		}
	}
	for _, about := range slices.Sorted(maps.Keys(was)) {
		if _, still := now[about]; !still {
			word := "ended"
			if strings.HasPrefix(about, "broker ") || strings.HasPrefix(about, "unreadable ") {
				word = "gone"
			}
			out = append(out, fmt.Sprintf("%s %s: %s", at, about, word))
		}
	}
	return out
}

// said is what a line says of something; mark is what of it counts as a change.
type said struct{ about, mark, text string }

func (r *Report) marks() map[string]string {
	out := map[string]string{}
	for _, l := range r.says() {
		out[l.about] = l.mark
	}
	return out
}

func (r *Report) says() []said {
	done := fmt.Sprintf("%d of %d done", r.Done, r.Total)
	above := strings.Split(strings.TrimSuffix(r.above(), "\n"), "\n")
	out := []said{{"cluster", string(r.Worst) + done + restart.Short(r.Manifest), r.Worst.words() + ", " + r.progress()}}
	for _, kind := range []struct {
		about string
		mark  any
	}{{"paused", r.Pause}, {"halted", r.Halts}, {"rolling restart", r.Request}} {
		for _, line := range above {
			if text, ok := strings.CutPrefix(line, kind.about+" "); ok {
				out = append(out, said{kind.about, fmt.Sprintf("%+v", kind.mark), text})
			}
		}
	}
	for i, f := range r.Foreign {
		out = append(out, said{fmt.Sprintf("unreadable record %d", i+1), f, f})
	}
	for _, b := range r.Brokers {
		x := b.row(r)
		mark := fmt.Sprint(b.State, b.gone(r.At), b.Phase, b.Reason.Code, b.Open, b.Manifest, b.ManifestFault,
			x.cells[colUp])
		text := fmt.Sprintf("%s; up %s; agent %s; probes %s; %s", b.Phase, cmp.Or(x.cells[colUp], "-"), b.State,
			cmp.Or(b.probesText(), "-"), x.cells[colWhy])
		out = append(out, said{fmt.Sprintf("broker %d", b.Broker), mark, text})
	}
	for _, u := range r.Unheard {
		x := u.row(r)
		out = append(out, said{fmt.Sprintf("broker %d", u.Broker), x.cells[colUp] + x.cells[colWhy], x.cells[colWhy]})
	}
	return out
}
