package system

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/machines"
)

// patience bounds every wait. Nothing is measured by it: it only ends a test
// that hangs, on a machine however slow.
const patience = 4 * time.Minute

const (
	topic      = "orders"
	partitions = 12
)

// system is the bed as one test sees it.
type system struct {
	*testing.T
	*machines.Bed
}

// status is what an operator on one of the VMs sees: the first one that answers.
func (s *system) status() (fleet.Report, error) {
	var errs []error
	for _, m := range s.Machines {
		ctx, cancel := context.WithTimeout(s.Context(), 10*time.Second)
		out, err := m.Output(ctx, "kpls-agent", "status", "-o", "json")
		cancel()
		var r fleet.Report
		if err == nil {
			err = json.Unmarshal([]byte(out), &r)
		}
		if err == nil {
			return r, nil
		}
		errs = append(errs, err)
	}
	return fleet.Report{}, errors.Join(errs...)
}

// wait waits until the status is as wanted.
func (s *system) wait(what string, ok func(fleet.Report) bool) fleet.Report {
	s.Helper()
	var r fleet.Report
	var err error
	s.until(what, func() bool {
		r, err = s.status()
		return err == nil && ok(r)
	})
	return r
}

// until waits for what no status tells.
func (s *system) until(what string, ok func() bool) {
	s.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.Fatalf("waited until %s", what)
		}
	}
}

// on runs a shell command on a VM, as root.
func (s *system) on(m *machines.Machine, command string) string {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	defer cancel()
	out, err := m.Output(ctx, "sh", "-c", command)
	if err != nil {
		s.Fatal(err)
	}
	return out
}

// get asks an HTTP server from the monitoring host.
func (s *system) get(addr, path string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: s.Mon.Dial, DisableKeepAlives: true}}
	resp, err := client.Get("http://" + addr + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s%s: %s: %s", addr, path, resp.Status, body)
	}
	return string(body), err
}

// client is an administrator's connection.
func (s *system) client() *kgo.Client {
	s.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.Internal()...), kgo.Dialer(s.Mon.Dial), kgo.MetadataMinAge(100*time.Millisecond))
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(cl.Close)
	return cl
}

// manifest changes the manifest on all VMs, as configuration management does.
func (s *system) manifest(change func(string) string) {
	s.Helper()
	const path = "/etc/kpls-agent/manifest.yaml"
	text := change(s.on(s.Machines[0], "cat "+path))
	for _, m := range s.Machines {
		cmd := m.Command(s.Context(), "sh", "-c", "cat >"+path+".new && chmod 644 "+path+".new && mv "+path+".new "+path)
		cmd.Stdin = strings.NewReader(text)
		if out, err := cmd.CombinedOutput(); err != nil {
			s.Fatalf("write the manifest of %s: %v: %s", m.Name, err, out)
		}
	}
	hash := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
	s.wait("all agents have the manifest", func(r fleet.Report) bool {
		return r.All(machines.Brokers, func(row fleet.Row) bool { return row.Manifest == hash })
	})
}

// balancer starts a load balancer and waits until it has found every broker.
func (s *system) balancer(start func(context.Context) (*machines.Balancer, error)) *machines.Balancer {
	s.Helper()
	lb, err := start(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { lb.Close() })
	for _, m := range s.Machines {
		s.until("the load balancer finds "+m.Name, func() bool { return lb.Up(m.ID) })
	}
	return lb
}

func (s *system) haproxy(p machines.Probing) *machines.Balancer {
	s.Helper()
	return s.balancer(func(ctx context.Context) (*machines.Balancer, error) { return s.HAProxy(ctx, p) })
}

// createTopic creates the topic of the load as soon as three brokers are there.
func (s *system) createTopic() {
	s.Helper()
	adm, two := kadm.NewClient(s.client()), "2"
	var err error
	s.until("the topic can be created", func() bool {
		_, err = adm.CreateTopic(s.Context(), partitions, 3, map[string]*string{"min.insync.replicas": &two}, topic)
		return err == nil || errors.Is(err, kerr.TopicAlreadyExists)
	})
}
