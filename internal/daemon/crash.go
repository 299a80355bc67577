//go:build !crashpoints

package daemon

import "example.com/kpls-agent/internal/agent"

// crashPoint is nothing but in a build for tests.
func crashPoint() func(agent.Point) { return nil }
