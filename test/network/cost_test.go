//go:build network

package network

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// cost is what one process took: time of the CPU, which a busy machine does not change as much as time on the clock,
// and the most memory at one time.
type cost struct {
	cpu    time.Duration
	memory int64 // bytes
}

func (c cost) String() string {
	return fmt.Sprintf("%d ms of CPU, %d MiB", c.cpu.Milliseconds(), c.memory>>20)
}

// least is the least of each that several runs took.
func least(t *testing.T, runs int, commands ...func() *exec.Cmd) []cost {
	t.Helper()
	out := make([]cost, len(commands))
	for run := range runs {
		for i, command := range commands { // in turn: what else the machine does is the same for all
			c := command()
			if text, err := c.CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", c.Args, err, text)
			}
			used := c.ProcessState.SysUsage().(*syscall.Rusage)
			took := cost{c.ProcessState.UserTime() + c.ProcessState.SystemTime(), used.Maxrss << 10}
			if run == 0 {
				out[i] = took
			}
			out[i] = cost{min(out[i].cpu, took.cpu), min(out[i].memory, took.memory)}
		}
	}
	return out
}

// TestCost: for 300 brokers, rendering costs little beside what OpenTofu needs to validate the module, which is the same
// for any number of brokers; and the module with its data is planned as fast as blocks for each broker would be.
func TestCost(t *testing.T) {
	agent := filepath.Join(t.TempDir(), "kpls-agent")
	if out, err := exec.Command("go", "build", "-o", agent, "../../cmd/kpls-agent").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	text := manifest(300, "EXTERNAL")
	data := azure(t, text)
	data.write("manifest.yaml", text)
	blocks := data.blocks(300)

	runs := least(t, 3,
		func() *exec.Cmd {
			c := exec.Command(agent, "render", "azure", "--manifest", "manifest.yaml", "--out", ".")
			c.Dir = data.folder
			return c
		},
		func() *exec.Cmd { return command(t, data.folder, "validate") },
		func() *exec.Cmd { return command(t, data.folder, "plan") },
		func() *exec.Cmd { return command(t, blocks.folder, "plan") },
	)
	render, validate, static, literal := runs[0], runs[1], runs[2], runs[3]
	t.Logf("render %v; validate %v: %.1f times the time, %.1f times the memory", render, validate,
		float64(validate.cpu)/float64(render.cpu), float64(validate.memory)/float64(render.memory))
	t.Logf("plan of the module %v; of a block for each broker %v", static, literal)
	// What was measured is 1/12 of the time, 1/4 of the memory, and 0.96 of the time; the bounds leave room for a busy
	// machine.
	if 3*render.memory > validate.memory || 5*render.cpu > validate.cpu {
		t.Error("rendering takes more than a third of the memory, or a fifth of the time, of validating")
	}
	if float64(static.cpu) > 1.25*float64(literal.cpu) {
		t.Error("planning the module takes longer than with a block for each broker")
	}
}

// blocks is the same network with a block of its own for each broker's pool, member and rule, as a program would write
// it that knows no for_each.
func (m module) blocks(brokers int) module {
	m.t.Helper()
	out := module{m.t, m.t.TempDir(), m.target, m.format}
	for _, name := range []string{"terraform.tfvars", "kpls.auto.tfvars.json", "main.tf"} {
		text, err := os.ReadFile(filepath.Join(m.folder, name))
		if err != nil {
			m.t.Fatal(err)
		}
		if name == "main.tf" {
			for _, kind := range []string{
				"azurerm_lb_backend_address_pool", "azurerm_lb_rule", "azurerm_network_interface_backend_address_pool_association",
			} {
				text = without(m.t, text, `resource "`+kind+`"`, "\n}\n")
			}
			text = without(m.t, text, "  pool_ids =", "\n")
		}
		out.write(name, string(text))
	}
	var b strings.Builder
	for id := 1; id <= brokers; id++ {
		fmt.Fprintf(&b, `resource "azurerm_lb_backend_address_pool" "b%[1]d" {
  name            = "external-b%[1]d"
  loadbalancer_id = azurerm_lb.kpls.id
}

resource "azurerm_network_interface_backend_address_pool_association" "b%[1]d" {
  network_interface_id    = var.azure.broker_nics["%[1]d"].network_interface_id
  ip_configuration_name   = var.azure.broker_nics["%[1]d"].ip_configuration_name
  backend_address_pool_id = azurerm_lb_backend_address_pool.b%[1]d.id
}

resource "azurerm_lb_rule" "b%[1]d" {
  name                           = "external-b%[1]d"
  loadbalancer_id                = azurerm_lb.kpls.id
  protocol                       = "Tcp"
  frontend_port                  = %[2]d
  backend_port                   = 39092
  frontend_ip_configuration_name = "external"
  backend_address_pool_ids       = [azurerm_lb_backend_address_pool.b%[1]d.id]
  probe_id                       = azurerm_lb_probe.listener["external"].id
  floating_ip_enabled            = false
  tcp_reset_enabled              = true
  idle_timeout_in_minutes        = 15
  disable_outbound_snat          = true
}

`, id, 9092+id)
	}
	out.write("brokers.tf", b.String())
	out.tofu("init", "-backend=false")
	return out
}

// without takes a part of the module away.
func without(t *testing.T, text []byte, head, end string) []byte {
	t.Helper()
	before, rest, ok := bytes.Cut(text, []byte(head))
	if !ok {
		t.Fatalf("the module has no %s", head)
	}
	_, after, _ := bytes.Cut(rest, []byte(end))
	return append(bytes.Clone(before), after...)
}
