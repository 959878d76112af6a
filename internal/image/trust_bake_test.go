//go:build bake

package image

import (
	"bytes"
	"cmp"
	"crypto/rsa"
	"debug/pe"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/secureboot"
	"github.com/strongroom/strongroom/internal/secureboot/secureboottest"
)

// signing are the keys of these tests: the same for every bake, or two of them would not have the same bytes.
var signing struct {
	once       sync.Once
	key, other *rsa.PrivateKey
	image      secureboot.Identity
	policy     measure.PolicyKey
}

// signed gives a spec the keys.
func signed(t *testing.T, s Spec) Spec {
	t.Helper()
	signing.once.Do(func() {
		signing.key, signing.other = secureboottest.Key(t, 2048), secureboottest.Key(t, 2048)
		var err error
		if signing.image, err = secureboot.New(signing.key, secureboottest.Certificate(t, signing.key), s.Epoch); err != nil {
			t.Fatal(err)
		}
		if signing.policy, err = measure.NewPolicyKey(signing.other); err != nil {
			t.Fatal(err)
		}
	})
	s.SecureBoot, s.PolicyKey = &signing.image, &signing.policy
	return s
}

// checkTrust compares the statement with what systemd of the image calculates, and the signature with what sbverify says.
func checkTrust(t *testing.T, r Result, tree string) {
	dir := t.TempDir()
	uki := filepath.Join(dir, "uki.efi")
	tool(t, "mcopy", "-i", filepath.Join(r.Dir, "disk.raw")+"@@"+strconv.FormatInt(r.Partitions[0].Start, 10), "::/EFI/BOOT/BOOTX64.EFI", uki)
	certificate := filepath.Join(dir, "certificate.pem")
	if err := os.WriteFile(certificate, secureboottest.CertificatePEM(signing.image.Certificate()), 0o600); err != nil {
		t.Fatal(err)
	}
	tool(t, "sbverify", "--cert", certificate, uki)

	text, err := os.ReadFile(filepath.Join(r.Dir, measure.FileName))
	if err != nil {
		t.Fatal(err)
	}
	statement, err := measure.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	kernel, ok := statement.Kernel("disk")
	if !ok || statement.RootHash != r.RootHash || kernel.CommandLine != r.CommandLine {
		t.Fatalf("the statement is of another image: %s", text)
	}
	if kernel.PCR4.IsZero() || kernel.PCR4Open.IsZero() || len(kernel.Firmware) != 1 || kernel.Firmware[0].PCR7.IsZero() || kernel.PolicyKey.IsZero() {
		t.Errorf("the statement lacks a value: %s", text)
	}

	content, err := os.ReadFile(uki)
	if err != nil {
		t.Fatal(err)
	}
	program, err := pe.NewFile(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	section := func(name string) []byte {
		s := program.Section(name)
		if s == nil {
			return nil
		}
		return content[s.Offset:][:s.VirtualSize]
	}
	lib := filepath.Join(tree, "usr/lib/x86_64-linux-gnu")
	argv := []string{filepath.Join(lib, "ld-linux-x86-64.so.2"), "--library-path", lib + ":" + filepath.Join(lib, "systemd") + ":" + filepath.Join(tree, "usr/lib/systemd"),
		filepath.Join(tree, "usr/lib/systemd/systemd-measure"), "calculate", "--bank=sha256"}
	for _, name := range []string{"linux", "osrel", "cmdline", "initrd", "uname", "sbat", "pcrpkey"} {
		if r.Distribution == "debian/bookworm" && (name == "uname" || name == "sbat") {
			continue // systemd 252 does not measure them
		}
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, section("."+name), 0o600); err != nil {
			t.Fatal(err)
		}
		argv = append(argv, "--"+name+"="+path)
	}
	for _, v := range kernel.PCR11 {
		argv = append(argv, "--phase="+cmp.Or(v.Phase, ":"))
	}
	calculated := tool(t, argv...)
	var policies map[string][]struct{ Pol string }
	if err := json.Unmarshal(section(".pcrsig"), &policies); err != nil || len(policies["sha256"]) != len(kernel.PCR11)-1 {
		t.Errorf(".pcrsig: %v: %s", err, section(".pcrsig"))
	}
	for _, v := range kernel.PCR11 {
		if !strings.Contains(calculated, "11:sha256="+v.SHA256.String()) {
			t.Errorf("phase %q: we calculate %s, systemd-measure of the image\n%s", v.Phase, v.SHA256, calculated)
		}
	}

	// The bundle is complete, and the private keys are nowhere.
	listed := map[string]bool{}
	for _, f := range r.Beside {
		listed[f.Name] = true
		made, err := os.ReadFile(filepath.Join(r.Dir, f.Name))
		if err != nil || int64(len(made)) != f.Size {
			t.Errorf("%s: %d bytes, the manifest says %d: %v", f.Name, len(made), f.Size, err)
		}
		content = append(content, made...)
	}
	for _, name := range []string{measure.FileName, "secure-boot/PK.auth", "secure-boot/KEK.esl", "secure-boot/db.cer"} {
		if !listed[name] {
			t.Errorf("%s is not in the manifest: %v", name, listed)
		}
	}
	for _, key := range []*rsa.PrivateKey{signing.key, signing.other} {
		if bytes.Contains(content, key.Primes[0].Bytes()) || bytes.Contains(content, key.D.Bytes()) {
			t.Error("a private key is in an artifact")
		}
	}
}
