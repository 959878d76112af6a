package configure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/server"
)

// NodeIDPath is where configure keeps the node's identity.
const NodeIDPath = "/var/lib/hostcheck/node-id"

// tlsDirectory is where the TLS material lies, below the server's run directory. The server's account owns
// nothing of what configure writes, but its group may read.
func tlsDirectory(p server.Product) string { return p.Run + "/tls" }

func tlsCertPath(p server.Product) string { return tlsDirectory(p) + "/tls.crt" }
func tlsKeyPath(p server.Product) string  { return tlsDirectory(p) + "/tls.key" }
func tlsCAPath(p server.Product) string   { return tlsDirectory(p) + "/ca.crt" }

// Options of a run.
type Options struct {
	Root        string         // where / is: "/" on a node
	Credentials string         // $CREDENTIALS_DIRECTORY
	Server      server.Product // of the baseline's profile
	Baked       Baked          // what the image has decided
	Firewall    Firewall
	Resolve     func(addr string) (string, error) // expands a go-sockaddr template
	Now         func() time.Time
	Random      io.Reader
	Log         *slog.Logger
}

// Result says what the node became.
type Result struct {
	NodeID      string
	ClusterName string
	APIAddr     string
	ClusterAddr string
}

// Run configures the node. It can be repeated: the same input gives the same files.
//
// The firewall comes first, as soon as node.hcl is understood: when anything else is wrong (an
// expired certificate, a template without an address), the operator's monitoring can then
// reach the agent and read why. Nothing else listens before the gate has opened. The server's configuration comes
// last, because the server does not start without it.
func Run(ctx context.Context, o Options) (*Result, error) {
	creds, credsErr := node.ReadCredentials(o.Credentials)
	if len(creds.Config) == 0 {
		return nil, credsErr
	}
	config, err := node.Parse(node.CredentialConfig, creds.Config, node.Image{Server: o.Server.ID, ClusterPort: o.Baked.ClusterPort, MemoryLock: o.Baked.MemoryLock})
	if err != nil {
		return nil, errors.Join(err, credsErr)
	}
	if err := o.Firewall.Replace(Sets(config.Firewall)); err != nil {
		return nil, errors.Join(fmt.Errorf("cannot fill the firewall's sets: %w", err), credsErr)
	}
	if credsErr != nil {
		return nil, credsErr
	}
	result, err := o.identify(config)
	if err != nil {
		return nil, err
	}
	warnings, err := node.CheckTLS(creds, []string{node.Host(result.APIAddr)}, o.Now())
	for _, w := range warnings {
		o.Log.WarnContext(ctx, w)
	}
	if err != nil {
		return nil, err
	}
	if err := o.write(creds, result); err != nil {
		return nil, err
	}
	return result, nil
}

// identify finds out what this node is called and where it is reached.
func (o Options) identify(config *node.Config) (*Result, error) {
	api, apiErr := o.resolve("api_addr", config.APIAddr, node.CheckURL)
	cluster, clusterErr := o.resolve("cluster_addr", config.ClusterAddr, node.CheckClusterURL(o.Baked.ClusterPort))
	if err := errors.Join(apiErr, clusterErr); err != nil {
		return nil, err
	}
	id, err := nodeID(o.path(NodeIDPath), o.Random)
	if err != nil {
		return nil, err
	}
	return &Result{NodeID: id, ClusterName: config.ClusterName, APIAddr: api, ClusterAddr: cluster}, nil
}

func (o Options) resolve(key, addr string, check func(string) error) (string, error) {
	if !node.Templated(addr) {
		return addr, nil
	}
	resolved, err := o.Resolve(addr)
	if err != nil {
		return "", fmt.Errorf("cannot resolve %s: %w", key, err)
	}
	if err := check(resolved); err != nil {
		return "", node.Hinted(fmt.Errorf("%s = %q became %q on this node: %w", key, addr, resolved, err),
			"the template found no address, or more than one; name the interface: {{ GetInterfaceIP \"eth0\" }}")
	}
	return resolved, nil
}

func (o Options) write(creds node.Credentials, result *Result) error {
	owner, err := lookupOwner(o.path("/etc"), o.Server.Account)
	if err != nil {
		return err
	}
	for _, dir := range []string{o.Server.Run, tlsDirectory(o.Server)} {
		if err := owner.directory(o.path(dir)); err != nil {
			return err
		}
	}
	files := []struct {
		path    string
		content []byte
	}{
		{tlsCAPath(o.Server), creds.CA},
		{tlsCertPath(o.Server), creds.Cert},
		{tlsKeyPath(o.Server), creds.Key.Reveal()},
		{o.Server.Config, ServerConfig(o.Server, *result, o.Baked)},
	}
	for _, f := range files {
		if err := owner.file(o.path(f.path), f.content); err != nil {
			return err
		}
	}
	return nil
}

func (o Options) path(p string) string { return filepath.Join(o.Root, p) }
