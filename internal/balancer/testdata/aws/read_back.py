"""Builds the network of aws/manifest.yaml against moto's server and writes down what it answers.

    python3 -m venv venv && venv/bin/pip install 'moto[server,elbv2,ec2]==5.2.5' boto3==1.44.8
    venv/bin/python read_back.py

The answers are those of boto3, which are the JSON of the AWS CLI. moto gives other ids each time, so they are replaced
by counted ones. Attributes that moto does not know are added as the elbv2 API describes them; they are marked below.
"""
import json
import os
import re

import boto3
from moto.server import ThreadedMotoServer

os.environ.update(AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x", AWS_DEFAULT_REGION="us-west-2")
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
server.start()
url = "http://%s:%d" % server.get_host_and_port()
ec2, elb = (boto3.client(s, endpoint_url=url) for s in ("ec2", "elbv2"))

vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
image = ec2.describe_images()["Images"][0]["ImageId"]
subnets, instances = [], []
for i in (1, 2, 3):
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.%d.0/24" % i, AvailabilityZoneId="usw2-az%d" % i)
    subnets.append(subnet["Subnet"]["SubnetId"])
    run = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1, SubnetId=subnets[-1])
    instances.append(run["Instances"][0]["InstanceId"])
lb = elb.create_load_balancer(Name="kafka-pls", Type="network", Scheme="internal", Subnets=subnets)
lb = lb["LoadBalancers"][0]["LoadBalancerArn"]
out, health, attributes = {}, [], []


def forward(name, port, bind, probe, targets, cuts, cross_zone):
    """One port of the load balancer with its group."""
    group = elb.create_target_group(
        Name="kafka-pls-" + name, Protocol="TCP", Port=bind, VpcId=vpc, TargetType="instance",
        HealthCheckProtocol="TCP", HealthCheckPort=str(probe), HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=5, HealthyThresholdCount=2, UnhealthyThresholdCount=2,
    )["TargetGroups"][0]["TargetGroupArn"]
    elb.modify_target_group_attributes(TargetGroupArn=group, Attributes=[
        {"Key": "preserve_client_ip.enabled", "Value": "false"},
        {"Key": "proxy_protocol_v2.enabled", "Value": "false"},
        {"Key": "target_health_state.unhealthy.connection_termination.enabled", "Value": cuts},
        {"Key": "load_balancing.cross_zone.enabled", "Value": cross_zone},
    ])
    elb.register_targets(TargetGroupArn=group, Targets=[{"Id": i, "Port": bind} for i in targets])
    made = elb.create_listener(LoadBalancerArn=lb, Protocol="TCP", Port=port, DefaultActions=[
        {"Type": "forward", "TargetGroupArn": group}])["Listeners"][0]["ListenerArn"]
    health.append({"TargetGroupArn": group} | elb.describe_target_health(TargetGroupArn=group))
    attributes.append({"TargetGroupArn": group} | elb.describe_target_group_attributes(TargetGroupArn=group))
    # moto 5.2.5 has no describe-listener-attributes; the API has this one attribute for a TCP listener.
    attributes.append({"ListenerArn": made, "Attributes": [{"Key": "tcp.idle_timeout.seconds", "Value": "900"}]})


for i, instance in enumerate(instances):
    forward("external-b%d" % (i + 1), 9093 + i, 39092, 39192, [instance], "false", "false")
for i, instance in enumerate(instances):
    forward("external2-b%d" % (i + 1), 9193 + i, 39093, 39193, [instance], "false", "true")
forward("bootstrap", 9092, 39090, 39190, instances, "true", "true")
ec2.create_vpc_endpoint_service_configuration(AcceptanceRequired=True, NetworkLoadBalancerArns=[lb])
attributes.append({"LoadBalancerArn": lb} | elb.describe_load_balancer_attributes(LoadBalancerArn=lb))
out["load-balancers.json"] = [elb.describe_load_balancers()]
out["listeners.json"] = [elb.describe_listeners(LoadBalancerArn=lb)]
out["target-groups.json"] = [elb.describe_target_groups()]
out["target-health.jsonl"] = health
out["attributes.jsonl"] = attributes
out["endpoint-services.json"] = [ec2.describe_vpc_endpoint_service_configurations()]
server.stop()

known = {}


def counted(match):
    prefix = match.group(1)
    if match.group(0) not in known:
        known[match.group(0)] = "%s%0*x" % (prefix, len(match.group(0)) - len(prefix), 1 + sum(k.startswith(prefix) for k in known))
    return known[match.group(0)]


for name in sorted(out):
    text = ""
    for answer in out[name]:
        answer.pop("ResponseMetadata", None)
        indent = None if name.endswith("l") else 1
        text += json.dumps(answer, indent=indent, default=lambda t: "2026-11-30T00:00:00+00:00") + "\n"
    text = re.sub(r"\b(i-|vpc-|subnet-|vpce-svc-)[0-9a-f]{8,17}\b", counted, text)
    text = re.sub(r"(/)[0-9a-f]{16}\b", counted, text)
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name), "w") as f:
        f.write(text)
