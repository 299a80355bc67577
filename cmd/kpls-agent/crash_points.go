//go:build crashpoints

package main

import (
	"os"
	"sync"
	"syscall"
)

// crashPoint kills this process with SIGKILL at the step that
// KPLS_AGENT_CRASH_AT names, and stops it with SIGSTOP the first time it comes
// to the step that KPLS_AGENT_STOP_AT names, until somebody sends it SIGCONT.
// So a test can let an agent die anywhere, and change the world in the middle of
// its step, without depending on time.
func crashPoint() func(string) {
	crash, stop := os.Getenv("KPLS_AGENT_CRASH_AT"), os.Getenv("KPLS_AGENT_STOP_AT")
	var once sync.Once
	return func(point string) {
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
