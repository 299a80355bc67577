package daemon

import (
	"strings"
	"sync"
)

// What can be wrong with the agent itself while it goes on with its work.
const (
	noteSettings = iota
	noteHTTP
	noteKinds
)

// notes are what is wrong with the agent itself, for /healthz and systemd's status line.
type notes struct {
	mu   sync.Mutex
	list [noteKinds]string
}

// set says what is wrong; an empty text is nothing any more.
func (n *notes) set(kind int, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.list[kind] = text
}

// text is one line for each, empty if all is well.
func (n *notes) text() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var all []string
	for _, text := range n.list {
		if text != "" {
			all = append(all, text)
		}
	}
	return strings.Join(all, "\n")
}
