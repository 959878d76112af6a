package baseline

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
)

// Parameter is a value that a user may choose per image.
type Parameter struct {
	Name    string `yaml:"name"`
	Type    string `yaml:"type"` // one of ParameterTypes
	Default string `yaml:"default"`
	// OneOf and Pattern say which values a string may have: one of a list, or a regular expression for the
	// whole value. A string has one of the two.
	OneOf   []string `yaml:"one_of"`
	Pattern string   `yaml:"pattern"`
	// Least and Most bound a number; it has both.
	Least int `yaml:"least"`
	Most  int `yaml:"most"`
	// Within are the networks that every entry of a cidr_list must lie in.
	Within []string `yaml:"within"`
	// When names the profiles that may have another value than the default, and Otherwise says why the others may not.
	When        map[string][]string `yaml:"when"`
	Otherwise   string              `yaml:"otherwise"`
	Description string              `yaml:"description"`
}

// ParameterTypes are the types that a parameter can have, each with the values that it stands for. The types of lists
// hold their entries separated by spaces; such a parameter may stand in a catalogue as an item of a list only, where it
// becomes as many items as it has entries.
var ParameterTypes = []ParameterType{
	{Name: "string", check: (*Parameter).checkString},
	{Name: "number", check: (*Parameter).checkNumber},
	{Name: "duration", Values: "a number of seconds, minutes or hours: 90s, 15m, 24h", check: (*Parameter).checkDuration},
	{Name: "port", Values: "a port from 1024 to 65535", check: (*Parameter).checkPort},
	{Name: "cidr_list", Values: "networks and addresses, separated by spaces", list: true, check: (*Parameter).checkNetworks},
	{Name: "unit_list", Values: "names of systemd units, separated by spaces", list: true, check: (*Parameter).checkUnits},
	{Name: "certificates", Values: "certificate authorities in PEM, or nothing", canonical: canonicalPEM, shown: shownPEM, check: (*Parameter).checkCertificates},
}

// ParameterType is one of them.
type ParameterType struct {
	Name   string
	Values string // for people; empty for strings and numbers, whose parameters say it themselves
	list   bool
	check  func(p *Parameter, value string) error
	// canonical and shown have forms of their own for a value that is no short text. Nil: as it is.
	canonical func(value string) string
	shown     func(value string) string
}

func (p *Parameter) kind() (ParameterType, error) {
	i := slices.IndexFunc(ParameterTypes, func(t ParameterType) bool { return t.Name == p.Type })
	if i < 0 {
		var known []string
		for _, t := range ParameterTypes {
			known = append(known, t.Name)
		}
		return ParameterType{}, fmt.Errorf("parameter %s: type %q is not one of %s", p.Name, p.Type, strings.Join(known, ", "))
	}
	return ParameterTypes[i], nil
}

// Values says which values the parameter can have, for people.
func (p *Parameter) Values() string {
	t, err := p.kind()
	switch {
	case err != nil:
		return ""
	case len(p.OneOf) > 0:
		return strings.Join(p.OneOf, ", ")
	case p.Pattern != "":
		return p.Pattern
	case p.Type == "number":
		return fmt.Sprintf("a number from %d to %d", p.Least, p.Most)
	case len(p.Within) > 0:
		return t.Values + ", within " + strings.Join(p.Within, ", ")
	}
	return t.Values
}

// Check reports whether a value is one that the parameter may have. The error names parameter, value and the way out.
func (p *Parameter) Check(value string) error {
	t, err := p.kind()
	if err != nil {
		return err
	}
	if err := t.check(p, value); err != nil {
		return fmt.Errorf("parameter %s: %w", p.Name, err)
	}
	return nil
}

// checkFor is Check for a profile, which may not know other values than the default.
func (p *Parameter) checkFor(profile control.Profile, value string) error {
	if err := p.Check(value); err != nil {
		return err
	}
	if value != p.Default && !selects(p.When, profile) {
		return fmt.Errorf("parameter %s: %q is not for %s/%s: %s; leave it out, or write %q", p.Name, value, profile.Server, profile.Platform,
			strings.Join(strings.Fields(p.Otherwise), " "), p.Default)
	}
	return nil
}

// validate reports mistakes in the declaration itself.
func (p *Parameter) validate() error {
	var errs []error
	complain := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("parameter %s: "+format, append([]any{p.Name}, args...)...))
	}
	if !parameterName.MatchString(p.Name) {
		complain("the name is not lower-case words joined by _")
	}
	if (p.Type == "string") != (len(p.OneOf) > 0 || p.Pattern != "") || len(p.OneOf) > 0 && p.Pattern != "" {
		complain("a string, and nothing else, has either one_of or a pattern")
	}
	if (p.Type == "number") != (p.Least < p.Most) || p.Least < 0 {
		complain("a number, and nothing else, has bounds: least, and most above it")
	}
	if _, err := regexp.Compile(p.Pattern); err != nil {
		complain("pattern: %w", err)
	}
	if len(p.Within) > 0 && p.Type != "cidr_list" {
		complain("within is for a cidr_list")
	}
	for _, w := range p.Within {
		if _, err := netip.ParsePrefix(w); err != nil {
			complain("within: %q is not a network", w)
		}
	}
	for name := range p.When {
		if !slices.Contains(profileFields, name) {
			complain("when names %q, which is not one of %s", name, strings.Join(profileFields, ", "))
		}
	}
	if (len(p.When) > 0) != (strings.TrimSpace(p.Otherwise) != "") {
		complain("when and otherwise belong together")
	}
	if len(errs) == 0 {
		if err := p.Check(p.Default); err != nil {
			errs = append(errs, fmt.Errorf("default of %w", err))
		}
	}
	return errors.Join(errs...)
}

var parameterName = regexp.MustCompile(`^[a-z][a-z0-9]*(_[a-z0-9]+)*$`)

func (p *Parameter) checkString(value string) error {
	if len(p.OneOf) > 0 {
		if !slices.Contains(p.OneOf, value) {
			return fmt.Errorf("%q is not one of %s", value, strings.Join(p.OneOf, ", "))
		}
		return nil
	}
	re, err := regexp.Compile("^(?:" + p.Pattern + ")$")
	if err != nil {
		return fmt.Errorf("pattern: %w", err)
	}
	if !re.MatchString(value) {
		return fmt.Errorf("%q does not match %s; give a value such as %q", value, p.Pattern, p.Default)
	}
	return nil
}

func (p *Parameter) checkNumber(value string) error {
	n, err := strconv.Atoi(value)
	if err != nil || value != strconv.Itoa(n) || n < p.Least || n > p.Most {
		return fmt.Errorf("%q is not a number from %d to %d: give one such as %s", value, p.Least, p.Most, p.Default)
	}
	return nil
}

var durationText = regexp.MustCompile(`^[1-9][0-9]{0,5}[smh]$`)

func (p *Parameter) checkDuration(value string) error {
	if !durationText.MatchString(value) {
		return fmt.Errorf("%q is not a duration: give a whole number with its unit s, m or h, such as %q", value, p.Default)
	}
	return nil
}

func (p *Parameter) checkPort(value string) error {
	n, err := strconv.ParseUint(value, 10, 16)
	if err != nil || n < 1024 || value != strconv.FormatUint(n, 10) {
		return fmt.Errorf("%q is not a port from 1024 to 65535 (the services of a node have no capability to bind a lower one): give a number such as %s", value, p.Default)
	}
	return nil
}

func (p *Parameter) checkNetworks(value string) error {
	seen := map[netip.Prefix]string{}
	for _, text := range strings.Fields(value) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			addr, addrErr := netip.ParseAddr(text)
			if addrErr != nil || addr.Zone() != "" {
				return fmt.Errorf("%q is neither a network nor an address: write 169.254.169.254, 10.0.0.0/8 or fd00:ec2::254, separated by spaces", text)
			}
			prefix = netip.PrefixFrom(addr, addr.BitLen())
		}
		switch before, twice := seen[prefix]; {
		case prefix.Addr().Is4In6():
			return fmt.Errorf("%q is an IPv4 address in IPv6 notation: write it as IPv4", text)
		case prefix != prefix.Masked():
			return fmt.Errorf("%q has host bits set: write %s, or the address alone", text, prefix.Masked())
		case prefix.Bits() == 0:
			return fmt.Errorf("%q is every address there is: name the networks that are meant", text)
		case twice:
			return fmt.Errorf("%q is there already, as %q: leave one out", text, before)
		case len(p.Within) > 0 && !slices.ContainsFunc(p.Within, func(w string) bool { return contains(w, prefix) }):
			return fmt.Errorf("%q does not lie in %s: what a node may reach elsewhere is said by firewall.egress in its node.hcl", text, strings.Join(p.Within, " or "))
		}
		seen[prefix] = text
	}
	return nil
}

// contains reports whether one network holds the whole of another.
func contains(outer string, inner netip.Prefix) bool {
	o, err := netip.ParsePrefix(outer)
	return err == nil && o.Contains(inner.Addr()) && o.Bits() <= inner.Bits()
}

var unitText = regexp.MustCompile(`^[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]*)?\.(service|socket|timer|path|mount|automount|target|slice|scope|swap|device)$`)

func (p *Parameter) checkUnits(value string) error {
	seen := map[string]bool{}
	for _, name := range strings.Fields(value) {
		if !unitText.MatchString(name) || len(name) > 255 {
			return fmt.Errorf("%q is not the name of a unit with its type: write node-exporter.service or log-ship@eu.timer, separated by spaces", name)
		}
		if seen[name] {
			return fmt.Errorf("%q is there twice: leave one out", name)
		}
		seen[name] = true
	}
	return nil
}

// canonical is a value as it stands in the baseline: the entries of a list in one order and with one space between
// them, so that the same choice gives the same bytes.
func (p *Parameter) canonical(value string) string {
	t, err := p.kind()
	switch {
	case err != nil:
		return value
	case t.canonical != nil:
		return t.canonical(value)
	case !t.list:
		return value
	}
	entries := strings.Fields(value)
	slices.Sort(entries)
	return strings.Join(entries, " ")
}

// Shown is a value for a table.
func (p *Parameter) Shown(value string) string {
	if t, err := p.kind(); err == nil && t.shown != nil {
		return t.shown(value)
	}
	return value
}

// portsApart refuses two parameters that name the same port: one of the two services could not listen.
func portsApart(parameters []Parameter, values map[string]string) error {
	taken := map[string]string{}
	var errs []error
	for _, p := range parameters {
		if p.Type != "port" {
			continue
		}
		value := values[p.Name]
		if other, twice := taken[value]; twice {
			errs = append(errs, fmt.Errorf("parameter %s: %q is the port of %s already: give another number", p.Name, value, other))
		}
		taken[value] = p.Name
	}
	return errors.Join(errs...)
}
