package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"example.com/kpls-agent/internal/check"
	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/host"
	"example.com/kpls-agent/internal/settings"
)

func newPlan(s *shared) *cobra.Command {
	var o planOptions
	c := &cobra.Command{
		Use: "plan", Short: "Show what would be done, and what is in the way, without doing it", Args: noWords,
		Long: "Shows the change of server.properties, the order of restarts, the gates, and what blocks. Changes " +
			"nothing.\n" +
			"With --offline it needs no cluster and no settings, shows the change alone, and writes the new file to " +
			"--out,\n" +
			"also if nothing is to change: for configuration management and its CI. With --kafka-home an installed " +
			"Kafka\n" +
			"judges the new file first, as it would at the start of a broker: its configuration, key stores, JAAS entries " +
			"and\n" +
			"classes. Nothing is started, and no port is opened.\n" +
			"Exits with 0 if nothing is to change, 3 if something is (or blocks), 2 if the input is refused.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.offline {
				return planOffline(cmd.Context(), s, o)
			}
			if slices.ContainsFunc(offlineFlags, cmd.Flags().Changed) {
				return invalid(fmt.Errorf("--%s belong to --offline", strings.Join(offlineFlags, ", --")))
			}
			return planOnline(cmd.Context(), s, o)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.offline, "offline", false, "work on files alone")
	f.StringVar(&o.in, "server-properties", "", "`file` to start from; never changed")
	f.StringVar(&o.manifest, "manifest", "", "manifest `file`; default: the one in the settings")
	f.Int32Var(&o.broker, "broker-id", -1, "`id` of the broker; default: the one in the file")
	f.Lookup("broker-id").DefValue = "0" // as pflag has it for none
	f.StringVar(&o.kafkaVersion, "kafka-version", "",
		"`version` of Kafka, such as 3.7.1; default: what every supported version takes")
	f.StringVar(&o.kafkaHome, "kafka-home", "",
		"`folder` of an installed Kafka, such as /opt/kafka: it judges the result, with KAFKA_OPTS and JAVA_HOME of the "+
			"environment; needs Java")
	f.StringVar(&o.out, "out", "", "`file` for the result, - for standard output; a new one gets the mode of "+
		"--server-properties")
	o.output.flag(f)
	return c
}

// offlineFlags are for --offline alone.
var offlineFlags = []string{"server-properties", "broker-id", "kafka-version", "kafka-home", "out"}

type planOptions struct {
	offline           bool
	in, manifest, out string
	kafkaVersion      string
	kafkaHome         string
	output            output
	broker            int32
}

func planOnline(ctx context.Context, s *shared, o planOptions) error {
	vm, err := s.settings()
	if err != nil {
		return invalid(err)
	}
	if o.manifest != "" {
		vm.Manifest = o.manifest
	}
	n, m, err := broker(vm)
	if err != nil {
		return invalid(err)
	}
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	c, err := connect(ctx, s)
	if err != nil {
		return err
	}
	defer c.close()
	ahead, err := check.LookAhead(ctx, vm, n, m, c.client, c.facts(ctx))
	if err != nil {
		return err
	}
	plan := check.NewPlan(ahead)
	if o.output == asJSON {
		err = writeJSON(s.stdout, plan)
	} else {
		_, err = fmt.Fprint(s.stdout, plan.Text())
	}
	if err == nil && plan.Differs() {
		return &exitError{code: exitDiffers}
	}
	return err
}

// broker reads which broker this VM has, and its manifest.
func broker(vm *settings.Settings) (host.Node, *config.Manifest, error) {
	n, err := readNode(vm)
	if err != nil {
		return n, nil, err
	}
	text, err := os.ReadFile(vm.Manifest)
	if err != nil {
		err = fmt.Errorf("read the manifest: %w", err)
		if errors.Is(err, fs.ErrNotExist) {
			return n, nil, fmt.Errorf("%w; put the manifest there, or name a file with --manifest", err)
		}
		return n, nil, settings.Denied(err)
	}
	m, err := config.ParseManifest(vm.Manifest, text)
	if err == nil {
		_, err, _ = host.Successor(vm, m) // what cannot be seen is a warning of the plan
	}
	return n, m, err
}
