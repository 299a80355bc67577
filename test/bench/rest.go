package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"example.com/kpls-agent/test/figures"
	"example.com/kpls-agent/test/fleet"
	"example.com/kpls-agent/test/sandbox"
	"example.com/kpls-agent/test/sandbox/supervise"
)

const (
	restTime      = 60 * time.Second
	settleTime    = 10 * time.Second
	probeInterval = 5 * time.Second // of the load balancer
	killCount     = 5
	// ticksPerSecond is the unit of the times in /proc/PID/stat, USER_HZ, which
	// is 100 on every architecture that Go runs on.
	ticksPerSecond = 100
)

// rest measures agents that have nothing to do but to be probed.
func (b *bench) rest(ctx context.Context) error {
	_, err := b.fleet.Wait(ctx, "the agents are at rest", func(r fleet.Report) bool {
		return r.State == "idle" &&
			r.All(len(b.Brokers), func(row fleet.Row) bool { return row.Phase == "idle" && !row.Drift })
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
	sizes, begin := b.logSizes(), time.Now()
	before, err := b.usages()
	if err != nil {
		return err
	}
	if err := b.probed(ctx, restTime); err != nil {
		return err
	}
	after, err := b.usages()
	if err != nil {
		return err
	}
	seconds := time.Since(begin).Seconds()
	requests, err := b.requestsSince(sizes)
	if err != nil {
		return err
	}
	var cpu float64
	for i := range after {
		cpu = max(cpu, float64(after[i].ticks-before[i].ticks)/ticksPerSecond/seconds*100)
	}
	most := slices.MaxFunc(after, func(a, b usage) int { return cmp.Compare(a.resident, b.resident) })
	b.report.Add(
		figures.Figure{
			Name:  "agent at rest, resident memory",
			Unit:  "MiB",
			Goal:  new(25.0),
			Value: most.resident,
			Note:  fmt.Sprintf("the largest of three; %.1f MiB of it are file pages", most.file),
		},
		figures.Figure{
			Name:  "agent at rest, CPU",
			Unit:  "% of a core",
			Goal:  new(0.2),
			Value: cpu,
			Note:  "the busiest of three, over 60 s",
		},
		figures.Figure{
			Name:  "agent at rest, Kafka requests",
			Unit:  "/s",
			Goal:  new(1.0),
			Value: float64(requests) / seconds / float64(len(after)),
			Note:  "counted in the brokers' request logs, mean of three",
		},
	)
	return b.logRequests(ctx, "INFO")
}

// probed lets time pass in which each agent is probed as a load balancer does.
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
		answer := response.(*kmsg.IncrementalAlterConfigsResponse) //nolint:errcheck // the response of that request
		for _, r := range answer.Resources {
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

// requestsSince counts the agents' requests in what the logs got since.
func (b *bench) requestsSince(sizes map[int32]int64) (int, error) {
	counts, total := make(map[string]int), 0
	for _, br := range b.Brokers {
		data, err := os.ReadFile(br.Log())
		if err != nil {
			return 0, err
		}
		countRequests(counts, data[sizes[br.ID]:])
	}
	for _, n := range counts {
		total += n
	}
	if total == 0 {
		return 0, errors.New(
			"count the agents' requests: the brokers' request log names none; is kafka.request.logger still its name?")
	}
	b.logf("the agents' requests: %v", counts)
	return total, nil
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

// usage is what a process has used.
type usage struct {
	ticks          int     // CPU time, user and system
	resident, file float64 // MiB: VmRSS, and the part of it that is pages of files
}

func (b *bench) usages() ([]usage, error) {
	var all []usage
	for _, a := range b.fleet.Agents {
		u, err := usageOf(a.Pid())
		if err != nil {
			return nil, fmt.Errorf("read what the agent of broker %d uses: %w", a.ID, err)
		}
		all = append(all, u)
	}
	return all, nil
}

func usageOf(pid int) (usage, error) {
	stat, errStat := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	status, errStatus := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err := errors.Join(errStat, errStatus); err != nil {
		return usage{}, err
	}
	_, fields, _ := strings.Cut(string(stat), ") ") // from the third on
	times := strings.Fields(fields)
	if len(times) < 13 {
		return usage{}, fmt.Errorf("unknown format %q", stat)
	}
	user, errUser := strconv.Atoi(times[11])
	system, errSystem := strconv.Atoi(times[12])
	resident, errResident := mebibytes(string(status), "VmRSS")
	file, errFile := mebibytes(string(status), "RssFile")
	return usage{user + system, resident, file}, errors.Join(errUser, errSystem, errResident, errFile)
}

// mebibytes reads a size in /proc/PID/status.
func mebibytes(status, key string) (float64, error) {
	_, rest, _ := strings.Cut(status, "\n"+key+":")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		return 0, fmt.Errorf("read %s: %w", key, err)
	}
	return kib / 1024, nil
}

// kills measures how long a probe port outlives its broker.
func (b *bench) kills(ctx context.Context) error {
	var waits, exits []time.Duration
	for i := range killCount {
		br := b.Brokers[i%len(b.Brokers)]
		wait, exit, err := b.kill(ctx, br)
		if err != nil {
			return fmt.Errorf("kill broker %d: %w", br.ID, err)
		}
		b.logf("broker %d killed: exited after %.3f s, probe refused after %.3f s", br.ID, exit.Seconds(),
			wait.Seconds())
		waits, exits = append(waits, wait), append(exits, exit)
	}
	slices.Sort(waits)
	slices.Sort(exits)
	b.report.Add(figures.Figure{
		Name:  "broker killed to probe refused",
		Unit:  "s",
		Goal:  new(0.1),
		Value: waits[killCount-1].Seconds(),
		Note: fmt.Sprintf("worst of %d; median %.3f s, of the process's exit %.3f s", killCount,
			waits[killCount/2].Seconds(), exits[killCount/2].Seconds()),
	})
	return nil
}

// kill kills one broker, from a cluster where all is well to one where all is
// well again. It returns the time to the first refused probe, and the time that
// the kernel took to end the process.
func (b *bench) kill(ctx context.Context, br *sandbox.Broker) (probe, exit time.Duration, err error) {
	addr := b.fleet.Agent(br.ID).Probe()
	killed := make(chan error, 1)
	go func() { killed <- br.Kill(ctx) }()
	for !errors.Is(dial(ctx, addr), syscall.ECONNREFUSED) {
		select {
		case <-ctx.Done():
			return 0, 0, errors.Join(ctx.Err(), <-killed)
		case <-time.After(time.Millisecond): // leaves the agent its core
		}
	}
	refused := time.Now()
	if err := <-killed; err != nil {
		return 0, 0, err
	}
	events, err := br.Events()
	if err != nil {
		return 0, 0, err
	}
	n := len(events)
	if n < 2 || events[n-2].Kind != supervise.KillRequested || events[n-1].Kind != supervise.Exited ||
		refused.Before(events[n-2].At) {
		return 0, 0, fmt.Errorf("the probe was refused at %s, but not for a kill: %v", refused, events)
	}
	probe, exit = refused.Sub(events[n-2].At), events[n-1].At.Sub(events[n-2].At)
	if err := errors.Join(br.Start(ctx), b.WaitServing(ctx), b.WaitFullISR(ctx)); err != nil {
		return 0, 0, err
	}
	return probe, exit, until(ctx, "the probe is open again", func() bool { return dial(ctx, addr) == nil })
}
