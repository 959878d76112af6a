package server_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/server"
)

// A product without one of its names would render a broken unit or judge the wrong file.
func TestProductsAreComplete(t *testing.T) {
	for _, p := range server.Products {
		for word, value := range p.Words() {
			if value == "" {
				t.Errorf("%s has no %s", p.ID, word)
			}
		}
		found, err := server.Find(p.ID)
		if err != nil || found != p {
			t.Errorf("Find(%q): %+v, %v", p.ID, found, err)
		}
	}
	if _, err := server.Find("consul"); err == nil || !strings.Contains(err.Error(), "vault, openbao") {
		t.Errorf("the error for an unknown server does not say what is known: %v", err)
	}
}
