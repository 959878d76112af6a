package netboot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// Finish makes a bundle of a directory that holds the files of m: it writes the signatures, the script and the
// manifest. A nil signer signs nothing.
func Finish(ctx context.Context, dir string, m Manifest, signer *Signer) (Manifest, error) {
	m.Schema, m.Signed = Schema, signer != nil
	if signer != nil {
		for _, f := range m.Files {
			if err := ctx.Err(); err != nil {
				return Manifest{}, err
			}
			if f.Role == Disk {
				continue // no iPXE reads it; its digest is in the command line
			}
			content, err := os.ReadFile(filepath.Join(dir, f.Name))
			if err != nil {
				return Manifest{}, err
			}
			signature, err := signer.Sign(content)
			if err != nil {
				return Manifest{}, fmt.Errorf("%s: %w", f.Name, err)
			}
			if m, err = m.add(dir, Signature, f.Name+".sig", signature); err != nil {
				return Manifest{}, err
			}
		}
	}
	script := ScriptOf(m)
	if err := CheckScript(script, m); err != nil {
		return Manifest{}, fmt.Errorf("the script for this image is not one that is served: %w", err)
	}
	m, err := m.add(dir, Script, ScriptName, script)
	if err != nil {
		return Manifest{}, err
	}
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return Manifest{}, err
	}
	return m, os.WriteFile(filepath.Join(dir, ManifestName), append(text, '\n'), 0o644)
}

// add writes a file and puts it into the manifest.
func (m Manifest) add(dir string, role Role, name string, content []byte) (Manifest, error) {
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
		return Manifest{}, err
	}
	sum := sha256.Sum256(content)
	m.Files = append(m.Files, File{Role: role, Name: name, Size: int64(len(content)), SHA256: hex.EncodeToString(sum[:])})
	return m, nil
}
