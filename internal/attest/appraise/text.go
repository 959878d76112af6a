package appraise

import (
	"bytes"
	"fmt"
	"io"
)

// WriteText writes a result for people: a line for each check, what was wanted and found below those that fail. All strings
// of the node are hex, words of ours, or quoted.
func WriteText(w io.Writer, r *Result) error {
	var b bytes.Buffer
	for _, c := range r.Checks {
		if c.Pass {
			fmt.Fprintf(&b, "  ok    %s\n", c.Name)
			continue
		}
		fmt.Fprintf(&b, "  FAIL  %s: %s\n", c.Name, c.Reason)
		if c.Want != "" || c.Got != "" {
			fmt.Fprintf(&b, "          want %q\n          got  %q\n", c.Want, c.Got)
		}
	}
	for _, note := range r.Notes {
		fmt.Fprintf(&b, "  note  %q\n", note)
	}
	switch {
	case !r.Pass:
		b.WriteString("not attested\n")
	case r.Kernel != "":
		fmt.Fprintf(&b, "attested: kernel %q, boot phase %q\n", r.Kernel, r.Phase)
	default:
		b.WriteString("attested\n")
	}
	_, err := w.Write(b.Bytes())
	return err
}
