package systemd_test

import (
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/node"
	"github.com/strongroom/strongroom/systemd"
)

// What node.hcl may refer to is what the units load, in those that read it.
func TestUnitsLoadTheCredentials(t *testing.T) {
	tls := []string{node.CredentialCert, node.CredentialKey, node.CredentialCA}
	for unit, names := range map[string][]string{"hostcheck-configure.service": node.CredentialNames, "hostcheck-renew.service": node.CredentialNames,
		"hostcheck-bootstrap.service": slices.Concat(tls, node.BootstrapCredentialNames, node.SnapshotCredentialNames),
		"hostcheck-snapshot.service":  slices.Concat(tls, node.SnapshotCredentialNames)} {
		content, err := fs.ReadFile(systemd.Files, "usr/lib/systemd/system/"+unit)
		if err != nil {
			t.Fatal(err)
		}
		var loaded []string
		for line := range strings.Lines(string(content)) {
			if name, ok := strings.CutPrefix(strings.TrimSpace(line), "LoadCredential="); ok && name != node.CredentialConfig && name != node.CredentialMeasurements {
				loaded = append(loaded, name)
			}
		}
		slices.Sort(loaded)
		want := slices.Sorted(slices.Values(names))
		if !slices.Equal(loaded, want) {
			t.Errorf("%s loads %v, want %v", unit, loaded, want)
		}
	}
}
