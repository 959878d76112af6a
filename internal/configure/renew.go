package configure

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/strongroom/strongroom/internal/node"
)

// Renewal is what a run of Renew came to.
type Renewal struct {
	TLS      bool      // the server and the agent have new TLS material
	Logs     bool      // the shipper of the journal has to be started again, for what it shows or believes
	Seal     bool      // the server will find new secrets of its seal when it starts again
	NotAfter time.Time // when the node's certificate ends
}

// Renew reads the references of node.hcl again. TLS material that is new and good replaces the old, as a set, and reload
// makes the server use it; the agent sees it by itself. What is new and not good is an error, and the old stays. Nothing else of
// node.hcl is looked at: an address, a member or a seal of another type is what the next boot brings.
//
// The agent's copy is replaced last. It says what the server was told to use, so that a reload which failed is made up for by the next run.
func Renew(ctx context.Context, o Options, reload func(context.Context) error) (Renewal, error) {
	id, err := o.leftIdentity()
	if err != nil {
		return Renewal{}, err
	}
	document, err := o.leftDocument()
	if err != nil {
		return Renewal{}, err
	}
	config, err := o.parse(document)
	if err != nil {
		return Renewal{}, err
	}
	in, err := o.read(ctx, config)
	if err != nil {
		return Renewal{}, err
	}
	if err := o.judgeRenewed(in.material, id.APIAddr); err != nil {
		return Renewal{}, err
	}
	group, err := lookupOwner(o.path("/etc"), o.Server.Account)
	if err != nil {
		return Renewal{}, err
	}
	done := Renewal{NotAfter: notAfter(in.material.Cert)}
	if done.Seal, err = o.renewSeal(ctx, group, config.Seal, id.Seal, in.seal); err != nil {
		return done, err
	}
	if config.Logs != nil && o.Baked.LogShipping && !sameFiles(o.path(logsDirectory), logsFiles(config.Logs, in.logsCA)) {
		if err := o.writeLogs(group, config.Logs, in.logsCA); err != nil {
			return done, err
		}
		done.Logs = true
	}
	files := tlsFiles(in.material)
	if sameFiles(o.path(node.AgentTLS), files) {
		return done, nil
	}
	if id.CA != string(in.material.CA) {
		id.CA = string(in.material.CA)
		if err := o.leaveIdentity(id); err != nil {
			return done, err
		}
	}
	if err := group.fileset(o.path(tlsDirectory(o.Server)), 0o750, 0o640, files); err != nil {
		return done, err
	}
	if err := reload(ctx); err != nil {
		return done, fmt.Errorf("cannot have %s read its new TLS material: %w", o.Server.Name, err)
	}
	if err := group.fileset(o.path(node.AgentTLS), 0o700, 0o600, files); err != nil {
		return done, err
	}
	done.TLS = true
	done.Logs = done.Logs || config.Logs != nil && o.Baked.LogShipping
	return done, nil
}

// judgeRenewed is stricter than a boot: the clock has had time to be right, and there is material that works.
func (o Options) judgeRenewed(m node.Material, apiAddr string) error {
	warnings, err := node.CheckTLS(m, []string{node.Host(apiAddr)}, o.Now())
	for _, w := range warnings {
		err = errors.Join(err, errors.New(w))
	}
	if err != nil {
		return fmt.Errorf("the TLS material stays as it is, because what is offered is not good: %w", err)
	}
	return nil
}

// renewSeal replaces the files of the seal that the server was started with.
func (o Options) renewSeal(ctx context.Context, group owner, seal node.Seal, started string, secrets map[string]node.Secret) (bool, error) {
	directory, files := o.path(sealDirectory(o.Server)), sealFiles(secrets)
	if sameFiles(directory, files) {
		return false, nil
	}
	if seal.Type != started || !slices.Equal(namesIn(directory), slices.Sorted(maps.Keys(files))) {
		o.Log.WarnContext(ctx, "node.hcl has another seal than the server was started with: it is left for the next boot")
		return false, nil
	}
	return true, group.fileset(directory, 0o750, 0o640, files)
}

// leftIdentity reads what the boot has left.
func (o Options) leftIdentity() (node.Identity, error) {
	var id node.Identity
	content, err := os.ReadFile(o.path(node.IdentityPath))
	if errors.Is(err, fs.ErrNotExist) {
		return id, node.Hinted(errors.New("this node has not been configured"), "see why hostcheck-configure.service failed; it reads everything anew when it starts")
	}
	if err == nil {
		err = json.Unmarshal(content, &id)
	}
	if err != nil {
		return id, fmt.Errorf("cannot read the node's identity: %w", err)
	}
	return id, nil
}

// sameFiles reports whether a directory holds these files with these contents, and no other.
func sameFiles(directory string, files map[string][]byte) bool {
	if !slices.Equal(namesIn(directory), slices.Sorted(maps.Keys(files))) {
		return false
	}
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(directory, name))
		if err != nil || !bytes.Equal(got, want) {
			return false
		}
	}
	return true
}

func namesIn(directory string) []string {
	entries, err := os.ReadDir(directory) // sorted
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// notAfter is when the first certificate of a chain ends, which has been judged.
func notAfter(chain []byte) time.Time {
	if block, _ := pem.Decode(chain); block != nil {
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			return cert.NotAfter
		}
	}
	return time.Time{}
}
