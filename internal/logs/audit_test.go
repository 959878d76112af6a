package logs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/logs"
	"github.com/strongroom/strongroom/internal/resource"
)

// A file system that is full takes the file device away, and not the server: what it answers is in the journal, and the alarms'
// figures rise. When both are gone, the server refuses. Room brings the device back by itself.
func TestFullAuditDisk(t *testing.T) {
	v := startVault(t, true)
	write := func(name string) error {
		_, err := v.try("PUT", "kv/"+name, map[string]any{"value": "x"})
		return err
	}
	if err := write("before"); err != nil {
		t.Fatal(err)
	}
	before, err := logs.LookAtAudit(v.audit())
	if err != nil || before.Size != 256<<10 || before.Available == 0 || before.Available >= before.Size || before.Written.IsZero() {
		t.Fatalf("before: %+v, %v", before, err)
	}
	if err := os.WriteFile(v.audit("filler"), make([]byte, 512<<10), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("the disk is not full: %v", err)
	}
	// The last page of the file may have room for some entries.
	for i := range 30 {
		if err := write(fmt.Sprint("full/", i)); err != nil {
			t.Fatalf("a full file device stops the server: %v", err)
		}
	}
	full, err := logs.LookAtAudit(v.audit())
	if err != nil || full.Available != 0 {
		t.Errorf("full: %+v, %v", full, err)
	}
	for i := range 30 {
		if !strings.Contains(v.journal.text(), fmt.Sprintf(`"kv/full/%d"`, i)) {
			t.Errorf("request %d is in no audit log", i)
		}
	}
	if v.figure("vault_audit_sink_failure") == 0 || v.figure("vault_audit_log_request_failure") != 0 || v.figure("vault_core_active") != 1 {
		t.Errorf("sink_failure %v, log_request_failure %v, core_active %v", v.figure("vault_audit_sink_failure"), v.figure("vault_audit_log_request_failure"),
			v.figure("vault_core_active"))
	}

	// Now the other device fails as well.
	v.journal.socket.Close()
	if err := write("blocked"); err == nil {
		t.Error("the server answers although nothing is audited")
	}
	if err := os.Remove(v.audit("filler")); err != nil {
		t.Fatal(err)
	}
	if err := write("after"); err != nil {
		t.Errorf("the file device does not come back: %v", err)
	}
	if v.figure("vault_audit_log_request_failure") == 0 {
		t.Error("that both devices failed is no figure")
	}
	content, err := os.ReadFile(v.audit(logs.AuditFile))
	if err != nil || !strings.Contains(string(content), `"kv/after"`) {
		t.Errorf("the entry after it is not in the file: %v", err)
	}
}

// The image's own configuration puts the file aside while it is written to: the server opens a new one, and every entry is in one of them, once.
func TestRotation(t *testing.T) {
	logrotate, err := exec.LookPath("/usr/sbin/logrotate")
	if err != nil {
		t.Skip("needs Debian's package logrotate (make deps)")
	}
	v := startVault(t, false)
	config := rotation(t)
	processes := filepath.Join(v.dir, "cgroup.procs")
	if err := os.WriteFile(processes, []byte(strconv.Itoa(v.pid)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for old, new := range map[string]string{
		"/var/log/vault/audit.log": v.dir + "/audit/audit.log", "/sys/fs/cgroup/system.slice/vault.service/cgroup.procs": processes, "size 16M": "size 50k", "rotate 10": "rotate 100",
	} {
		if strings.Count(config, old) != 1 {
			t.Fatalf("the configuration has no %q:\n%s", old, config)
		}
		config = strings.ReplaceAll(config, old, new)
	}
	file := filepath.Join(v.dir, "logrotate.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	const writers, entries = 4, 100
	var group sync.WaitGroup
	for w := range writers {
		group.Go(func() {
			for i := range entries {
				if _, err := v.try("PUT", fmt.Sprintf("kv/%d/%d", w, i), map[string]any{"value": "x"}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	written := make(chan struct{})
	go func() { group.Wait(); close(written) }()
	rotate := func() {
		t.Helper()
		if out, err := exec.Command(logrotate, "--state", filepath.Join(v.dir, "state"), file).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for done := false; !done; {
		select {
		case <-written:
			done = true
		default:
		}
		rotate()
	}
	// What is written after the last signal is in the new file.
	v.ask("PUT", "kv/last", map[string]any{"value": "x"})
	v.eventually("the new file is written", func() error {
		v.ask("PUT", "kv/last", map[string]any{"value": "x"})
		_, err := os.Stat(v.audit(logs.AuditFile))
		return err
	})
	files, err := filepath.Glob(filepath.Join(v.dir, "audit", "audit.log*"))
	if err != nil || len(files) < 3 {
		t.Fatalf("there are %d files only, %v", len(files), err)
	}
	count := map[string]int{}
	for _, f := range files {
		content, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(content)) {
			var entry struct {
				Type    string
				Request struct{ Path string }
			}
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatalf("%s: %v", f, err)
			}
			count[entry.Type+" "+entry.Request.Path]++
		}
	}
	for w := range writers {
		for i := range entries {
			for _, kind := range []string{"request", "response"} {
				if n := count[fmt.Sprintf("%s kv/%d/%d", kind, w, i)]; n != 1 {
					t.Errorf("%s kv/%d/%d is in the files %d times", kind, w, i, n)
				}
			}
		}
	}
	t.Logf("%d entries in %d files", len(count), len(files))
}

// A full partition frees itself: the oldest file goes without a byte of room for anything else.
func TestRotationWithoutRoom(t *testing.T) {
	logrotate, err := exec.LookPath("/usr/sbin/logrotate")
	if err != nil {
		t.Skip("needs Debian's package logrotate (make deps)")
	}
	dir := t.TempDir()
	config := regexp.MustCompile(`(?s)postrotate.*endscript`).ReplaceAllString(rotation(t), "")
	config = strings.NewReplacer("/var/log/vault/audit.log", dir+"/audit/audit.log", "size 16M", "size 10k", "rotate 10", "rotate 2").Replace(config)
	if err := os.WriteFile(dir+"/logrotate.conf", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	// logrotate and its state are outside of the full file system, as on a node.
	script := `set -e; mkdir "$1/audit"; mount -t tmpfs -o size=64k,mode=700 audit "$1/audit"; cd "$1/audit"
for f in audit.log audit.log.1 audit.log.2; do head -c 20k /dev/zero >$f; done
head -c 64k /dev/zero >filler 2>/dev/null || true
if head -c 4k /dev/zero >more 2>/dev/null; then echo there is room; exit 1; fi; rm more
"$2" --state "$1/state" "$1/logrotate.conf"
ls`
	out, err := exec.Command("unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh", dir, logrotate).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if got := strings.Fields(string(out)); strings.Join(got, " ") != "audit.log.1 audit.log.2 filler" {
		t.Errorf("what is left: %q", got)
	}
}

// rotation is the configuration of logrotate that a node has.
func rotation(t *testing.T) string {
	t.Helper()
	for _, c := range checktest.Compile(t, checktest.Profile()).Controls {
		for _, r := range c.Resources {
			if f, ok := r.(*resource.File); ok && f.Path == "/usr/lib/strongroom/logrotate.conf" {
				return f.Content
			}
		}
	}
	t.Fatal("no control states how the audit log is rotated")
	return ""
}

func TestAuditThatIsNotThere(t *testing.T) {
	if _, err := logs.LookAtAudit(filepath.Join(t.TempDir(), "gone")); err == nil {
		t.Error("a directory that is not there has room")
	}
	a, err := logs.LookAtAudit(t.TempDir())
	if err != nil || a.Size == 0 || !a.Written.IsZero() {
		t.Errorf("without a file: %+v, %v", a, err)
	}
}
