package machines

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"example.com/kpls-agent/test/sandbox"
)

// Ports that a broker or its agent listens on.
const (
	internalPort   = "9092"
	controllerPort = "29092"
	ExternalPort   = "39092"
	ProbePort      = "39192"
	MetricsPort    = "9464"
)

// Archive is the address of a web server that a test may have on the monitoring host.
func (*Machine) Archive() string { return hosts()["mon"].Addr }

// Internal is the address of the broker's inter-broker listener.
func (m *Machine) Internal() string { return net.JoinHostPort(m.Addr, internalPort) }

// External is the address of the listener that customers reach through the load balancer.
func (m *Machine) External() string { return net.JoinHostPort(m.Addr, ExternalPort) }

// Probe is the address of the agent's probe for that listener.
func (m *Machine) Probe() string { return net.JoinHostPort(m.Addr, ProbePort) }

// Metrics is the address of the agent's metrics.
func (m *Machine) Metrics() string { return net.JoinHostPort(m.Addr, MetricsPort) }

// The units are the package's examples. The jars come without Kafka's scripts, and
// three brokers share this machine: these replace what is started.
const (
	java         = "/usr/bin/java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -XX:+ExitOnOutOfMemoryError "
	jars         = "-cp /opt/kafka/config:/opt/kafka/* "
	startBroker  = "[Service]\nExecStart=\nExecStart=" + java + "-Xms128m -Xmx256m " + jars + "kafka.Kafka /etc/kafka/server.properties\n"
	startStorage = "[Service]\nExecStart=\nExecStart=" + java + "-Xmx128m " + jars + "kafka.tools.StorageTool format -t ${CLUSTER_ID} -c /etc/kafka/server.properties\n"
)

// seed is what every machine has on its disk before its first boot, by path.
func (m *Machine) seed() (map[string]string, error) {
	const units, dropIns = "usr/lib/systemd/system/", "etc/systemd/system/" // a unit in /etc could not be masked
	root, err := sandbox.ModuleRoot()
	if err != nil {
		return nil, err
	}
	examples := filepath.Join(root, "packaging", "examples")
	kafka, err := os.ReadFile(filepath.Join(examples, "kafka.service"))
	if err != nil {
		return nil, err
	}
	format, err := os.ReadFile(filepath.Join(examples, "kafka-format.service"))
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"etc/hostname":                               m.Name + "\n",
		"etc/hosts":                                  fmt.Sprintf("127.0.0.1 localhost\n%s %s\n", m.Addr, m.Name),
		"etc/machine-id":                             "",
		"var/log/journal/.keep":                      "", // the journal survives a reboot
		"usr/lib/sysusers.d/kafka.conf":              "u kafka - \"Apache Kafka\" /var/lib/kafka\n",
		"usr/lib/tmpfiles.d/kafka.conf":              "z /etc/kafka/server.properties 0640 root kafka\n",
		"etc/kafka/server.properties":                m.properties(),
		units + "kafka.service":                      string(kafka),
		dropIns + "kafka.service.d/jars.conf":        startBroker,
		units + "kafka-format.service":               string(format),
		dropIns + "kafka-format.service.d/jars.conf": startStorage,
	}, nil
}

// properties is server.properties of the published procedure before EXTERNAL is added.
func (m *Machine) properties() string {
	var voters []string
	for i, h := range []string{"b1", "b2", "b3"} {
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, net.JoinHostPort(hosts()[h].Addr, controllerPort)))
	}
	return fmt.Sprintf(`# broker-node-%d
process.roles=broker,controller
node.id=%d
controller.quorum.voters=%s
listeners=INTERNAL://0.0.0.0:%s,CONTROLLER://0.0.0.0:%s
inter.broker.listener.name=INTERNAL
advertised.listeners=INTERNAL://%s
controller.listener.names=CONTROLLER
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
log.dirs=/var/lib/kafka/data
`, m.ID, m.ID, strings.Join(voters, ","), internalPort, controllerPort, m.Internal())
}
