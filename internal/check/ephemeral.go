package check

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"example.com/kpls-agent/internal/config"
)

// checkEphemeral warns of ports that Linux may have lent to an outgoing connection when
// they are to be bound. Its two files hold for IPv6, too; see ip_local_port_range in
// https://docs.kernel.org/networking/ip-sysctl.html.
func checkEphemeral(ports []int) Finding {
	const dir = "/proc/sys/net/ipv4/"
	lent, err := os.ReadFile(dir + "ip_local_port_range")
	reserved, errReserved := os.ReadFile(dir + "ip_local_reserved_ports")
	if err = errors.Join(err, errReserved); err != nil {
		return unseenEphemeral(err)
	}
	return judgeEphemeral(ports, strings.TrimSpace(string(lent)), strings.TrimSpace(string(reserved)))
}

const ephemeralPorts = "ephemeral ports"

func unseenEphemeral(err error) Finding {
	return doubtful(ephemeralPorts, "which these are cannot be seen (%s); see `sysctl net.ipv4.ip_local_port_range "+
		"net.ipv4.ip_local_reserved_ports`", config.OneLine(err))
}

// judgeEphemeral goes by the first and last port that are lent, and by the list of those
// that are not, such as 8080,9000-9010, which may be empty.
func judgeEphemeral(ports []int, lent, reserved string) Finding {
	var first, last int
	if _, err := fmt.Sscan(lent, &first, &last); err != nil {
		return unseenEphemeral(fmt.Errorf("ip_local_port_range is %q: %w", lent, err))
	}
	kept, err := parsePorts(reserved)
	if err != nil {
		return unseenEphemeral(fmt.Errorf("ip_local_reserved_ports is %q: %w", reserved, err))
	}
	var ours, list []string
	for _, p := range ports {
		if first <= p && p <= last && !kept[p] {
			ours = append(ours, strconv.Itoa(p))
		}
	}
	if len(ours) == 0 {
		return well(ephemeralPorts, "none of ours")
	}
	if reserved != "" {
		list = append(list, reserved)
	}
	list = append(list, ours...)
	return doubtful(ephemeralPorts, "Linux may give %s to an outgoing connection, and what listens there cannot be "+
		"started again meanwhile; reserve them, as root: `echo net.ipv4.ip_local_reserved_ports=%s "+
		">/etc/sysctl.d/60-kpls-agent.conf && sysctl --load=/etc/sysctl.d/60-kpls-agent.conf`",
		strings.Join(ours, ", "), strings.Join(list, ","))
}

// parsePorts reads a list such as 8080,9000-9010.
func parsePorts(list string) (map[int]bool, error) {
	ports := map[int]bool{}
	if list == "" {
		return ports, nil
	}
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		low, errLow := strconv.Atoi(from)
		high, errHigh := strconv.Atoi(to)
		if err := errors.Join(errLow, errHigh); err != nil {
			return nil, err
		}
		for p := low; p <= high; p++ {
			ports[p] = true
		}
	}
	return ports, nil
}
