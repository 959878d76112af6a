//go:build boot

package lab

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/strongroom/strongroom/internal/attest"
	"github.com/strongroom/strongroom/internal/attest/appraise"
	"github.com/strongroom/strongroom/internal/measure"
)

// requireAttested asks a running node for an attestation and judges it by what the bake has written beside the image, then
// breaks what must not be breakable.
func requireAttested(t *testing.T, node *Node, imageDir string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	nonce := make(attest.Hex, 32)
	rand.Read(nonce)
	status, body, err := node.Get(ctx, PortTelemetry, "/attest?nonce="+nonce.String())
	if err != nil || status != http.StatusOK {
		t.Fatalf("/attest: status %d, error %v: %s", status, err, body)
	}
	if keep := os.Getenv("STRONGROOM_KEEP"); keep != "" {
		if err := os.WriteFile(filepath.Join(keep, "attestation.json"), body, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parse := func() *attest.Document {
		d, err := attest.Parse(body)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	text, err := os.ReadFile(filepath.Join(imageDir, measure.FileName))
	if err != nil {
		t.Fatal(err)
	}
	statement, err := measure.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if node.config.SecureBoot == nil {
		for i := range statement.Kernels {
			statement.Kernels[i].Firmware = nil // PCR 7 is expected of a firmware that has enrolled the bundle
		}
	}
	key, err := appraise.ParseKey([]byte(parse().Key.PEM))
	if err != nil {
		t.Fatal(err)
	}
	// What fails is judged by its checks' names.
	failed := func(d *attest.Document, change func(*appraise.Expectation)) string {
		want := appraise.Expectation{Nonce: nonce, Key: key, Measurements: &statement, PCRs: map[int]measure.Digest{}}
		change(&want)
		r, err := appraise.Judge(d, want)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range r.Checks {
			if !c.Pass {
				names = append(names, c.Name)
			}
		}
		if len(names) == 0 {
			t.Logf("kernel %q in phase %q; %q", r.Kernel, r.Phase, r.Notes)
		}
		return strings.Join(names, " ")
	}
	as := func(*appraise.Expectation) {}
	if got := failed(parse(), as); got != "" {
		var b bytes.Buffer
		if r, err := appraise.Judge(parse(), appraise.Expectation{Nonce: nonce, Key: key, Measurements: &statement}); err == nil {
			_ = appraise.WriteText(&b, r)
		}
		t.Errorf("failed: %q\n%s", got, b.String())
	}
	if got := failed(parse(), func(e *appraise.Expectation) { e.Nonce = bytes.Repeat([]byte{1}, 32) }); got != "nonce" {
		t.Errorf("with another nonce failed: %q", got)
	}
	if got := failed(parse(), func(e *appraise.Expectation) { e.PCRs[11] = measure.Digest{1} }); got != "pcr 11" {
		t.Errorf("with another PCR 11 failed: %q", got)
	}
	edited := parse()
	edited.Report = bytes.Replace(edited.Report, []byte(`"severity": "must"`), []byte(`"severity": "should"`), 1)
	if got := failed(edited, as); got != "report" {
		t.Errorf("with an edited report failed: %q", got)
	}
	if document := parse(); len(document.EventLog) == 0 {
		t.Error("the firmware's event log is not in it")
	}
	// A second question is answered too, by the same key.
	if status, body, err := node.Get(ctx, PortTelemetry, "/attest?nonce="+nonce.String()); err != nil || status != http.StatusOK {
		t.Errorf("/attest again: status %d, error %v: %s", status, err, body)
	} else if again, err := attest.Parse(body); err != nil || again.Key.PEM != parse().Key.PEM {
		t.Errorf("another key answers; error %v", err)
	}
}
