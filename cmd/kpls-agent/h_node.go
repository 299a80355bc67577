package main

import (
	"fmt"
	"os"

	"example.com/kpls-agent/internal/config"
	"example.com/kpls-agent/internal/settings"
)

// node is this VM's broker as its server.properties names it.
type node struct {
	config.Node
	agents config.Effective // the listener over which the agents talk to the brokers
}

// word names the agents' listener as an operator knows it.
func (n node) word() string {
	if n.agents.Name == n.InterBroker.Name {
		return "inter-broker listener " + n.agents.Name
	}
	return "listener " + n.agents.Name + " (kafka.listener)"
}

func readNode(s *settings.Settings) (node, error) {
	path := s.ServerProperties
	file, err := os.ReadFile(path)
	if err != nil {
		return node{}, fmt.Errorf("read server.properties: %w; name the broker's file as server_properties in the settings", err)
	}
	n, err := config.Identity(path, file)
	if err != nil {
		return node{}, err
	}
	agents := n.InterBroker
	if s.Kafka.Listener != "" {
		if agents, err = n.Listener(s.Kafka.Listener); err != nil {
			return node{}, fmt.Errorf("%s: %w; correct kafka.listener in the settings, or give every broker the listener", path, err)
		}
	}
	return node{n, agents}, nil
}
