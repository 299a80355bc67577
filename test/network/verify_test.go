//go:build network

package network

import (
	"regexp"

	"example.com/kpls-agent/internal/balancer"
	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/render"
)

// idOfStub is an id that the stub made up. Google's ids end with the name.
var idOfStub = regexp.MustCompile(`/(google_[a-z_]+/[^/"]+)/id`)

// verified compares what OpenTofu has made with the manifest, as `verify --balancer` does: what one half writes, the
// other half takes for right.
func (m module) verified(manifest string, hosts map[int32][]string) {
	m.t.Helper()
	if found := m.compared(manifest, hosts); found != "" {
		m.t.Errorf("verify --balancer says\n%s", found)
	}
}

// compared is what `verify --balancer` finds; empty is nothing.
func (m module) compared(manifest string, hosts map[int32][]string) string {
	m.t.Helper()
	state, err := command(m.t, m.folder, "show", "-json").Output()
	if err != nil {
		m.t.Fatalf("tofu show: %v", err)
	}
	parsed, err := config.ParseManifest("manifest.yaml", []byte(manifest))
	if err != nil {
		m.t.Fatal(err)
	}
	n, err := render.Resolve(parsed, render.Options{})
	if err != nil {
		m.t.Fatal(err)
	}
	document := balancer.Document{Name: "state", Data: idOfStub.ReplaceAll(state, []byte("$1"))}
	report, err := balancer.Compare(n, []balancer.Document{document}, balancer.Options{Hosts: hosts})
	if err != nil {
		m.t.Fatal(err)
	}
	if report.OK {
		return ""
	}
	return report.Advice()
}
