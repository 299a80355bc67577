package sandbox

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Program is a producer in a process of its own, for clients that are not made in
// Go. The process gets what to send, so all clients send at the same pace
// and are judged by the same clock:
//
//	ARGV... BOOTSTRAP TOPIC PARTITIONS RUN
//
// For each line "N" of its standard input it sends one record to partition
// N modulo PARTITIONS, with a value of 100 bytes that begins with RUN and N, both
// of 8 bytes, the highest first. It answers each with a line "acked N" or
// "failed N WHY". When the input ends it waits for what is under way, and exits.
type Program struct {
	opts LoadOptions
	argv []string
	book ledger
	run  uint64
}

// NewProgram returns a load that this command sends; Run runs it. A dialer or a
// login of the options is for the consumer alone.
func NewProgram(opts LoadOptions, argv ...string) *Program {
	return &Program{opts: opts.withDefaults(), argv: argv, run: rand.Uint64() >> 1} // Java's numbers have a sign
}

// Figures are those so far, without Lost and Duplicated.
func (p *Program) Figures() Figures { return p.book.figures(nil) }

// Measure lets the stalls count of records that are created from now on.
func (p *Program) Measure() { p.book.measure() }

// Run sends until ctx ends, then waits until every record has an answer and is
// read, and sums up. An error means that there is no account.
func (p *Program) Run(ctx context.Context) (Figures, error) {
	consumer, err := newReader(p.opts, p.run)
	if err != nil {
		return Figures{}, err
	}
	defer consumer.close()
	rest := context.WithoutCancel(ctx)
	if err := p.produce(ctx, rest); err != nil {
		return Figures{}, fmt.Errorf("run %s: %w", p.argv[0], err)
	}
	drain, cancelDrain := context.WithTimeout(rest, drainTimeout)
	defer cancelDrain()
	reads, err := consumer.drain(drain, p.book.size())
	if err != nil {
		return Figures{}, err
	}
	return p.book.figures(reads), nil
}

// produce runs the process: it has records to send until ctx ends, and then as long
// for their answers as every client has.
func (p *Program) produce(ctx, rest context.Context) error {
	args := slices.Concat(p.argv[1:], []string{
		strings.Join(p.opts.Bootstrap, ","),
		p.opts.Topic,
		strconv.Itoa(int(p.opts.Partitions)),
		strconv.FormatUint(p.run, 10),
	})
	rest, cancel := context.WithCancel(rest)
	defer cancel()
	cmd := exec.CommandContext(rest, p.argv[0], args...)
	var said strings.Builder
	cmd.Stderr = &said
	in, errIn := cmd.StdinPipe()
	out, errOut := cmd.StdoutPipe()
	if err := errors.Join(errIn, errOut); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var answers int
	var listenErr error
	var listening sync.WaitGroup
	listening.Go(func() { answers, listenErr = p.listen(out) })
	pace(ctx, p.opts.Rate, func() {
		_, _ = fmt.Fprintln(in, p.book.create()) // a process that is gone gives no answer
	})
	stop := time.AfterFunc(drainTimeout, cancel)
	defer stop.Stop()
	err := in.Close()
	listening.Wait()
	if err := errors.Join(cmd.Wait(), listenErr, ignore(err, os.ErrClosed)); err != nil {
		return fmt.Errorf("%w; it says:\n%s", err, said.String())
	}
	if sent := p.book.size(); answers != sent {
		return fmt.Errorf("%d records have %d answers; it says:\n%s", sent, answers, said.String())
	}
	return nil
}

// listen takes the process's answers until it closes its output.
func (p *Program) listen(out io.Reader) (answers int, err error) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		what, rest, _ := strings.Cut(lines.Text(), " ")
		number, why, _ := strings.Cut(rest, " ")
		n, err := strconv.Atoi(number)
		switch {
		case err != nil || n < 0 || n >= p.book.size():
			return answers, fmt.Errorf("unknown answer %q", lines.Text())
		case what == "acked":
			p.book.ack(n)
		case what == "failed":
			p.book.fail(errors.New(why))
		default:
			return answers, fmt.Errorf("unknown answer %q", lines.Text())
		}
		answers++
	}
	return answers, lines.Err()
}

func ignore(err, known error) error {
	if errors.Is(err, known) {
		return nil
	}
	return err
}
