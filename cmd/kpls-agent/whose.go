package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strconv"
	"strings"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/settings"
	"example.com/kpls-agent/internal/unit"
)

// whose tells why another broker answers at the own broker's address.
type whose struct {
	settings *settings.Settings
	node     node

	asked   bool
	command []string // of the unit, asked for once
}

// explain adds file and unit to a *kafka.OtherBrokerError; other errors stay as they are.
func (w *whose) explain(ctx context.Context, err error) error {
	other, is := errors.AsType[*kafka.OtherBrokerError](err)
	if !is {
		return err
	}
	if !w.asked {
		w.asked, w.command = true, commandOf(ctx, w.settings)
	}
	return fmt.Errorf("%s says broker %d, and %w; %s", w.settings.ServerProperties, w.node.BrokerID, err, nextOfOther(other, w.settings.ServerProperties, w.settings.Unit, w.node.agents.Name, w.command))
}

// commandOf is the command lines in the broker's unit, empty if there is none to be seen.
func commandOf(ctx context.Context, s *settings.Settings) []string {
	if s.Unit == "" {
		return nil
	}
	u := unit.NewSystemd(unit.SystemdOptions{Unit: s.Unit, Logger: slog.New(slog.DiscardHandler)})
	defer u.Close()
	setup, err := u.Setup(ctx)
	if err != nil {
		return nil
	}
	var words []string
	for _, e := range setup.Execs {
		words = append(words, e.Argv...)
	}
	return words
}

// idOverride is a broker's id on its command line, on its own or inside a shell's -c.
var idOverride = regexp.MustCompile(`--override[ =]+["']?((?:node|broker)\.id)\s*=\s*(\d+)`)

// nextOfOther is what to do about it.
func nextOfOther(e *kafka.OtherBrokerError, file, unitName, listener string, command []string) string {
	var overrides []string
	for _, m := range idOverride.FindAllStringSubmatch(strings.Join(command, " "), -1) {
		if m[2] == strconv.Itoa(int(e.Is)) {
			overrides = append(overrides, m[1]+"="+m[2])
		}
	}
	address := fmt.Sprintf("if the address is another broker's, correct advertised.listeners of %s there", listener)
	switch {
	case e.Is < 0:
		return address
	case len(overrides) > 0:
		return fmt.Sprintf("put %s into %s, and take --override %s out of %s", overrides[0], file, overrides[0], unitName)
	case unitName == "":
		return fmt.Sprintf("if the broker is started with --override node.id=%d, put node.id=%d into %s; %s", e.Is, e.Is, file, address)
	}
	return fmt.Sprintf("if %s starts the broker with --override node.id=%d or broker.id=%d, put node.id=%d into %s; %s", unitName, e.Is, e.Is, e.Is, file, address)
}
