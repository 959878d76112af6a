package metal

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"
)

// schemaVariable names a file with the autoinstall-schema.json of github.com/canonical/subiquity. It is AGPL, and no part of this project.
const schemaVariable = "STRONGROOM_AUTOINSTALL_SCHEMA"

// Ubuntu's installer reads the answers by this schema.
func TestAutoinstallIsAutoinstall(t *testing.T) {
	path := os.Getenv(schemaVariable)
	if path == "" {
		t.Skip(schemaVariable + " names no schema of subiquity")
	}
	schema, err := jsonschema.NewCompiler().Compile(path)
	if err != nil {
		t.Fatal(err)
	}
	static := config(t, "ubuntu/noble")
	static.Network = &Network{Address: "192.0.2.10/23", Gateway: "192.0.2.1", Nameserver: []string{"192.0.2.53"}}
	static.Proxy = "http://proxy.example:3128/"
	for name, c := range map[string]Config{"DHCP": config(t, "ubuntu/noble"), "static": static} {
		rendered := string(render(c, someDigest))
		if err := validate(schema, rendered); err != nil {
			t.Errorf("%s: %v\n%s", name, err, rendered)
		}
		wrong := strings.Replace(rendered, "version: 1", "version: 2", 1)
		if wrong == rendered {
			t.Fatal("it has no version")
		}
		if err := validate(schema, wrong); err == nil {
			t.Errorf("%s: the schema takes anything", name)
		}
	}
}

func validate(schema *jsonschema.Schema, userData string) error {
	var document struct{ Autoinstall any }
	if err := yaml.Unmarshal([]byte(userData), &document); err != nil {
		return err
	}
	text, err := json.Marshal(document.Autoinstall)
	if err != nil {
		return err
	}
	answers, err := jsonschema.UnmarshalJSON(strings.NewReader(string(text)))
	if err != nil {
		return err
	}
	return schema.Validate(answers)
}
