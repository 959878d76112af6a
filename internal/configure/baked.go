package configure

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// Baked is what the image has decided about the server's configuration: parameters of the
// baseline, so that what configure writes is what the controls ask for.
type Baked struct {
	MemoryLock      bool   // the server locks its memory
	TLSMinVersion   string // "tls12"
	DefaultLeaseTTL string // "1h"
	MaxLeaseTTL     string // "24h"
	APIPort         int
	ClusterPort     int
	LogShipping     bool           // the image ships the journal
	LogPort         int            // that its receiver is reached at
	MetadataEgress  []netip.Prefix // where the firewall lets the platform's metadata service be asked
}

// BakedFrom takes the parameters of a baseline's profile. One that is missing is an error: the image
// is of another version than this program.
func BakedFrom(parameters map[string]string) (Baked, error) {
	for _, name := range []string{"memory_lock", "tls_min_version", "default_lease_ttl", "max_lease_ttl", "log_shipping"} {
		if parameters[name] == "" {
			return Baked{}, missing(name)
		}
	}
	api, apiErr := port(parameters, "api_port")
	cluster, clusterErr := port(parameters, "cluster_port")
	logs, logsErr := port(parameters, "log_port")
	metadata, metadataErr := networks(parameters, "metadata_egress")
	if err := errors.Join(apiErr, clusterErr, logsErr, metadataErr); err != nil {
		return Baked{}, err
	}
	return Baked{
		MemoryLock:      parameters["memory_lock"] == "on",
		TLSMinVersion:   parameters["tls_min_version"],
		DefaultLeaseTTL: parameters["default_lease_ttl"],
		MaxLeaseTTL:     parameters["max_lease_ttl"],
		APIPort:         api,
		ClusterPort:     cluster,
		LogShipping:     parameters["log_shipping"] != "none",
		LogPort:         logs,
		MetadataEgress:  metadata,
	}, nil
}

func missing(name string) error {
	return fmt.Errorf("the baseline has no parameter %s: was it baked by another version of strongroom?", name)
}

func port(parameters map[string]string, name string) (int, error) {
	text, ok := parameters[name]
	if !ok {
		return 0, missing(name)
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("parameter %s of the baseline: %q is not a port", name, text)
	}
	return int(n), nil
}

// networks reads a list of networks and addresses, which may be empty.
func networks(parameters map[string]string, name string) ([]netip.Prefix, error) {
	text, ok := parameters[name]
	if !ok {
		return nil, missing(name)
	}
	var out []netip.Prefix
	for _, entry := range strings.Fields(text) {
		p, err := netip.ParsePrefix(entry)
		if err != nil {
			a, addrErr := netip.ParseAddr(entry)
			if addrErr != nil {
				return nil, fmt.Errorf("parameter %s of the baseline: %q is neither a network nor an address", name, entry)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		out = append(out, p)
	}
	return out, nil
}
