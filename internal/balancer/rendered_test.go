package balancer

import (
	"strings"
	"testing"

	"example.com/kpls-agent/internal/render"
)

// TestRendered: what one half writes for HAProxy, the other half takes for right, and a swap in it is found. For clouds
// test/network does the same with OpenTofu in between.
func TestRendered(t *testing.T) {
	n := network(t, "manifest.haproxy.yaml")
	text := ""
	for _, target := range render.Targets() {
		if target.Name != "haproxy" {
			continue
		}
		out, err := target.Formats[0].Make(n)
		if err != nil {
			t.Fatal(err)
		}
		text = string(out.Files[0].Text)
	}
	r, err := Compare(n, []Document{{"haproxy.cfg", []byte(text)}}, Options{})
	if err != nil || !r.OK || len(r.Rows) != 7 || len(r.Unseen) > 0 || len(r.Notes) > 0 {
		t.Fatalf("%v %+v", err, r)
	}
	const hash = "manifest with SHA-256 "
	before, after, found := strings.Cut(text, hash)
	if !found {
		t.Fatal("the file does not say which manifest it is for")
	}
	r, err = Compare(n, []Document{{"haproxy.cfg", []byte(before + hash + "0000000000000000" + after[16:])}}, Options{})
	want := "what is there was rendered for the manifest with SHA-256 000000000000..., and this manifest has " + n.Manifest[:12] + "...: render and apply again"
	if err != nil || !r.OK || len(r.Notes) != 1 || r.Notes[0] != want {
		t.Errorf("%v %+v, want the note %s", err, r, want)
	}
	swapped := strings.NewReplacer("127.0.0.11:39092", "127.0.0.12:39092", "127.0.0.12:39092", "127.0.0.11:39092").Replace(text)
	r, err = Compare(n, []Document{{"haproxy.cfg", []byte(swapped)}}, Options{})
	if err != nil || len(r.Findings) != 2 || r.Findings[0].Code != wrongBroker || r.Findings[1].Code != wrongBroker {
		t.Errorf("%v %+v", err, r)
	}
}
