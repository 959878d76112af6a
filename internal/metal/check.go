package metal

import (
	"bytes"
	"fmt"
	"strings"
)

// Check reads a file of any of the installers strictly. name is what it is called.
func Check(name string, text []byte) error {
	switch kind := kindOf(text); kind {
	case Preseed:
		return CheckPreseed(text)
	case Kickstart:
		return CheckKickstart(text)
	case Autoinstall:
		return CheckAutoinstall(text)
	default:
		return fmt.Errorf("%s is none of a preseed (*preseed*, *.cfg with d-i lines), a kickstart (with %%packages) and an autoinstall (#cloud-config)", name)
	}
}

// kindOf tells an installer's file by what is in it.
func kindOf(text []byte) string {
	if bytes.HasPrefix(text, []byte("#cloud-config")) {
		return Autoinstall
	}
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "d-i "):
			return Preseed
		case strings.HasPrefix(line, "%packages"):
			return Kickstart
		}
	}
	return ""
}
