package snapshot

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/strongroom/strongroom/internal/node"
)

// Checked is what is known of a file of an archive.
type Checked struct {
	Content  *Content  // as the archive itself has it; nil: it was not opened
	Manifest *Manifest // beside it; nil: there is none
}

// beginning is how every file of age begins that is not in its text form.
const beginning = "age-encryption.org/v1\n"

// CheckFile holds an archive in a file, encrypted or not, against its own sums and against the manifest beside it (PATH.json). Without
// identities an encrypted one is not opened, and only the manifest is asked. It is for the machine of an operator: a node has no private
// key, and the way to decrypt is linked into no program of a node (docs/decisions/small-agent.md).
func CheckFile(path string, identities []age.Identity) (Checked, error) {
	var out Checked
	f, err := os.Open(path)
	if err != nil {
		return out, err
	}
	defer f.Close()
	file := newCounter()
	in := bufio.NewReader(io.TeeReader(f, file))
	encrypted := isEncrypted(in)
	if !encrypted || len(identities) > 0 {
		archive, err := Plain(in, identities)
		if err != nil {
			return out, fmt.Errorf("cannot decrypt %s: %w", path, err)
		}
		content, err := Verify(archive)
		if err != nil {
			return out, fmt.Errorf("%s: %w", path, err)
		}
		out.Content = &content
	}
	if _, err := io.Copy(io.Discard, in); err != nil {
		return out, err
	}
	text, err := os.ReadFile(path + manifestSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		if out.Content == nil {
			return out, node.Hinted(fmt.Errorf("%s is encrypted, and there is no manifest beside it", path), "--identity FILE, with the private key of a recipient")
		}
		return out, nil
	}
	if err != nil {
		return out, err
	}
	m, err := ParseManifest(text, filepath.Base(path))
	if err != nil {
		return out, err
	}
	want := m.Snapshot
	if encrypted {
		want = m.Encrypted
	}
	if got := file.sum(); got != want {
		return out, fmt.Errorf("%s has %d bytes and the sum %s; its manifest says %d and %s", path, got.Size, got.SHA256, want.Size, want.SHA256)
	}
	out.Manifest = &m
	return out, nil
}

func isEncrypted(in *bufio.Reader) bool {
	head, _ := in.Peek(len(beginning)) // a file that is shorter is no snapshot either
	return string(head) == beginning
}

// Plain decrypts an archive that is encrypted, and gives another one as it is.
func Plain(archive io.Reader, identities []age.Identity) (io.Reader, error) {
	in := bufio.NewReader(archive) // the same one, where it has a buffer already
	if !isEncrypted(in) {
		return in, nil
	}
	return age.Decrypt(in, identities...)
}

// Newest gives the path of the newest archive of a directory that has a manifest.
func Newest(directory string) (string, error) {
	entries, err := os.ReadDir(directory)
	if err != nil {
		return "", err
	}
	there := map[string]bool{}
	for _, e := range entries {
		there[e.Name()] = true
	}
	newest, at := "", ""
	for name := range there {
		if parts := nameForm().FindStringSubmatch(name); parts != nil && there[name+manifestSuffix] && parts[2] > at {
			newest, at = name, parts[2]
		}
	}
	if newest == "" {
		return "", node.Hinted(fmt.Errorf("%s holds no archive with a manifest", directory), "the files are named CLUSTER.TIME.DIGITS.snap.age, with .json beside them")
	}
	return filepath.Join(directory, newest), nil
}

// ReadIdentities reads a file of age with private keys. No error repeats what is in it.
func ReadIdentities(path string) ([]age.Identity, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	identities, err := age.ParseIdentities(f)
	if err != nil {
		return nil, fmt.Errorf("%s holds no identity of age", path)
	}
	return identities, nil
}
