package check

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/restart"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/wait"
)

// answers waits until the own broker answers, and returns why it did not.
func answers(ctx context.Context, client *kafka.Client) error {
	for {
		_, err := client.Version(ctx)
		if err == nil {
			return nil
		}
		if !wait.For(ctx, time.Second) {
			return err
		}
	}
}

// checkKafka checks the login and what it allows, and the clock by that of Kafka;
// it returns what the broker runs.
func checkKafka(
	ctx context.Context, s *settings.Settings, n host.Node, c *host.Cluster, client *kafka.Client,
) ([]Finding, restart.RunningFacts, host.Process) {
	version, err := client.Version(ctx)
	if kafka.LoginRefused(err) {
		err = fmt.Errorf("%w; the running agent tries again at a change of the login at once, and else within a "+
			"minute", err)
	}
	if kafka.NobodyListens(err) {
		err = fmt.Errorf("%w; if the broker was started a moment ago, ask again", err)
	}
	findings := []Finding{judged("login to Kafka", err, "Kafka "+version)}
	if known, newer := strings.CutSuffix(version, kafka.Newer); newer && err == nil {
		findings[0] = doubtful("login to Kafka", "this Kafka is newer than %s, the newest release that was tried with this build; "+
			"it is judged by the rules of %s: see whether a newer kpls-agent knows it", known, known)
	}
	if err != nil {
		return findings, restart.RunningFacts{At: time.Now(), Err: err.Error()}, host.Process{}
	}
	running, p := c.Ask(ctx)
	if running.Err != "" {
		findings = append(findings, broken("configuration of the broker", "%s", running.Err))
	} else {
		findings = append(findings, well("configuration of the broker", ""))
		findings = append(findings, checkAhead(s, n, p, host.CommandLine(ctx, s).Overrides)...)
		findings = append(findings, checkStorage(running.LogDirs, running.LogDirsErr)...)
		findings = append(findings, checkCordoned(p, n.BrokerID)...)
		findings = append(findings, checkMinISR(p.Values, n.BrokerID)...)
		findings = append(findings, checkStall(p.Values, p.Version))
		findings = append(findings, checkSession(p.Values, n, p.Version)...)
	}
	view := client.Observe(ctx)
	findings = append(findings, judgeView(view)...)
	if view.Quorum != nil && !view.Quorum.ZooKeeper && view.Quorum.Leader >= 0 {
		findings = append(findings, judgeNonVoters(client.NonVoters(ctx))...)
	}
	if view.Quorum != nil && view.Quorum.ZooKeeper {
		findings = append(findings, well("clock", "not compared: a controller tells its clock in KRaft only"))
	} else {
		findings = append(findings, judgeClock(client.ClockDifference(ctx)))
	}
	rights, err := client.Rights(ctx)
	if err != nil {
		return append(findings, judged("rights in Kafka", err, "")), running, p
	}
	return append(findings, judgeRights(rights, s.Kafka.Topic, s.Kafka.User())...), running, p
}

func judgeView(f restart.ClusterFacts) []Finding {
	var err error
	if f.Err != "" {
		err = errors.New(f.Err)
	}
	findings := []Finding{judged("cluster", err, fmt.Sprintf("brokers %s, %d views in %s", joinIDs(f.Brokers),
		len(f.Views), f.Took.Round(time.Millisecond)))}
	if err == nil && f.Took > restart.AnswersWithin {
		findings[0] = doubtful("cluster", "brokers %s, %d views in %s: no broker is restarted while the answers take longer than %s; "+
			"see which broker is overloaded, or how slow the network is", joinIDs(f.Brokers), len(f.Views),
			f.Took.Round(time.Millisecond), restart.AnswersWithin)
	}
	switch q := f.Quorum; {
	case f.QuorumErr != "":
		return append(findings, broken("quorum", "%s", f.QuorumErr))
	case q == nil:
		return findings // no broker answered
	case q.Leader < 0:
		return append(findings, broken("quorum",
			"no controller is active; bring the controllers back, or in ZooKeeper mode see to ZooKeeper"))
	case q.ZooKeeper:
		return append(findings, well("quorum", "none: ZooKeeper mode, the active controller is broker %d", q.Leader))
	}
	voters := make([]int32, len(f.Quorum.Voters))
	for i, v := range f.Quorum.Voters {
		voters[i] = v.ID
	}
	return append(findings, well("quorum", "voters %s, the active controller is %d", joinIDs(voters), f.Quorum.Leader))
}

// judgeRights names the command for each right that lacks.
func judgeRights(r kafka.Rights, topic, user string) []Finding {
	principal := "User:" + user
	if user == "" {
		principal = "the agent's principal"
	}
	grant := func(ops []string, on string) string {
		return fmt.Sprintf("kafka-acls --bootstrap-server ... --add --allow-principal %q --operation %s %s",
			principal, strings.Join(ops, " --operation "), on)
	}
	var findings []Finding
	if len(r.Cluster) > 0 {
		findings = append(findings, broken("rights on the cluster", "%s has no right to %s; %s", principal,
			strings.Join(r.Cluster, " and "), grant(r.Cluster, "--cluster")))
	}
	switch {
	case r.NoTopic && len(r.Topic) > 0:
		findings = append(findings, doubtful("rights on the coordination topic", "topic %s is not there yet, and %s "+
			"has no right to Create topics on the cluster; if it may create this one, all is well, otherwise %s",
			topic, principal, grant(r.Topic, "--topic "+topic)))
	case len(r.Topic) > 0:
		findings = append(findings, broken("rights on the coordination topic", "%s has no right to %s; %s",
			principal, strings.Join(r.Topic, " and "), grant(r.Topic, "--topic "+topic)))
	}
	if n := len(r.Hidden); n > 0 {
		findings = append(findings, broken("topics that the agent sees",
			"%d topics with replicas on this broker are hidden from %s (%s), so no restart takes care of them; %s",
			n, principal, few(r.Hidden), grant([]string{"Describe", "DescribeConfigs"}, "--topic '*'")))
	}
	if len(findings) == 0 {
		return []Finding{well("rights in Kafka", "all that the agent needs")}
	}
	return findings
}

func few(names []string) string {
	const most = 5
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

func joinIDs(ids []int32) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = strconv.Itoa(int(id))
	}
	return strings.Join(words, ", ")
}
