//go:build bake

package plugin_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/signature"
	"github.com/strongroom/strongroom/internal/statement"
)

// generation is a Packer, and the wire format that it is made to talk to its plugins.
type generation struct {
	tool  string // name in tools/
	force string // PACKER_FORCE_GOB
	// What the plugin says in Packer's log when it sends its HCL spec and the data source's value.
	spec, value string
	provenance  bool // has the post-processor of that name
}

var generations = map[string]generation{
	"1.11 gob":      {tool: "packer-gob", force: "0", spec: "gob", value: "gob"},
	"1.16 gob":      {tool: "packer", force: "1", spec: "gob", value: "gob", provenance: true},
	"1.16 protobuf": {tool: "packer", force: "0", spec: "protobuf", value: "msgpack", provenance: true},
}

// at is the workbench with the Packer of a generation.
func (w workbench) at(t *testing.T, g generation) workbench {
	t.Helper()
	if g.tool == "packer" {
		return w
	}
	out, err := exec.Command("../../tools/build", "--path", g.tool).Output()
	if err != nil {
		t.Fatal(err)
	}
	w.packer = strings.TrimSpace(string(out))
	if _, err := os.Stat(w.packer); err != nil {
		t.Fatalf("%v\nhint: tools/build %s", err, g.tool)
	}
	return w
}

const chainTemplate = `
data "strongroom-release" "vault" {
  %[1]s
  cache_directory = "cache"
}

source "strongroom-image" "chain" {
  image_name          = "chain"
  image_version       = "1.0.0"
  hostcheck           = %[2]q
  data_partition_size = "64MiB"
  vault {
    binary = data.strongroom-release.vault.path
    sha256 = data.strongroom-release.vault.sha256
  }
  signing {
    key         = "key.pem"
    valid_until = "2100-01-01T00:00:00Z"
  }
}

build {
  name = "keep"
  source "source.strongroom-image.chain" {
    formats          = ["qcow2", "raw"]
    output_directory = "out"
  }

  provisioner "shell" {
    inline = ["echo provisioned ${build.ImageName} ${build.BaselineDigest} ${build.OverlayDigest}"]
  }

  post-processor "checksum" {
    checksum_types = ["sha256"]
    output         = "sums"
  }
  post-processor "manifest" {
    output = "packer-manifest.json"
  }
  post-processors {
    post-processor "compress" {
      output              = "image.tar.gz"
      compression_level   = 1
      keep_input_artifact = true
    }
    post-processor "checksum" {
      checksum_types = ["sha256"]
      output         = "compressed.sums"
    }
  }
  post-processors {
    post-processor "artifice" {
      files               = ["out/disk.raw"]
      keep_input_artifact = true
    }
    post-processor "manifest" {
      output = "artifice.json"
    }
    post-processor "compress" {
      output              = "disk.raw.lz4"
      keep_input_artifact = true
    }
  }
  post-processor "shell-local" {
    inline = ["echo after $PACKER_BUILD_NAME ${build.ImageVersion} ${build.BaselineDigest} ${build.RootHash}"]
  }
  post-processors {
    post-processor "strongroom-launch-template" {
      output_directory = "launch-template"
      aws {
        region             = "eu-central-1"
        security_group_ids = ["sg-0123456789abcdef0"]
      }
    }
    post-processor "manifest" {
      output = "launch-template.json"
    }
  }
  %[3]s
}

# Nobody keeps this one, so Packer destroys it.
build {
  name = "destroy"
  source "source.strongroom-image.chain" {
    formats          = ["raw"]
    output_directory = "gone"
  }
  post-processors {
    post-processor "shell-local" {
      inline              = ["echo mine >gone/notes.txt"]
      keep_input_artifact = false
    }
    post-processor "compress" {
      output            = "gone.tar.gz"
      compression_level = 1
    }
  }
}
`

const provenance = `post-processor "provenance" {
    signing_mode = "key"
    signer       = "key.pem"
    verifier     = "key.pub"
    output_dir   = "attestations"
    template     = "test.pkr.hcl"
  }`

// The plugin's whole chain on every wire that it may meet: a verified release, the bake, and the stock post-processors
// behind it, unmodified.
func TestChain(t *testing.T) {
	w := setUp(t)
	program, err := os.ReadFile(w.hostcheck)
	if err != nil {
		t.Fatal(err)
	}
	v := newVendor(t, program)
	keys := t.TempDir()
	signingKey(t, keys)          // one for all: its public part and its signature lie in the root
	baked := map[string]string{} // the digests of the main disk and of the signed statement, and what AWS would be asked, by wire
	for _, name := range slices.Sorted(maps.Keys(generations)) {
		g := generations[name]
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			v.write(t, dir)
			attest := ""
			for _, name := range []string{"key.pem", "key.pub"} {
				if err := os.Link(filepath.Join(keys, name), filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			if g.provenance {
				attest = provenance
			}
			template := fmt.Sprintf(chainTemplate, v.attributes(), w.hostcheck, attest)
			if err := os.WriteFile(filepath.Join(dir, "test.pkr.hcl"), []byte(template), 0o644); err != nil {
				t.Fatal(err)
			}
			w := w.at(t, g)
			build := w.command(t, dir, "build", "-parallel-builds=1", ".")
			build.Env = append(build.Env, "PACKER_FORCE_GOB="+g.force, "PACKER_LOG=1", "PACKER_LOG_PATH="+filepath.Join(dir, "packer.log"))
			out, code := run(t, build)
			if code != 0 {
				t.Fatalf("exit status %d", code)
			}
			wireIs(t, g, readFile(t, filepath.Join(dir, "packer.log")))
			baked[name] = chainKept(t, dir, out) + " " + digest(t, filepath.Join(dir, "out", statement.FileName)) + " " + launched(t, dir)
			chainDestroyed(t, dir)
			stated(t, dir)
			if g.provenance {
				attested(t, w, dir)
			}
		})
	}
	for name, id := range baked {
		if id != baked["1.16 protobuf"] {
			t.Errorf("%s baked %s, and protobuf %s", name, id, baked["1.16 protobuf"])
		}
	}
}

// The provisioner is asked for its schema and called on every wire. There is no machine behind the communicator "none", and it
// says so before anything else; what it does on one is shown by the tests with a machine, on protobuf.
func TestProvisionerOnEveryWire(t *testing.T) {
	w := setUp(t)
	for name, g := range generations {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			template := fmt.Sprintf(`
source "null" "test" {
  communicator = "none"
}
build {
  sources = ["source.null.test"]
  provisioner "strongroom-harden" {
    image_version = "1.0.0"
    hostcheck     = %[1]q
    vault {
      binary = %[1]q
    }
  }
}
`, w.hostcheck)
			if err := os.WriteFile(filepath.Join(dir, "test.pkr.hcl"), []byte(template), 0o644); err != nil {
				t.Fatal(err)
			}
			build := w.at(t, g).command(t, dir, "build", ".")
			build.Env = append(build.Env, "PACKER_FORCE_GOB="+g.force, "PACKER_LOG=1", "PACKER_LOG_PATH="+filepath.Join(dir, "packer.log"))
			if out, code := run(t, build); code == 0 || !strings.Contains(out, "does not answer as one with a POSIX shell") {
				t.Errorf("exit status %d, want the provisioner's own refusal", code)
			}
			g.value = "" // no data source
			wireIs(t, g, readFile(t, filepath.Join(dir, "packer.log")))
		})
	}
}

// wireIs looks into Packer's log for what the plugin sent, and how.
func wireIs(t *testing.T, g generation, log string) {
	t.Helper()
	for message, want := range map[string]string{"sending ConfigSpec as ": g.spec, "sending Execute as ": g.value} {
		if want == "" {
			continue
		}
		found := 0
		for line := range strings.Lines(log) {
			if _, format, ok := strings.Cut(line, message); ok {
				found++
				if got := strings.TrimSpace(format); got != want {
					t.Errorf("%s%s, want %s", message, got, want)
				}
			}
		}
		if found == 0 {
			t.Errorf("the log never says %q", message)
		}
	}
}

// chainKept checks what each post-processor made of the artifact, and returns its id.
func chainKept(t *testing.T, dir, out string) string {
	t.Helper()
	image := readManifest(t, filepath.Join(dir, "out"))
	id := "sha256:" + digest(t, filepath.Join(dir, "out/disk.raw"))
	for _, line := range []string{"provisioned chain ", "after chain 1.0.0 ", " " + image.RootHash} {
		if !strings.Contains(out, line) {
			t.Errorf("the output lacks %q", line)
		}
	}
	var packed struct {
		Builds []struct {
			BuilderType string `json:"builder_type"`
			ArtifactID  string `json:"artifact_id"`
			Files       []struct{ Name string }
		}
	}
	if err := json.Unmarshal([]byte(readFile(t, filepath.Join(dir, "packer-manifest.json"))), &packed); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range packed.Builds[0].Files {
		names = append(names, filepath.Base(f.Name))
	}
	// The main disk first, whatever the order of formats; each base name once, since compress and provenance know no others.
	if got, want := strings.Join(names, " "), "disk.raw disk.qcow2 manifest.json image-report.json timings.json measurements.json sbom.cdx.json sbom.spdx.json strongroom.lock statement.dsse.json"; got != want {
		t.Errorf("the artifact's files are %q, want %q", got, want)
	}
	if packed.Builds[0].ArtifactID != id {
		t.Errorf("artifact id %s, want %s", packed.Builds[0].ArtifactID, id)
	}
	sums := readFile(t, filepath.Join(dir, "sums"))
	for _, name := range names {
		if !strings.Contains(sums, digest(t, filepath.Join(dir, "out", name))) {
			t.Errorf("checksum left out %s", name)
		}
	}
	list, err := exec.Command("tar", "-tzf", filepath.Join(dir, "image.tar.gz")).Output()
	if err != nil || strings.Join(strings.Fields(string(list)), " ") != strings.Join(names, " ") {
		t.Errorf("compress packed %q (%v)", list, err)
	}
	if !strings.Contains(readFile(t, filepath.Join(dir, "compressed.sums")), digest(t, filepath.Join(dir, "image.tar.gz"))) {
		t.Error("the checksum of the compressed artifact is missing")
	}
	if text := readFile(t, filepath.Join(dir, "artifice.json")); !strings.Contains(text, "out/disk.raw") || strings.Contains(text, "disk.qcow2") {
		t.Errorf("artifice made %s", text)
	}
	if packed := entries(t, dir); !strings.Contains(packed, "disk.raw.lz4") {
		t.Errorf("compress made no archive of one file: %s", packed)
	}
	return id
}

// launched is a digest of the dry run of the launch template.
func launched(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "launch-template/*"))
	if err != nil || len(files) < 3 {
		t.Errorf("the dry run wrote %q (%v)", files, err)
	}
	var sums strings.Builder
	manifest := readFile(t, filepath.Join(dir, "launch-template.json"))
	for _, f := range files {
		fmt.Fprintln(&sums, filepath.Base(f), digest(t, f))
		if !strings.Contains(manifest, filepath.Base(f)) {
			t.Errorf("the artifact behind strongroom-launch-template lacks %s", filepath.Base(f))
		}
	}
	return fmt.Sprintf("%x", sha256.Sum256([]byte(sums.String())))
}

// chainDestroyed checks that Packer could take the artifact away that nobody kept, and took no more.
func chainDestroyed(t *testing.T, dir string) {
	t.Helper()
	if left := entries(t, filepath.Join(dir, "gone")); left != "notes.txt" {
		t.Errorf("destroying the artifact left %q, want the foreign file alone", left)
	}
	if err := exec.Command("gzip", "-t", filepath.Join(dir, "gone.tar.gz")).Run(); err != nil {
		t.Errorf("gone.tar.gz: %v", err)
	}
}

// signingKey writes a key as the post-processor provenance takes it.
func signingKey(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"key.pem": {Type: "PRIVATE KEY", Bytes: private}, "key.pub": {Type: "PUBLIC KEY", Bytes: public}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// attested verifies the attestation of the main disk, and that it is of that disk.
func attested(t *testing.T, w workbench, dir string) {
	t.Helper()
	verify := func(artifact string) (string, int) {
		return run(t, w.command(t, dir, "verify-attestation", "-verifier=key.pub", "-predicate-type=https://slsa.dev/provenance/v1",
			"-artifact="+artifact, "attestations/chain.disk.raw.provenance.json"))
	}
	for _, name := range []string{"disk.raw", "disk.qcow2", "manifest.json"} {
		if out, code := verify("out/" + name); code != 0 {
			t.Errorf("%s: %s", name, out)
		}
	}
	if _, code := verify("key.pub"); code == 0 {
		t.Error("the attestation is of any file")
	}
	// Packer's verifier knows the envelope, the key and the subjects of our own statement too.
	own := func(artifact string) (string, int) {
		return run(t, w.command(t, dir, "verify-attestation", "-verifier=key.pub", "-predicate-type="+statement.PredicateType, "-artifact="+artifact, "out/"+statement.FileName))
	}
	for _, name := range []string{"disk.raw", "disk.qcow2", "image-report.json"} {
		if out, code := own("out/" + name); code != 0 {
			t.Errorf("our statement of %s: %s", name, out)
		}
	}
	if _, code := own("key.pub"); code == 0 {
		t.Error("our statement is of any file")
	}
}

// stated verifies the statement of the bake, whole and after a tampering.
func stated(t *testing.T, dir string) {
	t.Helper()
	key, err := signature.ParsePublicKey([]byte(readFile(t, filepath.Join(dir, "key.pub"))))
	if err != nil {
		t.Fatal(err)
	}
	verify := func() *statement.Result {
		r, err := statement.Verify(t.Context(), filepath.Join(dir, "out"), statement.Options{Keys: []crypto.PublicKey{key}, Now: time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := verify(); r.Outcome != statement.Pass || len(r.Checks) < 12 {
		t.Errorf("the statement does not hold: %+v", r.Checks)
	}
	disk, err := os.OpenFile(filepath.Join(dir, "out/disk.raw"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	flip := func() {
		b := make([]byte, 1)
		if _, err := disk.ReadAt(b, 3<<20); err != nil {
			t.Fatal(err)
		}
		b[0] ^= 1
		if _, err := disk.WriteAt(b, 3<<20); err != nil {
			t.Fatal(err)
		}
	}
	flip()
	if r := verify(); r.Outcome != statement.Fail {
		t.Error("a flipped byte was not found")
	}
	flip()
}
