package configure

import (
	"testing"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
)

// What the writer writes is what HCL's own library would, byte for byte.
func TestHCLAsTheLibraryWritesIt(t *testing.T) {
	w := &hclWriter{}
	w.set("a", "b")
	w.set("longer", true)
	w.newline()
	w.block("listener", []string{"tcp", `"`}, func() {
		w.set("list", []string{"x", "${y}"})
		w.object("default", func() { w.set("Strict-Transport-Security", []string{"max-age=1"}) })
		w.set("empty", []string{})
	})
	if got, want := string(w.bytes()), string(hclwrite.Format(w.bytes())); got != want {
		t.Errorf("hclwrite lays it out as\n%s\nand we as\n%s", want, got)
	}
}

func FuzzHCLString(f *testing.F) {
	for _, seed := range []string{"", "https://[::]:8200", `a"b\c`, "${x}%{y}$${z}", "$$", "{{ GetPrivateIP }}", "\n\r\t\x00\u2028", "é😀\U000e0001", "$\"{"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !utf8.ValidString(text) {
			return // HCL is UTF-8, and so is everything that node.hcl can hold
		}
		quoted := hclString(text)
		e, diags := hclsyntax.ParseExpression([]byte(quoted), "", hcl.InitialPos)
		if diags.HasErrors() {
			t.Fatalf("%q as %s: %v", text, quoted, diags)
		}
		v, diags := e.Value(nil)
		if diags.HasErrors() || v.AsString() != cty.StringVal(text).AsString() { // HCL normalises to NFC
			t.Fatalf("%q came back as %#v, %v", text, v, diags)
		}
		if want := string(hclwrite.TokensForValue(cty.StringVal(text)).Bytes()); quoted != want && cty.StringVal(text).AsString() == text {
			t.Fatalf("hclwrite writes %s, we %s", want, quoted)
		}
	})
}
