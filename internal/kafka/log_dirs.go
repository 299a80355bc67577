package kafka

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// LogDir is one log directory of the own broker, as the broker's process sees it.
type LogDir struct {
	Path string
	// Err is why the broker does not use the directory, nil if it does.
	Err error
	// Free and Total are bytes of its file system, -1 where the broker does not tell (KIP-827, Kafka 3.3).
	Free, Total int64
	// Cordoned is true where the broker puts no new partition into the directory (KIP-1066, Kafka 4.3).
	Cordoned bool
}

// LogDirs asks the own broker for its log directories. It asks for no partition, so the
// answer is small whatever the broker holds.
func (c *Client) LogDirs(ctx context.Context) ([]LogDir, error) {
	req := kmsg.NewPtrDescribeLogDirsRequest()
	req.Topics = []kmsg.DescribeLogDirsRequestTopic{} // nil would be all
	var dirs []LogDir
	err := c.own.do(ctx, func(w *wire) error {
		resp, err := ask[*kmsg.DescribeLogDirsResponse](ctx, w, req)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			return needs(err, seesCluster)
		}
		dirs = logDirs(resp)
		return nil
	})
	if err == nil &&
		len(dirs) == 0 { // what brokers before 3.2 answer to a user without the right to Describe the cluster
		err = &deniedError{errors.New("the answer names none"), seesCluster}
	}
	if err != nil {
		return nil, explain(fmt.Errorf("ask the broker at %s for its log directories: %w", c.opts.OwnAddress, err))
	}
	return dirs, nil
}

func logDirs(resp *kmsg.DescribeLogDirsResponse) []LogDir {
	out := make([]LogDir, 0, len(resp.Dirs))
	for _, d := range resp.Dirs {
		dir := LogDir{Path: filepath.Clean(d.Dir), Err: kerr.ErrorForCode(d.ErrorCode), Free: -1, Total: -1}
		if resp.Version >= 4 {
			dir.Free, dir.Total = d.UsableBytes, d.TotalBytes
		}
		dir.Cordoned = d.IsCordoned // false before version 5
		out = append(out, dir)
	}
	slices.SortFunc(out, func(a, b LogDir) int { return strings.Compare(a.Path, b.Path) })
	return out
}
