package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"

	"example.com/kpls-agent/internal/balancer"
	"example.com/kpls-agent/internal/render"
)

// compareBalancer is `verify --balancer`: documents of a cloud against the manifest, without a network.
func (o verifyOptions) compareBalancer(s *shared) error {
	report, err := o.balancerReport(s)
	if err != nil {
		if o.output == asJSON {
			if err := writeJSON(s.stdout, balancer.Unusable(err)); err != nil {
				return err
			}
		}
		return invalid(err)
	}
	if err := printBalancer(s, report, o.output); err != nil {
		return err
	}
	switch {
	case report.OK:
		return nil
	case len(report.Findings) > 0:
		return &exitError{exitFailed, errors.New("the load balancer is not as the manifest needs it")}
	default:
		return &exitError{exitFailed, errors.New("nothing differs in what is shown, but not all that matters is shown")}
	}
}

func (o verifyOptions) balancerReport(s *shared) (*balancer.Report, error) {
	m, err := o.readManifest(s)
	if err != nil {
		return nil, err
	}
	if o.listener != "" { // all are needed to know whose a port is; this only says that there is no such listener
		if _, err := render.Resolve(m, render.Options{Listeners: []string{o.listener}}); err != nil {
			return nil, err
		}
	}
	hosts, err := hostNames(o.hosts)
	if err != nil {
		return nil, err
	}
	for id := range hosts {
		if _, ok := m.Row(id); !ok {
			return nil, fmt.Errorf("--host %d=...: the manifest has no broker %d in its table `brokers`", id, id)
		}
	}
	network, err := render.Resolve(m, render.Options{})
	if err != nil {
		return nil, err
	}
	var docs []balancer.Document
	for _, name := range o.balancer {
		data, err := readDocument(s, name)
		if err != nil {
			return nil, fmt.Errorf("--balancer: %w", err)
		}
		docs = append(docs, balancer.Document{Name: name, Data: data})
	}
	return balancer.Compare(network, docs, balancer.Options{Hosts: hosts, Listener: o.listener})
}

func readDocument(s *shared, name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(s.stdin)
	}
	return os.ReadFile(name)
}

// hostNames reads ID=NAME; a broker's VM may have several.
func hostNames(entries []string) (map[int32][]string, error) {
	out := map[int32][]string{}
	for _, e := range entries {
		id, name, ok := strings.Cut(e, "=")
		n, err := strconv.ParseInt(id, 10, 32)
		if !ok || err != nil || name == "" {
			return nil, fmt.Errorf("--host %q: expected ID=NAME, such as 1=kafka-1-nic", e)
		}
		out[int32(n)] = append(out[int32(n)], name)
	}
	return out, nil
}

func printBalancer(s *shared, r *balancer.Report, out output) error {
	if out == asJSON {
		return writeJSON(s.stdout, r)
	}
	t := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "LISTENER\tBROKER\tPORT\tON THE LOAD BALANCER\tVERDICT")
	for _, row := range r.Rows {
		broker := "all"
		if row.Broker != nil {
			broker = strconv.Itoa(int(*row.Broker))
		} else if row.Listener == "" {
			broker = "-"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", orDash(row.Listener), broker, row.Port, orDash(row.Found), row.Verdict)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(s.stdout, r.Advice())
	return err
}
