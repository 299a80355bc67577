package host

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"example.com/kpls-agent/internal/kafka"
	"example.com/kpls-agent/internal/settings"
)

// otherBroker tells why another broker answers at the own broker's address.
type otherBroker struct {
	once      sync.Once
	overrides map[string]string // of the unit's command line, asked for once
}

// explain adds file and unit to a *kafka.OtherBrokerError; other errors stay as they are.
func (o *otherBroker) explain(ctx context.Context, vm *settings.Settings, n Node, err error) error {
	other, is := errors.AsType[*kafka.OtherBrokerError](err)
	if !is {
		return err
	}
	o.once.Do(func() { o.overrides = CommandLine(ctx, vm).Overrides })
	return fmt.Errorf("%s says broker %d, and %w; %s", vm.ServerProperties, n.BrokerID, err,
		nextOfOther(other, vm.ServerProperties, vm.Unit, n.Agents.Name, o.overrides))
}

// nextOfOther is what to do about it.
func nextOfOther(e *kafka.OtherBrokerError, file, unitName, listener string, overrides map[string]string) string {
	address := fmt.Sprintf("if the address is another broker's, correct advertised.listeners of %s there", listener)
	if e.Is < 0 {
		return address
	}
	for _, key := range []string{"node.id", "broker.id"} {
		if id := strconv.Itoa(int(e.Is)); overrides[key] == id {
			return fmt.Sprintf("put %s=%s into %s, and take --override %s=%s out of %s", key, id, file, key, id,
				unitName)
		}
	}
	if unitName == "" {
		return fmt.Sprintf("if the broker is started with --override node.id=%d, put node.id=%d into %s; %s", e.Is,
			e.Is, file, address)
	}
	return fmt.Sprintf("if %s starts the broker with --override node.id=%d or broker.id=%d, put node.id=%d into %s; "+
		"%s", unitName, e.Is, e.Is, e.Is, file, address)
}
