package config

import (
	"fmt"
	"math"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

// Placeholders of the patterns, as the console of the cloud service prints them.
const (
	placeholderID   = "<broker_id>" // "b" and the broker's id
	placeholderPort = "<port>"
	placeholderHost = "<host>" // of a bind address: the broker's own host
)

var (
	placeholderRegexp = regexp.MustCompile(`<[^<>]*>`)
	labelRegexp       = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$`)
)

// expand puts a broker into a pattern.
func expand(pattern string, id int32, port int) string {
	return strings.NewReplacer(placeholderID, "b"+strconv.Itoa(int(id)), placeholderPort, strconv.Itoa(port)).
		Replace(pattern)
}

// checkPattern says what is wrong with the pattern of an advertised address,
// whichever broker it is for; "" is nothing. It tries a common broker first, for
// the sake of the message, and then the longest id and port.
func checkPattern(pattern string) string {
	for _, p := range placeholderRegexp.FindAllString(pattern, -1) {
		if p != placeholderID && p != placeholderPort {
			return fmt.Sprintf("unknown placeholder %s; expected %s or %s", p, placeholderID, placeholderPort)
		}
	}
	if _, _, text := splitAddress(expand(pattern, 1, 9093)); text != "" {
		return text
	}
	_, _, text := splitAddress(expand(pattern, math.MaxInt32, maxPort))
	return text
}

// splitAddress splits an advertised address and says what is wrong with it; ""
// is nothing. Kafka itself refuses only 0.0.0.0 (SocketServerConfigs); the rest
// would leave clients with an address that leads nowhere.
func splitAddress(s string) (host string, port int, text string) {
	host, portText, err := net.SplitHostPort(s)
	switch {
	case err != nil:
		return "", 0, fmt.Sprintf("expected HOST:PORT, such as %s.example.com:%s, found %s", placeholderID,
			placeholderPort, quoteShort(s))
	case host == "":
		return "", 0, "the host is empty; expected the name that clients connect to before the colon"
	}
	if text := CheckHost(host); text != "" {
		return "", 0, text
	}
	port, text = parsePort(portText)
	return host, port, text
}

// maxPort is the largest TCP port.
const maxPort = math.MaxUint16

func parsePort(s string) (port int, text string) {
	n, err := strconv.Atoi(s)
	if err != nil || !decimalRegexp.MatchString(s) || n < 1 || n > maxPort {
		return 0, fmt.Sprintf("expected a port from 1 to %d after the last colon, found %s", maxPort, quoteShort(s))
	}
	return n, ""
}

// CheckHost says why a client could never connect to the host, a DNS name or an IP address; "" is nothing.
func CheckHost(host string) string {
	if ip, err := netip.ParseAddr(host); err == nil {
		switch {
		case ip.IsUnspecified():
			return fmt.Sprintf("%s is every address and no client can connect to it; expected one name or address",
				host)
		case ip.Zone() != "":
			return fmt.Sprintf("%s has a zone that means nothing on another host; expected a plain address",
				quoteShort(host))
		}
		return ""
	}
	labels := strings.Split(host, ".")
	valid := len(host) <= 253
	for _, l := range labels {
		valid = valid && labelRegexp.MatchString(l)
	}
	if last := labels[len(labels)-1]; !valid || strings.Trim(last, "0123456789") == "" {
		return fmt.Sprintf("expected a DNS name or an IP address as host, found %s", quoteShort(host))
	}
	return ""
}

// splitBind splits an address to bind and says what is wrong with it; "" is nothing.
func splitBind(s string) (host string, port int, text string) {
	host, portText, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, fmt.Sprintf("expected HOST:PORT, such as 0.0.0.0:39092 or %s:39092, found %s", placeholderHost,
			quoteShort(s))
	}
	ip, err := netip.ParseAddr(host)
	if host != "" && host != placeholderHost && (err != nil || ip.Zone() != "") {
		return "", 0, fmt.Sprintf("expected an IP address, %s or nothing before the port, found %s", placeholderHost,
			quoteShort(host))
	}
	port, text = parsePort(portText)
	return host, port, text
}

// wildcard is true for a bind host that means all addresses.
func wildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "" || err == nil && ip.IsUnspecified()
}
