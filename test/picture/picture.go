// Package picture draws docs/parts.svg: the parts of a cluster with kpls-agent, for
// README.md and docs/architecture.md.
package picture

import (
	"fmt"
	"html"
	"strings"
)

// Measures are in pixels. The colours differ in brightness, too.
const (
	width, height   = 960, 470
	vmWidth, vmLeft = 296, 24
	vmTop           = 180
	ours, theirs    = "#cfe8fc", "#f2f2f2" // what kpls-agent is, and all else
	frame           = "#555"
)

// Draw returns the picture in SVG.
func Draw() string {
	var p picture
	fmt.Fprintf(&p,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">`+"\n",
		width, height)
	p.WriteString(
		`<title>Customers reach each Kafka broker through a port of the load balancer; one kpls-agent runs next to each broker</title>
<defs><marker id="to" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path d="M0,0 L8,4 L0,8 z" fill="#333"/></marker></defs>
<rect width="100%" height="100%" fill="white"/>
`,
	)
	p.box(vmLeft, 16, width-2*vmLeft, 48, theirs, "Kafka clients in the customer's network",
		"TiDB Cloud changefeeds, for example")
	p.arrow(width/2, 64, width/2, vmTop-88, false)
	p.label(width/2+8, 82, "start", "private link")
	p.box(vmLeft, vmTop-88, width-2*vmLeft, 48, theirs, "load balancer", "one port for each broker")
	for broker := 1; broker <= 3; broker++ {
		p.vm(broker)
	}
	p.box(vmLeft, vmTop+230, width-2*vmLeft, 48, theirs, "topic __kpls_agent in the same Kafka cluster",
		"coordination log of the agents: statuses, claims, halts")
	p.WriteString("</svg>\n")
	return p.String()
}

type picture struct{ strings.Builder }

// vm draws the VM of one broker. Only the first one has its arrows named.
func (p *picture) vm(broker int) {
	x := vmLeft + (broker-1)*(vmWidth+12)
	fmt.Fprintf(p,
		`<rect x="%d" y="%d" width="%d" height="200" rx="6" fill="none" stroke="%s" stroke-dasharray="5 3"/>`+"\n", x,
		vmTop, vmWidth, frame)
	p.label(x+10, vmTop+192, "start", fmt.Sprintf("VM of broker %d", broker))
	kafka, agent, top, files := x+10, x+194, vmTop+18, vmTop+112
	p.box(kafka, top, 128, 50, theirs, "Kafka broker", "systemd unit")
	p.box(agent, top, 92, 50, ours, "kpls-agent", "metrics")
	p.box(kafka, files, 128, 50, theirs, "server.properties", "")
	p.box(agent-26, files, 102, 50, ours, "manifest", "same on all VMs")
	p.arrow(agent, top+25, kafka+128, top+25, false)
	p.arrow(agent+6, top+50, kafka+122, files, false)
	p.arrow(kafka+59, files, kafka+59, top+50, false)
	p.arrow(agent+44, files, agent+44, top+50, false)
	p.arrow(kafka+59, vmTop-40, kafka+59, top, false)
	p.arrow(agent+44, vmTop-40, agent+44, top, true)
	p.arrow(agent+84, top+50, agent+84, vmTop+230, false)
	if broker == 1 {
		p.label(kafka+156, top+20, "middle", "restarts")
		p.label(kafka+122, top+72, "middle", "writes")
		p.label(kafka+53, top+76, "end", "reads")
		p.label(agent+38, top+84, "end", "reads")
		p.label(kafka+65, vmTop-10, "start", "clients")
		p.label(agent+50, vmTop-10, "start", "probe")
		p.label(agent+78, vmTop+180, "end", "reads and writes")
	}
}

// box draws a rectangle with a name and a line below it, which may be empty.
func (p *picture) box(x, y, w, h int, fill, name, line string) {
	fmt.Fprintf(p, `<rect x="%d" y="%d" width="%d" height="%d" rx="4" fill="%s" stroke="%s"/>`, x, y, w, h, fill, frame)
	middle := y + h/2 + 5
	if line != "" {
		middle -= 8
		p.label(x+w/2, middle+17, "middle", line)
	}
	fmt.Fprintf(p, `<text x="%d" y="%d" text-anchor="middle" font-weight="bold">%s</text>`+"\n", x+w/2, middle,
		html.EscapeString(name))
}

// arrow draws a line with a head at its end; dashed for a probe.
func (p *picture) arrow(x1, y1, x2, y2 int, dashed bool) {
	style := ""
	if dashed {
		style = ` stroke-dasharray="4 3"`
	}
	fmt.Fprintf(p, `<line x1="%d" y1="%d" x2="%d" y2="%d" stroke="#333"%s marker-end="url(#to)"/>`+"\n", x1, y1, x2, y2,
		style)
}

// label writes text; anchor is start, middle or end.
func (p *picture) label(x, y int, anchor, text string) {
	fmt.Fprintf(p, `<text x="%d" y="%d" text-anchor="%s" font-size="12">%s</text>`+"\n", x, y, anchor,
		html.EscapeString(text))
}
