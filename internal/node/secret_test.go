package node_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/node"
)

// The value must not come out of any way in which values are printed by accident, in whatever
// struct it lies.
func TestSecretStaysSecret(t *testing.T) {
	const value = "hvs.topsecret"
	s := node.NewSecret([]byte(value))
	hidden := struct {
		name string
		key  node.Secret
	}{"n", s}
	exported := struct{ Key node.Secret }{s}

	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("m", "secret", s, "exported", exported, "credentials", node.Credentials{Material: node.Material{Key: s}})
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "secret", s, "hidden", hidden, "exported", exported)
	encoded, err := json.Marshal(map[string]any{"secret": s, "exported": exported})
	if err != nil {
		t.Fatal(err)
	}
	out := log.String() + string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		out += fmt.Sprintf(verb+verb+verb+verb, s, &s, hidden, exported)
	}
	hex := fmt.Sprintf("%x", value)
	dec := strings.Trim(fmt.Sprintf("%d", []byte(value)), "[]")
	for _, form := range []string{value, hex, strings.ToUpper(hex), dec} {
		if strings.Contains(out, form) {
			t.Errorf("%q is visible in %s", form, out)
		}
	}
	if !strings.Contains(log.String(), "[redacted]") {
		t.Error("nothing says that something was redacted")
	}
	if got := string(s.Reveal()); got != value {
		t.Errorf("Reveal gives %q", got)
	}
}
