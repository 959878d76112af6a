package metal

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// questions are those that a preseed may answer, with their type and, where only one answer will do, that answer. What is not here is refused: a misspelt
// name is answered by nobody, and the installer stops to ask.
var questions = map[string]struct {
	kind string
	only string
}{
	"debian-installer/locale":                      {"string", ""},
	"debian-installer/language":                    {"string", ""},
	"debian-installer/country":                     {"string", ""},
	"keyboard-configuration/xkb-keymap":            {"select", ""},
	"hw-detect/firmware-lookup":                    {"string", ""},
	"netcfg/choose_interface":                      {"select", ""},
	"netcfg/get_hostname":                          {"string", ""},
	"netcfg/get_domain":                            {"string", ""},
	"netcfg/disable_autoconfig":                    {"boolean", ""},
	"netcfg/get_ipaddress":                         {"string", ""},
	"netcfg/get_netmask":                           {"string", ""},
	"netcfg/get_gateway":                           {"string", ""},
	"netcfg/get_nameservers":                       {"string", ""},
	"netcfg/confirm_static":                        {"boolean", "true"},
	"mirror/country":                               {"string", "manual"},
	"mirror/protocol":                              {"string", ""},
	"mirror/http/hostname":                         {"string", ""},
	"mirror/http/directory":                        {"string", ""},
	"mirror/http/proxy":                            {"string", ""},
	"mirror/https/hostname":                        {"string", ""},
	"mirror/https/directory":                       {"string", ""},
	"mirror/https/proxy":                           {"string", ""},
	"mirror/suite":                                 {"string", ""},
	"mirror/udeb/suite":                            {"string", ""},
	"passwd/root-login":                            {"boolean", "true"},
	"passwd/root-password-crypted":                 {"password", "*"},
	"passwd/make-user":                             {"boolean", "false"},
	"clock-setup/utc":                              {"boolean", "true"},
	"clock-setup/ntp":                              {"boolean", ""},
	"clock-setup/ntp-server":                       {"string", ""},
	"time/zone":                                    {"string", ""},
	"partman/early_command":                        {"string", ""},
	"partman-auto/method":                          {"string", "regular"},
	"partman-auto/expert_recipe":                   {"string", ""},
	"partman-auto/choose_recipe":                   {"select", ""},
	"partman-basicfilesystems/no_swap":             {"boolean", "false"},
	"partman-partitioning/choose_label":            {"string", "gpt"},
	"partman-partitioning/default_label":           {"string", "gpt"},
	"partman-efi/non_efi_system":                   {"boolean", "true"},
	"partman-partitioning/confirm_write_new_label": {"boolean", "true"},
	"partman/mount_style":                          {"select", ""},
	"partman/choose_partition":                     {"select", "finish"},
	"partman/confirm":                              {"boolean", "true"},
	"partman/confirm_nooverwrite":                  {"boolean", "true"},
	"base-installer/install-recommends":            {"boolean", "false"},
	"base-installer/initramfs-tools/driver-policy": {"select", ""},
	"base-installer/kernel/image":                  {"string", ""},
	"apt-setup/contrib":                            {"boolean", ""},
	"apt-setup/non-free":                           {"boolean", ""},
	"apt-setup/non-free-firmware":                  {"boolean", ""},
	"apt-setup/disable-cdrom-entries":              {"boolean", ""},
	"apt-setup/services-select":                    {"multiselect", ""},
	"apt-setup/security_host":                      {"string", ""},
	"tasksel/first":                                {"multiselect", emptyAnswer},
	"pkgsel/run_tasksel":                           {"boolean", "false"},
	"pkgsel/include":                               {"string", ""},
	"pkgsel/upgrade":                               {"select", ""},
	"pkgsel/update-policy":                         {"select", "none"},
	"popularity-contest/participate":               {"boolean", "false"},
	"grub-installer/only_debian":                   {"boolean", "true"},
	"grub-installer/with_other_os":                 {"boolean", "false"},
	"grub-installer/enable_os_prober_otheros_no":   {"boolean", "false"},
	"grub-installer/enable_os_prober_otheros_yes":  {"boolean", "false"},
	"grub-installer/force-efi-extra-removable":     {"boolean", ""},
	"preseed/late_command":                         {"string", ""},
	"cdrom-detect/eject":                           {"boolean", ""},
	"finish-install/reboot_in_progress":            {"note", emptyAnswer},
}

const emptyAnswer = "\x00"

// required are the questions without whose answer an installation is not unattended or not safe.
var required = []string{
	"passwd/root-password-crypted", "passwd/make-user", "partman/early_command", "partman-auto/method", "partman-auto/expert_recipe",
	"partman-basicfilesystems/no_swap", "tasksel/first", "pkgsel/run_tasksel", "preseed/late_command",
}

// sshPackages bring a way in.
var sshPackages = []string{"openssh-server", "dropbear", "dropbear-bin", "task-ssh-server", "ssh"}

// CheckPreseed reads a preseed strictly: known questions of the right type, each once; no password, no account, no SSH server, no swap; commands whose failure is
// fatal, and that download nothing without a digest.
func CheckPreseed(text []byte) error {
	var wrong []error
	seen := map[string]bool{}
	lines, err := preseedLines(string(text))
	if err != nil {
		return err
	}
	for _, l := range lines {
		bad := func(format string, args ...any) {
			wrong = append(wrong, fmt.Errorf("line %d: %s: "+format, append([]any{l.line, l.name}, args...)...))
		}
		known, ok := questions[l.name]
		switch {
		case !ok:
			bad("no such question is known here")
			continue
		case l.kind != known.kind:
			bad("it is of type %s, not %s", known.kind, l.kind)
		case known.only == emptyAnswer && l.value != "", known.only != "" && known.only != emptyAnswer && l.value != known.only:
			bad("only %q will do, not %q", strings.Trim(known.only, emptyAnswer), l.value)
		case known.kind == "boolean" && l.value != "true" && l.value != "false":
			bad("%q is neither true nor false", l.value)
		}
		if seen[l.name] {
			bad("it is answered twice")
		}
		seen[l.name] = true
		switch l.name {
		case "partman/early_command", "preseed/late_command":
			if err := checkShell(l.name, l.value); err != nil {
				wrong = append(wrong, err)
			}
		case "partman-auto/expert_recipe":
			if strings.Contains(l.value, "linux-swap") || strings.Contains(l.value, "method{ swap }") {
				bad("it has swap")
			}
		case "pkgsel/include":
			for _, p := range strings.Fields(l.value) {
				if slices.Contains(sshPackages, p) {
					bad("%s is a way in", p)
				}
			}
		case "mirror/http/proxy", "mirror/https/proxy":
			if u, err := url.Parse(l.value); l.value != "" && (err != nil || u.User != nil) {
				bad("a proxy is a URL without a password")
			}
		case "mirror/protocol":
			if l.value != "http" && l.value != "https" {
				bad("%q is neither https nor http", l.value)
			}
		}
	}
	for _, name := range required {
		if !seen[name] {
			wrong = append(wrong, fmt.Errorf("%s is missing", name))
		}
	}
	return errors.Join(wrong...)
}

// preseedLine is a question with its answer; line is where it begins.
type preseedLine struct {
	line              int
	owner, name, kind string
	value             string
}

// preseedLines reads the format: four fields, a backslash at the end of a line goes on in the next.
func preseedLines(text string) ([]preseedLine, error) {
	var out []preseedLine
	var joined string
	begun, number := 0, 0
	for raw := range strings.Lines(text) {
		number++
		line := strings.TrimRight(raw, "\r\n")
		if joined == "" && (strings.TrimSpace(line) == "" || strings.HasPrefix(strings.TrimSpace(line), "#")) {
			continue
		}
		if joined == "" {
			begun = number
		}
		if before, more := strings.CutSuffix(line, `\`); more {
			joined += before + " "
			continue
		}
		joined += line
		fields := make([]string, 0, 4)
		rest := strings.TrimSpace(joined)
		for range 3 {
			field, after, _ := strings.Cut(rest, " ")
			fields = append(fields, field)
			rest = strings.TrimSpace(after)
		}
		if fields[2] == "" {
			return nil, fmt.Errorf("line %d: %q is not an owner, a question, a type and an answer", begun, joined)
		}
		out = append(out, preseedLine{begun, fields[0], fields[1], fields[2], rest})
		joined = ""
	}
	if joined != "" {
		return nil, fmt.Errorf("line %d: it goes on, and nothing follows", begun)
	}
	return out, nil
}
