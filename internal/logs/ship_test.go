package logs

import (
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/node/nodetest"
	"github.com/strongroom/strongroom/systemd"
)

// program is one of Debian's package systemd-journal-remote.
func program(t *testing.T, name string) string {
	t.Helper()
	path := "/lib/systemd/" + name
	if _, err := os.Stat(path); err != nil {
		t.Skip("needs Debian's package systemd-journal-remote (make deps)")
	}
	return path
}

// shipping is a journal, what the unit of an image ships it with, and a receiver that believes one authority.
type shipping struct {
	t       *testing.T
	dir     string
	entries int
}

const machine = "0123456789abcdef0123456789abcdef"

// write adds entries to the journal, as journald would: the file keeps its numbers.
func (s *shipping) write(n int) {
	s.t.Helper()
	var b strings.Builder
	for range n {
		s.entries++
		fmt.Fprintf(&b, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\n_MACHINE_ID=%s\nMESSAGE=entry %d\nSYSLOG_IDENTIFIER=vault-audit\n\n",
			1_790_000_000_000_000+s.entries, s.entries, machine, machine, s.entries)
	}
	export := filepath.Join(s.dir, "export")
	if err := os.WriteFile(export, []byte(b.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	file := filepath.Join(s.dir, "journal", machine, "system.journal")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command(program(s.t, "systemd-journal-remote"), "--output="+file, export).CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
}

// receive starts a receiver at the address: systemd-journal-remote, and before it HAProxy, which asks for a certificate of the authority. Debian
// builds systemd-journal-remote without GnuTLS, so that it cannot ask for one itself.
func (s *shipping) receive(address string, ca *nodetest.CA) (stop func()) {
	s.t.Helper()
	haproxy, err := exec.LookPath("haproxy")
	if err != nil {
		s.t.Skip("needs Debian's package haproxy (make deps)")
	}
	cert, key := ca.Issue(nodetest.Today(), "logs.example.net", "127.0.0.1")
	dir, behind := s.t.TempDir(), freeAddress(s.t)
	config := fmt.Sprintf(`defaults
  mode http
  timeout connect 5s
  timeout client 1m
  timeout server 1m
frontend logs
  bind %[1]s ssl crt %[2]s/pem ca-file %[2]s/ca verify required
  default_backend remote
backend remote
  server remote %[3]s
`, address, dir, behind)
	for name, content := range map[string][]byte{"pem": append(cert, key...), "ca": ca.PEM, "cfg": []byte(config)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(s.dir, "received"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	stops := []func(){
		s.start(behind, program(s.t, "systemd-journal-remote"), "--listen-http="+behind, "--output="+filepath.Join(s.dir, "received")),
		s.start(address, haproxy, "-db", "-f", dir+"/cfg"),
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// start starts a program and waits until it listens.
func (s *shipping) start(address, name string, arguments ...string) (stop func()) {
	s.t.Helper()
	cmd := exec.Command(name, arguments...)
	var log strings.Builder
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if s.t.Failed() {
			s.t.Logf("%s: %s", name, log.String())
		}
	})
	s.t.Cleanup(stop)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return stop
		}
		if time.Now().After(end) {
			s.t.Fatalf("%s does not listen: %v", name, err)
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// ship is one run of what the unit of an image starts, which ends at the end of the journal.
func (s *shipping) ship(address string, ca, own *nodetest.CA) (string, error) {
	s.t.Helper()
	unit, err := systemd.Files.ReadFile("sealed/ships/usr/lib/systemd/system/strongroom-ship.service")
	if err != nil {
		s.t.Fatal(err)
	}
	start := regexp.MustCompile(`(?m)^ExecStart=/usr(/lib/systemd/systemd-journal-upload) (.*)$`).FindStringSubmatch(string(unit))
	if start == nil {
		s.t.Fatal("the unit does not start systemd-journal-upload")
	}
	credentials := s.t.TempDir()
	cert, key := own.Issue(nodetest.Today(), "vault-1.example.net", "127.0.0.1")
	for name, content := range map[string][]byte{"tls.crt": cert, "tls.key": key, "ca.crt": ca.PEM} {
		if err := os.WriteFile(filepath.Join(credentials, name), content, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
	program(s.t, "systemd-journal-upload")
	arguments := strings.NewReplacer("${RECEIVER}", "https://"+address, "%d", credentials, UploadStateOfUnit, s.state()).Replace(start[2])
	cmd := exec.Command(start[1], append(strings.Fields(arguments), "--directory="+filepath.Join(s.dir, "journal"), "--follow=no")...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// UploadStateOfUnit is UploadState as the unit itself sees it.
const UploadStateOfUnit = "/var/lib/strongroom-ship/state"

func (s *shipping) state() string { return filepath.Join(s.dir, "state") }

func (s *shipping) backlog(want uint64) Backlog {
	s.t.Helper()
	b, err := LookAtBacklog(filepath.Join(s.dir, "journal"), s.state())
	if err != nil || b.Entries != want || b.Newest.UnixMicro() != int64(1_790_000_000_000_000+s.entries) {
		s.t.Errorf("%+v, %v; want %d entries", b, err, want)
	}
	return b
}

// received are the messages that the receiver has, in order.
func (s *shipping) received() []string {
	s.t.Helper()
	out, err := exec.Command("journalctl", "--directory="+filepath.Join(s.dir, "received"), "--output=cat", "--quiet").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.Fields(strings.ReplaceAll(string(out), "entry ", ""))
}

// The real shipper, started as the unit starts it, and the real receiver, by mutual TLS: what waits is counted, each entry arrives, a receiver that is away or
// that is somebody else gets nothing, and whoever has no certificate of the authority is refused.
func TestShipping(t *testing.T) {
	s := &shipping{t: t, dir: t.TempDir()}
	ca, stranger := nodetest.NewCA(t, nodetest.Today()), nodetest.NewCA(t, nodetest.Today())
	address := freeAddress(t)

	s.write(30)
	if b := s.backlog(30); !b.Shipped.IsZero() {
		t.Errorf("%+v", b)
	}
	if out, err := s.ship(address, ca, ca); err == nil {
		t.Errorf("nobody listens, and the journal is shipped: %s", out)
	}
	s.backlog(30)

	stop := s.receive(address, ca)
	if out, err := s.ship(address, ca, stranger); err == nil {
		t.Errorf("the receiver takes the journal of a stranger: %s", out)
	}
	if out, err := s.ship(address, stranger, ca); err == nil {
		t.Errorf("the shipper believes a stranger: %s", out)
	}
	s.backlog(30)
	if out, err := s.ship(address, ca, ca); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if b := s.backlog(0); b.Shipped != b.Newest {
		t.Errorf("%+v", b)
	}
	stop()
	s.write(12)
	if out, err := s.ship(address, ca, ca); err == nil {
		t.Errorf("nobody listens, and the journal is shipped: %s", out)
	}
	if b := s.backlog(12); b.Newest.Sub(b.Shipped) != 12*time.Microsecond {
		t.Errorf("%+v", b)
	}
	stop = s.receive(address, ca)
	if out, err := s.ship(address, ca, ca); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.backlog(0)
	stop()
	// systemd-journal-upload begins with the last confirmed entry, so that one may be there twice.
	got := slices.Compact(s.received())
	if len(got) != 42 {
		t.Fatalf("%d entries have arrived: %q", len(got), got)
	}
	for i, message := range got {
		if message != fmt.Sprint(i+1) {
			t.Errorf("entry %s has arrived as number %d", message, i+1)
		}
	}
}

func TestBacklogThatCannotBeTold(t *testing.T) {
	dir := t.TempDir()
	journal, state := filepath.Join(dir, "journal"), filepath.Join(dir, "state")
	if _, err := LookAtBacklog(journal, state); err == nil {
		t.Error("there is no journal")
	}
	header := make([]byte, headerSize)
	copy(header, "LPKSHHRH")
	binary.LittleEndian.PutUint64(header[160:], 9)
	if err := os.MkdirAll(filepath.Join(journal, machine), 0o700); err != nil {
		t.Fatal(err)
	}
	put := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(filepath.Join(journal, machine, "system.journal"), string(header))
	for text, want := range map[string]string{
		"": "no cursor", "LAST_CURSOR=x\n": "none", "LAST_CURSOR=s=a;i=zz;t=1\n": "none", "LAST_CURSOR=s=a;i=1\n": "none",
		"# private\nLAST_CURSOR=s=ab;i=3;b=c;m=1;t=5;x=1\n": "", "LAST_CURSOR=s=00000000000000000000000000000000;i=ff;t=5\n": "",
	} {
		put(state, text)
		b, err := LookAtBacklog(journal, state)
		if want == "" && (err != nil || b.Shipped.IsZero()) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %+v, %v", text, b, err)
		}
	}
	put(filepath.Join(journal, machine, "system.journal"), "LPKSHHRH")
	if _, err := LookAtBacklog(journal, state); err == nil {
		t.Error("half a header is read")
	}
}

func FuzzHeader(f *testing.F) {
	f.Add(append([]byte("LPKSHHRH"), make([]byte, headerSize)...))
	f.Fuzz(func(t *testing.T, header []byte) {
		if tail, err := readHeader(header); err == nil && len(tail.sequence) != 32 {
			t.Errorf("%+v", tail)
		}
	})
}

func FuzzCursor(f *testing.F) {
	f.Add("s=0123456789abcdef;i=1f;b=0;m=7;t=65a1c3b2d4e5f;x=9")
	f.Fuzz(func(t *testing.T, cursor string) {
		if tail, err := readCursor(cursor); err == nil && (tail.sequence == "" || tail.number == 0) {
			t.Errorf("%q: %+v", cursor, tail)
		}
	})
}
