package probe

import (
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"example.com/kpls-agent/test/patience"
)

// told is the port that is answered as well, by the metric.
func told(p *Prober) float64 { return testutil.ToFloat64(p.metrics.former.WithLabelValues("EXTERNAL")) }

func answered(p *Prober) float64 {
	return testutil.ToFloat64(p.metrics.answered.WithLabelValues("EXTERNAL"))
}

// opened is a prober of one listener that serves, with its port open.
func opened(t *testing.T) (*kafka, *record, *Prober, Target) {
	t.Helper()
	k, r := newKafka(t), &record{}
	p := New(r.options(Options{}))
	tg := k.target("EXTERNAL")
	p.SetTargets([]Target{tg})
	p.Set([]string{"EXTERNAL"})
	start(t, p)
	patience.Until(t, "it is open", func() bool { return facts(p, "EXTERNAL").Open })
	return k, r, p, tg
}

// TestPortMoves: the load balancer that still asks the port before finds it open, also after the broker was down.
func TestPortMoves(t *testing.T) {
	k, _, p, tg := opened(t)
	old := tg.Port

	tg.Port = freePort(t)
	p.SetTargets([]Target{tg})
	before := answered(p)
	if !accepts(old) || told(p) != float64(old) {
		t.Errorf("the port before is closed, or not told: %v", told(p))
	}
	patience.Until(t, "the probe of the port before is counted", func() bool { return answered(p) > before })

	k.kill()
	patience.Until(t, "both are closed", func() bool { return !accepts(old) && !facts(p, "EXTERNAL").Open })
	k.start()
	patience.Until(t, "the port before is open again", func() bool { return accepts(old) && facts(p, "EXTERNAL").Open })
	if f := facts(p, "EXTERNAL"); !f.Gap {
		t.Errorf("the gap was not seen: %+v", f)
	}

	next := freePort(t)
	moved := tg
	moved.Port = next
	p.SetTargets([]Target{moved}) // once more, before anybody asked the first one
	if !accepts(old) || accepts(tg.Port) || told(p) != float64(old) {
		t.Errorf("the port that is asked is %d, told %v", old, told(p))
	}
	if !accepts(next) {
		t.Error("the new port is closed")
	}
	patience.Until(t, "the port before closes with the first probe of the new one", func() bool { return told(p) == 0 && !accepts(old) })
	if f := facts(p, "EXTERNAL"); !f.Open || !accepts(next) {
		t.Errorf("got %+v", f)
	}
}

// TestPortMovesBack: a manifest that moves it back finds the port as it was.
func TestPortMovesBack(t *testing.T) {
	_, r, p, tg := opened(t)
	away := tg
	away.Port = freePort(t)
	p.SetTargets([]Target{away})
	p.SetTargets([]Target{tg})
	if told(p) != float64(away.Port) || !accepts(tg.Port) {
		t.Errorf("told %v", told(p))
	}
	patience.Until(t, "the other one closes", func() bool { return told(p) == 0 && !accepts(away.Port) })
	want := []string{
		"listen EXTERNAL", "close EXTERNAL", "listen EXTERNAL.former", "listen EXTERNAL",
		"close EXTERNAL", "close EXTERNAL.former", "listen EXTERNAL", "listen EXTERNAL.former", "close EXTERNAL.former",
	}
	if got := r.told(); !slices.Equal(got, want) {
		t.Errorf("told %v", got)
	}
}

// TestAddressThatIsNotHere: an address that the machine does not have costs no customer.
func TestAddressThatIsNotHere(t *testing.T) {
	_, r, p, tg := opened(t)
	tg.Host = "192.0.2.1"
	p.SetTargets([]Target{tg})
	f := facts(p, "EXTERNAL")
	if !f.Open || !accepts(tg.Port) || !strings.Contains(f.Why, "192.0.2.1 is none of this machine's") {
		t.Errorf("got %+v", f)
	}
	if v := testutil.ToFloat64(p.metrics.bindFailed.WithLabelValues("EXTERNAL")); v != 1 {
		t.Errorf("probe_bind_failed is %v", v)
	}
	here := tg
	here.Host = "127.0.0.1"
	p.SetTargets([]Target{here}) // as it was: the socket never closes
	if f := facts(p, "EXTERNAL"); !f.Open || f.Why != "" || told(p) != 0 {
		t.Errorf("the manifest moves it back: %+v, former port %v", f, told(p))
	}
	want := []string{"listen EXTERNAL", "close EXTERNAL", "listen EXTERNAL.former", "close EXTERNAL.former", "listen EXTERNAL"}
	if got := r.told(); !slices.Equal(got, want) {
		t.Errorf("told %v", got)
	}
	p.SetTargets([]Target{tg})
	tg.Host = "" // all addresses: the port before is in the way, and has to close
	p.SetTargets([]Target{tg})
	patience.Until(t, "it is open on all addresses", func() bool {
		f := facts(p, "EXTERNAL")
		return f.Open && f.Why == "" && told(p) == 0 && accepts(tg.Port)
	})
}

// TestPortMovesBetweenLives: the place before goes from one life of the agent to the next one, also where the manifest
// was changed while none ran.
func TestPortMovesBetweenLives(t *testing.T) {
	k, r := newKafka(t), &record{}
	o := r.options(Options{})
	var mu sync.Mutex
	kept := map[string]*net.TCPListener{}
	o.OnListen = func(name string, l *net.TCPListener) {
		c := copyOf(t, l)
		mu.Lock()
		kept[name] = c
		mu.Unlock()
	}
	o.OnClose = func(name string) {
		mu.Lock()
		delete(kept, name)
		mu.Unlock()
	}
	tg := k.target("EXTERNAL")
	old := tg.Port
	life := func() (*Prober, func()) {
		mu.Lock()
		o.Inherited = kept
		kept = map[string]*net.TCPListener{}
		maps.Copy(kept, o.Inherited)
		mu.Unlock()
		p := New(o)
		p.SetTargets([]Target{tg})
		p.Set([]string{"EXTERNAL"})
		stop := start(t, p)
		patience.Until(t, "it is open", func() bool { return facts(p, "EXTERNAL").Open })
		return p, stop
	}
	_, stop := life()
	stop()
	tg.Port = freePort(t) // while no agent runs
	p, stop := life()
	if told(p) != float64(old) || !accepts(old) {
		t.Errorf("told %v", told(p))
	}
	stop()
	p, _ = life()
	if told(p) != float64(old) || !accepts(old) {
		t.Errorf("in the third life, told %v", told(p))
	}
	accepts(tg.Port)
	patience.Until(t, "the port before closes", func() bool { return told(p) == 0 && !accepts(old) })
}
