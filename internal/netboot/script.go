package netboot

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// branch is the one line of a script that chooses; after every other one that fails iPXE ends the script.
const branch = "iseq ${platform} efi && goto uefi || goto bios"

// ScriptOf is the script that iPXE runs. Names in it are relative to the script's own URL. The command line is
// repeated for the unified kernel image: iPXE always hands one over, if only the name of the file, and without Secure Boot
// the boot stub prefers it to the one that it carries.
func ScriptOf(m Manifest) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "#!ipxe\n# %s %s, root hash %s\n", m.Name, m.Version, m.RootHash)
	if m.Signed {
		b.WriteString("imgtrust --permanent\n")
	}
	load := func(verb string, role Role, arguments string) {
		name := m.file(role).Name
		fmt.Fprintf(&b, "%s %s%s\n", verb, name, arguments)
		if m.Signed {
			fmt.Fprintf(&b, "imgverify %s %s.sig\n", name, name)
		}
	}
	b.WriteString(branch + "\n:uefi\n")
	load("kernel", UnifiedKernel, " "+m.CommandLine)
	b.WriteString("boot\n:bios\n")
	load("kernel", Kernel, " "+m.CommandLine)
	load("initrd", Initrd, "")
	load("initrd", Root, "")
	b.WriteString("boot\n")
	return b.Bytes()
}

// CheckScript reads a script as strictly as a bundle needs it: known commands only, files of the manifest only, the
// manifest's command line, no way past a command that has failed, and in a signed bundle the check of each file's signature right
// behind the file.
func CheckScript(script []byte, m Manifest) error {
	lines := strings.Split(strings.TrimSuffix(string(script), "\n"), "\n")
	if lines[0] != "#!ipxe" {
		return errors.New("line 1: it does not begin with #!ipxe")
	}
	c := scriptCheck{manifest: m, labels: map[string]bool{}}
	for i, line := range lines[1:] {
		if err := c.line(line); err != nil {
			return fmt.Errorf("line %d: %w", i+2, err)
		}
	}
	return c.end()
}

type scriptCheck struct {
	manifest Manifest
	trust    bool   // imgtrust has been said
	branched bool   // so has the branch
	unproven string // the file of the line before, whose signature has to be checked on this one
	loaded   []Role // since the last boot
	booted   int
	labels   map[string]bool
}

func (c *scriptCheck) line(line string) error {
	if strings.HasPrefix(line, "#") {
		return nil
	}
	if c.unproven != "" {
		if want := "imgverify " + c.unproven + " " + c.unproven + ".sig"; line != want {
			return fmt.Errorf("%q stands where the signature of %s has to be checked", line, c.unproven)
		}
		c.unproven = ""
		return nil
	}
	if line == branch {
		c.branched = true
		return nil
	}
	if strings.Contains(line, "||") || strings.Contains(line, "&&") {
		return errors.New("a command that fails has to end the script, and this line goes on")
	}
	verb, rest, _ := strings.Cut(line, " ")
	switch {
	case line == ":uefi" || line == ":bios":
		if !c.branched || c.labels[line] || len(c.loaded) > 0 {
			return fmt.Errorf("the label %s is not in its place", line)
		}
		c.labels[line] = true
		return nil
	case line == "imgtrust --permanent":
		c.trust = true
		return nil
	case line == "boot":
		c.booted++
		for _, complete := range [][]Role{{UnifiedKernel}, {Kernel, Initrd, Root}} {
			if slices.Equal(c.loaded, complete) {
				c.loaded = nil
				return nil
			}
		}
		return fmt.Errorf("boot with %v loaded, which is no system", c.loaded)
	case verb == "kernel" || verb == "initrd":
		return c.load(verb, rest)
	}
	return fmt.Errorf("%q is not among the commands of such a script", line)
}

func (c *scriptCheck) load(verb, rest string) error {
	if len(c.labels) == 0 {
		return errors.New("a file is loaded before the kind of firmware is known")
	}
	name, arguments, _ := strings.Cut(rest, " ")
	i := slices.IndexFunc(c.manifest.Files, func(f File) bool { return f.Name == name })
	if i < 0 {
		return fmt.Errorf("%q is no file of the bundle", name)
	}
	role := c.manifest.Files[i].Role
	if kernel := role == UnifiedKernel || role == Kernel; kernel != (verb == "kernel") {
		return fmt.Errorf("%s is loaded by %s", name, verb)
	}
	if want := c.manifest.CommandLine; verb == "kernel" && arguments != want {
		return fmt.Errorf("the command line is %q, and %q was baked", arguments, want)
	}
	if verb == "initrd" && arguments != "" {
		return fmt.Errorf("%q is more than the name of a file", rest)
	}
	c.loaded = append(c.loaded, role)
	if c.manifest.Signed {
		if !c.trust {
			return errors.New("a file is loaded before imgtrust")
		}
		c.unproven = name
	}
	return nil
}

func (c *scriptCheck) end() error {
	switch {
	case c.unproven != "":
		return fmt.Errorf("the signature of %s is not checked", c.unproven)
	case len(c.loaded) > 0 || c.booted != 2 || len(c.labels) != 2:
		return errors.New("it does not end in boot for both kinds of firmware")
	}
	return nil
}
