package supervisor

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/strongroom/strongroom/internal/lab"
)

// Lab is what is supervised.
type Lab interface {
	Up(ctx context.Context) error
	Status(ctx context.Context) lab.Status
	Names() []string
	Kill(name string) error
	Start(ctx context.Context, name string) error
	Cut(name string) error
	Heal(name string) error
	Replace(ctx context.Context, name string) error
	PowerOff(ctx context.Context, name string) error
	Keys() lab.Keys
	CA() []byte
	Close() error
}

// Make makes the lab.
type Make func(ctx context.Context, o lab.ClusterOptions) (Lab, error)

// inherited is the descriptor of the connection to `lab up`.
const inherited = 3

// order is what `up` sends first.
type order struct {
	Dir     string             `json:"dir"`
	Options lab.ClusterOptions `json:"options"`
}

// server is a running supervisor.
type server struct {
	lab    Lab
	state  *state
	log    *slog.Logger
	hear   *sinks
	cancel context.CancelCauseFunc // ends the lab
	group  sync.WaitGroup
}

// errDown is why a lab ends when it is told to.
var errDown = errors.New("the lab is taken down")

// Serve is the supervisor's process. It is called by Up, with a connection to it as descriptor 3.
func Serve(make Make) error {
	var what syscall.Stat_t
	if err := syscall.Fstat(inherited, &what); err != nil || what.Mode&syscall.S_IFMT != syscall.S_IFSOCK {
		return errors.New("this command is for `lab up`, which starts it")
	}
	file := os.NewFile(inherited, "up")
	up, err := net.FileConn(file)
	file.Close()
	if err != nil {
		return fmt.Errorf("cannot use the connection to `lab up`: %w", err)
	}
	defer up.Close()
	reader := bufio.NewReader(up)
	out := newLines(up)
	var o order
	if err := receive(reader, &o); err != nil {
		return fmt.Errorf("cannot read what lab to make: %w", err)
	}
	if err := serve(o, make, reader, out); err != nil {
		out.send(Reply{Done: true, Error: err.Error()})
		return err
	}
	return nil
}

func receive(r *bufio.Reader, into any) error {
	line, err := r.ReadBytes('\n')
	if err != nil {
		return err
	}
	return json.Unmarshal(line, into)
}

func serve(o order, make Make, up *bufio.Reader, out *lines) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s := &server{cancel: cancel}
	if s.state, err = claim(o.Dir); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.state.remove()) }()
	logFile, err := os.OpenFile(filepath.Join(o.Dir, logName), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("cannot write the lab's log: %w", err)
	}
	defer logFile.Close()
	s.hear = newSinks()
	s.log = slog.New(slog.NewMultiHandler(
		slog.NewTextHandler(logFile, nil),
		slog.NewTextHandler(s.hear, &slog.HandlerOptions{ReplaceAttr: withoutTime}), // for who waits for it
	))
	listener, err := s.state.listen()
	if err != nil {
		return err
	}
	o.Options.Dir, o.Options.Log = o.Dir, s.log
	if s.lab, err = make(ctx, o.Options); err != nil {
		listener.Close()
		return err
	}
	defer func() { err = errors.Join(err, s.lab.Close()) }()
	if err := os.WriteFile(filepath.Join(o.Dir, caName), s.lab.CA(), 0o600); err != nil {
		return fmt.Errorf("cannot write the lab's authority: %w", err)
	}
	s.group.Add(1)
	go func() {
		defer s.group.Done()
		s.accept(ctx, listener)
	}()
	defer s.group.Wait()
	defer listener.Close()

	if err := s.up(ctx, up, out); err != nil {
		return err
	}
	<-ctx.Done()
	s.log.Info("the lab ends", "reason", context.Cause(ctx).Error())
	return nil
}

// up brings the lab up for the command that waits for it. When that command goes without saying that the lab shall stay,
// so does the lab.
func (s *server) up(ctx context.Context, up *bufio.Reader, out *lines) error {
	stay := make(chan error, 1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		var r request
		err := receive(up, &r)
		if err != nil {
			cancel(errors.New("`lab up` was interrupted"))
		}
		stay <- err
	}()
	remove := s.hear.add(out)
	err := s.lab.Up(ctx)
	remove()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	looking, stop := context.WithTimeout(ctx, lookTimeout)
	status := s.lab.Status(looking)
	stop()
	last := Reply{Done: true, Status: &status}
	if err != nil {
		last.Error = err.Error()
	}
	if err := out.send(last); err != nil {
		return fmt.Errorf("`lab up` has gone: %w", err)
	}
	select {
	case err := <-stay:
		if err != nil {
			return errors.New("`lab up` was interrupted")
		}
		return nil
	case <-ctx.Done():
		return nil
	}
}

// lookTimeout bounds a look at all nodes.
const lookTimeout = 30 * time.Second

// withoutTime leaves the clock out, and the level of ordinary lines.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey && a.Value.String() == slog.LevelInfo.String()) {
		return slog.Attr{}
	}
	return a
}

func (s *server) accept(ctx context.Context, listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		s.group.Add(1)
		go func() {
			defer s.group.Done()
			defer conn.Close()
			// The end of the lab does not wait for a client.
			stop := context.AfterFunc(ctx, func() { conn.SetReadDeadline(time.Now()) })
			defer stop()
			s.answer(ctx, conn)
		}()
	}
}

// answer serves one request.
func (s *server) answer(ctx context.Context, conn io.ReadWriter) {
	var r request
	out := newLines(conn)
	if err := receive(bufio.NewReader(conn), &r); err != nil {
		return
	}
	remove := s.hear.add(out)
	last, err := s.do(ctx, r)
	remove()
	last.Done = true
	if err != nil {
		last.Error = err.Error()
	}
	out.send(last)
}

func (s *server) do(ctx context.Context, r request) (Reply, error) {
	switch r.Verb {
	case Status:
		looking, stop := context.WithTimeout(ctx, lookTimeout)
		defer stop()
		status := s.lab.Status(looking)
		return Reply{Status: &status}, nil
	case Env:
		return s.environment(ctx)
	case Down:
		s.cancel(errDown)
		return Reply{}, nil
	case Kill:
		return Reply{}, s.lab.Kill(r.Node)
	case Start:
		return Reply{}, s.lab.Start(ctx, r.Node)
	case Cut:
		return Reply{}, s.lab.Cut(r.Node)
	case Heal:
		return Reply{}, s.heal(r.Node)
	case Replace:
		return Reply{}, s.lab.Replace(ctx, r.Node)
	case PowerOff:
		return Reply{}, s.lab.PowerOff(ctx, r.Node)
	}
	return Reply{}, fmt.Errorf("the lab does not know %q\nhint: it was brought up by another version of imagebuild; take it down with that one", r.Verb)
}

// heal heals one node, or all that are up.
func (s *server) heal(name string) error {
	if name != "" {
		return s.lab.Heal(name)
	}
	for _, name := range s.lab.Names() {
		var down *lab.DownError
		if err := s.lab.Heal(name); err != nil && !errors.As(err, &down) {
			return err
		}
	}
	return nil
}

func (s *server) environment(ctx context.Context) (Reply, error) {
	looking, stop := context.WithTimeout(ctx, lookTimeout)
	defer stop()
	e := &Environment{CA: filepath.Join(s.state.dir, caName), Token: string(s.lab.Keys().RootToken.Reveal())}
	for _, n := range s.lab.Status(looking).Nodes {
		if n.API != "" && (e.Address == "" || n.Role == "leader") {
			e.Address = "https://" + n.API
		}
	}
	if e.Address == "" {
		return Reply{}, errors.New("no node of the lab is up\nhint: `imagebuild lab start NODE`")
	}
	return Reply{Env: e}, nil
}
