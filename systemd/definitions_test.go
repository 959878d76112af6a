package systemd_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/internal/check/checktest"
)

// systemd-repart reads the definitions and finds room for each on the smallest disk that they ask for.
func TestPartitionsFit(t *testing.T) {
	r := newRoot(t, "off")
	for _, c := range []struct {
		size int64
		fits bool
	}{{8 << 30, true}, {1100 << 20, true}, {900 << 20, false}} {
		disk := filepath.Join(t.TempDir(), "disk.raw")
		if err := os.WriteFile(disk, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(disk, c.size); err != nil {
			t.Fatal(err)
		}
		stdout, stderr, err := run(t, "systemd-repart", "--dry-run=yes", "--empty=force", "--seed=random", "--json=short",
			"--definitions="+r.at("/usr/lib/repart.d"), disk)
		if !c.fits {
			if err == nil {
				t.Errorf("%d bytes are enough for systemd-repart, which nobody meant", c.size)
			}
			continue
		}
		if err != nil || strings.Contains(stderr, "repart.d") { // a complaint names its file
			t.Fatalf("%d bytes: %v\n%s", c.size, err, stderr)
		}
		var partitions []struct {
			Type, Label, File, Activity string
			Size                        int64 `json:"raw_size"`
		}
		if err := json.Unmarshal([]byte(stdout), &partitions); err != nil {
			t.Fatalf("%v\n%s", err, stdout)
		}
		var got []string
		for _, p := range partitions {
			got = append(got, strings.Join([]string{p.Type, p.Label, p.Activity}, " "))
			if p.Size < 256<<20 {
				t.Errorf("%s has %d bytes only", p.Label, p.Size)
			}
		}
		// The mount units name the partitions by these labels.
		want := []string{"linux-generic strongroom-vault create", "linux-generic strongroom-audit create", "var strongroom-var create"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d bytes, want, got:\n%s", c.size, diff)
		}
	}
}

// With encrypted partitions the first run makes the partition of other state alone, and leaves room behind it for a second run.
func TestEncryptedPartitionsFit(t *testing.T) {
	p := checktest.Profile()
	p.Parameters = map[string]string{"data_encryption": "tpm"}
	r := newRootOf(t, p)
	for _, c := range []struct {
		size int64
		fits bool
	}{{8 << 30, true}, {1200 << 20, true}, {1000 << 20, false}} {
		disk := filepath.Join(t.TempDir(), "disk.raw")
		if err := os.WriteFile(disk, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(disk, c.size); err != nil {
			t.Fatal(err)
		}
		partitions := func(definitions string) (labels []string, size int64, err error) {
			// Formats and encryption need root and a TPM: the rooms are what is asked here.
			plain := t.TempDir()
			files, _ := filepath.Glob(r.at(definitions) + "/*.conf")
			for _, f := range files {
				content, err := os.ReadFile(f)
				if err != nil {
					t.Fatal(err)
				}
				var lines []string
				for line := range strings.Lines(string(content)) {
					if !strings.HasPrefix(line, "Format=") && !strings.HasPrefix(line, "Encrypt=") {
						lines = append(lines, line)
					}
				}
				if err := os.WriteFile(filepath.Join(plain, filepath.Base(f)), []byte(strings.Join(lines, "")), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			stdout, _, err := run(t, "systemd-repart", "--dry-run=no", "--empty=allow", "--seed=random", "--json=short", "--discard=no", "--definitions="+plain, disk)
			if err != nil {
				return nil, 0, err
			}
			var made []struct {
				Label, Activity string
				Size            int64 `json:"raw_size"`
			}
			if err := json.Unmarshal([]byte(stdout), &made); err != nil {
				t.Fatalf("%v\n%s", err, stdout)
			}
			for _, p := range made {
				if p.Activity == "create" {
					labels, size = append(labels, p.Label), size+p.Size
				}
			}
			return labels, size, nil
		}
		first, state, err := partitions("/usr/lib/repart.d")
		if !c.fits {
			if err == nil {
				t.Errorf("%d bytes are enough for systemd-repart, which nobody meant", c.size)
			}
			continue
		}
		if err != nil {
			t.Fatalf("%d bytes: %v", c.size, err)
		}
		second, data, err := partitions("/usr/lib/strongroom/repart.d")
		if err != nil {
			t.Fatalf("%d bytes, the second run: %v", c.size, err)
		}
		if diff := cmp.Diff([]string{"strongroom-var", "strongroom-vault", "strongroom-audit"}, append(first, second...)); diff != "" {
			t.Errorf("%d bytes, want, got:\n%s", c.size, diff)
		}
		if state < 256<<20 || data < 768<<20 || c.size > 2<<30 && data < 3*state {
			t.Errorf("%d bytes: %d for other state, %d for data and audit log", c.size, state, data)
		}
	}
}

// The account has the ids that the catalogue states, whatever the distribution brought before.
func TestSysusersMakesTheAccount(t *testing.T) {
	r := newRoot(t, "off")
	if _, stderr, err := run(t, "systemd-sysusers", "--root="+r.dir); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	for file, want := range map[string]string{
		"/etc/passwd": "vault:x:800:800:HashiCorp Vault:/var/lib/vault:/usr/sbin/nologin\n",
		"/etc/group":  "vault:x:800:\n",
		"/etc/shadow": "vault:!",
	} {
		content, err := os.ReadFile(r.at(file))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(content), "\n"+want) && !strings.HasPrefix(string(content), want) {
			t.Errorf("%s has no %q:\n%s", file, want, content)
		}
	}
}

func TestTmpfilesMakesTheDirectories(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED, NOTHING WAS PROVEN: giving directories to Vault's account needs root; run `make test` as root")
	}
	r := newRoot(t, "off")
	if _, stderr, err := run(t, "systemd-sysusers", "--root="+r.dir); err != nil {
		t.Fatalf("%v\n%s", err, stderr)
	}
	if _, stderr, err := run(t, "systemd-tmpfiles", "--root="+r.dir, "--create", "strongroom.conf", "strongroom-vault.conf"); err != nil || stderr != "" {
		t.Fatalf("%v\n%s", err, stderr)
	}
	type attributes struct{ Mode, UID, GID uint32 }
	for dir, want := range map[string]attributes{
		"/run/vault":         {0o750, 0, 800},
		"/run/hostcheck":     {0o755, 0, 0},
		"/var/lib/vault":     {0o700, 800, 800},
		"/var/log/vault":     {0o700, 800, 800},
		"/var/lib/hostcheck": {0o755, 0, 0},
	} {
		var st unix.Stat_t
		if err := unix.Lstat(r.at(dir), &st); err != nil {
			t.Errorf("%s: %v", dir, err)
			continue
		}
		got := attributes{st.Mode &^ unix.S_IFMT, st.Uid, st.Gid}
		if st.Mode&unix.S_IFMT != unix.S_IFDIR || got != want {
			t.Errorf("%s is %o %+v, want %+v", dir, st.Mode, got, want)
		}
	}
}
