//go:build boot

package lab

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"debug/pe"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/lab/network"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/secureboot"
)

// keys sign every image of these tests.
type keys struct {
	image    secureboot.Identity
	policy   measure.PolicyKey
	baseline crypto.Signer
}

var bakery = sync.OnceValues(func() (*keys, error) {
	id, err := newIdentity()
	if err != nil {
		return nil, err
	}
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	policy, err := measure.NewPolicyKey(private)
	if err != nil {
		return nil, err
	}
	_, baseline, err := ed25519.GenerateKey(rand.Reader)
	return &keys{id, policy, baseline}, err
})

func newIdentity() (secureboot.Identity, error) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return secureboot.Identity{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "lab"}, NotBefore: time.Unix(0, 0), NotAfter: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return secureboot.Identity{}, err
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return secureboot.Identity{}, err
	}
	return secureboot.New(struct{ crypto.Signer }{private}, certificate, time.Unix(0, 0))
}

// signedImage is the plain image of these tests; one that the caller brings is not signed with a key that they have.
func signedImage(t *testing.T) (dir string, statement measure.Statement) {
	t.Helper()
	if err := plain(); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(workDir, "plain")
	text, err := os.ReadFile(filepath.Join(dir, measure.FileName))
	if err != nil {
		t.Fatal(err)
	}
	if statement, err = measure.Parse(text); err != nil {
		t.Fatal(err)
	}
	return dir, statement
}

// enrolled is a machine after the enrolment of the image's bundle, from its files.
func enrolled(t *testing.T, dir string) *SecureBoot {
	t.Helper()
	s := &SecureBoot{}
	for name, value := range map[string]*[]byte{"PK": &s.PK, "KEK": &s.KEK, "db": &s.DB} {
		var err error
		if *value, err = os.ReadFile(filepath.Join(dir, image.EnrolmentDir, name+".esl")); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// program takes the unified kernel image out of a disk.
func program(t *testing.T, dir string) []byte {
	t.Helper()
	manifest, err := readManifest(filepath.Join(dir, image.ManifestName))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "uki.efi")
	if err := run(t.Context(), "mcopy", "-n", "-i", fmt.Sprintf("%s@@%d", filepath.Join(dir, "disk.raw"), manifest.Partitions[0].Start), "::/EFI/BOOT/BOOTX64.EFI", path); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// efiDisk is a disk with one EFI program and nothing else.
func efiDisk(t *testing.T, program []byte) *Disk {
	t.Helper()
	dir := t.TempDir()
	efi, whole := filepath.Join(dir, "program.efi"), filepath.Join(dir, "efi.raw")
	if err := os.WriteFile(efi, program, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(whole, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(whole, 64<<20); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{
		{"mkfs.vfat", "-F", "32", "-s", "1", whole}, {"mmd", "-i", whole, "::/EFI", "::/EFI/BOOT"}, {"mcopy", "-i", whole, efi, "::/EFI/BOOT/BOOTX64.EFI"},
	} {
		if err := run(t.Context(), argv[0], argv[1:]...); err != nil {
			t.Fatal(err)
		}
	}
	return newDisk(t, whole)
}

// section is where a section of a program lies.
func section(t *testing.T, program []byte, name string) []byte {
	t.Helper()
	f, err := pe.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	s := f.Section(name)
	if s == nil {
		t.Fatalf("no section %s", name)
	}
	return program[s.Offset:][:s.VirtualSize]
}

// flipped is a program with another byte in a section.
func flipped(t *testing.T, program []byte, name string) []byte {
	t.Helper()
	b := bytes.Clone(program)
	s := section(t, b, name)
	s[len(s)/2] ^= 1
	return b
}

// unsigned takes the signature off a program.
func unsigned(t *testing.T, program []byte) []byte {
	t.Helper()
	f, err := pe.NewFile(bytes.NewReader(program))
	if err != nil {
		t.Fatal(err)
	}
	table := f.OptionalHeader.(*pe.OptionalHeader64).DataDirectory[pe.IMAGE_DIRECTORY_ENTRY_SECURITY]
	if table.Size == 0 {
		t.Fatal("the program is not signed")
	}
	b := bytes.Clone(program[:table.VirtualAddress])
	const directories, entry = 112, 8 // in the optional header, which follows the PE and the file header
	at := int(binary.LittleEndian.Uint32(b[0x3c:])) + 4 + 20 + directories + pe.IMAGE_DIRECTORY_ENTRY_SECURITY*entry
	clear(b[at:][:entry])
	return b
}

func signed(t *testing.T, id secureboot.Identity, program []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := id.SignProgram(&b, bytes.NewReader(program)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// machine starts a machine that ends with the test.
func machine(t *testing.T, config Config) *Machine {
	t.Helper()
	slots <- struct{}{}
	release := sync.OnceFunc(func() { <-slots })
	t.Cleanup(release)
	config.Log = testLog()
	config.UUID, config.MemoryMiB = NewUUID(), 1024
	config.ConsoleLog = filepath.Join(t.TempDir(), "console.log")
	var err error
	if config.Network, err = network.New(config.Log); err != nil {
		t.Fatal(err)
	}
	m, err := Start(t.Context(), config)
	if err != nil {
		config.Network.Close()
		t.Fatal(err)
	}
	t.Cleanup(func() {
		m.Close()
		config.Network.Close()
		if t.Failed() {
			text, _ := os.ReadFile(config.ConsoleLog)
			t.Logf("console:\n%s", text)
		}
	})
	return m
}

// awaitText waits until the console shows one of some texts, and says which.
func awaitText(t *testing.T, m *Machine, texts ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bootTimeout)
	defer cancel()
	for ended := false; ; {
		console, err := os.ReadFile(m.ConsoleLog())
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range texts {
			if bytes.Contains(console, []byte(text)) {
				return text
			}
		}
		if ended {
			t.Fatalf("the machine has ended, and the console shows none of %q", texts)
		}
		select {
		case <-time.After(pollInterval):
		case <-ctx.Done():
			t.Fatalf("the console shows none of %q within %s", texts, bootTimeout)
		case <-m.Done():
			ended = true // what it wrote last is still to be looked at
		}
	}
}

// firmwareRefuses is what OVMF writes of a program that it does not trust, and kernelRuns what Linux writes first.
const firmwareRefuses, kernelRuns = "Access Denied", "Linux version"

// TestSecureBootRefuses starts what is not what was signed, on a machine that has enrolled the bundle.
func TestSecureBootRefuses(t *testing.T) {
	t.Parallel()
	dir, _ := signedImage(t)
	trust, good := enrolled(t, dir), program(t, dir)
	foreign, err := newIdentity()
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string][]byte{
		"unsigned":                         unsigned(t, good),
		"another byte in the command line": flipped(t, good, ".cmdline"),
	}
	if everything {
		cases["another byte in the kernel"] = flipped(t, good, ".linux")
		cases["another byte in the initrd"] = flipped(t, good, ".initrd")
		cases["signed by a stranger"] = signed(t, foreign, unsigned(t, good))
	}
	for name, efi := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := machine(t, Config{Disk: efiDisk(t, efi), SecureBoot: trust})
			if got := awaitText(t, m, firmwareRefuses, kernelRuns); got != firmwareRefuses {
				t.Errorf("the console shows %q", got)
			}
			t.Logf("refused after %.0f s", m.Uptime().Seconds())
		})
	}
}

// probeOf puts another initrd into a unified kernel image: one that says what it finds, and ends. Stub, kernel and command line
// are those of the image.
func probeOf(t *testing.T, uki []byte) []byte {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "init")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./testdata/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("cannot build the probe: %v: %s", err, output)
	}
	init, err := os.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	entry := func(name string, mode, major, minor int, content []byte) {
		fmt.Fprintf(&archive, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
			0, mode, 0, 0, 1, 0, len(content), 0, 0, major, minor, len(name)+1, 0, name)
		archive.Write(make([]byte, -archive.Len()&3))
		archive.Write(content)
		archive.Write(make([]byte, -archive.Len()&3))
	}
	entry("dev", 0o40755, 0, 0, nil)
	entry("dev/console", 0o20600, 5, 1, nil)
	entry("dev/ttyS0", 0o20600, 4, 64, nil)
	entry("init", 0o100755, 0, 0, init)
	entry("TRAILER!!!", 0, 0, 0, nil)
	b := unsigned(t, uki)
	initrd := section(t, b, ".initrd")
	if archive.Len() > len(initrd) {
		t.Fatalf("the probe has %d bytes, the initrd %d", archive.Len(), len(initrd))
	}
	clear(initrd[copy(initrd, archive.Bytes()):])
	return b
}

var probeLine = regexp.MustCompile(`PROBE (\S+) (.*)`)

// probe boots and returns what the probe has found: "cmdline", "pcr4", ….
func probe(t *testing.T, config Config) map[string]string {
	t.Helper()
	var err error
	if config.TPM, err = NewTPM(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	m := machine(t, config)
	awaitText(t, m, "PROBE end")
	console, err := os.ReadFile(m.ConsoleLog())
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, line := range probeLine.FindAllStringSubmatch(string(console), -1) {
		found[line[1]] = strings.TrimSpace(line[2])
	}
	return found
}

// pcr12 is what the boot stub measures of a command line that it takes from a loader.
func pcr12(commandLine string) string {
	measured := sha256.Sum256(wide(commandLine))
	p := sha256.Sum256(append(make([]byte, sha256.Size), measured[:]...))
	return hex.EncodeToString(p[:])
}

// TestMeasuredBoot compares what a TPM holds with what was calculated, and looks at what a loader's command line does: without Secure
// Boot it takes the place of the one that was baked, and with it nothing.
func TestMeasuredBoot(t *testing.T) {
	t.Parallel()
	dir, statement := signedImage(t)
	pair, err := bakery()
	if err != nil {
		t.Fatal(err)
	}
	const strange = "console=ttyS0 roothash=00 init=/init stranger"
	uki := signed(t, pair.image, probeOf(t, program(t, dir)))
	read, err := measure.ReadImage(bytes.NewReader(uki))
	if err != nil {
		t.Fatal(err)
	}
	digest, err := secureboot.Digest(bytes.NewReader(uki))
	if err != nil {
		t.Fatal(err)
	}
	kernel, err := measure.Program(bytes.NewReader(uki), ".linux")
	if err != nil {
		t.Fatal(err)
	}
	kernelDigest, err := secureboot.Digest(kernel)
	if err != nil {
		t.Fatal(err)
	}
	baked, ok := statement.Kernel("disk")
	if !ok || len(baked.Firmware) == 0 {
		t.Fatalf("the statement has no disk or no firmware: %+v", statement)
	}
	zero := measure.PCR{}.String()
	type expectation struct {
		config Config
		want   map[string]string
	}
	cases := map[string]expectation{
		"Secure Boot, with a loader's command line": {Config{SecureBoot: enrolled(t, dir), LoaderArguments: strange}, map[string]string{
			"cmdline": baked.CommandLine, "pcr11": read.PCR11()[0].SHA256.String(), "pcr12": zero,
			"pcr4": measure.PCR4(digest).String(), "pcr7": baked.Firmware[0].PCR7.String(),
		}},
	}
	if everything {
		// Not from a loader but from the machine itself, and so taken under Secure Boot too. Only PCR 12 tells.
		cases["Secure Boot, with arguments by SMBIOS"] = expectation{Config{SecureBoot: enrolled(t, dir), OEMStrings: []string{"io.systemd.stub.kernel-cmdline-extra=stranger"}}, map[string]string{
			"cmdline": baked.CommandLine + " stranger", "pcr11": read.PCR11()[0].SHA256.String(), "pcr12": pcr12("stranger"),
			"pcr4": measure.PCR4(digest).String(), "pcr7": baked.Firmware[0].PCR7.String(),
		}}
		off := measure.Firmware{}.PCR7(nil).String()
		open := measure.PCR4(digest, kernelDigest).String()
		cases["no Secure Boot"] = expectation{Config{}, map[string]string{
			"cmdline": baked.CommandLine, "pcr11": read.PCR11()[0].SHA256.String(), "pcr12": zero, "pcr4": open, "pcr7": off,
		}}
		cases["no Secure Boot, with a loader's command line"] = expectation{Config{LoaderArguments: strange}, map[string]string{
			"cmdline": strange, "pcr11": read.PCR11()[0].SHA256.String(), "pcr12": pcr12(strange), "pcr4": open, "pcr7": off,
		}}
	}
	for name, tt := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.config.Disk = efiDisk(t, uki)
			found := probe(t, tt.config)
			for what, want := range tt.want {
				if !strings.EqualFold(found[what], want) { // the kernel writes registers in upper case
					t.Errorf("%s is %s, want %s", what, found[what], want)
				}
			}
		})
	}
}
