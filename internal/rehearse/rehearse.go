package rehearse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/digest"
	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/internal/snapshot"
)

// Options of a rehearsal.
type Options struct {
	Archive    string         // a file, encrypted or not
	Identities []age.Identity // of a recipient; none for an archive that is not encrypted
	Program    string         // a Vault or OpenBao
	Config     string         // HCL, added to the server's configuration: the block of the seal that the cluster has
	UnsealKeys []node.Secret  // with seal shamir: as many as the cluster needs
	Canary     string         // a path that is read from the restored server; empty: none
	Token      node.Secret    // a token of the cluster that may read the canary
	Directory  string         // for the server's storage, of an archive's size; empty: the system's for temporary files
	Within     time.Duration  // for all of it
	Say        func(string)
	Now        func() time.Time
}

// Run restores the archive. Its result is one to leave beside the archive when it has a time: with an error in it when the archive could not be
// restored. Otherwise nothing was tried that says anything about the archive.
func Run(ctx context.Context, o Options) (snapshot.Rehearsal, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Within)
	defer cancel()
	r := &run{Options: o}
	if err := r.prepare(ctx); err != nil {
		return r.result(ctx, err)
	}
	defer r.server.stop()
	began := o.Now()
	err := r.restore(ctx)
	r.out.Seconds = o.Now().Sub(began).Seconds()
	if err != nil {
		return r.result(ctx, &broken{err})
	}
	return r.result(ctx, nil)
}

type run struct {
	Options
	known  snapshot.Checked
	server *server
	before string // id of the throw-away cluster
	out    snapshot.Rehearsal
	needed int // unseal keys
}

// broken is an error that says something about the archive.
type broken struct{ error }

func (b *broken) Unwrap() error { return b.error }

// result gives what is to be left: nothing, where the error says nothing about the archive.
func (r *run) result(ctx context.Context, err error) (snapshot.Rehearsal, error) {
	var about *broken
	if err != nil && !errors.As(err, &about) {
		return snapshot.Rehearsal{}, err
	}
	r.out.Schema, r.out.Archive, r.out.At = snapshot.RehearsalSchema, filepath.Base(r.Archive), r.Now().UTC().Truncate(time.Second)
	if r.known.Manifest != nil {
		r.out.SHA256 = r.known.Manifest.Encrypted.SHA256
	} else if f, failed := os.Open(r.Archive); failed == nil {
		// The time may be over; what it came to is told all the same.
		r.out.SHA256, _, _ = digest.Of(context.WithoutCancel(ctx), f)
		f.Close()
	}
	if err != nil {
		r.out.Error = err.Error()
	}
	return r.out, err
}

// prepare judges the archive, and starts an empty server with the seal that the archive needs.
func (r *run) prepare(ctx context.Context) (err error) {
	var strange *age.NoIdentityMatchError
	if r.known, err = snapshot.CheckFile(r.Archive, r.Identities); err != nil {
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, os.ErrPermission) || errors.As(err, &strange) || len(r.Identities) == 0 {
			return err
		}
		return &broken{err}
	}
	content := r.known.Content
	if content == nil {
		return node.Hinted(fmt.Errorf("%s is encrypted", r.Archive), "--identity FILE, with the private key of a recipient")
	}
	r.Say(fmt.Sprintf("%s: a whole snapshot, seal %s", r.Archive, sealOf(*content)))
	if content.Seal == "shamir" && len(r.UnsealKeys) == 0 {
		return node.Hinted(errors.New("the snapshot is one of a cluster with unseal keys (seal shamir)"), "--unseal-keys FILE, with as many of them as the cluster needs")
	}
	id, err := product(ctx, r.Program)
	if err != nil {
		return err
	}
	if m := r.known.Manifest; m != nil && m.Server != id {
		return node.Hinted(fmt.Errorf("the snapshot is one of %s, and %s is %s", m.Server, r.Program, id), "--server FILE, a program of the same server")
	}
	if r.server, err = start(ctx, id, r.Program, r.Directory, r.Config); err != nil {
		return err
	}
	if err := r.initialize(ctx, *content); err != nil {
		r.server.stop()
		return err
	}
	return nil
}

func sealOf(c snapshot.Content) string {
	if c.KeyID == "" {
		return c.Seal
	}
	return c.Seal + ", key " + c.KeyID
}

// initialize makes the throw-away cluster that the archive is restored over. Its keys are nobody's.
func (r *run) initialize(ctx context.Context, content snapshot.Content) error {
	sys := r.server.client.Sys()
	status, err := sys.SealStatusWithContext(ctx)
	if err != nil {
		return err
	}
	if status.Type != content.Seal {
		return node.Hinted(fmt.Errorf("the snapshot needs the seal %s, and the throw-away server has %s", content.Seal, status.Type), "--config FILE, with the seal block of the cluster")
	}
	request := &api.InitRequest{RecoveryShares: 1, RecoveryThreshold: 1}
	if content.Seal == "shamir" {
		request = &api.InitRequest{SecretShares: 1, SecretThreshold: 1}
	}
	made, err := sys.InitWithContext(ctx, request)
	if err != nil {
		return node.Hinted(fmt.Errorf("cannot initialise the throw-away server: %w", err), r.server.log.last())
	}
	if content.Seal == "shamir" {
		if _, err := sys.UnsealWithContext(ctx, made.KeysB64[0]); err != nil {
			return fmt.Errorf("cannot unseal the throw-away server: %w", err)
		}
	}
	r.server.client.SetToken(made.RootToken)
	if err := r.server.until(ctx, "does not lead", func() error {
		health, err := r.serving(ctx)
		if err == nil {
			r.before, r.out.Version = health.ClusterID, health.Version
		}
		return err
	}); err != nil {
		return err
	}
	return r.sameKey(ctx, content)
}

// serving asks whether the server is unsealed and active.
func (r *run) serving(ctx context.Context) (*api.HealthResponse, error) {
	health, err := r.server.client.Sys().HealthWithContext(ctx)
	if err == nil && (health.Sealed || health.Standby || !health.Initialized) {
		err = errors.New("it is sealed, or no leader")
	}
	return health, err
}

// sameKey compares the key that wraps the throw-away server's own root key with the one that the archive needs. Another version of one key may open it all
// the same, so another id is only said.
func (r *run) sameKey(ctx context.Context, content snapshot.Content) error {
	if content.KeyID == "" {
		return nil
	}
	pipe, into := io.Pipe()
	go func() { into.CloseWithError(r.server.client.Sys().RaftSnapshotWithContext(ctx, into)) }()
	own, err := snapshot.Verify(pipe)
	pipe.CloseWithError(err)
	if err != nil {
		return fmt.Errorf("cannot tell which key the throw-away server's seal has: %w", err)
	}
	if r.out.KeyID = own.KeyID; own.KeyID != content.KeyID {
		r.Say(fmt.Sprintf("the throw-away server's seal uses the key %s, and the snapshot needs %s", own.KeyID, content.KeyID))
	}
	return nil
}

// restore puts the archive into the server and waits until it serves as the cluster that the archive is of.
func (r *run) restore(ctx context.Context) error {
	archive, err := os.Open(r.Archive)
	if err != nil {
		return err
	}
	defer archive.Close()
	content, err := snapshot.Plain(archive, r.Identities)
	if err != nil {
		return err
	}
	if err := r.server.client.Sys().RaftSnapshotRestoreWithContext(ctx, content, true); err != nil {
		return node.Hinted(fmt.Errorf("the server does not take the archive: %w", err), r.server.log.last())
	}
	r.server.forget() // its token was of the cluster that is no more
	if r.known.Content.Seal == "shamir" {
		// The server seals itself when the storage is another one, and goes on with the number of keys that the throw-away cluster had.
		if err := r.server.until(ctx, "does not seal itself over what was restored", func() error {
			status, err := r.server.client.Sys().SealStatusWithContext(ctx)
			if err == nil && !status.Sealed {
				err = errors.New("it is not sealed")
			}
			return err
		}); err != nil {
			return err
		}
		if err := r.server.restart(ctx); err != nil {
			return err
		}
	}
	if err := r.server.until(ctx, "does not serve what was restored", func() error { return r.isRestored(ctx) }); err != nil {
		return err
	}
	r.Say(fmt.Sprintf("restored: version %s, cluster %s", r.out.Version, r.out.ClusterID))
	if r.Canary == "" {
		return nil
	}
	r.server.client.SetToken(string(r.Token.Reveal()))
	secret, err := r.server.client.Logical().ReadWithContext(ctx, r.Canary)
	if err != nil {
		return fmt.Errorf("the canary %s cannot be read: %w", r.Canary, err)
	}
	if secret == nil || len(secret.Data) == 0 {
		return fmt.Errorf("the canary %s is not there", r.Canary)
	}
	r.out.Canary = r.Canary
	r.Say("the canary " + r.Canary + " is there")
	return nil
}

// isRestored unseals with the cluster's keys where that is needed. The id of the cluster lies behind the barrier: a server that knows it has opened the storage.
func (r *run) isRestored(ctx context.Context) error {
	sys := r.server.client.Sys()
	if r.known.Content.Seal == "shamir" {
		status, err := sys.SealStatusWithContext(ctx)
		if err != nil {
			return err
		}
		if status.Sealed {
			if err := r.unseal(ctx); err != nil {
				return err
			}
		}
	}
	health, err := r.serving(ctx)
	if err != nil {
		return err
	}
	if health.ClusterID == "" || health.ClusterID == r.before {
		return errors.New("it is the throw-away cluster still")
	}
	r.out.Version, r.out.ClusterID = health.Version, health.ClusterID
	if m := r.known.Manifest; m != nil && m.ClusterID != health.ClusterID {
		return &final{fmt.Errorf("the restored cluster has the id %s, and the manifest says %s", health.ClusterID, m.ClusterID)}
	}
	return nil
}

// unseal tries the cluster's keys.
func (r *run) unseal(ctx context.Context) error {
	for _, key := range r.UnsealKeys {
		status, err := r.server.client.Sys().UnsealWithContext(ctx, string(key.Reveal()))
		if err != nil {
			return &final{fmt.Errorf("the unseal keys are not those of the snapshot: %w", err)}
		}
		if !status.Sealed {
			return nil
		}
		r.needed = status.T
	}
	return &final{fmt.Errorf("the server stays sealed: it needs %d unseal keys, and there are %d", r.needed, len(r.UnsealKeys))}
}
