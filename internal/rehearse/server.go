package rehearse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/vault/api"

	"github.com/strongroom/strongroom/internal/node"
)

// server is a throw-away one: a process on loopback whose storage goes with it.
type server struct {
	program string
	client  *api.Client
	log     tail
	dir     string
	cancel  context.CancelFunc
	ended   chan struct{} // closed when the process has ended
}

// product tells Vault and OpenBao apart by what the program says of itself: "Vault v1.21.1 (…)", "OpenBao v2.6.0 …".
func product(ctx context.Context, program string) (id string, err error) {
	out, err := exec.CommandContext(ctx, program, "version").Output()
	if err != nil {
		return "", fmt.Errorf("cannot run %s: %w", program, err)
	}
	switch word, _, _ := strings.Cut(strings.TrimSpace(string(out)), " "); word {
	case "Vault":
		return "vault", nil
	case "OpenBao":
		return "openbao", nil
	}
	return "", fmt.Errorf("%s is neither Vault nor OpenBao: %.60q", program, out)
}

// start starts the program with its storage below dir, and waits until it answers. more is HCL: the block of the seal. The listener is on
// loopback and without TLS: what comes and goes there never leaves the machine.
func start(ctx context.Context, product, program, dir, more string) (_ *server, err error) {
	s := &server{program: program}
	if s.dir, err = os.MkdirTemp(dir, "strongroom-rehearsal-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	config := fmt.Sprintf("api_addr = \"http://%[1]s\"\ncluster_addr = \"https://%[2]s\"\nstorage \"raft\" {\n  path = %[3]q\n  node_id = \"rehearsal\"\n  performance_multiplier = 1\n}\n"+
		"listener \"tcp\" {\n  address = %[1]q\n  cluster_address = %[2]q\n  tls_disable = true\n}\n%[4]s\n", ports[0], ports[1], filepath.Join(s.dir, "data"), more)
	if product == "vault" {
		config += "disable_mlock = true\n" // OpenBao does not know it any more
	}
	if err := errors.Join(os.Mkdir(filepath.Join(s.dir, "data"), 0o700), os.WriteFile(filepath.Join(s.dir, configFile), []byte(config), 0o600)); err != nil {
		return nil, err
	}
	if s.client, err = api.NewClient(&api.Config{Address: "http://" + ports[0]}); err != nil {
		return nil, err
	}
	s.client.SetMaxRetries(0)
	s.forget()
	return s, s.launch(ctx)
}

const configFile = "server.hcl"

// launch starts the process, and waits until it answers.
func (s *server) launch(ctx context.Context) error {
	running, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(running, s.program, "server", "-config="+filepath.Join(s.dir, configFile))
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	if err := cmd.Start(); err != nil {
		cancel()
		return fmt.Errorf("cannot start %s: %w", s.program, err)
	}
	ended := make(chan struct{})
	s.cancel, s.ended = cancel, ended
	go func() {
		_ = cmd.Wait() // what it came to is in its log
		close(ended)
	}()
	return s.until(ctx, "does not answer", func() error {
		_, err := s.client.Sys().SealStatusWithContext(ctx)
		return err
	})
}

// restart starts the process anew, on the same storage.
func (s *server) restart(ctx context.Context) error {
	s.cancel()
	<-s.ended
	return s.launch(ctx)
}

// forget leaves nothing of the user's own surroundings in the client: neither token nor namespace.
func (s *server) forget() {
	s.client.ClearToken()
	s.client.ClearNamespace()
}

// stop ends the server. Nothing of what it held is left.
func (s *server) stop() {
	if s.cancel != nil {
		s.cancel()
		<-s.ended
	}
	_ = os.RemoveAll(s.dir)
}

const pace = 100 * time.Millisecond

// until asks until the answer is nil. It ends with the time, or with the server.
func (s *server) until(ctx context.Context, what string, ask func() error) error {
	for {
		err := ask()
		if err == nil {
			return nil
		}
		var final *final
		if errors.As(err, &final) {
			return err
		}
		select {
		case <-s.ended:
			return node.Hinted(errors.New("the throw-away server has ended"), s.log.last())
		case <-ctx.Done():
			return node.Hinted(fmt.Errorf("the throw-away server %s: %w", what, err), s.log.last())
		case <-time.After(pace):
		}
	}
}

// final is an answer after which nobody asks again.
type final struct{ error }

func (f *final) Unwrap() error { return f.error }

// freePorts gives addresses of loopback that nobody listens on.
func freePorts(count int) ([]string, error) {
	var out []string
	for range count {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("cannot find a free port: %w", err)
		}
		defer l.Close()
		out = append(out, l.Addr().String())
	}
	return out, nil
}

// tail keeps the end of a log.
type tail struct {
	mu sync.Mutex
	b  []byte
}

const maxTail = 32 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.b = append(t.b, p...); len(t.b) > maxTail {
		t.b = append(t.b[:0], t.b[len(t.b)-maxTail:]...)
	}
	return len(p), nil
}

// last gives the last complaint, or the last line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var complaint, line string
	for l := range strings.Lines(string(t.b)) {
		if line = strings.TrimSpace(l); strings.Contains(line, "[ERROR]") || strings.HasPrefix(line, "error ") {
			complaint = line
		}
	}
	return "the server's log: " + cmp.Or(complaint, line, "it is empty")
}
