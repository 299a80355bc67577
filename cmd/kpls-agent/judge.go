package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/judge"
)

type judgeOptions struct {
	home      string
	overrides []string
	output    output
}

func newJudge(s *shared) *cobra.Command {
	var o judgeOptions
	c := &cobra.Command{
		Use: "judge FILE", Short: "Ask an installed Kafka whether it would start with a server.properties",
		Long: "Has a Kafka of this machine build its configuration and the channels of its listeners from FILE, as a broker\n" +
			"does at its start: it finds missing key stores, wrong passwords, mistyped classes, JAAS entries that cannot be\n" +
			"read. Nothing is started, no port is opened, no network is asked, and no class that is not Kafka's own is run.\n" +
			"It takes a second or two. Kafka runs as the user who types this, with KAFKA_OPTS and JAVA_HOME of the\n" +
			"environment; agents, JMX ports and memory in KAFKA_OPTS are left out. With KAFKA_OPTS set, if only to nothing, a\n" +
			"JAAS entry that is nowhere is refused; otherwise it is not judged.\n\n" +
			"The service " + host.JudgeUnit + " does this for the agent before it restarts a broker.\n\n" +
			"Exits with 0 if Kafka would start, 3 if not, 1 if there is no verdict.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return runJudge(cmd.Context(), s, o, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.home, "kafka-home", "/opt/kafka", "`folder` that Kafka was unpacked into")
	f.StringArrayVar(&o.overrides, "override", nil, "`property` of the broker's command line, as KEY=VALUE; may be given again")
	o.output.flag(f)
	return c
}

// noVerdict is what `judge -o json` prints where there is none.
type noVerdict struct {
	Fault string `json:"fault"`
}

func runJudge(ctx context.Context, s *shared, o judgeOptions, path string) error {
	file, err := os.ReadFile(path)
	if err != nil {
		return invalid(fmt.Errorf("read the file: %w", err))
	}
	v, err := judge.Judge(ctx, judge.Kafka{Home: o.home, Environment: os.Environ(), Overrides: o.overrides}, path, file)
	if err != nil {
		err = fmt.Errorf("kafka has not judged %s: %w", path, err)
		if o.output == asJSON {
			return errors.Join(&exitError{exitFailed, err}, writeJSON(s.stdout, noVerdict{config.OneLine(err)}))
		}
		return &exitError{exitFailed, err}
	}
	if o.output == asJSON {
		err = writeJSON(s.stdout, v)
	} else {
		_, err = fmt.Fprint(s.stdout, verdictText(v, path))
	}
	if err == nil && len(v.Refused) > 0 {
		return &exitError{code: exitDiffers}
	}
	return err
}

func verdictText(v judge.Verdict, path string) string {
	var b strings.Builder
	by := fmt.Sprintf("Kafka %s on Java %s", v.Kafka, v.Java)
	at := func(r judge.Remark) string {
		if r.Line > 0 {
			return fmt.Sprintf("%s:%d: %s", path, r.Line, r)
		}
		return fmt.Sprintf("%s: %s", path, r)
	}
	for _, r := range v.Refused {
		fmt.Fprintf(&b, "refused     %s\n", at(r))
	}
	for _, r := range v.Unjudged {
		fmt.Fprintf(&b, "not judged  %s\n", at(r))
	}
	switch {
	case len(v.Refused) > 0:
		fmt.Fprintf(&b, "%s would not start with it\n", by)
	case len(v.Unjudged) > 0:
		fmt.Fprintf(&b, "%s refuses nothing of what it could judge\n", by)
	default:
		fmt.Fprintf(&b, "%s would start with it\n", by)
	}
	return b.String()
}
