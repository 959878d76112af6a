//go:build boot && slow

package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/secureboot"
	"github.com/strongroom/strongroom/internal/secureboot/secureboottest"
)

// TestEncryptedData follows the data partitions of one machine: refused without anybody who could recover them, made, opened again by
// the next boot and by the next image, shut to an image that another has signed and to a longer command line, and opened with the recovery key.
func TestEncryptedData(t *testing.T) {
	key := secureboottest.Key(t, 2048)
	identity, err := secureboot.New(key, secureboottest.Certificate(t, key), secureboottest.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	ours, foreign := policyKey(t), policyKey(t)
	encrypted := func(name string, policies *measure.PolicyKey) (disk string) {
		if err := bake(t.Context(), recipe{name: name, parameters: map[string]string{"data_encryption": "tpm"}, secureBoot: &identity, policyKey: policies}); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(workDir, name, "disk.raw")
	}
	tpm, err := NewTPM(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	recipient, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	list := identity.SignatureList()
	config := Config{Disk: newDisk(t, encrypted("encrypted", &ours)), UUID: NewUUID(), TPM: tpm, SecureBoot: &SecureBoot{PK: list, KEK: list, DB: list}}

	// 1: nobody could recover the data, and something was added to the image.
	longer := []string{"io.systemd.stub.kernel-cmdline-extra=strongroom.test=longer"}
	config.OEMStrings = longer
	node := start(t, config)
	document := verdictOf(t, node)
	refused(t, node, document, "node.hcl names nobody who could recover the data", "something was added to the signed image (PCR 12 is not zeros)")
	turnOff(t, node)
	if table := string(output(t, "sfdisk", "--dump", raw(t, config.Disk))); strings.Contains(table, "strongroom-vault") || strings.Contains(table, "strongroom-audit") {
		t.Fatalf("a data partition was made all the same:\n%s", table)
	}

	// 2 and 3: made, and opened again.
	config.OEMStrings = nil
	config.Blocks = []string{fmt.Sprintf("recovery {\n  recipients = [%q]\n  deliver_to = [\"node\"]\n}\n", recipient.Recipient())}
	for _, boot := range []string{"the first boot", "the second boot"} {
		node = start(t, config)
		document = verdictOf(t, node)
		opened(t, boot, document)
		turnOff(t, node)
	}
	kept := raw(t, config.Disk)
	recovered(t, kept, recipient)

	// 4: the next image of the same maker.
	next := transplant(t, kept, encrypted("encrypted-next", &ours))
	config.Disk = newDisk(t, next)
	node = start(t, config)
	document = verdictOf(t, node)
	opened(t, "the next image", document)
	turnOff(t, node)

	// 5: an image with the policies of another, although the firmware starts it.
	other := transplant(t, raw(t, config.Disk), encrypted("encrypted-foreign", &foreign))
	before := fingerprint(t, other, "strongroom-vault")
	config.Disk = newDisk(t, other)
	node = start(t, config)
	document = verdictOf(t, node)
	refused(t, node, document, "Failed to unseal secret using TPM2")
	turnOff(t, node)
	left := raw(t, config.Disk)
	if fingerprint(t, left, "strongroom-vault") != before {
		t.Error("the image of another has changed the data partition")
	}

	// 6: the image of the maker, with an argument that the firmware's tables add.
	config.Disk, config.OEMStrings = newDisk(t, next), longer
	node = start(t, config)
	document = verdictOf(t, node)
	refused(t, node, document, "Failed to unseal secret using TPM2")
	turnOff(t, node)

	// 7: the same image, started by a firmware that starts anything.
	config.Disk, config.OEMStrings, config.SecureBoot = newDisk(t, next), nil, nil
	node = start(t, config)
	document = verdictOf(t, node)
	refused(t, node, document, "Failed to unseal secret using TPM2")
	turnOff(t, node)
}

func policyKey(t *testing.T) measure.PolicyKey {
	t.Helper()
	key, err := measure.NewPolicyKey(secureboottest.Key(t, 2048))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// opened asks that every must control passes, that of the sealed data among them.
func opened(t *testing.T, when string, document *report.Document) {
	t.Helper()
	if document.Verdict != check.Pass {
		t.Fatalf("%s: %v", when, &VerdictError{document})
	}
	if c := controlOf(t, document, "data-sealed"); c.Outcome != control.Pass {
		t.Fatalf("%s: data-sealed: %s: %+v", when, c.Outcome, c.Observations)
	}
}

// refused asks that the data is shut, that the console says why, and that the server is down.
func refused(t *testing.T, node *Node, document *report.Document, why ...string) {
	t.Helper()
	if document.Verdict == check.Pass {
		t.Fatal("the gate is open")
	}
	if c := controlOf(t, document, "data-sealed"); c.Outcome != control.Fail {
		t.Errorf("data-sealed: %s: %+v", c.Outcome, c.Observations)
	}
	console, err := os.ReadFile(node.ConsoleLog())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range why {
		if !strings.Contains(string(console), text) {
			t.Errorf("the console does not say %q", text)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patienceAfter)
	defer cancel()
	if conn, err := node.Dial(ctx, PortAPI); err == nil {
		conn.Close()
		t.Error("the server answers")
	}
}

func controlOf(t *testing.T, document *report.Document, id string) report.Control {
	t.Helper()
	for _, c := range document.Controls {
		if c.ID == id {
			return c
		}
	}
	t.Fatalf("no control %s", id)
	return report.Control{}
}

// turnOff ends a machine in order; a server that never ran has no lead to hand over.
func turnOff(t *testing.T, node *Node) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), powerOffTimeout)
	defer cancel()
	if _, err := node.PowerOff(ctx); err != nil {
		t.Fatal(err)
	}
	if err := node.Close(); err != nil {
		t.Fatal(err)
	}
}

// raw is a copy of a disk as it is now.
func raw(t *testing.T, disk *Disk) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.raw")
	output(t, "qemu-img", "convert", "-O", "raw", disk.Path, path)
	return path
}

// recovered opens both partitions with the key that the node has delivered.
func recovered(t *testing.T, disk string, id age.Identity) {
	t.Helper()
	state := cut(t, disk, "strongroom-var")
	listing := string(output(t, "debugfs", "-R", "ls -p /lib/hostcheck/recovery", state))
	name := regexp.MustCompile(`/([^/]+\.age)/`).FindStringSubmatch(listing)
	if name == nil {
		t.Fatalf("no recovery key on the node:\n%s", listing)
	}
	sealed := output(t, "debugfs", "-R", "cat /lib/hostcheck/recovery/"+name[1], state)
	r, err := age.Decrypt(armor.NewReader(bytes.NewReader(sealed)), id)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	_, key, found := strings.Cut(string(text), "\nkey: ")
	if !found {
		t.Fatal("the delivered file has no key")
	}
	for _, label := range []string{"strongroom-vault", "strongroom-audit"} {
		device := cut(t, disk, label)
		for given, good := range map[string]bool{strings.TrimSpace(key): true, strings.Repeat("c", 71): false} {
			cmd := exec.Command("cryptsetup", "open", "--test-passphrase", "--key-file=-", device)
			cmd.Stdin = strings.NewReader(given)
			if said, err := cmd.CombinedOutput(); (err == nil) != good {
				t.Errorf("%s: a key that is good (%v): %v: %s", label, good, err, said)
			}
		}
		dump := string(output(t, "cryptsetup", "luksDump", device))
		for _, want := range []string{"systemd-tpm2", "tpm2-hash-pcrs:   7+12", "tpm2-pubkey-pcrs: 11"} {
			if !strings.Contains(dump, want) {
				t.Errorf("%s: the header does not say %q:\n%s", label, want, dump)
			}
		}
	}
}

// cut copies one partition out of a disk, and leaves holes where it has nothing.
func cut(t *testing.T, disk, label string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), label)
	start, size := extent(t, disk, label)
	output(t, "dd", "if="+disk, "of="+path, "bs=4k", fmt.Sprintf("skip=%d", start>>12), fmt.Sprintf("count=%d", size>>12), "conv=sparse", "status=none")
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

func fingerprint(t *testing.T, disk, label string) [sha256.Size]byte {
	t.Helper()
	f, err := os.Open(cut(t, disk, label))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// extent is where a partition begins and how long it is, in bytes: whole pages.
func extent(t *testing.T, disk, label string) (start, size int64) {
	t.Helper()
	line := regexp.MustCompile(`start=\s*(\d+), size=\s*(\d+),.*name="` + label + `"`).FindStringSubmatch(string(output(t, "sfdisk", "--dump", disk)))
	if line == nil {
		t.Fatalf("%s has no partition %s", disk, label)
	}
	fmt.Sscan(line[1], &start)
	fmt.Sscan(line[2], &size)
	return start * 512, size * 512
}

// transplant puts the partitions of a disk that the first boot has made behind those of another image: the system is new, the data stays.
func transplant(t *testing.T, disk, image string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "transplanted.raw")
	output(t, "cp", "--sparse=always", image, path)
	const room = 6 << 30
	if err := os.Truncate(path, room); err != nil {
		t.Fatal(err)
	}
	output(t, "sfdisk", "--quiet", "--relocate", "gpt-bak-std", path)
	at := int64(3 << 30)
	for _, label := range []string{"strongroom-var", "strongroom-vault", "strongroom-audit"} {
		start, size := extent(t, disk, label)
		kind := "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
		if label == "strongroom-var" {
			kind = "4D21B016-B534-45C2-A9FB-5C16E091FD2D"
		}
		add := exec.Command("sfdisk", "--quiet", "--append", "--no-reread", "--no-tell-kernel", path)
		add.Stdin = strings.NewReader(fmt.Sprintf("start=%d, size=%d, type=%s, name=%q\n", at/512, size/512, kind, label))
		if said, err := add.CombinedOutput(); err != nil {
			t.Fatalf("sfdisk: %v: %s", err, said)
		}
		output(t, "dd", "if="+disk, "of="+path, "bs=4k", fmt.Sprintf("skip=%d", start>>12), fmt.Sprintf("count=%d", size>>12), fmt.Sprintf("seek=%d", at>>12), "conv=sparse,notrunc", "status=none")
		at += (size + 1<<20 - 1) >> 20 << 20
	}
	return path
}
