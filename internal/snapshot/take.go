package snapshot

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"log/slog"
	"slices"
	"time"

	"filippo.io/age"

	"github.com/strongroom/strongroom/internal/cluster"
	"github.com/strongroom/strongroom/internal/node"
)

// Source is the server that a snapshot is taken of; [cluster.Source] is one.
type Source interface {
	Standing(context.Context) (cluster.Standing, error)
	Open(context.Context) (io.ReadCloser, error)
}

// Options of a [Taker].
type Options struct {
	Source      Source
	Sinks       []Sink
	Recipients  []string // of age
	Every       time.Duration
	Retention   Retention
	ClusterName string
	NodeID      string
	Server      string // "vault", "openbao"
	Now         func() time.Time
	Log         *slog.Logger
}

// Taker takes snapshots.
type Taker struct{ Options }

// Run takes a snapshot for the sinks in which the last verified one is older than Every, or for all of them when now is set, deletes
// what is not kept, and says what it came to. A node that does not lead has nothing to do. The result is complete beside an error, too.
func (t *Taker) Run(ctx context.Context, now bool) (Result, error) {
	result := Result{At: t.Now().UTC()}
	standing, err := t.Source.Standing(ctx)
	if err != nil {
		return result, err
	}
	if !standing.Unsealed || !standing.Active {
		return result, nil
	}
	result.Active = true
	var due []*branch
	for _, s := range t.Sinks {
		r := SinkResult{Sink: s.Name()}
		archives, _, err := stock(ctx, s, t.ClusterName)
		if err == nil {
			if last, found := newest(ctx, s, archives); found {
				r.note(last)
			}
			r.noteRehearsal(ctx, s, archives)
		}
		result.Sinks = append(result.Sinks, r)
		if now || t.Now().Sub(r.Taken) >= t.Every {
			// A sink that cannot be listed is tried all the same: perhaps it takes what it does not show.
			due = append(due, &branch{sink: s})
		}
	}
	if len(due) > 0 {
		result.Began = t.Now().UTC()
		manifest, err := t.take(ctx, standing, due)
		result.Seconds = t.Now().Sub(result.Began).Seconds()
		for _, b := range due {
			r := result.of(b.sink)
			switch {
			case b.err != nil:
				r.Error = b.err.Error()
			case err != nil:
				r.Error = err.Error()
			default:
				r.note(manifest)
			}
		}
		if err != nil {
			return result, err
		}
	}
	var errs []error
	for i, s := range t.Sinks {
		r := &result.Sinks[i]
		if r.Error == "" {
			var removed []string
			removed, err := Prune(ctx, s, t.ClusterName, t.Retention, t.Now())
			if err != nil { // the backup is there all the same
				r.Warning = err.Error()
				t.Log.Warn("cannot tidy up among the snapshots", "sink", s.Name(), "error", err)
			}
			r.Removed = len(removed)
		} else {
			errs = append(errs, fmt.Errorf("%s: %s", r.Sink, r.Error))
		}
	}
	return result, errors.Join(errs...)
}

// newest gives the newest archive that counts.
func newest(ctx context.Context, s Sink, archives []stored) (Manifest, bool) {
	for _, a := range archives {
		if m, err := a.verified(ctx, s); err == nil {
			return m, true
		}
	}
	return Manifest{}, false
}

// take brings one archive to the sinks of the branches. An error is about all of them; that of one sink is in its branch.
func (t *Taker) take(ctx context.Context, before cluster.Standing, branches []*branch) (Manifest, error) {
	recipients, prints, err := parseRecipients(t.Recipients)
	if err != nil {
		return Manifest{}, err
	}
	var random [4]byte
	if _, err := rand.Read(random[:]); err != nil {
		return Manifest{}, err
	}
	m := Manifest{
		Schema: Schema, Taken: t.Now().UTC().Truncate(time.Second), Recipients: prints,
		ClusterName: t.ClusterName, ClusterID: before.ClusterID, NodeID: t.NodeID, Server: t.Server, Version: before.Version,
	}
	m.Archive = name(t.ClusterName, m.Taken, random)
	for _, b := range branches {
		if b.upload, b.err = b.sink.Create(ctx, m.Archive); b.err != nil {
			b.err = fmt.Errorf("cannot begin: %w", b.err)
		}
	}
	out := &fan{branches}
	if !slices.ContainsFunc(branches, func(b *branch) bool { return b.upload != nil }) {
		return Manifest{}, errors.New("no sink takes a snapshot")
	}
	abort := func(err error) (Manifest, error) {
		for _, b := range branches {
			if b.upload != nil {
				b.fail(err)
			}
		}
		return Manifest{}, err
	}
	if m.Content, m.Snapshot, m.Encrypted, err = t.stream(ctx, out, recipients); err != nil {
		return abort(err)
	}
	// An archive of a server that has lost the lead meanwhile may lack what the new leader has acknowledged.
	after, err := t.Source.Standing(ctx)
	switch {
	case err != nil:
		return abort(fmt.Errorf("cannot tell whether this node still led at the end: %w", err))
	case !after.Active || after.Since != before.Since || after.ClusterID != before.ClusterID:
		return abort(node.Hinted(errors.New("the lead has changed while the snapshot was taken"), "the next leader takes one"))
	}
	for _, b := range branches {
		if b.upload == nil {
			continue
		}
		if err := b.upload.Commit(); err != nil {
			b.fail(fmt.Errorf("cannot finish: %w", err))
			continue
		}
		b.upload, b.err = nil, t.prove(ctx, b.sink, &m)
	}
	return m, nil
}

// stream reads the server's archive once: into the verifier, and encrypted into the sinks.
func (t *Taker) stream(ctx context.Context, out io.Writer, recipients []age.Recipient) (Content, Sum, Sum, error) {
	none := func(err error) (Content, Sum, Sum, error) { return Content{}, Sum{}, Sum{}, err }
	archive, err := t.Source.Open(ctx)
	if err != nil {
		return none(fmt.Errorf("cannot take a snapshot: %w", err))
	}
	defer archive.Close()
	plain, encrypted := newCounter(), newCounter()
	sealed, err := age.Encrypt(io.MultiWriter(encrypted, out), recipients...)
	if err != nil {
		return none(fmt.Errorf("cannot encrypt: %w", err))
	}
	type verdict struct {
		content Content
		err     error
	}
	reader, writer := io.Pipe()
	judged := make(chan verdict, 1)
	go func() {
		content, err := Verify(reader)
		if err != nil {
			reader.CloseWithError(err) // the copy ends with it
		}
		judged <- verdict{content, err}
	}()
	_, copied := io.Copy(io.MultiWriter(writer, plain, sealed), archive)
	if copied != nil {
		writer.CloseWithError(copied)
	} else {
		copied = writer.Close()
	}
	v := <-judged
	switch {
	case copied != nil && copied != v.err: //nolint:errorlint // The verifier's own error comes back through the pipe as it is.
		return none(fmt.Errorf("the snapshot broke off: %w", copied))
	case v.err != nil:
		return none(v.err)
	}
	if err := sealed.Close(); err != nil {
		return none(err)
	}
	return v.content, plain.sum(), encrypted.sum(), nil
}

// prove reads the archive back from a sink, and leaves the manifest beside it when it is what was put there.
func (t *Taker) prove(ctx context.Context, s Sink, m *Manifest) error {
	r, err := s.Open(ctx, m.Archive)
	if err != nil {
		return fmt.Errorf("cannot read back what was put there: %w", err)
	}
	defer r.Close()
	back := newCounter()
	if _, err := io.Copy(back, r); err != nil {
		return fmt.Errorf("cannot read back what was put there: %w", err)
	}
	if back.sum() != m.Encrypted {
		return errors.New("the sink gives out something else than was put there")
	}
	m.Verified = t.Now().UTC().Truncate(time.Second)
	content, err := m.encode()
	if err != nil {
		return err
	}
	if err := put(ctx, s, m.Archive+manifestSuffix, content); err != nil {
		return fmt.Errorf("cannot leave the manifest: %w", err)
	}
	return nil
}

func parseRecipients(texts []string) (recipients []age.Recipient, prints []string, err error) {
	for i, text := range texts {
		r, err := node.ParseRecipient(text)
		if err != nil {
			return nil, nil, fmt.Errorf("recipient %d is no public key of age", i+1)
		}
		recipients, prints = append(recipients, r), append(prints, Fingerprint(text))
	}
	if len(recipients) == 0 {
		return nil, nil, errors.New("there is no recipient")
	}
	return recipients, prints, nil
}

// counter takes a length and a digest of what is written to it.
type counter struct {
	hash.Hash
	size int64
}

func newCounter() *counter { return &counter{Hash: sha256.New()} }

func (c *counter) Write(p []byte) (int, error) {
	c.size += int64(len(p))
	return c.Hash.Write(p)
}

func (c *counter) sum() Sum { return Sum{c.size, hex.EncodeToString(c.Sum(nil))} }
