package machines

import "context"

// Freeze stops the machine's time: a hung VM, whose kernel still takes connections.
func (m *Machine) Freeze() error { return m.group.control("cgroup.freeze", "1") }

// Thaw lets it go on.
func (m *Machine) Thaw() error { return m.group.control("cgroup.freeze", "0") }

// Cut pulls the host's cable out of the switch.
func (h *Host) Cut(ctx context.Context) error {
	return ip(ctx, "link set "+h.Name+" down", "-n", switchNS)
}

// Mend connects it again.
func (h *Host) Mend(ctx context.Context) error {
	return ip(ctx, "link set "+h.Name+" up", "-n", switchNS)
}
