package configure

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// hclWriter writes the HCL that a server reads, as hclwrite would lay it out; that library would link go-cmp into every verb of
// hostcheck (docs/decisions/small-agent.md). The tests hold it against hclwrite.
type hclWriter struct {
	out   bytes.Buffer
	depth int
	group []hclAttribute // consecutive ones, whose equals signs are aligned
}

type hclAttribute struct{ name, value string }

// set writes a string, a bool, or a list of strings.
func (w *hclWriter) set(name string, value any) {
	switch v := value.(type) {
	case string:
		w.group = append(w.group, hclAttribute{name, hclString(v)})
	case []string:
		quoted := make([]string, len(v))
		for i, item := range v {
			quoted[i] = hclString(item)
		}
		w.group = append(w.group, hclAttribute{name, "[" + strings.Join(quoted, ", ") + "]"})
	default:
		w.group = append(w.group, hclAttribute{name, fmt.Sprint(v)})
	}
}

// block writes a block, its labels quoted; object writes an attribute that is one.
func (w *hclWriter) block(name string, labels []string, content func()) {
	for _, label := range labels {
		name += " " + hclString(label)
	}
	w.nested(name+" {", content)
}

func (w *hclWriter) object(name string, content func()) { w.nested(name+" = {", content) }

func (w *hclWriter) nested(head string, content func()) {
	w.flush()
	w.line(head)
	w.depth++
	content()
	w.flush()
	w.depth--
	w.line("}")
}

func (w *hclWriter) comment(text string) { w.line("# " + text) }

func (w *hclWriter) newline() {
	w.flush()
	w.out.WriteByte('\n')
}

func (w *hclWriter) bytes() []byte {
	w.flush()
	return w.out.Bytes()
}

func (w *hclWriter) flush() {
	width := 0
	for _, a := range w.group {
		width = max(width, len(a.name))
	}
	for _, a := range w.group {
		w.line(fmt.Sprintf("%-*s = %s", width, a.name, a.value))
	}
	w.group = nil
}

func (w *hclWriter) line(text string) {
	w.out.WriteString(strings.Repeat("  ", w.depth) + text + "\n")
}

// hclString quotes text so that HCL reads it back as it is: no template begins in it.
func hclString(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i, r := range text {
		switch {
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case (r == '$' || r == '%') && strings.HasPrefix(text[i+1:], "{"):
			b.WriteRune(r)
			b.WriteRune(r)
		case unicode.IsPrint(r) && r != utf8.RuneError:
			b.WriteRune(r)
		case r < 1<<16:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			fmt.Fprintf(&b, `\U%08x`, r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
