package attest_test

import (
	"bytes"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

func TestSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/schema/attestation-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	d := mustQuote(t)
	d.EventLog, d.EKCertificates = []byte("log"), [][]byte{[]byte("certificate")}
	text, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(value); err != nil {
		t.Error(err)
	}
	value.(map[string]any)["nonce"] = "ab"
	if schema.Validate(value) == nil {
		t.Error("the schema takes anything")
	}
}
