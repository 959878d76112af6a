package configure

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/server"
)

// tlsDirectory is where the TLS material lies, below the server's run directory. The server's account owns
// nothing of what configure writes, but its group may read.
func tlsDirectory(p server.Product) string { return p.Run + "/tls" }

func tlsCertPath(p server.Product) string { return tlsDirectory(p) + "/tls.crt" }
func tlsKeyPath(p server.Product) string  { return tlsDirectory(p) + "/tls.key" }

// Options of a run.
type Options struct {
	Root        string         // where / is: "/" on a node
	Credentials string         // $CREDENTIALS_DIRECTORY
	Authorities *x509.CertPool // that https references are believed by; nil: the image's
	Network     node.Fetcher   // by which node.hcl is fetched; its Admit is the firewall's
	Server      server.Product // of the baseline's profile
	Baked       Baked          // what the image has decided
	Firewall    Firewall
	Resolve     func(addr string) (string, error) // expands a go-sockaddr template
	Now         func() time.Time
	Random      io.Reader
	Log         *slog.Logger
}

// Run configures the node. It can be repeated: the same input gives the same files.
//
// The firewall comes first, as soon as node.hcl is understood: when anything else is wrong (an
// expired certificate, a template without an address), the operator's monitoring can then
// reach the agent and read why. Nothing else listens before the gate has opened. The server's configuration comes
// last, because the server does not start without it.
func Run(ctx context.Context, o Options) (*node.Identity, error) {
	if err := o.leaveMeasurements(); err != nil {
		return nil, err
	}
	sources := o.sources()
	document, err := sources.Find(ctx)
	if err != nil {
		return nil, err
	}
	o.Log.InfoContext(ctx, "node.hcl is found", "from", document.Source)
	config, err := o.parse(document)
	if err != nil {
		return nil, err
	}
	firewallErr := o.Firewall.Replace(Sets(config.Firewall))
	if firewallErr != nil {
		firewallErr = fmt.Errorf("cannot fill the firewall's sets: %w", firewallErr)
	}
	in, err := o.read(ctx, config)
	if err := errors.Join(firewallErr, o.checkLogs(config.Logs), err); err != nil {
		return nil, err
	}
	machine, err := sources.Machine(ctx)
	if err != nil {
		return nil, err
	}
	id, err := o.identify(config, in, machine)
	if err != nil {
		return nil, err
	}
	if err := o.judge(ctx, in.material, id.APIAddr); err != nil {
		return nil, err
	}
	if err := o.leaveDocument(document); err != nil {
		return nil, err
	}
	if err := o.write(config, id, in); err != nil {
		return nil, err
	}
	return &id, nil
}

// sources are the places where node.hcl may be.
func (o Options) sources() *node.Sources {
	network := o.Network
	network.Admit = o.Firewall.Admit
	return &node.Sources{Root: o.Root, Credentials: o.Credentials, Metadata: o.Baked.MetadataEgress, Fetcher: network, Log: o.Log}
}

func (o Options) parse(d node.Document) (*node.Config, error) {
	return node.Parse(d.Source, d.Content, node.Image{Server: o.Server.ID, ClusterPort: o.Baked.ClusterPort, MemoryLock: o.Baked.MemoryLock})
}

// judge looks at the TLS material before a server does.
func (o Options) judge(ctx context.Context, m node.Material, apiAddr string) error {
	warnings, err := node.CheckTLS(m, []string{node.Host(apiAddr)}, o.Now())
	for _, w := range warnings {
		o.Log.WarnContext(ctx, w)
	}
	return err
}

// write leaves the files: first what only the agent reads, last the server's configuration, without which it does not start.
func (o Options) write(config *node.Config, id node.Identity, in inputs) error {
	group, err := lookupOwner(o.path("/etc"), o.Server.Account)
	if err != nil {
		return err
	}
	if err := o.leaveIdentity(id); err != nil {
		return err
	}
	if err := o.writeLogs(group, config.Logs, in.logsCA); err != nil {
		return err
	}
	if err := group.directory(o.path(o.Server.Run)); err != nil {
		return err
	}
	if err := o.writeTLS(group, in.material); err != nil {
		return err
	}
	if err := group.fileset(o.path(sealDirectory(o.Server)), 0o750, 0o640, sealFiles(in.seal)); err != nil {
		return err
	}
	return group.file(o.path(o.Server.Config), ServerConfig(o.Server, id, config.Seal, o.Baked))
}

// writeTLS gives the material to the server, and to the agent a copy of its own: its profile keeps it away from the server's key.
func (o Options) writeTLS(group owner, m node.Material) error {
	if err := group.fileset(o.path(node.AgentTLS), 0o700, 0o600, tlsFiles(m)); err != nil {
		return err
	}
	return group.fileset(o.path(tlsDirectory(o.Server)), 0o750, 0o640, tlsFiles(m))
}

func tlsFiles(m node.Material) map[string][]byte {
	return map[string][]byte{"tls.crt": m.Cert, "tls.key": m.Key.Reveal(), "ca.crt": m.CA}
}

func sealFiles(secrets map[string]node.Secret) map[string][]byte {
	files := map[string][]byte{}
	for option, value := range secrets {
		files[option] = value.Reveal()
	}
	return files
}

func (o Options) path(p string) string { return filepath.Join(o.Root, p) }
