//go:build matrix

package e2e

import (
	"fmt"
	"testing"

	"example.com/kpls-agent/test/history"
)

// TestMatrixUpgrade is TestUpgrade from every build that can be upgraded, and back.
func TestMatrixUpgrade(t *testing.T) {
	table := []string{
		"| from the build of, and back | records of a client | failed | lost | longest stall |\n",
		"| --- | --- | --- | --- | --- |\n",
	}
	for _, commit := range []string{history.Oldest, history.Before} {
		t.Run(commit[:7], func(t *testing.T) {
			f := upgraded(t, commit)
			table = append(table, fmt.Sprintf("| %s | %d | %d | %d | %.1f s |\n",
				commit[:7], f.Sent, f.Failed, f.Lost, f.LongestStall.Seconds()))
		})
	}
	matrixTable(t, "upgrade", table...)
}
