package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/settings"
)

// Node is this VM's broker as its server.properties names it.
type Node struct {
	config.Node
	Agents config.Effective // the listener over which the agents talk to the brokers
}

// Word names the agents' listener as an operator knows it.
func (n Node) Word() string {
	if n.Agents.Name == n.InterBroker.Name {
		return "inter-broker listener " + n.Agents.Name
	}
	return "listener " + n.Agents.Name + " (kafka.listener)"
}

// ReadNode reads server.properties. It needs a broker in it, and the listener that the settings name.
func ReadNode(s *settings.Settings) (Node, error) {
	path := s.ServerProperties
	file, err := os.ReadFile(path)
	if err != nil {
		err = fmt.Errorf("read server.properties: %w", err)
		if errors.Is(err, fs.ErrPermission) {
			return Node{}, settings.Denied(err)
		}
		return Node{}, fmt.Errorf("%w; name the broker's file as server_properties in the settings", err)
	}
	n, err := config.Identity(path, file)
	if err != nil {
		return Node{}, err
	}
	agents := n.InterBroker
	if s.Kafka.Listener != "" {
		if agents, err = n.Listener(s.Kafka.Listener); err != nil {
			return Node{}, fmt.Errorf("%s: %w; correct kafka.listener in the settings, or give every broker the "+
				"listener", path, err)
		}
	}
	return Node{n, agents}, nil
}
