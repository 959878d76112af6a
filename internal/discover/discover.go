package discover

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

// Instance is the machine as its cloud knows it; a [node.Sources] is one.
type Instance interface {
	// Ask gives what the metadata service answers at a path, asked once: the status, and with 200 the content.
	Ask(ctx context.Context, on node.Platform, path string, limit int64) (status int, content []byte, err error)
}

// Finder lists instances. Its methods are for one goroutine, as an Instance's are.
type Finder struct {
	Instance    Instance
	Authorities *x509.CertPool                                                       // that the clouds are believed with; nil: the image's
	Dial        func(ctx context.Context, network, address string) (net.Conn, error) // nil: the network's
	Now         func() time.Time                                                     // nil: the clock's
}

const (
	// maxAddresses is far more than a cluster has members.
	maxAddresses = 32
	// maxPages bounds an answer that goes on and on.
	maxPages = 50
)

// Find gives the addresses of the instances that an auto_join string describes: running ones other than this, at most 32. Finding nobody is
// an error, which says what was looked for. It asks each thing once: when to ask again is the caller's to decide.
func (f *Finder) Find(ctx context.Context, config string) ([]string, error) {
	a, err := node.ParseAutoJoin(config)
	if err != nil {
		return nil, err
	}
	api := f.newAPI()
	defer api.http.CloseIdleConnections()
	var found []string
	switch a.Platform {
	case node.AWS:
		found, err = f.aws(ctx, api, a.Options)
	case node.GCP:
		found, err = f.gce(ctx, api, a.Options)
	case node.Azure:
		found, err = f.azure(ctx, api, a.Options)
	}
	if err != nil {
		return nil, fmt.Errorf("provider %s: %w", providerName(a.Platform), err)
	}
	return found, nil
}

// providerName is go-discover's.
func providerName(p node.Platform) string {
	if p == node.GCP {
		return "gce"
	}
	return string(p)
}

// machine is an instance or a network interface in an answer.
type machine struct {
	id        string // as the instance itself knows it
	addresses []string
}

// gather asks page by page and collects the addresses, each once, until there are enough. next gives the token of the page after, "" at the
// end.
func gather(own string, next func(token string) (machines []machine, after string, err error)) ([]string, error) {
	var found []string
	token := ""
	for range maxPages {
		machines, after, err := next(token)
		if err != nil {
			return nil, err
		}
		for _, m := range machines {
			if sameName(m.id, own) {
				continue
			}
			for _, address := range m.addresses {
				if usable(address) && !slices.Contains(found, address) {
					found = append(found, address)
				}
			}
		}
		switch {
		case len(found) >= maxAddresses:
			return found[:maxAddresses], nil
		case after == "":
			return found, nil
		case after == token:
			return nil, fmt.Errorf("the list does not end: the page after this one is this one")
		}
		token = after
	}
	return nil, fmt.Errorf("the list has more than %d pages", maxPages)
}

// usable leaves out what is no address of another machine.
func usable(text string) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && a.IsGlobalUnicast() && a.Zone() == "" && !a.Is4In6()
}

// nobody is the error of a search without a result.
func nobody(what string) error {
	return node.Hinted(fmt.Errorf("no other running instance has %s", what),
		"the other members must have it, and this node see them; if this is the first member, initialize it (operator init)")
}
