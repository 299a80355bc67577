# Written by kpls-agent render azure. The next render replaces this file; your own values are in terraform.tfvars.
#
# The network's side of a Kafka cluster on Azure. One internal load balancer has a frontend, a probe and a private link
# service for each listener, and a pool and a rule for each listener and broker. The file is the same for all clusters:
# what the manifest says is in kpls.auto.tfvars.json, and what only Azure knows in terraform.tfvars.

terraform {
  required_version = ">= 1.3" # optional() of object types
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.55, < 6.0" # before 4.55, tcp_reset_enabled and others cannot be set to false again
    }
  }
}

# Who may change what is taken from the environment: `az login`, or the variables ARM_....
provider "azurerm" {
  subscription_id = var.azure.subscription_id
  features {}
}

variable "kpls" {
  description = "What the manifest says. Written by kpls-agent render."
  type = object({
    name              = string
    manifest_sha256   = string
    interval_seconds  = number
    healthy_threshold = number
    broker_ids        = list(string) # node.id, ascending
    listeners = map(object({
      bind_port       = number
      probe_port      = number
      brokers         = map(number) # node.id = port of the load balancer
      bootstrap_ports = string
    }))
    # One port of a listener's frontend that leads to all brokers, on a listener of its own in Kafka.
    bootstraps = optional(map(object({
      listener   = string
      port       = number
      bind_port  = number
      probe_port = number
    })), {})
  })
}

variable "azure" {
  description = "What only Azure knows."
  type = object({
    subscription_id     = optional(string) # without it, the environment's ARM_SUBSCRIPTION_ID
    location            = string
    resource_group_name = string
    zones               = optional(list(string), ["1", "2", "3"]) # of the frontends; [] in a region without zones
    subnet_id           = string                                  # of the frontends
    # The private link services take their addresses from it: 1 to 8 each, 64,000 connections an address. An address
    # cannot be taken away again. Without an id, the subnet is made in the virtual network.
    nat_subnet = object({
      address_prefix       = string
      id                   = optional(string)
      virtual_network_name = optional(string)
      addresses            = optional(number, 1)
    })
    # Who may see a listener's service, and whose connections need no approval. By listener.
    consumers = map(object({
      subscription_ids = list(string)
      auto_approve     = optional(bool, true)
    }))
    # The network interface of each broker. By node.id.
    broker_nics = map(object({
      network_interface_id  = string
      ip_configuration_name = optional(string, "ipconfig1")
    }))
    # A group that denies what Azure's default rules allow: then two rules let clients and probes in.
    network_security_group = optional(object({
      name     = string
      priority = optional(number, 300) # of the first rule; the second one has the next
    }))
    # Names of what was made by hand and is imported: load_balancer, frontend/L, probe/L and service/L of a listener,
    # pool/L-bN and rule/L-bN of a broker, nat/1 of the services' addresses.
    names = optional(map(string), {})
  })

  validation {
    condition     = var.azure.nat_subnet.addresses >= 1 && var.azure.nat_subnet.addresses <= 8
    error_message = "azure.nat_subnet.addresses must be 1 to 8."
  }
  validation {
    condition     = (var.azure.nat_subnet.id == null) != (var.azure.nat_subnet.virtual_network_name == null)
    error_message = "azure.nat_subnet needs the id of a subnet, or the name of the virtual network to make one in."
  }
}

locals {
  # The rules of the load balancer. Each has a pool of its own, with the same name.
  rules = merge(concat(
    [for name, l in var.kpls.listeners : {
      for id, port in l.brokers : "${name}-b${id}" => {
        listener = name, probe = name, port = port, bind_port = l.bind_port
      }
    }],
    [{ for name, b in var.kpls.bootstraps : "${name}-all" => {
      listener = b.listener, probe = name, port = b.port, bind_port = b.bind_port
    } }],
  )...)

  # Who is in which pool. A broker without a network interface is refused below.
  nics = { for id in var.kpls.broker_ids : id => var.azure.broker_nics[id] if contains(keys(var.azure.broker_nics), id) }
  members = merge(concat(
    [for name in keys(var.kpls.listeners) : {
      for id, nic in local.nics : "${name}-b${id}" => { pool = "${name}-b${id}", nic = nic }
    }],
    [for name in keys(var.kpls.bootstraps) : {
      for id, nic in local.nics : "${name}-b${id}" => { pool = "${name}-all", nic = nic }
    }],
  )...)

  probes = merge(
    { for name, l in var.kpls.listeners : name => l.probe_port },
    { for name, b in var.kpls.bootstraps : name => b.probe_port },
  )

  bind_ports = distinct(concat(
    [for l in var.kpls.listeners : tostring(l.bind_port)], [for b in var.kpls.bootstraps : tostring(b.bind_port)],
  ))

  # A reference to one of many resources makes OpenTofu and Terraform read all of them. Here that is done once.
  pool_ids = { for name, pool in azurerm_lb_backend_address_pool.rule : name => pool.id }

  # By the name here: the name of what was imported.
  names = var.azure.names

  load_balancer = lookup(local.names, "load_balancer", "${var.kpls.name}-lb")
  frontends     = { for name in keys(var.kpls.listeners) : name => lookup(local.names, "frontend/${name}", name) }
  nat_subnet_id = var.azure.nat_subnet.id != null ? var.azure.nat_subnet.id : azurerm_subnet.nat[0].id
}

resource "azurerm_lb" "kpls" {
  name                = local.load_balancer
  location            = var.azure.location
  resource_group_name = var.azure.resource_group_name
  sku                 = "Standard"
  sku_tier            = "Regional"
  tags                = { "kpls-manifest" = var.kpls.manifest_sha256 }

  # A frontend of its own for each listener, since a private link service is bound to one. So the ports of two
  # listeners may overlap. A second load balancer would not do: Azure takes a network interface into one internal one.
  dynamic "frontend_ip_configuration" {
    for_each = local.frontends
    content {
      name                          = frontend_ip_configuration.value
      subnet_id                     = var.azure.subnet_id
      private_ip_address_allocation = "Dynamic"
      zones                         = length(var.azure.zones) > 0 ? var.azure.zones : null
    }
  }

  lifecycle {
    precondition {
      condition     = toset(keys(var.azure.broker_nics)) == toset(var.kpls.broker_ids)
      error_message = "azure.broker_nics must have exactly the brokers of the manifest: ${join(", ", var.kpls.broker_ids)}."
    }
    precondition {
      condition = length(var.azure.broker_nics) == length(distinct([
        for nic in values(var.azure.broker_nics) : nic.network_interface_id
      ]))
      error_message = "Two brokers have the same network interface in azure.broker_nics."
    }
    precondition {
      condition     = toset(keys(var.azure.consumers)) == toset(keys(var.kpls.listeners))
      error_message = "azure.consumers must have exactly the listeners ${join(", ", keys(var.kpls.listeners))}."
    }
  }
}

resource "azurerm_lb_backend_address_pool" "rule" {
  for_each        = local.rules
  name            = lookup(local.names, "pool/${each.key}", each.key)
  loadbalancer_id = azurerm_lb.kpls.id
}

# A pool behind a private link service has network interfaces, never addresses.
resource "azurerm_network_interface_backend_address_pool_association" "member" {
  for_each                = local.members
  network_interface_id    = each.value.nic.network_interface_id
  ip_configuration_name   = each.value.nic.ip_configuration_name
  backend_address_pool_id = local.pool_ids[each.value.pool]
}

# It asks the agent's port, not Kafka's. The threshold counts both ways; the provider's default is 1.
resource "azurerm_lb_probe" "listener" {
  for_each            = local.probes
  name                = lookup(local.names, "probe/${each.key}", each.key)
  loadbalancer_id     = azurerm_lb.kpls.id
  protocol            = "Tcp"
  port                = each.value
  interval_in_seconds = var.kpls.interval_seconds
  probe_threshold     = var.kpls.healthy_threshold
}

resource "azurerm_lb_rule" "rule" {
  for_each                       = local.rules
  name                           = lookup(local.names, "rule/${each.key}", each.key)
  loadbalancer_id                = azurerm_lb.kpls.id
  protocol                       = "Tcp"
  frontend_port                  = each.value.port
  backend_port                   = each.value.bind_port
  frontend_ip_configuration_name = local.frontends[each.value.listener]
  backend_address_pool_ids       = [local.pool_ids[each.key]]
  probe_id                       = azurerm_lb_probe.listener[each.value.probe].id
  # With it, the VM would get packets for the frontend's address, which Kafka does not bind.
  floating_ip_enabled = false
  # A connection that the load balancer forgets is reset, so that no client waits for an answer that cannot come.
  tcp_reset_enabled = true
  # More than the 10 minutes after which Kafka closes an idle connection (connections.max.idle.ms): its end is then
  # the broker's, which a client expects. The private link service itself forgets idle connections after 4 to 5
  # minutes, whatever is written here.
  idle_timeout_in_minutes = 15
  # The rule is for connections to the brokers; how the brokers reach the internet stays as it is.
  disable_outbound_snat = true
}

resource "azurerm_subnet" "nat" {
  count                = var.azure.nat_subnet.id == null ? 1 : 0
  name                 = "${var.kpls.name}-nat"
  resource_group_name  = var.azure.resource_group_name
  virtual_network_name = var.azure.nat_subnet.virtual_network_name
  address_prefixes     = [var.azure.nat_subnet.address_prefix]
  # Azure refuses a private link service in a subnet that has these policies. The portal turns them off by itself.
  private_link_service_network_policies_enabled = false
}

resource "azurerm_private_link_service" "listener" {
  for_each            = var.kpls.listeners
  name                = lookup(local.names, "service/${each.key}", "${var.kpls.name}-${each.key}")
  location            = var.azure.location
  resource_group_name = var.azure.resource_group_name
  # By its name: the place of a frontend in the list changes when a listener comes or goes.
  load_balancer_frontend_ip_configuration_ids = [
    "${azurerm_lb.kpls.id}/frontendIPConfigurations/${local.frontends[each.key]}"
  ]
  visibility_subscription_ids = var.azure.consumers[each.key].subscription_ids
  auto_approval_subscription_ids = (
    var.azure.consumers[each.key].auto_approve ? var.azure.consumers[each.key].subscription_ids : []
  )
  proxy_protocol_enabled = false # Kafka does not speak it

  dynamic "nat_ip_configuration" {
    for_each = range(var.azure.nat_subnet.addresses)
    content {
      name      = lookup(local.names, "nat/${nat_ip_configuration.value + 1}", "nat-${nat_ip_configuration.value + 1}")
      primary   = nat_ip_configuration.value == 0
      subnet_id = local.nat_subnet_id
    }
  }
}

# Clients come from the addresses of the private link services.
resource "azurerm_network_security_rule" "clients" {
  count                       = var.azure.network_security_group == null ? 0 : 1
  name                        = "${var.kpls.name}-clients"
  resource_group_name         = var.azure.resource_group_name
  network_security_group_name = var.azure.network_security_group.name
  priority                    = var.azure.network_security_group.priority
  direction                   = "Inbound"
  access                      = "Allow"
  protocol                    = "Tcp"
  source_address_prefix       = var.azure.nat_subnet.address_prefix
  source_port_range           = "*"
  destination_address_prefix  = "*"
  destination_port_ranges     = local.bind_ports
}

# Probes come from 168.63.129.16, which Azure calls AzureLoadBalancer.
resource "azurerm_network_security_rule" "probes" {
  count                       = var.azure.network_security_group == null ? 0 : 1
  name                        = "${var.kpls.name}-probes"
  resource_group_name         = var.azure.resource_group_name
  network_security_group_name = var.azure.network_security_group.name
  priority                    = var.azure.network_security_group.priority + 1
  direction                   = "Inbound"
  access                      = "Allow"
  protocol                    = "Tcp"
  source_address_prefix       = "AzureLoadBalancer"
  source_port_range           = "*"
  destination_address_prefix  = "*"
  destination_port_ranges     = distinct([for port in values(local.probes) : tostring(port)])
}

output "console" {
  description = "What the customer's form asks for, by listener."
  value = { for name, l in var.kpls.listeners : name => {
    alias_of_the_private_link_service = azurerm_private_link_service.listener[name].alias
    bootstrap_ports                   = l.bootstrap_ports
  } }
}
