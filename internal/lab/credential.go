package lab

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"regexp"

	"github.com/strongroom/strongroom/internal/node"
)

// Credential is one systemd credential that a machine is given at boot.
type Credential struct {
	Name  string
	Value node.Secret
}

var credentialName = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// smbiosArguments writes each credential as an SMBIOS type 11 string, where systemd looks for
// them. By file, not by value: the command line of a process is readable by everyone on the
// host, and a comma in a value would end the option.
func smbiosArguments(dir string, credentials []Credential) ([]string, error) {
	var arguments []string
	for i, c := range credentials {
		if !credentialName.MatchString(c.Name) {
			return nil, fmt.Errorf("credential %q: the name may hold letters, digits, '.', '_' and '-' only", c.Name)
		}
		path := filepath.Join(dir, fmt.Sprintf("credential-%d", i))
		text := "io.systemd.credential.binary:" + c.Name + "=" + base64.StdEncoding.EncodeToString(c.Value.Reveal())
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return nil, fmt.Errorf("cannot write credential %s: %w", c.Name, err)
		}
		arguments = append(arguments, "-smbios", "type=11,path="+escape(path))
	}
	return arguments, nil
}
