package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
	"example.com/kpls-agent/test/sandbox/supervise"
)

const (
	restTime      = 60 * time.Second
	settleTime    = 10 * time.Second
	probeInterval = 5 * time.Second // of the balancer
	killCount     = 5
	// ticksPerSecond is the unit of the times in /proc/PID/stat, USER_HZ, which
	// is 100 on every architecture that Go runs on.
	ticksPerSecond = 100
)

// rest measures agents that have nothing to do but to be probed.
func (b *bench) rest(ctx context.Context) error {
	_, err := b.fleet.Wait(ctx, "the agents are at rest", func(r fleet.Report) bool {
		return r.State == "idle" && r.All(len(b.Brokers), func(row fleet.Row) bool { return row.Phase == "idle" && !row.Drift })
	})
	if err != nil {
		return err
	}
	if err := b.logRequests(ctx, "DEBUG"); err != nil {
		return err
	}
	if err := b.probed(ctx, settleTime); err != nil {
		return err
	}
	b.logf("agents at rest for %s", restTime)
	before, sizes, begin := make(map[int32]int), b.logSizes(), time.Now()
	for _, a := range b.fleet.Agents {
		if before[a.ID], err = cpuTicks(a.Pid()); err != nil {
			return err
		}
	}
	if err := b.probed(ctx, restTime); err != nil {
		return err
	}
	seconds := time.Since(begin).Seconds()
	var memory, cpu float64 // of the agent that needs most
	for _, a := range b.fleet.Agents {
		ticks, err := cpuTicks(a.Pid())
		if err != nil {
			return err
		}
		resident, err := residentMiB(a.Pid())
		if err != nil {
			return err
		}
		cpu = max(cpu, float64(ticks-before[a.ID])/ticksPerSecond/seconds*100)
		memory = max(memory, resident)
	}
	requests, err := b.requestsSince(sizes)
	if err != nil {
		return err
	}
	if err := b.logRequests(ctx, "INFO"); err != nil {
		return err
	}
	total, kinds := 0, make([]string, 0, len(requests))
	for _, name := range slices.Sorted(maps.Keys(requests)) {
		total += requests[name]
		kinds = append(kinds, fmt.Sprintf("%s %d", name, requests[name]))
	}
	if total == 0 {
		return errors.New("count the agents' requests: the brokers' request log names none; is kafka.request.logger still its name?")
	}
	b.logf("requests of %d agents: %s", len(b.fleet.Agents), strings.Join(kinds, ", "))
	b.report.add(
		figure{Name: "agent at rest, resident memory", Unit: "MiB", Goal: new(25.0), Value: memory, Note: "the largest of three"},
		figure{Name: "agent at rest, CPU", Unit: "% of a core", Goal: new(0.2), Value: cpu, Note: "the busiest of three, over 60 s"},
		figure{Name: "agent at rest, Kafka requests", Unit: "/s", Goal: new(1.0), Value: float64(total) / seconds / float64(len(b.fleet.Agents)), Note: "counted in the brokers' request logs, mean of three"},
	)
	return nil
}

// probed lets time pass in which each agent is probed as a balancer does.
func (b *bench) probed(ctx context.Context, d time.Duration) error {
	end := time.After(d)
	tick := time.NewTicker(probeInterval)
	defer tick.Stop()
	for {
		for _, a := range b.fleet.Agents {
			if err := dial(ctx, a.Probe()); err != nil {
				return fmt.Errorf("probe broker %d at rest: %w", a.ID, err)
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-end:
			return nil
		case <-tick.C:
		}
	}
}

// logRequests sets the level of each broker's request log, which has a line for
// each completed request at DEBUG.
func (b *bench) logRequests(ctx context.Context, level string) error {
	client, err := b.NewClient()
	if err != nil {
		return err
	}
	defer client.Close()
	for _, br := range b.Brokers {
		logger := kmsg.NewIncrementalAlterConfigsRequestResource()
		logger.ResourceType, logger.ResourceName = kmsg.ConfigResourceTypeBrokerLogger, strconv.Itoa(int(br.ID))
		set := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
		set.Name, set.Op, set.Value = "kafka.request.logger", kmsg.IncrementalAlterConfigOpSet, &level
		logger.Configs = append(logger.Configs, set)
		request := kmsg.NewPtrIncrementalAlterConfigsRequest()
		request.Resources = append(request.Resources, logger)
		response, err := client.Broker(int(br.ID)).RetriableRequest(ctx, request)
		if err != nil {
			return fmt.Errorf("set the request log of broker %d: %w", br.ID, err)
		}
		for _, r := range response.(*kmsg.IncrementalAlterConfigsResponse).Resources { //nolint:errcheck // the response of that request
			if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
				return fmt.Errorf("set the request log of broker %d: %w", br.ID, err)
			}
		}
	}
	return nil
}

func (b *bench) logSizes() map[int32]int64 {
	sizes := make(map[int32]int64)
	for _, br := range b.Brokers {
		if info, err := os.Stat(br.Log()); err == nil { // a missing one fails when it is read
			sizes[br.ID] = info.Size()
		}
	}
	return sizes
}

// requestsSince counts the agents' requests by name in what the logs got since.
func (b *bench) requestsSince(sizes map[int32]int64) (map[string]int, error) {
	counts := make(map[string]int)
	for _, br := range b.Brokers {
		data, err := os.ReadFile(br.Log())
		if err != nil {
			return nil, err
		}
		countRequests(counts, data[sizes[br.ID]:])
	}
	return counts, nil
}

// requestName finds the name in a line of the request log.
var requestName = regexp.MustCompile(`"requestApiKeyName":"(\w+)"`)

func countRequests(counts map[string]int, log []byte) {
	for line := range bytes.Lines(log) {
		if !bytes.Contains(line, []byte(`"clientId":"kpls-agent"`)) {
			continue
		}
		if m := requestName.FindSubmatch(line); m != nil {
			counts[string(m[1])]++
		}
	}
}

// cpuTicks is the CPU time that a process has used, in ticks.
func cpuTicks(pid int) (int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(data), ") ") // from the third field on
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("read the CPU time of process %d: %q", pid, data)
	}
	user, errUser := strconv.Atoi(fields[11])
	system, errSystem := strconv.Atoi(fields[12])
	return user + system, errors.Join(errUser, errSystem)
}

// residentMiB is a process's VmRSS.
func residentMiB(pid int) (float64, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	var kib float64
	_, rest, _ := strings.Cut(string(data), "\nVmRSS:")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	return kib / 1024, nil
}

// kills measures how long a probe port outlives its broker.
func (b *bench) kills(ctx context.Context) error {
	var waits []time.Duration
	for i := range killCount {
		br := b.Brokers[i%len(b.Brokers)]
		wait, err := b.kill(ctx, br)
		if err != nil {
			return fmt.Errorf("kill broker %d: %w", br.ID, err)
		}
		b.logf("broker %d killed: probe refused after %.3f s", br.ID, wait.Seconds())
		waits = append(waits, wait)
	}
	slices.Sort(waits)
	b.report.add(figure{Name: "broker killed to probe refused", Unit: "s", Goal: new(0.1), Value: waits[len(waits)-1].Seconds(), Note: fmt.Sprintf("worst of %d; median %.3f s", len(waits), waits[len(waits)/2].Seconds())})
	return nil
}

// kill kills one broker, from a cluster where all is well to one where all is
// well again.
func (b *bench) kill(ctx context.Context, br *sandbox.Broker) (time.Duration, error) {
	probe := b.fleet.Agent(br.ID).Probe()
	killed := make(chan error, 1)
	go func() { killed <- br.Kill(ctx) }()
	var refused time.Time
	for refused.IsZero() {
		if errors.Is(dial(ctx, probe), syscall.ECONNREFUSED) {
			refused = time.Now()
		}
		select {
		case <-ctx.Done():
			return 0, errors.Join(ctx.Err(), <-killed)
		case <-time.After(time.Millisecond): // leaves the agent its core
		}
	}
	if err := <-killed; err != nil {
		return 0, err
	}
	events, err := br.Events()
	if err != nil {
		return 0, err
	}
	var at time.Time
	for _, e := range events {
		if e.Kind == supervise.KillRequested {
			at = e.At // the last one is this one
		}
	}
	if at.IsZero() || refused.Before(at) {
		return 0, errors.New("the probe was refused before the broker was killed")
	}
	if err := errors.Join(br.Start(ctx), b.WaitServing(ctx), b.WaitFullISR(ctx)); err != nil {
		return 0, err
	}
	err = until(ctx, "the probe is open again", func() bool { return dial(ctx, probe) == nil })
	return refused.Sub(at), err
}
