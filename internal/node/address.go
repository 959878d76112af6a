package node

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Templated reports whether an address has to be resolved on the node.
func Templated(addr string) bool { return strings.Contains(addr, "{{") }

// checkShape judges an address as far as it can be judged off the node: a template is an
// opaque host until it is resolved.
func checkShape(addr string, resolved func(string) error) error {
	if !Templated(addr) {
		return resolved(addr)
	}
	if strings.Count(addr, "{{") != strings.Count(addr, "}}") {
		return errors.New("the template is not closed by }}")
	}
	if !strings.HasPrefix(addr, "https://") {
		return errors.New("the scheme is not https")
	}
	return nil
}

// hostname is compiled on first use: it is 130 KiB, and a verification reads no node config.
var hostname = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?i:[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?)(\.(?i:[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9])?))*$`)
})

// CheckURL judges an address that a node advertises: https, a host that others can reach, a
// port, and nothing else.
func CheckURL(addr string) error {
	u, err := url.Parse(addr)
	if err != nil {
		return errors.New("not a URL") // url.Error repeats the whole input
	}
	switch {
	case u.Scheme != "https":
		return errors.New("the scheme is not https")
	case u.User != nil:
		return errors.New("a user name has no place in it")
	case u.Path != "" || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(addr, "#"):
		return errors.New("nothing may follow the port")
	case u.Port() == "":
		return errors.New("the port is missing")
	}
	if port, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || port == 0 {
		return fmt.Errorf("port %q is not a port", u.Port())
	}
	host := u.Hostname()
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsUnspecified() || ip.IsLoopback() || ip.IsMulticast() {
			return fmt.Errorf("others cannot reach %s", host)
		}
		if ip.Zone() != "" {
			return errors.New("the address has a zone")
		}
		return nil
	}
	if len(host) > 253 || !hostname().MatchString(host) {
		return fmt.Errorf("%q is neither a host name nor an address", host)
	}
	if strings.EqualFold(host, "localhost") {
		return errors.New("others cannot reach localhost")
	}
	return nil
}

// Host gives the host of an address that CheckURL accepted.
func Host(addr string) string {
	u, err := url.Parse(addr)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// CheckClusterURL makes a CheckURL for the address that the other Raft members use. The port that Raft listens on is baked
// into firewall and listener, so an address of another port would never be reached.
func CheckClusterURL(clusterPort int) func(addr string) error {
	return func(addr string) error {
		if err := CheckURL(addr); err != nil {
			return err
		}
		u, err := url.Parse(addr)
		if err != nil {
			return err
		}
		if u.Port() != strconv.Itoa(clusterPort) {
			return fmt.Errorf("port %s is not the Raft port %d of this image", u.Port(), clusterPort)
		}
		return nil
	}
}
