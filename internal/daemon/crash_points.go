//go:build crashpoints

package daemon

import (
	"os"
	"sync"
	"syscall"

	"example.com/kpls-agent/internal/agent"
)

// crashPoint kills this process with SIGKILL at the step that
// KPLS_AGENT_CRASH_AT names, and stops it with SIGSTOP the first time it comes
// to the step that KPLS_AGENT_STOP_AT names, until somebody sends it SIGCONT.
// So a test can let an agent die anywhere, and change the world in the middle of
// its step, without depending on time.
func crashPoint() func(agent.Point) {
	crash, stop := agent.Point(os.Getenv("KPLS_AGENT_CRASH_AT")), agent.Point(os.Getenv("KPLS_AGENT_STOP_AT"))
	var once sync.Once
	return func(point agent.Point) {
		switch point {
		case "":
		case crash:
			_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
			select {}
		case stop:
			once.Do(func() { _ = syscall.Kill(syscall.Getpid(), syscall.SIGSTOP) })
		}
	}
}
