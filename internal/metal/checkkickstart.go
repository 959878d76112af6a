package metal

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// command is what a kickstart command may be given.
type command struct {
	options string // names of options, separated by spaces; those with = take a value
	// need are options without which it is refused.
	need  string
	words int // how many words that are no options
}

// commands are those that a kickstart may use. Anaconda refuses what it does not know; what is not here is refused before that, because it makes an account, fetches
// something unpinned, or touches a disk that is not named.
var commands = map[string]command{
	"cmdline":    {},
	"text":       {},
	"url":        {options: "url= proxy= sslcacert=", need: "url="},
	"repo":       {options: "name= baseurl= proxy= sslcacert= install", need: "name= baseurl="},
	"lang":       {words: 1, options: "addsupport="},
	"keyboard":   {words: 1, options: "vckeymap= xlayouts="},
	"timezone":   {words: 1, options: "utc"},
	"timesource": {options: "ntp-server= ntp-pool= nts"},
	"network": {options: "bootproto= device= ip= netmask= gateway= nameserver= noipv6 noipv4 ipv6= ipv6gateway= activate onboot= hostname= mtu= bondslaves= bondopts= vlanid= interfacename=",
		need: "bootproto="},
	"rootpw":     {options: "lock", need: "lock"},
	"firewall":   {options: "enabled", need: "enabled"},
	"selinux":    {options: "enforcing", need: "enforcing"},
	"firstboot":  {options: "disable", need: "disable"},
	"skipx":      {},
	"eula":       {options: "agreed", need: "agreed"},
	"zerombr":    {},
	"ignoredisk": {options: "only-use=", need: "only-use="},
	"clearpart":  {options: "all drives= initlabel disklabel=", need: "drives="},
	"bootloader": {options: "boot-drive= append= location= timeout= iscrypted password=", need: "boot-drive="},
	"part":       {words: 1, options: "fstype= size= maxsize= grow fsoptions= ondisk= label= encrypted luks-version= passphrase=", need: "size= ondisk="},
	"reboot":     {options: "eject"},
	"poweroff":   {},
	"services":   {options: "enabled= disabled="},
}

// needed are commands without which an installation is not unattended or not safe.
var needed = []string{"url", "rootpw", "selinux", "firewall", "ignoredisk", "clearpart", "bootloader", "part"}

// sections are those that a kickstart may have, with the options that each may and must be given.
var sections = map[string]command{
	"%packages": {options: "exclude-weakdeps excludedocs inst-langs= nocore ignoremissing"},
	"%pre":      {options: "erroronfail log=", need: "erroronfail"},
	"%post":     {options: "erroronfail log= nochroot", need: "erroronfail"},
	"%onerror":  {options: "log="},
}

// CheckKickstart reads a kickstart strictly: known commands and options; one named disk; no account, no password, no SSH server, no swap; scripts whose failure is
// fatal, and that download nothing without a digest. It is no ksvalidator, which knows the versions of the format.
func CheckKickstart(text []byte) error {
	k := &kickstart{seen: map[string]bool{}}
	k.read(string(text))
	for _, name := range needed {
		if !k.seen[name] {
			k.wrong = append(k.wrong, fmt.Errorf("%s is missing", name))
		}
	}
	for _, name := range []string{"%packages", "%pre", "%post"} {
		if !k.seen[name] {
			k.wrong = append(k.wrong, fmt.Errorf("%s is missing", name))
		}
	}
	for _, d := range k.disks {
		if d != k.disks[0] || !strings.HasPrefix(d, "disk/by-id/") || strings.Contains(d, ",") {
			k.wrong = append(k.wrong, fmt.Errorf("it has to name one disk below disk/by-id, the same everywhere: %s", strings.Join(slices.Compact(slices.Sorted(slices.Values(k.disks))), ", ")))
			break
		}
	}
	return errors.Join(k.wrong...)
}

type kickstart struct {
	wrong []error
	seen  map[string]bool
	disks []string
	line  int
}

func (k *kickstart) bad(format string, args ...any) {
	k.wrong = append(k.wrong, fmt.Errorf("line %d: "+format, append([]any{k.line}, args...)...))
}

func (k *kickstart) read(text string) {
	section, begun := "", 0
	var body strings.Builder
	for raw := range strings.Lines(text) {
		k.line++
		line := strings.TrimRight(raw, "\r\n")
		trimmed := strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(trimmed, "%include"), strings.HasPrefix(trimmed, "%ksappend"):
			k.bad("%s brings a file that nothing pins", strings.Fields(trimmed)[0])
		case section != "" && trimmed == "%end":
			k.section(section, begun, body.String())
			section = ""
			body.Reset()
		case section != "":
			body.WriteString(line + "\n")
		case trimmed == "" || strings.HasPrefix(trimmed, "#"):
		case strings.HasPrefix(trimmed, "%"):
			words := strings.Fields(trimmed)
			section, begun = words[0], k.line
			known, ok := sections[section]
			if !ok {
				k.bad("the section %s is not known here", section)
				continue
			}
			k.seen[section] = true
			k.options(section, known, words[1:])
		default:
			words, err := kickstartWords(trimmed)
			if err != nil {
				k.bad("%w", err)
				continue
			}
			known, ok := commands[words[0]]
			if !ok {
				k.bad("the command %s is not known here", words[0])
				continue
			}
			if k.seen[words[0]] && words[0] != "part" && words[0] != "repo" && words[0] != "network" {
				k.bad("%s is there twice", words[0])
			}
			k.seen[words[0]] = true
			k.command(words[0], known, words[1:])
		}
	}
	if section != "" {
		k.line = begun
		k.bad("%s has no %%end", section)
	}
}

// options checks the options of a command or a section, and gives their values and the words that are none.
func (k *kickstart) options(name string, known command, words []string) (map[string]string, []string) {
	values := map[string]string{}
	var plain []string
	for _, w := range words {
		option, isOption := strings.CutPrefix(w, "--")
		if !isOption {
			plain = append(plain, w)
			continue
		}
		key, value, hasValue := strings.Cut(option, "=")
		spelt := key
		if hasValue {
			spelt += "="
		}
		if !slices.Contains(strings.Fields(known.options), spelt) {
			k.bad("%s: the option --%s is not known here", name, spelt)
		}
		values[spelt] = value
	}
	for _, n := range strings.Fields(known.need) {
		if _, ok := values[n]; !ok {
			k.bad("%s needs --%s", name, n)
		}
	}
	if len(plain) != known.words {
		k.bad("%s takes %d words besides its options, not %d", name, known.words, len(plain))
	}
	return values, plain
}

func (k *kickstart) command(name string, known command, words []string) {
	values, plain := k.options(name, known, words)
	for _, option := range []string{"only-use=", "drives=", "boot-drive=", "ondisk="} {
		if disk, ok := values[option]; ok {
			k.disks = append(k.disks, disk)
		}
	}
	for _, option := range []string{"url=", "baseurl="} {
		if url, ok := values[option]; ok {
			if err := checkURL(url, "https"); err != nil {
				k.bad("%s: %w", name, err)
			}
		}
	}
	if name == "part" && (slices.Contains(plain, "swap") || values["fstype="] == "swap") {
		k.bad("part: it has swap")
	}
	if _, ok := values["passphrase="]; ok {
		k.bad("%s: a passphrase in this file is known to everybody who can read it", name)
	}
	if _, ok := values["password="]; ok && name == "bootloader" {
		if _, crypted := values["iscrypted"]; !crypted {
			k.bad("bootloader: a password in the clear")
		}
	}
}

func (k *kickstart) section(name string, begun int, body string) {
	end := k.line
	k.line = begun
	defer func() { k.line = end }()
	switch name {
	case "%packages":
		for line := range strings.Lines(body) {
			if slices.Contains(sshPackages, strings.TrimSpace(line)) {
				k.bad("%%packages: %s is a way in", strings.TrimSpace(line))
			}
		}
	case "%pre", "%post", "%onerror":
		if err := checkShell(fmt.Sprintf("line %d: %s", begun, name), body); err != nil {
			k.wrong = append(k.wrong, err)
		}
	}
}

// kickstartWords splits a line as Anaconda does: at blanks, with double and single quotes.
func kickstartWords(line string) ([]string, error) {
	var out []string
	var word strings.Builder
	inside, quote := false, rune(0)
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '"' || r == '\'':
			quote, inside = r, true
		case r == '#' && !inside:
			return out, nil
		case r == ' ' || r == '\t':
			if inside {
				out = append(out, word.String())
				word.Reset()
				inside = false
			}
		default:
			word.WriteRune(r)
			inside = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote (%c) is not closed", quote)
	}
	if inside {
		out = append(out, word.String())
	}
	if len(out) == 0 {
		return nil, errors.New("there is no command")
	}
	return out, nil
}
