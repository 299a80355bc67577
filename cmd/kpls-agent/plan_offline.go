package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/durable"
	"example.com/kpls-agent/internal/judge"
)

// offlineReport is what `plan --offline -o json` prints.
type offlineReport struct {
	Broker   int32    `json:"broker"`
	Manifest string   `json:"manifest"`
	Changed  bool     `json:"changed"`
	Diff     string   `json:"diff"`
	Warnings []string `json:"warnings,omitempty"`
	// Judge is what the Kafka of --kafka-home says of the result; nil without a verdict.
	Judge *judge.Verdict `json:"judge,omitempty"`
}

// planOffline renders one file, shows the change, and writes the result. The
// change goes to standard error where the result goes to standard output.
func planOffline(ctx context.Context, s *shared, o planOptions) error {
	if o.in == "" || o.manifest == "" || o.out == "" {
		return invalid(errors.New("--offline needs --server-properties, --manifest and --out"))
	}
	if o.out == "-" && o.output == asJSON {
		return invalid(errors.New("--out - and --output json would both write to standard output; name a file for " +
			"--out"))
	}
	data, mode, err := readWithMode(o.in)
	if err != nil {
		return invalid(fmt.Errorf("read --server-properties: %w", err))
	}
	odd := config.Oddities(o.in, data)
	r, report, err := renderOffline(o, data)
	report.Warnings = append(odd, report.Warnings...)
	if err == nil && o.kafkaHome != "" {
		err = report.judge(ctx, o, r.File)
	}
	if o.output != asJSON || err != nil {
		for _, w := range report.Warnings {
			fmt.Fprintln(s.stderr, "warning:", w)
		}
	}
	if err != nil {
		return invalid(err)
	}
	show := s.stdout
	if o.out == "-" {
		show = s.stderr
		_, err = s.stdout.Write(r.File)
	} else {
		err = durable.WriteFile(o.out, r.File, durable.Options{Mode: mode})
	}
	if err != nil {
		return &exitError{exitFailed, fmt.Errorf("write --out: %w", err)}
	}
	if o.output == asJSON {
		err = writeJSON(s.stdout, report)
	} else {
		_, err = fmt.Fprint(show, report.Diff)
	}
	if err == nil && r.Changed {
		return &exitError{code: exitDiffers}
	}
	return err
}

// judge puts the result to an installed Kafka. Only what that refuses is an error; what it could not judge
// is a warning.
func (r *offlineReport) judge(ctx context.Context, o planOptions, file []byte) error {
	v, err := judge.Judge(ctx, judge.Kafka{Home: o.kafkaHome, Environment: os.Environ()}, o.in, file)
	if err != nil {
		r.Warnings = append(r.Warnings, fmt.Sprintf("Kafka has not judged the result: %v", err))
		return nil
	}
	r.Judge = &v
	by := fmt.Sprintf("Kafka %s on Java %s", v.Kafka, v.Java)
	for _, u := range v.Unjudged {
		r.Warnings = append(r.Warnings, fmt.Sprintf("%s could not judge %s", by, u))
	}
	var errs []error
	for _, refused := range v.Refused {
		errs = append(errs, fmt.Errorf("%s: %s would not start a broker with the result: %s", o.in, by, refused))
	}
	return errors.Join(errs...)
}

func readWithMode(path string) ([]byte, fs.FileMode, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return data, 0, nil // a pipe has no mode to keep
	}
	return data, info.Mode().Perm(), nil
}

func renderOffline(o planOptions, data []byte) (*config.Rendered, offlineReport, error) {
	report := offlineReport{Broker: o.broker}
	text, err := os.ReadFile(o.manifest)
	if err != nil {
		return nil, report, fmt.Errorf("read --manifest: %w", err)
	}
	m, err := config.ParseManifest(o.manifest, text)
	if err != nil {
		return nil, report, err
	}
	var v config.Version
	if o.kafkaVersion != "" {
		if v, err = config.ParseVersion(o.kafkaVersion); err != nil {
			return nil, report, fmt.Errorf("--kafka-version: %w", err)
		}
	}
	if report.Broker < 0 {
		n, err := config.Identity(o.in, data)
		if err != nil {
			return nil, report, err
		}
		report.Broker = n.BrokerID
	}
	desired, err := m.For(report.Broker)
	if err != nil {
		return nil, report, err
	}
	r, err := config.Render(config.RenderInput{
		Path: o.in, File: data, BrokerID: report.Broker, Desired: desired, Version: v, Origin: m.Origin,
	})
	if err != nil {
		return nil, report, err
	}
	report.Manifest, report.Changed, report.Diff, report.Warnings = m.Hash, r.Changed, r.Diff, r.Warnings
	return r, report, nil
}
