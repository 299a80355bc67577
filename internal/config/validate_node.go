package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// checkNode refuses files that are not a broker's, not this broker's, or not
// possible to judge from the file alone.
func (p *propFile) checkNode() error {
	for _, key := range []string{
		keyListeners, keyAdvertised, keyProtocolMap, keyRoles, keyNodeID, keyBrokerID,
		keyControllerNames, keyInterBroker, keyInterProtocol, keyControlPlane, keyEarlyStart, keyMigration,
	} {
		if strings.Contains(p.text(key), "${") {
			return p.fault("PLACEHOLDER", key, key+" holds a placeholder, which only Kafka can resolve",
				"write the value itself")
		}
	}
	if strings.EqualFold(p.text(keyMigration), "true") {
		return p.fault("MIGRATION", keyMigration, "a migration from ZooKeeper is under way",
			"finish it before listeners are changed")
	}
	roles := splitList(p.text(keyRoles))
	for i, role := range roles {
		if role != "broker" && role != "controller" || slices.Index(roles, role) != i {
			return p.fault("ROLE", keyRoles, fmt.Sprintf("%s must be broker, controller, or both once", keyRoles),
				"correct it")
		}
	}
	if len(roles) == 1 && roles[0] == "controller" {
		return p.fault("R19", keyRoles, "this node is only a controller and must not have a listener for clients",
			"run kpls-agent on brokers only")
	}
	return p.checkID()
}

// checkID is R24.
func (p *propFile) checkID() error {
	ids := map[string]int32{}
	for _, key := range []string{keyNodeID, keyBrokerID} {
		if !p.has(key) {
			continue
		}
		id, err := strconv.ParseInt(p.text(key), 10, 32)
		if err != nil || id < 0 {
			return p.fault("ID", key, key+" is not a number from 0 up", p.setID("set it"))
		}
		ids[key] = int32(id)
	}
	node, ok1 := ids[keyNodeID]
	broker, ok2 := ids[keyBrokerID]
	switch {
	case !ok1 && !ok2:
		return p.fault("ID", keyNodeID, "neither "+keyNodeID+" nor "+keyBrokerID+" is set", p.setID("set "+keyNodeID))
	case ok1 && ok2 && node != broker:
		return p.fault("R24", keyNodeID, fmt.Sprintf("%s is %d and %s is %d", keyNodeID, node, keyBrokerID, broker),
			"keep one of them")
	}
	return nil
}

// id is the broker's id; checkID has passed.
func (p *propFile) id() int32 {
	id, _ := strconv.ParseInt(p.textOr(keyNodeID, p.text(keyBrokerID)), 10, 32)
	return int32(id)
}

// checkClash refuses to manage a listener that the node itself, or the agents, depend on.
func (p *propFile) checkClash(names []string, agents string) error {
	for _, name := range names {
		prefix := listenerPrefix(name)
		switch {
		case slices.ContainsFunc(splitNonEmpty(p.text(keyControllerNames)), func(c string) bool {
			return strings.EqualFold(c, name)
		}):
			return p.fault("NAME", keyControllerNames, fmt.Sprintf("%s is a controller listener of this node", name),
				"choose another name in the manifest").by(name, "")
		case p.interBroker() == name:
			return p.fault("NAME", keyInterBroker, fmt.Sprintf("%s is the inter-broker listener of this node", name),
				"choose another name in the manifest").by(name, "")
		case strings.EqualFold(agents, name):
			text := name + " is the listener over which the agents reach the brokers, and a manifest that is wrong, or removes it, would cut them off"
			return p.fault("NAME", keyListeners, text,
				"name another listener as kafka.listener in the agent's settings, or choose another name in the manifest")
		case strings.EqualFold(p.text(keyControlPlane), name):
			return p.fault("NAME", keyControlPlane, fmt.Sprintf("%s is the control plane listener of this node", name),
				"choose another name in the manifest").by(name, "")
		}
		for _, item := range splitNonEmpty(p.text(keyListeners)) {
			if other, fault := parseListenerItem(
				item); fault == nil && strings.HasPrefix(listenerPrefix(other.name), prefix) &&
				other.name != name {
				return p.fault("NAME", keyListeners,
					fmt.Sprintf("the properties of listener %s begin like those of %s", other.name, name),
					"rename one of them").by(name, "")
			}
		}
	}
	return nil
}
