package node

import (
	"os"
	"path"
)

// secureBoot is what the firmware says about it; any other value than these two says why nothing is known.
type secureBoot string

const (
	secureBootOn  secureBoot = "on"
	secureBootOff secureBoot = "off"
)

// secureBootVariable is of the UEFI specification, "Globally Defined Variables": four bytes of attributes as the kernel
// shows them, then 1 or 0.
const secureBootVariable = "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c"

// SecureBoot reports whether the firmware starts what is signed and nothing else, and otherwise how it is.
func SecureBoot(root string) (on bool, otherwise string) {
	state := (&Sources{Root: root}).secureBoot()
	return state == secureBootOn, string(state)
}

func (s *Sources) secureBoot() secureBoot {
	firmware := s.path("/sys/firmware/efi")
	if _, err := os.Stat(firmware); isNotExist(err) {
		return secureBootOff // no UEFI, no Secure Boot
	}
	variables := path.Join(firmware, "efivars")
	content, err := os.ReadFile(path.Join(variables, secureBootVariable))
	switch {
	case isNotExist(err):
		// Firmware without the variable has no Secure Boot; a directory without any is not mounted.
		if entries, err := os.ReadDir(variables); err == nil && len(entries) > 0 {
			return secureBootOff
		}
		return "the firmware's variables are not there"
	case err != nil:
		return secureBoot(err.Error())
	case len(content) == 5 && content[4] == 0:
		return secureBootOff
	case len(content) == 5 && content[4] == 1:
		return secureBootOn
	}
	return "the firmware's variable has an unknown form"
}
