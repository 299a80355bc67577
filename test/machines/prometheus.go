package machines

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// PrometheusAddr is where Prometheus answers the monitoring host.
const PrometheusAddr = "127.0.0.1:9090"

// Prometheus starts Prometheus on the monitoring host. It scrapes the agents, and evaluates rule files.
func (b *Bed) Prometheus(ctx context.Context, rules ...string) (stop func(), err error) {
	var targets []string
	for _, m := range b.Machines {
		targets = append(targets, m.Metrics())
	}
	config := fmt.Sprintf(`global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - job_name: kpls-agent
    static_configs:
      - targets: [%s]
`, strings.Join(rules, ", "), strings.Join(targets, ", "))
	data := filepath.Join(dir, "prometheus")
	path := filepath.Join(data, "prometheus.yml")
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(data, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own copy
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	cmd := b.Mon.Command(ctx, "prometheus", "--config.file="+path, "--storage.tsdb.path="+data,
		"--web.listen-address="+PrometheusAddr)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	return func() {
		cancel()
		_ = cmd.Wait() // it was killed
	}, nil
}
