//go:build crashpoints

package main

import (
	"os"
	"syscall"
)

// crashPoint kills this process with SIGKILL at the step that
// KPLS_AGENT_CRASH_AT names, so that a test can let an agent die anywhere
// without depending on time.
func crashPoint() func(string) {
	at := os.Getenv("KPLS_AGENT_CRASH_AT")
	return func(point string) {
		if at != "" && point == at {
			_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
			select {}
		}
	}
}
