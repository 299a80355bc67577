# The network's side of a Kafka cluster on AWS: an internal Network Load Balancer with one listener and one target group
# for each broker, one of all brokers for each bootstrap listener, and an endpoint service. It is the same for every
# cluster: what the manifest says is in kpls.auto.tfvars.json, what only AWS knows in terraform.tfvars.

terraform {
  required_version = ">= 1.9" # a rule of one variable asks for another
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0, < 7.0"
    }
  }
}

variable "kpls" {
  description = "What the manifest says, as kpls-agent writes it."
  type = object({
    cluster           = string
    manifest_sha256   = string
    name              = string
    interval_seconds  = number
    healthy_threshold = number
    zones             = list(string)
    brokers           = list(string)
    target_ports      = list(number)
    clients = map(object({
      open_ports      = list(object({ from = number, to = number }))
      bootstrap_ports = string
    }))
    groups = map(object({
      name       = string
      listener   = string
      clients    = string
      port       = number
      bind_port  = number
      probe_port = number
      brokers    = list(string)
      cross_zone = bool
      bootstrap  = bool
    }))
  })
}

variable "vpc_id" {
  description = "The VPC of the brokers."
  type        = string
}

variable "subnet_ids" {
  description = "One subnet of the load balancer in each zone, by the zone's id, such as usw2-az1."
  type        = map(string)
  validation {
    condition     = length(var.subnet_ids) > 0 && length(setsubtract(var.kpls.zones, keys(var.subnet_ids))) == 0
    error_message = "subnet_ids needs a subnet in each zone of the manifest: ${join(", ", var.kpls.zones)}."
  }
}

variable "target_type" {
  description = "How targets are named: instance, or ip."
  type        = string
  default     = "instance"
  validation {
    condition     = contains(["instance", "ip"], var.target_type)
    error_message = "target_type must be instance or ip."
  }
}

variable "broker_targets" {
  description = "The instance of each broker, or its address where target_type is ip, by node.id."
  type        = map(string)
  validation {
    condition     = toset(keys(var.broker_targets)) == toset(var.kpls.brokers)
    error_message = "broker_targets must have the brokers of the manifest and no others: ${join(", ", var.kpls.brokers)}."
  }
  validation {
    condition     = length(distinct(values(var.broker_targets))) == length(var.broker_targets)
    error_message = "Two brokers have the same target."
  }
}

variable "broker_security_group_ids" {
  description = "The security groups of the brokers' VMs."
  type        = list(string)
  validation {
    condition     = length(var.broker_security_group_ids) > 0
    error_message = "broker_security_group_ids needs at least one group: without it the load balancer reaches no broker."
  }
}

variable "add_broker_ingress" {
  description = "Whether rules that let the load balancer in are added to the brokers' security groups. Set it to false where these have their rules written inline elsewhere."
  type        = bool
  default     = true
}

variable "client_cidrs" {
  description = "Where the customers of each listener come from, by the listener's name."
  type        = map(list(string))
  validation {
    condition     = toset(keys(var.client_cidrs)) == toset(keys(var.kpls.clients))
    error_message = "client_cidrs must have the listeners of the manifest and no others: ${join(", ", keys(var.kpls.clients))}."
  }
}

variable "allowed_principals" {
  description = "ARNs of the accounts, users or roles that may ask for a connection. Each connection is accepted by hand."
  type        = list(string)
}

variable "deletion_protection" {
  description = "Whether the load balancer is protected from being deleted."
  type        = bool
  default     = true
}

locals {
  tags = { "kpls-cluster" = var.kpls.cluster }

  # Without the end of the range in the key: a broker more changes the rule in place, and customers are let in all along.
  client_rules = merge([for name, c in var.kpls.clients : {
    for pair in setproduct(c.open_ports, var.client_cidrs[name]) :
    "${name}/${pair[0].from}/${pair[1]}" => { ports = pair[0], cidr = pair[1], listener = name }
  }]...)

  broker_rules = {
    for pair in setproduct(var.broker_security_group_ids, var.kpls.target_ports) :
    "${pair[0]}/${pair[1]}" => { group = pair[0], port = pair[1] }
  }

  targets = merge([for key, g in var.kpls.groups : { for id in g.brokers : "${key}/${id}" => { group = key, broker = id } }]...)
}

resource "aws_security_group" "load_balancer" {
  name        = "${var.kpls.name}-load-balancer"
  description = "Load balancer of the Kafka brokers" # a change of it would replace the group
  vpc_id      = var.vpc_id
  tags        = local.tags
}

# The rules of the load balancer's group count for private link, too (see aws_lb below). Clients keep their own address
# there, so these are the customers' CIDRs.
resource "aws_vpc_security_group_ingress_rule" "clients" {
  for_each          = local.client_rules
  security_group_id = aws_security_group.load_balancer.id
  description       = "customers of ${each.value.listener}"
  ip_protocol       = "tcp"
  from_port         = each.value.ports.from
  to_port           = each.value.ports.to
  cidr_ipv4         = each.value.cidr
}

resource "aws_vpc_security_group_egress_rule" "brokers" {
  for_each                     = local.broker_rules
  security_group_id            = aws_security_group.load_balancer.id
  description                  = "listeners and probes of the brokers"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = each.value.group
}

resource "aws_vpc_security_group_ingress_rule" "brokers" {
  for_each                     = var.add_broker_ingress ? local.broker_rules : {}
  security_group_id            = each.value.group
  description                  = "load balancer ${var.kpls.name}"
  ip_protocol                  = "tcp"
  from_port                    = each.value.port
  to_port                      = each.value.port
  referenced_security_group_id = aws_security_group.load_balancer.id
}

resource "aws_lb" "kpls" {
  name               = var.kpls.name
  internal           = true
  load_balancer_type = "network"
  ip_address_type    = "ipv4"
  subnets            = values(var.subnet_ids)
  # A load balancer that was made without a security group can never get one.
  security_groups            = [aws_security_group.load_balancer.id]
  enable_deletion_protection = var.deletion_protection
  # Each target group says for itself whether traffic crosses zones.
  enable_cross_zone_load_balancing = false

  enforce_security_group_inbound_rules_on_private_link_traffic = "on"

  tags = merge(local.tags, { "kpls-manifest" = var.kpls.manifest_sha256 })
}

resource "aws_lb_target_group" "kpls" {
  for_each    = var.kpls.groups
  name        = each.value.name
  vpc_id      = var.vpc_id
  target_type = var.target_type
  protocol    = "TCP"
  port        = each.value.bind_port # only a default: each target has its own

  # A broker could not reach itself through the load balancer otherwise. Private link hides the client's address anyway.
  preserve_client_ip = "false"
  # Kafka does not read it, and would close each connection.
  proxy_protocol_v2 = false

  # Off where the name has the zone: the client has come by the endpoint of the zone where the broker is. On otherwise:
  # one name leads to the endpoint of any zone, and the broker may be in another.
  load_balancing_cross_zone_enabled = tostring(each.value.cross_zone)

  # A target is removed when its broker is: its connections end after this time.
  deregistration_delay   = "60"
  connection_termination = true

  health_check {
    enabled  = true
    protocol = "TCP"
    port     = tostring(each.value.probe_port)
    interval = var.kpls.interval_seconds
    # AWS takes no more than the interval, and its default of 10 s would be more than an interval of 5 s.
    timeout             = min(var.kpls.interval_seconds, 10)
    healthy_threshold   = var.kpls.healthy_threshold
    unhealthy_threshold = 2
  }

  # AWS cuts live connections of an unhealthy target by default. For a port of one broker that helps nobody: there is no
  # other broker to go to, and a probe may fail while the broker serves. Of a bootstrap port there is.
  target_health_state {
    enable_unhealthy_connection_termination = each.value.bootstrap
  }

  tags = merge(local.tags, {
    "kpls-listener" = each.value.listener
    "kpls-brokers"  = each.value.bootstrap ? "all" : each.value.brokers[0]
  })

  lifecycle {
    # A new port would replace the group, and AWS refuses to delete one that a listener uses.
    ignore_changes = [port]
  }
}

resource "aws_lb_target_group_attachment" "kpls" {
  for_each         = local.targets
  target_group_arn = aws_lb_target_group.kpls[each.value.group].arn
  target_id        = var.broker_targets[each.value.broker]
  port             = var.kpls.groups[each.value.group].bind_port
}

resource "aws_lb_listener" "kpls" {
  for_each          = var.kpls.groups
  load_balancer_arn = aws_lb.kpls.arn
  protocol          = "TCP"
  port              = each.value.port
  # Longer than connections.max.idle.ms of Kafka, 10 minutes: the broker's close comes first, and clients see it.
  tcp_idle_timeout_seconds = 900

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.kpls[each.key].arn
  }

  tags = local.tags
}

resource "aws_vpc_endpoint_service" "kpls" {
  acceptance_required        = true
  allowed_principals         = var.allowed_principals
  network_load_balancer_arns = [aws_lb.kpls.arn]
  supported_ip_address_types = ["ipv4"]
  tags                       = merge(local.tags, { "Name" = var.kpls.name })

  # Customers see an endpoint that waits for nothing behind it otherwise.
  depends_on = [aws_lb_listener.kpls, aws_lb_target_group_attachment.kpls]
}

output "console" {
  description = "What is typed into the customer's form, by listener."
  value = { for name, c in var.kpls.clients : name => {
    "Endpoint Service Name" = aws_vpc_endpoint_service.kpls.service_name
    "Bootstrap Ports"       = c.bootstrap_ports
    "Zones"                 = join(",", keys(var.subnet_ids))
  } }
}
