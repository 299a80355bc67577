package system

// elsewhere: another unit, another folder behind a link, another group.
func elsewhere(s *system) {
	m := s.Machine(3)
	s.on(m, pristine+`
mkdir -p /etc/sysusers.d
printf 'g brokers\nm kafka brokers\n' >/etc/sysusers.d/brokers.conf; systemd-sysusers
install -d -m 0750 -o root -g brokers /opt/kafka-3 /opt/kafka-3/config
ln -sfn kafka-3 /opt/broker
install -m 0640 -o kafka -g brokers /etc/kafka/server.properties /opt/kafka-3/config/server.properties
mv /etc/kafka/server.properties /etc/kafka/server.properties.old
cd /etc/systemd/system
mkdir broker@3.service.d
there='s|/etc/kafka/server.properties|/opt/broker/config/server.properties|'
sed "$there" /usr/lib/systemd/system/kafka.service >broker@3.service
sed "$there" kafka.service.d/jars.conf >broker@3.service.d/jars.conf
sed -i -e '/^server_properties:/d' -e '/^unit:/d' /etc/kpls-agent/kpls-agent.yaml
printf 'server_properties: /opt/broker/config/server.properties\nunit: broker@3.service\n' >>/etc/kpls-agent/kpls-agent.yaml
systemctl daemon-reload
systemctl start broker@3
kpls-agent setup
systemctl start kpls-agent
`)
	s.settled()
	s.says(m, "stat -c '%U:%G %a' /opt/kafka-3/config/server.properties; grep -c EXTERNAL /opt/kafka-3/config/server.properties; runuser -u kafka -- test -r /opt/broker/config/server.properties && echo read", "kpls-agent:brokers 640\n3\nread")
	s.says(m, "getfacl --omit-header --absolute-names /etc/kafka /opt/kafka-3/config | grep kpls", "user:kpls-agent:rwx")
	s.says(m, "runuser -u kpls-agent -- systemctl --no-ask-password restart kafka.service 2>&1 | head -1", "Failed to restart kafka.service: Interactive authentication required.")
	s.says(m, "kpls-agent setup --undo | grep back", "give /opt/kafka-3/config/server.properties back to kafka")

	s.on(m, `set -e
systemctl stop kpls-agent broker@3
rm -r /etc/systemd/system/broker@3.service /etc/systemd/system/broker@3.service.d
install -m 0640 -o root -g kafka /opt/kafka-3/config/server.properties /etc/kafka/server.properties
sed -i -e '/^server_properties:/d' -e '/^unit:/d' /etc/kpls-agent/kpls-agent.yaml
systemctl daemon-reload
systemctl start kafka
kpls-agent setup
systemctl start kpls-agent
`)
	s.settled()
}
