package host

import "strings"

func (l *LiveHost) readKernelArguments() ([]string, error) {
	b, err := l.ReadFile("/proc/cmdline")
	if err != nil {
		return nil, err
	}
	return parseKernelArguments(b), nil
}

// parseKernelArguments splits a kernel command line as next_arg() of the kernel does: blanks
// separate, except inside double quotes; quotes round a value or a whole argument are
// dropped; "--" ends the kernel's own arguments and starts those of init. procfs splits at every
// blank, which tears dyndbg="file foo.c +p" into three arguments and takes init's for the kernel's.
func parseKernelArguments(line []byte) []string {
	rest := strings.TrimRight(string(line), "\x00\n")
	var out []string
	for {
		rest = strings.TrimLeft(rest, kernelBlanks)
		if rest == "" {
			return out
		}
		end, quoted := len(rest), false
		for i := range len(rest) {
			if rest[i] == '"' {
				quoted = !quoted
			}
			if !quoted && strings.IndexByte(kernelBlanks, rest[i]) >= 0 {
				end = i
				break
			}
		}
		arg := unquoteKernelArgument(rest[:end])
		rest = rest[end:]
		if arg == "--" {
			return out
		}
		out = append(out, arg)
	}
}

// kernelBlanks is what isspace() of the kernel takes for a blank in ASCII.
const kernelBlanks = " \t\n\v\f\r"

func unquoteKernelArgument(arg string) string {
	if inner, ok := strings.CutPrefix(arg, `"`); ok {
		return strings.TrimSuffix(inner, `"`)
	}
	if name, value, ok := strings.Cut(arg, "="); ok {
		if inner, ok := strings.CutPrefix(value, `"`); ok {
			return name + "=" + strings.TrimSuffix(inner, `"`)
		}
	}
	return arg
}
