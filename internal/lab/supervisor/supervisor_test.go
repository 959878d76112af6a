package supervisor

import (
	"bytes"
	"context"
	"errors"

	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/lab"
	"github.com/strongroom/strongroom/internal/node"
)

// The test program is the supervisor too, of a lab without machines.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "supervise" {
		if err := Serve(newFake); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fake is a lab that boots at once. The name of its image says what goes wrong.
type fake struct {
	o   lab.ClusterOptions
	mu  sync.Mutex
	cut map[string]bool
}

func newFake(_ context.Context, o lab.ClusterOptions) (Lab, error) {
	if o.Image == "absent" {
		return nil, errors.New("no image at absent\nhint: bake it")
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "disk.qcow2"), []byte("secret"), 0o600); err != nil {
		return nil, err
	}
	return &fake{o: o, cut: map[string]bool{}}, nil
}

func (f *fake) Up(ctx context.Context) error {
	f.o.Log.Info("booting", "node", "node-1")
	switch f.o.Image {
	case "slow":
		<-ctx.Done()
		return context.Cause(ctx)
	case "unfit":
		return errors.New("no node's verdict is pass")
	}
	return nil
}

func (f *fake) Status(context.Context) lab.Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := lab.Status{Image: f.o.Image}
	for _, name := range f.Names() {
		n := lab.NodeStatus{Name: name, State: "running", Role: "follower", API: "127.0.0.1:1" + name[5:]}
		if f.cut[name] {
			n.State = "cut"
		}
		if name == "node-2" {
			n.Role = "leader"
		}
		s.Nodes = append(s.Nodes, n)
	}
	return s
}

func (f *fake) set(name string, cut bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !slices.Contains(f.Names(), name) {
		return &lab.UnknownNodeError{Name: name, Known: f.Names()}
	}
	f.cut[name] = cut
	return nil
}

func (f *fake) Names() []string        { return []string{"node-1", "node-2"} }
func (f *fake) Cut(name string) error  { return f.set(name, true) }
func (f *fake) Heal(name string) error { return f.set(name, false) }
func (f *fake) Kill(name string) error { return &lab.DownError{Name: name} }
func (f *fake) Keys() lab.Keys         { return lab.Keys{RootToken: node.NewSecret([]byte("root"))} }
func (f *fake) CA() []byte             { return []byte("an authority") }
func (f *fake) Close() error           { return nil }
func (f *fake) Start(_ context.Context, name string) error {
	f.o.Log.Info("booting", "node", name)
	return nil
}
func (f *fake) Replace(context.Context, string) error  { return nil }
func (f *fake) PowerOff(context.Context, string) error { return nil }

func command(t *testing.T) []string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{program, "supervise"}
}

// labDir is a directory for a lab, whose path is longer than that of a socket may be.
func labDir(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strings.Repeat("long", 30), "lab")
	t.Cleanup(func() { TakeDown(context.Background(), dir) })
	return dir
}

func bringUp(t *testing.T, dir string) {
	t.Helper()
	var progress bytes.Buffer
	status, err := Up(t.Context(), command(t), dir, lab.ClusterOptions{Image: "fit"}, &progress)
	if err != nil || status == nil || len(status.Nodes) != 2 {
		t.Fatalf("status %+v, error %v", status, err)
	}
	if !strings.Contains(progress.String(), "msg=booting node=node-1") {
		t.Errorf("progress %q", progress.String())
	}
}

func requireGone(t *testing.T, dir string) {
	t.Helper()
	if entries, err := os.ReadDir(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left behind in %s: %v, %v", dir, entries, err)
	}
}

func TestLifecycle(t *testing.T) {
	dir := labDir(t)
	bringUp(t, dir)
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v, %v; others must not read it", info.Mode(), err)
	}
	if _, err := Up(t.Context(), command(t), dir, lab.ClusterOptions{Image: "fit"}, io.Discard); err == nil || !strings.Contains(err.Error(), "a lab is up in") {
		t.Errorf("a second lab in the same place: %v", err)
	}
	if _, err := Do(t.Context(), dir, Cut, "node-1", io.Discard); err != nil {
		t.Fatal(err)
	}
	reply, err := Do(t.Context(), dir, Status, "", io.Discard)
	if err != nil || reply.Status.Nodes[0].State != "cut" {
		t.Errorf("status %+v, %v", reply.Status, err)
	}
	if _, err := Do(t.Context(), dir, Heal, "", io.Discard); err != nil {
		t.Error(err)
	}
	if reply, err := Do(t.Context(), dir, Status, "", io.Discard); err != nil || reply.Status.Nodes[0].State != "running" {
		t.Errorf("after heal: status %+v, %v", reply.Status, err)
	}
	var progress bytes.Buffer
	if _, err := Do(t.Context(), dir, Start, "node-2", &progress); err != nil || !strings.Contains(progress.String(), "booting") {
		t.Errorf("start: %v, progress %q", err, progress.String())
	}
	for verb, want := range map[Verb]string{Kill: "node-1 is not running", "dance": "does not know"} {
		if _, err := Do(t.Context(), dir, verb, "node-1", io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", verb, err, want)
		}
	}
	if _, err := Do(t.Context(), dir, Cut, "node-9", io.Discard); err == nil || !strings.Contains(err.Error(), "it has node-1, node-2") {
		t.Errorf("a node that is none: %v", err)
	}
	reply, err = Do(t.Context(), dir, Env, "", io.Discard)
	if err != nil || reply.Env.Address != "https://127.0.0.1:12" || reply.Env.Token != "root" {
		t.Errorf("environment %+v, %v; want the leader's", reply.Env, err)
	}
	if content, err := os.ReadFile(reply.Env.CA); err != nil || string(content) != "an authority" {
		t.Errorf("authority %q, %v", content, err)
	}
	if err := TakeDown(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	requireGone(t, dir)
	if err := TakeDown(t.Context(), dir); !errors.Is(err, ErrNoLab) {
		t.Errorf("down without a lab: %v", err)
	}
	if _, err := Do(t.Context(), dir, Status, "", io.Discard); !errors.Is(err, ErrNoLab) {
		t.Errorf("status without a lab: %v", err)
	}
}

// A supervisor that is killed leaves files. The next command knows that it is gone, and the next up or down removes them.
func TestCrash(t *testing.T) {
	for name, after := range map[string]func(string) error{
		"down": func(dir string) error { return TakeDown(t.Context(), dir) },
		"up": func(dir string) error {
			bringUp(t, dir)
			return TakeDown(t.Context(), dir)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := labDir(t)
			bringUp(t, dir)
			pid := owner(dir)
			if pid < 2 {
				t.Fatalf("process %d", pid)
			}
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
				if _, err := Do(t.Context(), dir, Status, "", io.Discard); errors.Is(err, ErrNoLab) {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("a killed lab passes for one that lives")
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "disk.qcow2")); err != nil {
				t.Fatalf("the test proves nothing: %v", err)
			}
			if err := after(dir); err != nil {
				t.Fatal(err)
			}
			requireGone(t, dir)
		})
	}
}

func TestTerminated(t *testing.T) {
	dir := labDir(t)
	bringUp(t, dir)
	if err := syscall.Kill(owner(dir), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
			return
		}
	}
	requireGone(t, dir)
}

// Ctrl-C during up takes everything down before up returns.
func TestInterruptedUp(t *testing.T) {
	dir := labDir(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := writerFunc(func(p []byte) {
		if bytes.Contains(p, []byte("booting")) {
			cancel()
		}
	})
	if _, err := Up(ctx, command(t), dir, lab.ClusterOptions{Image: "slow"}, seen); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	requireGone(t, dir)
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func TestUpFails(t *testing.T) {
	dir := labDir(t)
	status, err := Up(t.Context(), command(t), dir, lab.ClusterOptions{Image: "absent"}, io.Discard)
	if status != nil || err == nil || !strings.Contains(err.Error(), "no image at absent\nhint: ") {
		t.Errorf("status %+v, error %v", status, err)
	}
	if _, err := Do(t.Context(), dir, Status, "", io.Discard); !errors.Is(err, ErrNoLab) {
		t.Errorf("status of a lab that never was: %v", err)
	}
	// Nodes that do not pass are there to be looked at.
	status, err = Up(t.Context(), command(t), dir, lab.ClusterOptions{Image: "unfit"}, io.Discard)
	if status == nil || err == nil || !strings.Contains(err.Error(), "no node's verdict is pass") {
		t.Errorf("status %+v, error %v", status, err)
	}
	if _, err := Do(t.Context(), dir, Status, "", io.Discard); err != nil {
		t.Errorf("a lab that does not pass: %v", err)
	}
	if err := TakeDown(t.Context(), dir); err != nil {
		t.Error(err)
	}
	requireGone(t, dir)
}

// A directory with something else in it is never emptied.
func TestForeignDirectory(t *testing.T) {
	dir := t.TempDir()
	precious := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(precious, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Up(t.Context(), command(t), dir, lab.ClusterOptions{Image: "fit"}, io.Discard); err == nil || !strings.Contains(err.Error(), "holds other things") {
		t.Errorf("error %v", err)
	}
	if err := TakeDown(t.Context(), dir); !errors.Is(err, ErrNoLab) {
		t.Errorf("down: %v", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("it is gone: %v", err)
	}
}

func TestDefaultDir(t *testing.T) {
	t.Setenv("HOME", "/home/somebody")
	for given, want := range map[string]string{
		"": "/home/somebody/.local/state/strongroom/lab", "/var/state": "/var/state/strongroom/lab", "relative": "/home/somebody/.local/state/strongroom/lab",
	} {
		t.Setenv("XDG_STATE_HOME", given)
		if got, err := DefaultDir(); err != nil || got != want {
			t.Errorf("%q: %q, %v", given, got, err)
		}
	}
}

func FuzzReceive(f *testing.F) {
	f.Add([]byte(`{"verb":"kill","node":"node-1"}` + "\n"))
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, line []byte) {
		s := &server{lab: &fake{cut: map[string]bool{}}, state: &state{dir: "/nowhere"}, cancel: func(error) {}, hear: newSinks()}
		f := s.lab.(*fake)
		f.o.Log = slog.New(slog.DiscardHandler)
		var out bytes.Buffer
		s.answer(t.Context(), struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(line), &out})

	})
}
