package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The plot's measures, in pixels.
const (
	plotLeft, plotTop = 50, 60
	plotHeight        = 260
	barWidth, gap     = 20, 30
)

// colours are those of the methods, in their order; which colour-blind readers can distinguish (Okabe and Ito).
var colours = []string{"#0072b2", "#56b4e9", "#009e73", "#d55e00", "#e69f00", "#f0e442", "#000000"}

// plot is a picture in SVG: for each client and method a bar up to the p99 of the
// stalls and a line up to the longest.
func (r *clientsReport) plot() string {
	names := r.clientNames()
	group := len(methods)*barWidth + gap
	width := plotLeft + len(names)*group
	most := 0.0
	for _, m := range methods {
		most = max(most, summarize(r.clientsOf(m, "")).Longest)
	}
	most = max(1, math.Ceil(most))
	y := func(s float64) float64 { return plotTop + plotHeight*(1-s/most) }

	var b strings.Builder
	fmt.Fprintf(&b,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		width, plotTop+plotHeight+50)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/>`+"\n")
	fmt.Fprintf(&b,
		`<text x="%d" y="20" font-size="14">Stalls of clients while three brokers are restarted, in seconds: bar p99, line longest</text>`+"\n",
		plotLeft)
	for i, m := range methods {
		x := plotLeft + i*width/(len(methods)+1)
		fmt.Fprintf(&b, `<rect x="%d" y="31" width="12" height="12" fill="%s"/><text x="%d" y="42">%s</text>`+"\n", x,
			colours[i], x+17, m.short)
	}
	step := math.Ceil(most / 6)
	for s := 0.0; s <= most; s += step {
		fmt.Fprintf(&b,
			`<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ccc"/><text x="%d" y="%.1f" text-anchor="end">%.0f</text>`+"\n",
			plotLeft, width, y(s), y(s), plotLeft-8, y(s)+4, s)
	}
	for i, name := range names {
		left := plotLeft + i*group + gap/2
		for j, m := range methods {
			q, x := summarize(r.clientsOf(m, name)), left+j*barWidth
			fmt.Fprintf(&b, `<rect x="%d" y="%.1f" width="%d" height="%.1f" fill="%s"/>`, x, y(q.P99), barWidth-4,
				y(0)-y(q.P99), colours[j])
			fmt.Fprintf(&b, `<line x1="%[1]d" x2="%[1]d" y1="%.1f" y2="%.1f" stroke="%s" stroke-width="2"/>`+"\n",
				x+barWidth/2-2, y(q.P99), y(q.Longest), colours[j])
		}
		first, second := name, ""
		if cut := strings.LastIndex(name[:min(len(name), 16)], " "); len(name) > 16 && cut > 0 {
			first, second = name[:cut], name[cut+1:]
		}
		middle := left + (group-gap)/2
		fmt.Fprintf(&b,
			`<text x="%[1]d" y="%[2]d" text-anchor="middle">%[3]s<tspan x="%[1]d" dy="15">%[4]s</tspan></text>`+"\n",
			middle, plotTop+plotHeight+20, html.EscapeString(first), html.EscapeString(second))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
