package snapshot

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"filippo.io/age"

	"github.com/strongroom/strongroom/internal/cluster"
)

// server is a source that a test makes.
type server struct {
	archive  []byte
	standing []cluster.Standing // one for each question; the last one stays
	open     func() (io.ReadCloser, error)
}

func (s *server) Standing(context.Context) (cluster.Standing, error) {
	now := s.standing[0]
	if len(s.standing) > 1 {
		s.standing = s.standing[1:]
	}
	return now, nil
}

func (s *server) Open(context.Context) (io.ReadCloser, error) {
	if s.open != nil {
		return s.open()
	}
	return io.NopCloser(bytes.NewReader(s.archive)), nil
}

func leads() cluster.Standing {
	return cluster.Standing{Unsealed: true, Active: true, Since: "then", Version: "1.21.1", ClusterID: "c1"}
}

// key makes an identity for a test.
func key(t testing.TB) *age.X25519Identity {
	t.Helper()
	k, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func taker(t testing.TB, source Source, k *age.X25519Identity, sinks ...Sink) *Taker {
	t.Helper()
	return &Taker{Options{
		Source: source, Sinks: sinks, Recipients: []string{k.Recipient().String()}, Every: time.Hour,
		Retention: Retention{For: 24 * time.Hour, Least: 2}, ClusterName: "prod", NodeID: "n1", Server: "vault",
		Now: time.Now, Log: slog.New(slog.DiscardHandler),
	}}
}

// opened decrypts what a sink has.
func opened(t testing.TB, s Sink, archive string, k age.Identity) []byte {
	t.Helper()
	r, err := s.Open(t.Context(), archive)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	plain, err := age.Decrypt(r, k)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// empty says that a sink has nothing that counts, and nothing that is half there.
func empty(t testing.TB, s Sink) {
	t.Helper()
	objects, err := s.List(t.Context())
	if err != nil || len(objects) > 0 {
		t.Errorf("%s has %v, %v", s.Name(), objects, err)
	}
	if f, ok := s.(File); ok {
		if left, err := os.ReadDir(f.Directory); err == nil && len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestRun(t *testing.T) {
	k, sink := key(t), File{t.TempDir()}
	source := &server{archive: usual().bytes(t), standing: []cluster.Standing{leads()}}
	tk := taker(t, source, k, sink)
	r, err := tk.Run(t.Context(), false)
	if err != nil || !r.Active || len(r.Sinks) != 1 || r.Sinks[0].Error != "" || r.Sinks[0].Verified.IsZero() {
		t.Fatalf("%+v, %v", r, err)
	}
	if !bytes.Equal(opened(t, sink, r.Sinks[0].Archive, k), source.archive) {
		t.Error("the sink has something else")
	}
	text, err := os.ReadFile(filepath.Join(sink.Directory, r.Sinks[0].Archive+".json"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := ParseManifest(text, r.Sinks[0].Archive)
	if err != nil || m.Content.KeyID != "transit/v1" || m.Content.Seal != "transit" || m.ClusterID != "c1" || m.Version != "1.21.1" || m.Snapshot.Size != int64(len(source.archive)) ||
		len(m.Recipients) != 1 || m.Recipients[0] != Fingerprint(k.Recipient().String()) {
		t.Errorf("%s, %v", text, err)
	}
	if bytes.Contains(text, []byte("AGE-SECRET")) {
		t.Error("the manifest has a private key")
	}
	// Not due, then due, then told to.
	again, err := tk.Run(t.Context(), false)
	if err != nil || !again.Began.IsZero() || again.Sinks[0].Archive != r.Sinks[0].Archive {
		t.Errorf("%+v, %v", again, err)
	}
	tk.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	if again, err = tk.Run(t.Context(), false); err != nil || again.Sinks[0].Archive == r.Sinks[0].Archive {
		t.Errorf("%+v, %v", again, err)
	}
	if again, err = tk.Run(t.Context(), true); err != nil || again.Began.IsZero() {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestStandbyDoesNothing(t *testing.T) {
	sink := File{t.TempDir()}
	for _, s := range []cluster.Standing{{Unsealed: true}, {Active: true}} {
		r, err := taker(t, &server{standing: []cluster.Standing{s}}, key(t), sink).Run(t.Context(), true)
		if err != nil || r.Active || len(r.Sinks) > 0 {
			t.Errorf("%+v: %+v, %v", s, r, err)
		}
	}
	empty(t, sink)
}

// What is no whole snapshot of one leader is no backup, and nothing of it stays.
func TestNeverCounted(t *testing.T) {
	whole := usual().bytes(t)
	broken := errors.New("connection reset by peer")
	next, other := leads(), leads()
	next.Since, other.Active = "later", false
	for reason, source := range map[string]*server{
		"the snapshot broke off: connection": {open: func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(whole[:len(whole)/2]), failing{broken})), nil
		}},
		"it is cut off":          {archive: whole[:len(whole)-5]},
		"the archive is no":      {archive: []byte(strings.Repeat("no", 100_000))},
		"something follows":      {archive: append(whole[:len(whole):len(whole)], whole...)},
		"the lead has changed":   {archive: whole, standing: []cluster.Standing{leads(), next}},
		"changed while the snap": {archive: whole, standing: []cluster.Standing{leads(), other}},
		"cannot take a snapshot": {open: func() (io.ReadCloser, error) { return nil, errors.New("HTTP status 403") }},
	} {
		if source.standing == nil {
			source.standing = []cluster.Standing{leads()}
		}
		sink := File{filepath.Join(t.TempDir(), "made")}
		r, err := taker(t, source, key(t), sink).Run(t.Context(), false)
		if err == nil || !strings.Contains(err.Error(), reason) || !r.Sinks[0].Taken.IsZero() || r.Sinks[0].Error == "" {
			t.Errorf("%s: %+v, %v", reason, r, err)
		}
		empty(t, sink)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// trouble is a sink in which something goes wrong.
type trouble struct {
	File
	room   int // bytes of an archive that fit; 0: all
	commit error
	open   func([]byte) []byte // what it gives out of an archive
}

type troubled struct {
	Upload
	t    *trouble
	left int
}

func (s *trouble) Name() string { return "trouble" }

func (s *trouble) Create(ctx context.Context, name string) (Upload, error) {
	u, err := s.File.Create(ctx, name)
	return &troubled{u, s, s.room}, err
}

func (u *troubled) Write(p []byte) (int, error) {
	if u.t.room > 0 {
		if u.left -= len(p); u.left < 0 {
			return 0, syscall.ENOSPC
		}
	}
	return u.Upload.Write(p)
}

func (u *troubled) Commit() error {
	if u.t.commit != nil {
		return u.t.commit
	}
	return u.Upload.Commit()
}

func (s *trouble) Open(ctx context.Context, name string) (io.ReadCloser, error) {
	r, err := s.File.Open(ctx, name)
	if err != nil || s.open == nil || !strings.HasSuffix(name, archiveSuffix) {
		return r, err
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return io.NopCloser(bytes.NewReader(s.open(b))), err
}

// A sink that fails is told, costs the others nothing, and has its turn again in the next run; the others do not.
func TestOneSinkFails(t *testing.T) {
	for reason, bad := range map[string]*trouble{
		"no space left on device":   {room: 300},
		"quota exceeded":            {commit: errors.New("quota exceeded")},
		"gives out something else":  {open: func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		"gives out something else ": {open: func(b []byte) []byte { return b[:len(b)/2] }},
	} {
		k, good := key(t), File{t.TempDir()}
		bad.File = File{t.TempDir()}
		tk := taker(t, &server{archive: usual().bytes(t), standing: []cluster.Standing{leads()}}, k, bad, good)
		r, err := tk.Run(t.Context(), false)
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(reason)) || r.Sinks[0].Error == "" || !r.Sinks[0].Taken.IsZero() || r.Sinks[1].Error != "" || r.Sinks[1].Taken.IsZero() {
			t.Errorf("%s: %+v, %v", reason, r, err)
		}
		opened(t, good, r.Sinks[1].Archive, k)
		first := r.Sinks[1].Archive

		*bad = trouble{File: bad.File} // somebody has mended it
		r, err = tk.Run(t.Context(), false)
		if err != nil || r.Sinks[0].Taken.IsZero() || r.Sinks[1].Archive != first {
			t.Errorf("%s, mended: %+v, %v", reason, r, err)
		}
		opened(t, bad.File, r.Sinks[0].Archive, k)
	}
}

// A disk that is really full.
func TestFullDisk(t *testing.T) {
	directory := t.TempDir()
	if err := syscall.Mount("tmpfs", directory, "tmpfs", 0, "size=16k"); err != nil {
		t.Skipf("SKIPPED, NOTHING WAS PROVEN: needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(directory, syscall.MNT_DETACH) })
	sink := File{directory}
	m := usual()
	random := make([]byte, 100_000) // of which compression makes no less
	for i, x := 0, uint32(1); i < len(random); i++ {
		x = x*1664525 + 1013904223
		random[i] = byte(x >> 24)
	}
	m.setState(append(m.state, entry("logical/random", string(random))...))
	source := &server{archive: m.bytes(t), standing: []cluster.Standing{leads()}}
	tk := taker(t, source, key(t), sink)
	r, err := tk.Run(t.Context(), false)
	if err == nil || !strings.Contains(r.Sinks[0].Error, "no space left on device") {
		t.Errorf("%+v, %v", r, err)
	}
	empty(t, sink)
	if err := syscall.Mount("tmpfs", directory, "tmpfs", syscall.MS_REMOUNT, "size=1m"); err != nil {
		t.Fatal(err)
	}
	if r, err = tk.Run(t.Context(), false); err != nil || r.Sinks[0].Taken.IsZero() {
		t.Errorf("with room: %+v, %v", r, err)
	}
}

func TestPrune(t *testing.T) {
	k, sink := key(t), File{t.TempDir()}
	source := &server{archive: usual().bytes(t), standing: []cluster.Standing{leads()}}
	tk := taker(t, source, k, sink)
	tk.Retention = Retention{For: 1000 * time.Hour, Least: 1}
	start := time.Now()
	var names []string
	for i := range 6 {
		tk.Now = func() time.Time { return start.Add(time.Duration(i) * 10 * time.Hour) }
		r, err := tk.Run(t.Context(), true)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, r.Sinks[0].Archive)
	}
	left := func() (n int) {
		archives, orphans, err := stock(t.Context(), sink, "prod")
		if err != nil || len(orphans) > 0 {
			t.Fatal(orphans, err)
		}
		return len(archives)
	}
	now := start.Add(50 * time.Hour)
	// The two newest are damaged: they count for nothing, and the third, which is whole, is the last verified one.
	if err := os.Truncate(filepath.Join(sink.Directory, names[5]), 10); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(sink.Directory, names[4]+".json")); err != nil {
		t.Fatal(err)
	}
	_, err := Prune(t.Context(), sink, "prod", Retention{For: time.Minute, Least: 1}, now)
	if err == nil || !strings.Contains(err.Error(), "it does not count") {
		t.Errorf("the damage is not told: %v", err)
	}
	if _, err := os.Stat(filepath.Join(sink.Directory, names[3])); err != nil || left() != 3 {
		t.Errorf("the last verified one is gone, or %d are there: %v", left(), err)
	}
	// However old it is.
	if _, err := Prune(t.Context(), sink, "prod", Retention{For: time.Minute, Least: 1}, now.Add(10000*time.Hour)); err == nil || left() != 2 {
		t.Errorf("%d are left", left())
	}
	// What is no archive of this cluster is nobody's business.
	for _, name := range []string{"notes.txt", "other." + strings.TrimPrefix(names[3], "prod."), "prod.20200101T000000Z.0000000g.snap.age"} {
		if err := os.WriteFile(filepath.Join(sink.Directory, name), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Prune(t.Context(), sink, "prod", Retention{For: time.Minute, Least: 1}, now); err == nil {
			t.Error("the damage is not told")
		}
		if _, err := os.Stat(filepath.Join(sink.Directory, name)); err != nil {
			t.Error(err)
		}
	}
}

func TestPruneByCount(t *testing.T) {
	sink := File{t.TempDir()}
	tk := taker(t, &server{archive: usual().bytes(t), standing: []cluster.Standing{leads()}}, key(t), sink)
	tk.Retention = Retention{For: 1000 * time.Hour, Least: 1, Most: 3}
	start := time.Now()
	for i := range 5 {
		tk.Now = func() time.Time { return start.Add(time.Duration(i) * time.Hour) }
		if _, err := tk.Run(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	objects, err := sink.List(t.Context())
	if err != nil || len(objects) != 6 {
		t.Errorf("%v, %v", objects, err)
	}
}

func TestResultFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "snapshot.json")
	if r, err := ReadResult(path); r != nil || err != nil {
		t.Errorf("%v, %v", r, err)
	}
	full := Result{At: time.Now().UTC(), Active: true, Sinks: []SinkResult{{Sink: "file:/x", Archive: "a", Bytes: 7}}}
	if err := Leave(path, full); err != nil {
		t.Fatal(err)
	}
	if err := Leave(path, Result{At: time.Now().UTC()}); err != nil {
		t.Fatal(err)
	}
	r, err := ReadResult(path)
	if err != nil || r.Active || len(r.Sinks) != 1 || r.Sinks[0].Bytes != 7 {
		b, _ := json.Marshal(r)
		t.Errorf("%s, %v", b, err)
	}
}
