package balancer

import (
	"encoding/csv"
	"maps"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

var haproxySection = regexp.MustCompile(`(?m)^(global|defaults|frontend|backend|listen)\b`)

// section is one proxy of haproxy.cfg, with its defaults' lines before its own.
type section struct {
	kind, name string
	lines      [][]string
}

// readHAProxy reads haproxy.cfg and, where given, what the running process says of its servers.
func readHAProxy(in *inputs) *seen {
	s := &seen{cloud: "haproxy"}
	sections := haproxySections(in.texts[kindHAProxy], s)
	backends := map[string]section{}
	for _, p := range sections {
		if p.kind != "frontend" {
			backends[p.name] = p
		}
	}
	running := haproxyRunning(in)
	for _, p := range sections {
		if p.kind == "backend" {
			continue
		}
		back, shown := haproxyBackend(p, backends)
		for _, bind := range p.all("bind") {
			numbers, whole := bindPorts(bind)
			if !whole {
				s.portsHidden = true
				s.hints = append(s.hints, Unseen{
					"a port that clients connect to",
					[]string{p.kind + " " + p.name + ": bind " + strings.Join(bind, " ")},
					"give the file with the port in place of the variable", true,
				})
			}
			for _, number := range numbers {
				made := haproxyPort(p, back, number, bind, running)
				made.membersShown, made.probeShown = shown, shown
				s.ports = append(s.ports, made)
			}
		}
	}
	if in.texts[kindHAProxy] == "" {
		s.portsHidden = true
		s.hint("the ports that clients connect to: neither `show stat` nor `show servers state` has them",
			"cat /etc/haproxy/haproxy.cfg", true)
	}
	return s
}

// haproxySections splits a configuration; comments of rendered files say whose it is.
func haproxySections(text string, s *seen) []section {
	var out []section
	var defaults [][]string
	kind := ""
	for line := range strings.Lines(text) {
		line, comment, _ := strings.Cut(strings.TrimRight(line, "\r\n"), "#")
		if m := renderedFor.FindStringSubmatch(comment); m != nil {
			s.manifest = m[1]
		}
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		switch words[0] {
		case "defaults":
			kind, defaults = "defaults", nil
		case "frontend", "backend", "listen":
			kind = words[0]
			if len(words) > 1 {
				out = append(out, section{words[0], words[1], append([][]string{}, defaults...)})
			}
		case "global", "resolvers", "userlist", "peers", "program", "cache", "mailers", "ring", "http-errors":
			kind = ""
		default:
			switch {
			case kind == "defaults":
				defaults = append(defaults, words)
			case kind != "" && len(out) > 0:
				out[len(out)-1].lines = append(out[len(out)-1].lines, words)
			}
		}
	}
	return out
}

// renderedFor is in the comment of a rendered file: the SHA-256 of its manifest.
var renderedFor = regexp.MustCompile(`manifest with SHA-256 ([0-9a-f]{64})`)

// all are the arguments of every line with a keyword, which may have two words.
func (p section) all(keyword ...string) [][]string {
	var out [][]string
	for _, l := range p.lines {
		if len(l) >= len(keyword) && strings.Join(l[:len(keyword)], " ") == strings.Join(keyword, " ") {
			out = append(out, l[len(keyword):])
		}
	}
	return out
}

// last are the arguments of the last such line: it counts.
func (p section) last(keyword ...string) []string {
	all := p.all(keyword...)
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// haproxyBackend is where a proxy sends connections; false where the file does not say it: rules choose among several
// backends, or the backend is in another file.
func haproxyBackend(p section, backends map[string]section) (section, bool) {
	use := p.last("default_backend")
	switch {
	case len(p.all("use_backend")) > 0:
		return section{kind: "backend", name: "by use_backend"}, false
	case len(use) > 0:
		back, ok := backends[use[0]]
		if !ok {
			back = section{kind: "backend", name: use[0]}
		}
		return back, ok
	default:
		return p, true
	}
}

// localSocket is an address that is no TCP port.
var localSocket = regexp.MustCompile(`^(/|unix@|abns@|fd@)`)

// bindPorts are the ports of a bind line, which may have several addresses and ranges; false if one is a variable. A
// socket of the file system has none.
func bindPorts(bind []string) ([]int, bool) {
	var out []int
	if len(bind) == 0 {
		return nil, true
	}
	for address := range strings.SplitSeq(bind[0], ",") {
		if localSocket.MatchString(address) {
			continue
		}
		first, last, isRange := strings.Cut(address[strings.LastIndexByte(address, ':')+1:], "-")
		from, err := strconv.Atoi(first)
		to, errTo := from, error(nil)
		if isRange {
			to, errTo = strconv.Atoi(last)
		}
		if err != nil || errTo != nil || from < 1 || to > 65535 {
			return out, false
		}
		for n := from; n <= to; n++ {
			out = append(out, n)
		}
	}
	return out, true
}

// server is one server of a backend.
type server struct {
	name, address   string
	port, checkPort int
	options         map[string]string
}

// serverOptions are those with an argument; all others are taken for switches.
var serverOptions = strings.Fields("port inter rise fall on-marked-down addr init-addr resolvers weight maxconn ca-file " +
	"verify sni id fastinter downinter slowstart track source")

func options(into map[string]string, words []string) {
	for i := 0; i < len(words); i++ {
		if slices.Contains(serverOptions, words[i]) && i+1 < len(words) {
			into[words[i]] = words[i+1]
			i++
			continue
		}
		into[words[i]] = ""
	}
}

// servers are those of a backend, with its default-server's options.
func (p section) servers() []server {
	var out []server
	defaults := map[string]string{}
	for _, l := range p.lines {
		switch {
		case l[0] == "default-server":
			options(defaults, l[1:])
		case l[0] == "server" && len(l) >= 3:
			v := server{name: l[1], options: map[string]string{}}
			maps.Copy(v.options, defaults)
			options(v.options, l[3:])
			host, number, err := net.SplitHostPort(l[2])
			if err != nil {
				host, number = l[2], "0"
			}
			v.address = host
			v.port, _ = strconv.Atoi(number) // a name or a range: 0, which is then no right port
			v.checkPort, _ = strconv.Atoi(v.options["port"])
			out = append(out, v)
		}
	}
	return out
}

// process is what the running HAProxy says of a server.
type process struct {
	address, state  string
	port, checkPort int
}

// haproxyMaintenance are the bits of srv_admin_state that stop a server, by whatever reason. The others drain it
// (management.txt of HAProxy, "show servers state").
const haproxyMaintenance = 0x01 | 0x02 | 0x04 | 0x20 | 0x40

// haproxyRunning reads `show servers state` and `show stat`, by "backend/server".
func haproxyRunning(in *inputs) map[string]process {
	out := map[string]process{}
	var columns []string
	for line := range strings.Lines(in.texts[kindHAProxyState]) {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == "#" {
			columns = words[1:]
			continue
		}
		row := map[string]string{}
		for i, c := range columns {
			if i < len(words) {
				row[c] = words[i]
			}
		}
		if row["srv_name"] == "" {
			continue
		}
		v := process{address: row["srv_addr"]}
		v.port, _ = strconv.Atoi(row["srv_port"])                  // a column of numbers
		v.checkPort, _ = strconv.Atoi(row["srv_check_port"])       // a column of numbers
		switch admin, _ := strconv.Atoi(row["srv_admin_state"]); { // a column of numbers
		case admin&haproxyMaintenance != 0:
			v.state = "MAINT"
		case admin != 0:
			v.state = "DRAIN"
		}
		out[row["be_name"]+"/"+row["srv_name"]] = v
	}
	r := csv.NewReader(strings.NewReader(strings.TrimPrefix(in.texts[kindHAProxyStat], "# ")))
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) == 0 {
		return out
	}
	for _, row := range rows[1:] {
		get := func(name string) string {
			for i, c := range rows[0] {
				if c == name && i < len(row) {
					return row[i]
				}
			}
			return ""
		}
		if get("svname") == "FRONTEND" || get("svname") == "BACKEND" {
			continue
		}
		v := out[get("pxname")+"/"+get("svname")]
		v.state = get("status")
		if host, number, err := net.SplitHostPort(get("addr")); err == nil && v.address == "" {
			v.address = host
			v.port, _ = strconv.Atoi(number) // HAProxy writes a number
		}
		out[get("pxname")+"/"+get("svname")] = v
	}
	return out
}

func haproxyPort(front, back section, number int, bind []string, running map[string]process) *port {
	p := &port{
		where: front.kind + " " + front.name, number: number, pool: back.name, membersShown: true, probeShown: true,
		protocol: fact{given, "tcp"}, // HAProxy's own
	}
	if mode := front.last("mode"); len(mode) > 0 {
		p.protocol.text = mode[0]
	}
	for _, word := range bind[1:] {
		if word == "accept-proxy" {
			p.settings = append(p.settings, setting{
				code: proxyProtocol, where: p.where, shown: true, matters: true,
				text: p.where + ": accept-proxy in its bind line; expected none: clients of Kafka send no PROXY header",
				todo: "remove accept-proxy from the bind line",
			})
		}
	}
	p.settings = append(p.settings, haproxyIdle(front, "client"), haproxyIdle(back, "server"))
	unchecked := false
	for _, v := range back.servers() {
		run, runs := running[back.name+"/"+v.name]
		if runs {
			v = haproxyTaken(p, back.name, v, run)
		}
		p.members = append(p.members, member{[]string{v.address}, v.name + " " + v.address, v.name, v.port})
		p.to = fact{given, strconv.Itoa(v.port)}
		haproxyProbe(p, back, v)
		unchecked = unchecked || p.probe == nil
	}
	if unchecked { // one server without a check is enough
		p.probe = nil
	}
	return p
}

// haproxyTaken is a server as the process has it, with what differs from the file: after a reload with a state file,
// HAProxy keeps the ports of before.
func haproxyTaken(p *port, backend string, v server, run process) server {
	where := "server " + backend + "/" + v.name
	differs := func(what string, file, runs int) {
		if runs != 0 && file != runs {
			p.settings = append(p.settings, setting{
				code: targetState, where: where, shown: true, matters: true,
				text: where + ": the file has the " + what + " " + strconv.Itoa(file) + ", and the process uses " +
					strconv.Itoa(runs) + ": a reload with a state file keeps ports",
				todo: "give the server another name in the file, such as with the port in it, and reload HAProxy",
			})
		}
	}
	differs("port", v.port, run.port)
	differs("check port", v.checkPort, run.checkPort)
	if strings.HasPrefix(run.state, "MAINT") || strings.HasPrefix(run.state, "DRAIN") {
		p.settings = append(p.settings, setting{
			code: targetState, where: where, shown: true, matters: true,
			text: where + " is in the state " + run.state + ": no new connection is sent to it",
			todo: "say `enable server " + backend + "/" + v.name + "` at HAProxy's socket",
		})
	}
	if run.port != 0 {
		v.port = run.port
	}
	if run.checkPort != 0 {
		v.checkPort = run.checkPort
	}
	if net.ParseIP(run.address) != nil && net.ParseIP(v.address) != nil {
		v.address = run.address
	}
	return v
}

// haproxyProbe is the check of a server.
func haproxyProbe(p *port, back section, v server) {
	where := "server " + back.name + "/" + v.name
	for _, o := range []string{"send-proxy", "send-proxy-v2"} {
		if _, on := v.options[o]; on {
			p.settings = append(p.settings, setting{
				code: proxyProtocol, where: where, shown: true, matters: true,
				text: where + ": " + o + " is set; expected not: each connection then begins with bytes that Kafka refuses",
				todo: "remove " + o + " from the server",
			})
		}
	}
	if v.options["on-marked-down"] == "shutdown-sessions" {
		p.settings = append(p.settings, setting{
			code: cutsConnections, where: where, shown: true,
			text: where + ": on-marked-down shutdown-sessions is set: a closed probe cuts the connections of a broker that " +
				"serves",
			todo: "remove on-marked-down from the server",
		})
	}
	if _, checked := v.options["check"]; !checked {
		p.probe = nil
		return
	}
	q := &probe{
		where: "check of " + where, port: fact{given, strconv.Itoa(v.checkPort)},
		protocol: fact{given, haproxyProtocol(back)}, protocols: []string{"tcp"},
		interval: fact{given, "2"}, threshold: fact{given, "2"}, // HAProxy's own
	}
	if v.checkPort == 0 {
		q.port.text = strconv.Itoa(v.port)
	}
	if inter := v.options["inter"]; inter != "" {
		q.interval.text = strconv.FormatFloat(haproxyTime(inter).Seconds(), 'f', -1, 64)
	}
	if rise := v.options["rise"]; rise != "" {
		q.threshold.text = rise
	}
	q.settings = append(q.settings, setting{
		code: halfOpen, where: where, shown: true, fits: haproxyLingers(back),
		text: q.where + ": it finishes no handshake; expected `option tcp-check` with `tcp-check connect linger`: the " +
			"agent does not see half-open checks, and one that is stopped looks open for ever",
		todo: "add `option tcp-check` and `tcp-check connect linger` to the backend",
	})
	p.probe = q
}

func haproxyProtocol(back section) string {
	for _, o := range back.all("option") {
		if len(o) > 0 && strings.HasSuffix(o[0], "chk") {
			return o[0]
		}
	}
	return "tcp"
}

// haproxyLingers is true if a check is a whole connection.
func haproxyLingers(back section) bool {
	if len(back.all("option", "tcp-check")) == 0 {
		return haproxyProtocol(back) != "tcp"
	}
	for _, c := range back.all("tcp-check", "connect") {
		if slices.Contains(c, "linger") {
			return true
		}
	}
	return false
}

// haproxyTime reads HAProxy's times; a number alone is milliseconds.
func haproxyTime(text string) time.Duration {
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(n) * time.Millisecond
	}
	if n, err := strconv.Atoi(strings.TrimSuffix(text, "d")); err == nil {
		return time.Duration(n) * 24 * time.Hour
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0
	}
	return d
}

// haproxyIdle judges one of the two idle times.
func haproxyIdle(p section, side string) setting {
	where := p.kind + " " + p.name
	s := setting{
		code: idleTime, where: where, shown: true,
		todo: "set `timeout " + side + " 15m` there or in `defaults`",
	}
	given := p.last("timeout", side)
	if len(given) == 0 {
		s.fits = true // without one HAProxy never ends an idle connection
		return s
	}
	s.fits = haproxyTime(given[0]) > kafkaIdle*time.Second
	s.text = where + ": timeout " + side + " is " + given[0] + "; expected more than 10m (Kafka's " +
		"connections.max.idle.ms): HAProxy ends idle connections before Kafka closes them"
	return s
}
