package lab

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/node"
)

// A secret must not be on the command line, which everyone on the host can read.
func TestCredentialArguments(t *testing.T) {
	dir := t.TempDir()
	arguments, err := smbiosArguments(dir, []Credential{
		{"strongroom.tls.key", node.NewSecret([]byte("secret, with a comma"))},
		{"other", node.NewSecret(nil)},
	})
	if err != nil {
		t.Fatal(err)
	}
	first := filepath.Join(dir, "credential-0")
	want := []string{"-smbios", "type=11,path=" + first, "-smbios", "type=11,path=" + filepath.Join(dir, "credential-1")}
	if !slices.Equal(arguments, want) {
		t.Errorf("arguments %q, want %q", arguments, want)
	}
	content, err := os.ReadFile(first)
	if err != nil || string(content) != "io.systemd.credential.binary:strongroom.tls.key=c2VjcmV0LCB3aXRoIGEgY29tbWE=" {
		t.Errorf("content %q, error %v", content, err)
	}
	if info, err := os.Stat(first); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v; want readable by the owner only", info.Mode(), err)
	}
	if _, err := smbiosArguments(dir, []Credential{{"a=b", node.NewSecret(nil)}}); err == nil {
		t.Error("a name that would be read as another credential is accepted")
	}
}

func TestAccelerator(t *testing.T) {
	for name, c := range map[string]struct {
		cpuinfo string
		want    bool
	}{
		"intel":                      {"processor\t: 0\nflags\t\t: fpu vme vmx ssse3\n", true},
		"amd":                        {"flags\t\t: fpu svm\nbugs\t\t: x\n", true},
		"guest without nesting":      {"processor\t: 0\nflags\t\t: fpu vme hypervisor\n", false},
		"other lines name the flags": {"vmx flags\t: vnmi vmx\nflags\t\t: fpu\n", false},
		"empty":                      {"", false},
	} {
		if got := hasVirtualisation([]byte(c.cpuinfo)); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	emulated := strings.Join(processorArguments(false, 4), " ")
	if !strings.Contains(emulated, "-cx16") || !strings.HasSuffix(emulated, "-smp 1") {
		t.Errorf("emulation with %q: Linux 6.12 does not always survive it", emulated)
	}
	if native := strings.Join(processorArguments(true, 4), " "); !strings.HasSuffix(native, "-smp 4") {
		t.Errorf("virtualisation with %q, want the processors that were asked for", native)
	}
}
