package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"example.com/kpls-agent/internal/check"
	"example.com/kpls-agent/internal/orders"
	"example.com/kpls-agent/internal/restart"
)

// commandTimeout bounds what a command waits for Kafka.
const commandTimeout = 20 * time.Second

// asks is said of each command that starts something.
const asks = "It asks first; --yes does not ask, and is needed where there is no terminal."

// command is one that changes the coordination log.
type command struct {
	s   *shared
	yes bool // nobody is asked
}

func (o *command) flag(c *cobra.Command) { c.Flags().BoolVar(&o.yes, "yes", false, "do not ask") }

// give reads the log, lets f say what to write, asks for it, and writes it.
func (o command) give(
	ctx context.Context, f func(*restart.View, orders.Plan) (orders.Order, error),
) error {
	if !o.yes && !interactive(o.s) {
		return invalid(errors.New("this asks before it begins, and there is no terminal to ask on; nothing was " +
			"changed. Use --yes where nobody can answer"))
	}
	c, err := connect(ctx, o.s)
	if err != nil {
		return err
	}
	defer c.close()
	var plan orders.Plan
	if !o.yes {
		plan = c.planner(ctx)
	}
	order, err := c.order(ctx, f, plan)
	if err != nil {
		return err
	}
	if len(order.Records) > 0 && !o.yes {
		if err := o.s.confirm(ctx, order); err != nil {
			return err
		}
		// Whoever was asked has taken a while: what was agreed to must still be what is done.
		now, err := c.order(ctx, f, nil)
		if err != nil {
			return err
		}
		if !now.Same(order) {
			return errors.New("the coordination log has changed meanwhile; nothing was changed by this command. Give it " +
				"again")
		}
		order = now
	}
	if len(order.Records) > 0 {
		ctx, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		if err := c.log.Append(ctx, order.Records...); err != nil {
			return fmt.Errorf("write to the coordination log: %w; it is not known whether it was written, "+
				"`kpls-agent status` shows it", err)
		}
		if n := c.log.Made(); n > 0 {
			fmt.Fprintf(o.s.stdout, "there was no coordination topic yet; it is made, replicas: %d\n", n)
		}
	}
	_, err = fmt.Fprintln(o.s.stdout, order.Done)
	return err
}

// order reads the log to its end, and lets f say what to write.
func (c *connection) order(
	ctx context.Context, f func(*restart.View, orders.Plan) (orders.Order, error), plan orders.Plan,
) (orders.Order, error) {
	ctx, cancel := context.WithTimeout(ctx, commandTimeout)
	defer cancel()
	view, err := c.read(ctx)
	if err != nil {
		return orders.Order{}, err
	}
	return f(view, plan)
}

// planner plans on what this VM sees, as `kpls-agent plan` does.
func (c *connection) planner(ctx context.Context) orders.Plan {
	return func(records []restart.Record) (restart.Plan, error) {
		ctx, cancel := context.WithTimeout(ctx, commandTimeout)
		defer cancel()
		n, m, err := broker(c.vm)
		if err != nil {
			return restart.Plan{}, err
		}
		ahead, err := check.LookAhead(ctx, c.vm, n, m, c.client, c.facts(ctx))
		if err != nil {
			return restart.Plan{}, err
		}
		return restart.PlanAfter(n.BrokerID, ahead.Facts, records...), nil
	}
}

// interactive is true if somebody can answer.
func interactive(s *shared) bool {
	f, ok := s.stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// confirm asks whether to go on; anything but yes is a no.
func (s *shared) confirm(ctx context.Context, o orders.Order) error {
	fmt.Fprintf(s.stdout, "%s%s [y/N] ", o.What, o.Question)
	answer := make(chan string, 1)
	go func() { // ends with the process where nobody answers
		line, _ := bufio.NewReader(s.stdin).ReadString('\n') // no answer is a no
		answer <- strings.ToLower(strings.TrimSpace(line))
	}()
	no := errors.New("not confirmed; nothing was changed")
	select {
	case <-ctx.Done():
		fmt.Fprintln(s.stdout)
		return no
	case line := <-answer:
		if line != "y" && line != "yes" {
			return no
		}
		return nil
	}
}
