package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"example.com/kpls-agent/test/sandbox"
)

// twoRounds is a report in which the second round is the worse one.
func twoRounds() clientsReport {
	r := clientsReport{Rounds: 2, Conditions: "somewhere.\n"}
	for round := range 2 {
		for i, m := range methods {
			f := felt{Method: m.name, Seconds: 20 + float64(round), Moves: 10 * (i + 1)}
			for _, name := range []string{"one", "another & more words"} {
				f.Clients = append(f.Clients, clientReport{Client: name, Sent: 100, Late: 10, Failed: round, P50: 0.001, P99: 0.5 + float64(round), Longest: 1 + float64(round)})
			}
			r.RollOuts = append(r.RollOuts, f)
		}
	}
	return r
}

func TestClientsReport(t *testing.T) {
	root := t.TempDir()
	doc := filepath.Join(root, "docs", "performance.md")
	if err := errors.Join(os.Mkdir(filepath.Dir(doc), 0o755), os.WriteFile(doc, []byte("<!-- clients -->\n<!-- /clients -->\n"), 0o600)); err != nil {
		t.Fatal(err)
	}
	r := twoRounds()
	if err := r.write(root); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| agents, no election | 20.0-21.0 | 10 | 400 | 2 | 0 | 0 | 20 a roll-out | 2.00 s |\n",
		"| one | 0.001 / 1.50 / 2.00 |",
		"somewhere.\n\n![The stalls of each client by each method](clients.svg)\n<!-- /clients -->\n",
	} {
		if !strings.Contains(string(got), want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	plot, err := os.Open(filepath.Join(root, "docs", "clients.svg"))
	if err != nil {
		t.Fatal(err)
	}
	defer plot.Close()
	bars := 0
	for decoder := xml.NewDecoder(plot); ; {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if want := 1 + len(methods) + 2*len(methods); bars != want { // background, legend, two clients
		t.Errorf("%d rectangles, expected %d", bars, want)
	}
}

func TestMoves(t *testing.T) {
	m := moves{leaders: map[string]map[int32]sandbox.Leader{"t": {0: {ID: 1, Epoch: 5}, 1: {ID: 2, Epoch: 5}}}}
	see := func(id, epoch int32) {
		m.compare(map[string]map[int32]sandbox.Leader{"t": {0: {ID: id, Epoch: epoch}, 1: {ID: 2, Epoch: 5}}})
	}
	for _, x := range []struct {
		id, epoch int32
		count     int
	}{{1, 5, 0}, {-1, 6, 0}, {3, 7, 1}, {1, 5, 1}, {3, 8, 1}, {1, 9, 2}} {
		if see(x.id, x.epoch); m.count != x.count {
			t.Errorf("after leader %d of epoch %d: %d moves, expected %d", x.id, x.epoch, m.count, x.count)
		}
	}
}

func TestFailed(t *testing.T) {
	rolled := make(chan error, 1)
	var err error
	if failed(rolled, &err) {
		t.Error("nothing has ended yet")
	}
	rolled <- errors.New("no")
	if !failed(rolled, &err) || err == nil {
		t.Error("an error is not seen")
	}
	if got := seconds(1234567 * time.Microsecond); got != 1.235 {
		t.Errorf("%v s", got)
	}
}
