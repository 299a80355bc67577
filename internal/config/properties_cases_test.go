package config

// hardCase is a file that is easy to get wrong.
type hardCase struct {
	name    string
	file    string
	desired Desired
	rule    string // why 3.7.1 refuses it, "" if it does not
}

// reference is the file of the published procedure before EXTERNAL is added.
const reference = `# broker-node-1 ~/config/server.properties
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@10.0.0.11:29092,2@10.0.0.12:29092,3@10.0.0.13:29092
listeners=INTERNAL://0.0.0.0:9092,CONTROLLER://0.0.0.0:29092
inter.broker.listener.name=INTERNAL
advertised.listeners=INTERNAL://10.0.0.11:9092
controller.listener.names=CONTROLLER
listener.security.protocol.map=INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTERNAL:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL
log.dirs=./data
`

// kraftHead, brokerHead and zkHead are what a file needs in addition to its listeners.
const (
	kraftHead  = "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@h:29092\ncontroller.listener.names=CONTROLLER\n"
	brokerHead = "process.roles=broker\nnode.id=1\ncontroller.quorum.voters=2@h:29092\ncontroller.listener.names=CONTROLLER\n"
	zkHead     = "broker.id=1\nzookeeper.connect=zk:2181\n"
)

// external is the listener of the procedure.
func external() Desired {
	return Desired{Endpoints: []Endpoint{{
		Name: "EXTERNAL", BindHost: "0.0.0.0", BindPort: 39092,
		AdvertisedHost: "b1.abc.eastus.azure.3199745.tidbcloud.com", AdvertisedPort: 9093, SecurityProtocol: "PLAINTEXT",
	}}}
}

// hardCases are judged by TestHardCases for 3.7.1 alone, and by TestAgainstJava
// for every version by Kafka itself.
var hardCases = []hardCase{
	{"the procedure's file", reference, external(), ""},
	{"no listeners at all in ZooKeeper mode", zkHead, external(), ""},
	{"no listeners at all in KRaft mode", brokerHead, external(), ""},
	{"a default map that a TLS name changes", kraftHead + "listeners=PLAINTEXT://:9092,CONTROLLER://:29092\n", Desired{Endpoints: []Endpoint{{Name: "SSL", BindPort: 1, AdvertisedHost: "h", AdvertisedPort: 1, SecurityProtocol: "PLAINTEXT"}}}, ""},
	{"a default map that holds the controllers", kraftHead + "listeners=PLAINTEXT://:9092,CONTROLLER://:29092\n", external(), ""},
	{"a wildcard that is advertised by default", kraftHead + "listeners=PLAINTEXT://h:9092,CONTROLLER://:29092,CLIENT://:9\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,CLIENT:PLAINTEXT\n", external(), ""},
	{"listeners advertised by default on 0.0.0.0", kraftHead + "listeners=PLAINTEXT://0.0.0.0:9092,CONTROLLER://:29092\n", external(), "R7"},
	{"twice, the last counts", reference + "listeners=INTERNAL://:9192,CONTROLLER://:29092\n", external(), ""},
	{"a key with an escape", zkHead + "lis\\u0074eners=PLAINTEXT://:9192\n", external(), ""},
	{"a value over three lines, one like a comment", zkHead + "listeners=PLAINTEXT://:9192,\\\n  A://:1,\\\r\n\t#B://:2\nlistener.security.protocol.map=A:SSL,PLAINTEXT:PLAINTEXT,#B:SSL\n", external(), "S5"},
	{"a comment does not continue", zkHead + "# c \\\nlisteners=PLAINTEXT://:9192", external(), ""},
	{"an inline comment is none", zkHead + "listeners=PLAINTEXT://:9192 # note\n", external(), "S3"},
	{"other separators", "broker.id : 1\nzookeeper.connect zk:2181\nlisteners\tPLAINTEXT://h:9192\n", external(), ""},
	{"trailing blanks", "broker.id=1 \nzookeeper.connect=zk:2181\nlisteners=PLAINTEXT://h:9192  \n", external(), ""},
	{"no final line end, and a spare backslash", zkHead + "log.dirs=/a\\", external(), ""},
	{"a final line end behind a backslash", zkHead + "log.dirs=/a\\\n", external(), ""},
	{"a final CR behind a backslash", zkHead + "log.dirs=/a\\\r", external(), ""},
	{"blanks that continue the last line", zkHead + "log.dirs=/a\\\n   ", external(), ""},
	{"CR LF", "broker.id=1\r\nzookeeper.connect=zk:2181\r\nlisteners=PLAINTEXT://h:9192,\\\r\n  A://:1\r\nlistener.security.protocol.map=A:SSL,PLAINTEXT:PLAINTEXT\r\n", external(), ""},
	{"CR", "broker.id=1\rzookeeper.connect=zk:2181\rlisteners=PLAINTEXT://h:9192", external(), ""},
	{"a byte order mark", "\xef\xbb\xbf" + zkHead, external(), "BOM"},
	{"a malformed escape", zkHead + "x=\\u12g4\n", external(), "S0"},
	{"a key over two lines", "broker.id=1\nzookeeper.connect=zk:2181\nlis\\\nteners=PLAINTEXT://:9192\n", external(), "S0"},
	{"a line without a key", zkHead + "=x\n", external(), "S0"},
	{"UTF-8 in a comment and in a value", zkHead + "# caf\xc3\xa9\nbroker.rack=caf\xc3\xa9\n", external(), ""},
	{"a placeholder elsewhere", zkHead + "config.providers=file\nssl.key.password=${file:/x:y}\n", external(), ""},
	{"a placeholder in the list", zkHead + "listeners=${file:/x:y}\n", external(), "PLACEHOLDER"},
	{"template marks", zkHead + "listeners={{ listeners }}\n", external(), "S3"},
	{"an empty item", zkHead + "listeners=PLAINTEXT://:9192,,\n", external(), ""},
	{"a spare comma in log.dirs", reference + "log.dirs=/x,\n", external(), ""},
	{"a spare comma in early.start.listeners", reference + "early.start.listeners=CONTROLLER,\n", external(), ""},
	{"a spare comma in the mechanisms", reference + "sasl.enabled.mechanisms=PLAIN, ,SCRAM-SHA-256\n", external(), ""},
	{"a spare comma in the TLS versions", reference + "ssl.enabled.protocols=TLSv1.3,\n", external(), ""},
	{"an item twice in another list", reference + "ssl.enabled.protocols=TLSv1.3,TLSv1.3\n", external(), ""},
	{"a spare comma that does not count", reference + "log.dirs=/x,\nlog.dirs=/x\n", external(), ""},
	{"an empty list", zkHead + "listeners=\n", Desired{}, "R6"},
	{"an empty advertised list", zkHead + "advertised.listeners=\n", Desired{}, "R6"},
	{"lower case", zkHead + "listeners=plaintext://:9192\nadvertised.listeners=PlainText://h:9192\nlistener.security.protocol.map=plaintext:ssl\n", external(), ""},
	{"the map names one twice", zkHead + "listener.security.protocol.map=PLAINTEXT:SSL,PLAINTEXT:PLAINTEXT\n", external(), ""},
	{"the map names one twice in two cases", zkHead + "listener.security.protocol.map=plaintext:SSL,PLAINTEXT:PLAINTEXT\n", Desired{}, "S8"},
	{"a map item without a colon", zkHead + "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,,A:SSL\n", Desired{}, "S6"},
	{"an unknown protocol", zkHead + "listener.security.protocol.map=PLAINTEXT:TLS\n", Desired{}, "S7"},
	{"no entry in the map", zkHead + "listeners=PLAINTEXT://:1,A://:2\n", Desired{}, "S9"},
	{"a name twice", zkHead + "listeners=PLAINTEXT://:1,plaintext://:2\n", Desired{}, "R1"},
	{"a port twice", zkHead + "listeners=PLAINTEXT://:1,SSL://:1\n", Desired{}, "R2"},
	{"a port twice, in two families", zkHead + "listeners=PLAINTEXT://127.0.0.1:1,SSL://[::1]:1\nadvertised.listeners=PLAINTEXT://h:1\n", Desired{}, ""},
	{"a port thrice, in two families", zkHead + "listeners=PLAINTEXT://127.0.0.1:1,SSL://[::1]:1,SASL_SSL://h:1\nadvertised.listeners=PLAINTEXT://h:1\n", Desired{}, "R2"},
	{"port 0 twice", zkHead + "listeners=PLAINTEXT://:0,SSL://:0\n", Desired{}, ""},
	{"advertised ports may repeat", zkHead + "listeners=PLAINTEXT://:1,SSL://:2\nadvertised.listeners=PLAINTEXT://lb:9,SSL://lb:9\n", external(), ""},
	{"a negative port", zkHead + "listeners=PLAINTEXT://:-1\n", Desired{}, "R26"},
	{"an advertised port too high", zkHead + "advertised.listeners=PLAINTEXT://h:65536\n", Desired{}, "R9"},
	{"a port that is no int", zkHead + "listeners=PLAINTEXT://:2147483648\n", Desired{}, "S4"},
	{"an advertised name that is not bound", zkHead + "advertised.listeners=PLAINTEXT://h:1,SSL://h:2\n", Desired{}, "R5"},
	{"advertised ::", zkHead + "advertised.listeners=PLAINTEXT://[::]:9092\n", Desired{}, "R7"},
	{"a controller that is advertised", kraftHead + "listeners=PLAINTEXT://:9092,CONTROLLER://:29092\nadvertised.listeners=PLAINTEXT://h:1,CONTROLLER://h:2\n", external(), "R10"},
	{"a controller advertised as 0.0.0.0", kraftHead + "listeners=PLAINTEXT://:9092,CONTROLLER://:29092\nadvertised.listeners=PLAINTEXT://h:1,CONTROLLER://0.0.0.0:2\n", external(), "R10"},
	{"both inter-broker properties", zkHead + "inter.broker.listener.name=PLAINTEXT\nsecurity.inter.broker.protocol=PLAINTEXT\n", Desired{}, "R13"},
	{"an empty inter-broker name", zkHead + "inter.broker.listener.name=\n", Desired{}, "R14"},
	{"an inter-broker listener not in the map", zkHead + "inter.broker.listener.name=X\n", Desired{}, "R14"},
	{"an inter-broker listener not advertised", zkHead + "inter.broker.listener.name=SSL\n", Desired{}, "R14"},
	{"no inter-broker listener", zkHead + "listeners=SSL://:1\n", Desired{}, "R15"},
	{"an inter-broker protocol in lower case", zkHead + "security.inter.broker.protocol=plaintext\n", Desired{}, "S7"},
	{"controller names in lower case", "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@h:29092\ncontroller.listener.names=controller\nlisteners=PLAINTEXT://:9092,CONTROLLER://:29092\n", external(), "R17"},
	{"controller names in lower case, in the map", "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@h:29092\ncontroller.listener.names=controller\nlisteners=PLAINTEXT://:9092,CONTROLLER://:29092\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n", external(), "R17"},
	{"controller names with a blank", "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@h:29092\ncontroller.listener.names=CONTROLLER, C2\nlisteners=PLAINTEXT://:9092,CONTROLLER://:29092,C2://:29093\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,C2:PLAINTEXT\n", external(), "R17"},
	{"a broker that binds the controller's listener", brokerHead + "listeners=PLAINTEXT://:9092,CONTROLLER://:29092\n", Desired{}, "R18"},
	{"a broker whose map lacks the controllers", brokerHead + "listener.security.protocol.map=PLAINTEXT:PLAINTEXT\n", external(), "R18"},
	{"a broker that is a voter", "process.roles=broker\nnode.id=2\ncontroller.quorum.voters=2@h:29092\ncontroller.listener.names=CONTROLLER\n", Desired{}, "ID"},
	{"a broker 1 that is a voter", "process.roles=broker\nnode.id=1\ncontroller.quorum.voters=1@h:29092\ncontroller.listener.names=CONTROLLER\n", Desired{}, "R18"},
	{"a controller that is no voter", "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=2@h:29092\ncontroller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://:1,CONTROLLER://:2\n", Desired{}, "R20"},
	{"no voters", "process.roles=broker\nnode.id=1\ncontroller.listener.names=CONTROLLER\n", Desired{}, "R20"},
	{"a dynamic quorum", "process.roles=broker\nnode.id=1\ncontroller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=h:1\n", Desired{}, "R20"},
	{"voters that are none", "process.roles=broker\nnode.id=1\ncontroller.listener.names=CONTROLLER\ncontroller.quorum.voters=x@h:1\n", Desired{}, "R20"},
	{"no controller names", "process.roles=broker\nnode.id=1\ncontroller.quorum.voters=2@h:1\n", Desired{}, "R17"},
	{"a controller only", "process.roles=controller\nnode.id=1\ncontroller.quorum.voters=1@h:1\ncontroller.listener.names=CONTROLLER\nlisteners=CONTROLLER://:1\n", external(), "R19"},
	{"a role twice", "process.roles=broker,broker\nnode.id=1\ncontroller.quorum.voters=2@h:1\ncontroller.listener.names=CONTROLLER\n", Desired{}, "ROLE"},
	{"an empty role", "process.roles=broker,\nnode.id=1\ncontroller.quorum.voters=2@h:1\ncontroller.listener.names=CONTROLLER\n", Desired{}, "ROLE"},
	{"no roles and no ZooKeeper", "broker.id=1\n", Desired{}, "R21"},
	{"controller names in ZooKeeper mode", zkHead + "controller.listener.names=CONTROLLER\n", Desired{}, "R21"},
	{"a control plane in KRaft mode", brokerHead + "control.plane.listener.name=PLAINTEXT\n", Desired{}, "R21"},
	{"a control plane", zkHead + "control.plane.listener.name=SSL\nlisteners=PLAINTEXT://:1,SSL://:2\n", external(), ""},
	{"a control plane that is not advertised", zkHead + "control.plane.listener.name=SSL\n", Desired{}, "R21"},
	{"a control plane that is the inter-broker listener", zkHead + "control.plane.listener.name=PLAINTEXT\n", Desired{}, "R21"},
	{"an early listener that is not there", zkHead + "early.start.listeners=PLAINTEXT,X\n", Desired{}, "R22"},
	{"an early listener that goes away", zkHead + "early.start.listeners=EXTERNAL\nlisteners=PLAINTEXT://:1,EXTERNAL://:2\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,EXTERNAL:SSL\n", Desired{Absent: []string{"EXTERNAL"}}, "R22"},
	{"SASL between brokers without the mechanism", zkHead + "security.inter.broker.protocol=SASL_SSL\nlisteners=SASL_SSL://:1\nsasl.enabled.mechanisms=PLAIN\n", Desired{}, "R23"},
	{"SASL between brokers with the mechanism", zkHead + "security.inter.broker.protocol=SASL_SSL\nlisteners=SASL_SSL://:1\nlistener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN , X\nsasl.mechanism.inter.broker.protocol=PLAIN\n", external(), ""},
	{"two ids", "broker.id=2\nnode.id=1\nzookeeper.connect=zk:1\n", Desired{}, "R24"},
	{"an id with a sign and zeros", "broker.id=+001\nzookeeper.connect=zk:1\n", Desired{}, ""},
	{"no id", "zookeeper.connect=zk:1\n", Desired{}, "ID"},
	{"an id that is none", "broker.id=one\nzookeeper.connect=zk:1\n", Desired{}, "ID"},
	{"a generated id that is written into the file", "broker.id=1001\nzookeeper.connect=zk:1\n", Desired{}, "ID"},
	{"a node.id above the reserved ones", "node.id=1\nreserved.broker.max.id=0\nzookeeper.connect=zk:1\n", external(), "R27"},
	{"an id above the reserved ones", zkHead + "reserved.broker.max.id=0\n", external(), "R27"},
	{"the last of the reserved ids", zkHead + "reserved.broker.max.id= +1\n", external(), ""},
	{"an id above the reserved ones, none generated", zkHead + "reserved.broker.max.id=0\nbroker.id.generation.enable=False\n", external(), ""},
	{"ids are generated", zkHead + "reserved.broker.max.id=0\nbroker.id.generation.enable = TRUE\n", external(), "R27"},
	{"neither true nor false", zkHead + "broker.id.generation.enable=no\n", external(), "R27"},
	{"a reserved id that is none", zkHead + "reserved.broker.max.id=1e3\n", external(), "R27"},
	{"a reserved id below 0", zkHead + "reserved.broker.max.id=-1\n", external(), "R27"},
	{"a reserved id that is none in KRaft mode", brokerHead + "reserved.broker.max.id=\n", external(), "R27"},
	{"an id above the reserved ones in KRaft mode", brokerHead + "reserved.broker.max.id=0\n", external(), ""},
	{"no id but the generated one", "broker.id=-1\nzookeeper.connect=zk:1\n", Desired{}, "ID"},
	{"a migration", zkHead + "zookeeper.metadata.migration.enable=true\n", Desired{}, "MIGRATION"},
	{"EXTERNAL made by hand", reference + "listeners = INTERNAL://0.0.0.0:9092 , external://0.0.0.0:39092, CONTROLLER://0.0.0.0:29092\nadvertised.listeners=EXTERNAL://b1.abc.eastus.azure.3199745.tidbcloud.com:9093,INTERNAL://10.0.0.11:9092\n", external(), ""},
	{"EXTERNAL between brokers", zkHead + "inter.broker.listener.name=EXTERNAL\nlisteners=EXTERNAL://:1\nlistener.security.protocol.map=EXTERNAL:PLAINTEXT\n", external(), "NAME"},
	{"EXTERNAL for controllers", "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@h:29092\ncontroller.listener.names=EXTERNAL\nlisteners=PLAINTEXT://:9092,EXTERNAL://:29092\n", external(), "NAME"},
	{"EXTERNAL for the control plane", zkHead + "control.plane.listener.name=EXTERNAL\nlisteners=PLAINTEXT://:1,EXTERNAL://:2\nlistener.security.protocol.map=PLAINTEXT:PLAINTEXT,EXTERNAL:PLAINTEXT\n", external(), "NAME"},
	{"EXTERNAL on a port of another's", zkHead + "listeners=PLAINTEXT://:39092\n", external(), "R2"},
	{"EXTERNAL to be removed", reference + "listeners=INTERNAL://:9092,EXTERNAL://:1,CONTROLLER://:29092\nadvertised.listeners=EXTERNAL://h:1,INTERNAL://h:2\nlistener.name.external.max.connections=1\n", Desired{Absent: []string{"EXTERNAL"}}, ""},
}
