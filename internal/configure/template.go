package configure

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	sockaddr "github.com/hashicorp/go-sockaddr"
)

// Resolver expands go-sockaddr templates over this machine's interfaces.
//
// go-sockaddr finds the default route by running ip(8), which the image does not allow. So the
// functions that ask for it are replaced by ones that read the kernel's routing table; they
// choose the same addresses. Vault itself gets the result and never a template.
type Resolver struct {
	Proc string // where /proc is
	// Interfaces lists the addresses; nil asks the kernel.
	Interfaces func() (sockaddr.IfAddrs, error)
}

// Resolve expands one template. Dot is all interfaces, as in go-sockaddr.
func (r Resolver) Resolve(text string) (string, error) {
	all, err := r.interfaces()
	if err != nil {
		return "", fmt.Errorf("cannot list interfaces: %w", err)
	}
	return expand(text, all, r.functions())
}

// functions are go-sockaddr's, under the names that its templates have for them.
func (r Resolver) functions() map[string]any {
	return map[string]any{
		"GetAllInterfaces":     r.interfaces,
		"GetDefaultInterfaces": r.defaultInterfaces,
		"GetPrivateInterfaces": r.privateInterfaces,
		"GetPublicInterfaces":  r.publicInterfaces,
		"GetPrivateIP":         func() (string, error) { return firstAddress(r.privateInterfaces()) },
		"GetPrivateIPs":        sockaddr.GetPrivateIPs,
		"GetPublicIP":          func() (string, error) { return firstAddress(r.publicInterfaces()) },
		"GetPublicIPs":         sockaddr.GetPublicIPs,
		"GetInterfaceIP":       sockaddr.GetInterfaceIP,
		"GetInterfaceIPs":      sockaddr.GetInterfaceIPs,
		"attr":                 sockaddr.IfAttrs,
		"exclude":              sockaddr.ExcludeIfs,
		"include":              sockaddr.IncludeIfs,
		"join":                 sockaddr.JoinIfAddrs,
		"limit":                sockaddr.LimitIfAddrs,
		"math":                 sockaddr.IfAddrsMath,
		"offset":               sockaddr.OffsetIfAddrs,
		"sort":                 sortInterfaces,
		"unique":               sockaddr.UniqueIfAddrsBy,
	}
}

func (r Resolver) interfaces() (sockaddr.IfAddrs, error) {
	if r.Interfaces != nil {
		return r.Interfaces()
	}
	return sockaddr.GetAllInterfaces()
}

func (r Resolver) defaultInterfaces() (sockaddr.IfAddrs, error) {
	name, err := r.defaultInterface()
	if err != nil {
		return nil, err
	}
	if name == "" {
		return nil, errors.New("there is no default route")
	}
	all, err := r.interfaces()
	return slices.DeleteFunc(all, func(a sockaddr.IfAddr) bool { return a.Name != name }), err
}

func (r Resolver) privateInterfaces() (sockaddr.IfAddrs, error) {
	candidates, err := r.candidates()
	if err != nil {
		return nil, err
	}
	private, _, err := sockaddr.IfByRFC("6890", candidates)
	return private, err
}

func (r Resolver) publicInterfaces() (sockaddr.IfAddrs, error) {
	candidates, err := r.candidates()
	if err != nil {
		return nil, err
	}
	_, public, err := sockaddr.IfByRFC("6890", candidates)
	return public, err
}

// candidates are the addresses that other hosts may reach, those of the default route first,
// then IPv4 before IPv6, then by size of the network: go-sockaddr's order.
func (r Resolver) candidates() (sockaddr.IfAddrs, error) {
	all, err := r.interfaces()
	if err != nil {
		return nil, err
	}
	found, _ := sockaddr.FilterIfByType(all, sockaddr.TypeIP)
	for _, flag := range []string{"forwardable", "up"} {
		if found, _, err = sockaddr.IfByFlag(flag, found); err != nil {
			return nil, err
		}
	}
	name, err := r.defaultInterface()
	if err != nil {
		return nil, err
	}
	sockaddr.OrderedIfAddrBy(sockaddr.AscIfType, sockaddr.AscIfNetworkSize).Sort(found)
	slices.SortStableFunc(found, func(a, b sockaddr.IfAddr) int {
		switch {
		case a.Name == name && b.Name != name:
			return -1
		case b.Name == name && a.Name != name:
			return 1
		}
		return 0
	})
	return found, nil
}

func firstAddress(list sockaddr.IfAddrs, err error) (string, error) {
	if err != nil || len(list) == 0 {
		return "", err
	}
	ip := *sockaddr.ToIPAddr(list[0].SockAddr)
	return ip.NetIP().String(), nil
}

// sortInterfaces is go-sockaddr's sort without the key that runs ip(8).
func sortInterfaces(by string, list sockaddr.IfAddrs) (sockaddr.IfAddrs, error) {
	for key := range strings.SplitSeq(by, ",") {
		if strings.TrimLeft(strings.ToLower(strings.TrimSpace(key)), "+-") == "default" {
			return nil, errors.New("sorting by default route is not supported; begin with GetDefaultInterfaces")
		}
	}
	return sockaddr.SortIfBy(by, list)
}

// routeTable says how a table of /proc/net is read.
type routeTable struct {
	path                 string
	name, metric, fields int // positions, and how many there must be
	base                 int // of the metric
	isDefault            func(fields []string) bool
}

var routeTables = []routeTable{
	{"net/route", 0, 6, 8, 10, func(f []string) bool { return f[1] == "00000000" && f[7] == "00000000" }},
	{"net/ipv6_route", 9, 5, 10, 16, func(f []string) bool {
		return f[0] == "00000000000000000000000000000000" && f[1] == "00" && f[9] != "lo"
	}},
}

// defaultInterface names the interface of the default route with the lowest metric, IPv4
// before IPv6; it is empty when there is none.
func (r Resolver) defaultInterface() (string, error) {
	for _, t := range routeTables {
		content, err := os.ReadFile(filepath.Join(r.Proc, t.path))
		if errors.Is(err, os.ErrNotExist) {
			continue // a kernel without this family
		}
		if err != nil {
			return "", fmt.Errorf("cannot read the routing table: %w", err)
		}
		if name := t.defaultInterface(content); name != "" {
			return name, nil
		}
	}
	return "", nil
}

func (t routeTable) defaultInterface(content []byte) string {
	best, bestMetric := "", uint64(0)
	for lines := bufio.NewScanner(bytes.NewReader(content)); lines.Scan(); {
		f := strings.Fields(lines.Text())
		if len(f) < t.fields || !t.isDefault(f) {
			continue
		}
		metric, err := strconv.ParseUint(f[t.metric], t.base, 32)
		if err != nil {
			continue
		}
		if best == "" || metric < bestMetric {
			best, bestMetric = f[t.name], metric
		}
	}
	return best
}
