package plugin_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/plugin"
)

func TestDatasourceConfigure(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		config map[string]any
		says   []string // nothing: it is right
	}{
		"exact":      {map[string]any{"product": "vault", "version": "1.21.1"}, nil},
		"constraint": {map[string]any{"product": "openbao", "version": "~> 2.6.0", "offline": true, "timeout": "1m"}, nil},
		// packer validate does not know yet what another data source says.
		"undecided": {map[string]any{"product": "vault", "version": "<unknown>"}, nil},
		"nothing":   {map[string]any{}, []string{"product: ", "version "}},
		"values":    {map[string]any{"product": "consul", "version": "latest", "mirror": "http://mirror"}, []string{"product: ", "version ", "mirror: "}},
		"files":     {map[string]any{"product": "vault", "version": "1.21.1", "key_file": "/nowhere", "mirror_ca": empty, "valid_at": "today"}, []string{"key_file: ", "mirror_ca: ", "valid_at: "}},
		"typo":      {map[string]any{"product": "vault", "version": "1.21.1", "colour": "red"}, []string{"colour"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			var d plugin.Datasource
			for range 2 { // Packer configures more than once
				err := d.Configure(tt.config)
				if (err == nil) != (tt.says == nil) {
					t.Fatalf("got %v", err)
				}
				for _, s := range tt.says {
					if !strings.Contains(err.Error(), s) {
						t.Errorf("%q is not reported: %v", s, err)
					}
				}
			}
		})
	}
}
