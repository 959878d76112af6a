package resource

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// AuditDevices states which audit devices the server has and what they write, as its API tells.
type AuditDevices struct {
	Name string `yaml:"name" json:"name"` // what is stated; unique
	// Devices and Kinds are the least numbers of devices, and of different types among them.
	Devices int `yaml:"devices" json:"devices,omitempty"`
	Kinds   int `yaml:"kinds" json:"kinds,omitempty"`
	// Hashed: no device writes values in clear text.
	Hashed bool `yaml:"hashed" json:"hashed,omitempty"`
	// HMACAccessor is whether accessors are hashed too: "true" or "false".
	HMACAccessor string `yaml:"hmac_accessor" json:"hmac_accessor,omitempty"`
	// Complete: no device leaves entries out.
	Complete bool `yaml:"complete" json:"complete,omitempty"`
	// FilesBelow is the directory that files of file devices lie in; they are for the server alone and cannot
	// be run.
	FilesBelow string `yaml:"files_below" json:"files_below,omitempty"`
}

// Key implements control.Resource.
func (a *AuditDevices) Key() control.Key { return control.Key{Kind: "audit_devices", Name: a.Name} }

// Validate implements control.Resource.
func (a *AuditDevices) Validate() error {
	var r require
	r.that(slugName.MatchString(a.Name), "name %q is not a slug", a.Name)
	r.that(a.Devices >= 0 && a.Kinds >= 0 && a.Kinds <= max(a.Devices, 1), "%d kinds of %d devices", a.Kinds, a.Devices)
	r.that(a.HMACAccessor == "" || a.HMACAccessor == "true" || a.HMACAccessor == "false", "hmac_accessor %q is neither true nor false", a.HMACAccessor)
	r.that(a.FilesBelow == "" || absolute(a.FilesBelow), "files_below %q is not absolute and clean", a.FilesBelow)
	r.that(a.Devices > 0 || a.Hashed || a.HMACAccessor != "" || a.Complete || a.FilesBelow != "", "nothing is stated")
	return r.err()
}

// Render has nothing to add: devices are enabled through the API.
func (a *AuditDevices) Render(control.Profile) ([]overlay.Fragment, error) { return nil, nil }

// Verify implements control.Resource.
func (a *AuditDevices) Verify(ctx context.Context, h host.Host, stage control.Stage) []control.Observation {
	if stage < control.StageMember {
		return nil
	}
	o := effective(a.Key())
	const source = "/v1/sys/audit"
	devices, err := h.AuditDevices(ctx)
	if err != nil {
		o.notYet(source, "the audit devices", err)
		return o.out
	}
	if a.Devices > 0 {
		kinds := map[string]bool{}
		got := "none"
		for _, d := range devices {
			kinds[d.Type] = true
			got = join(got, "none", d.Path+" ("+d.Type+")")
		}
		o.judge(source, fmt.Sprintf("%d devices of %d kinds, or more", a.Devices, max(a.Kinds, 1)), got, len(devices) >= a.Devices && len(kinds) >= a.Kinds)
		return o.out
	}
	if len(devices) == 0 {
		o.judge(source, "an audit device", "none", false)
	}
	for _, d := range devices {
		a.judge(o, source+" "+d.Path, d)
	}
	if len(o.out) == 0 { // devices, but none that writes files
		o.add(source, "files for the server alone", "no device writes a file", control.NotApplicable, nil)
	}
	return o.out
}

func (a *AuditDevices) judge(o *observe, source string, d host.AuditDevice) {
	option := func(name string) string { return cmp.Or(d.Options[name], "not set") }
	if a.Hashed {
		o.judge(source+" log_raw", "false", option("log_raw"), isFalse(d.Options["log_raw"], true))
	}
	if a.HMACAccessor != "" {
		hashed := !isFalse(d.Options["hmac_accessor"], false)
		o.judge(source+" hmac_accessor", a.HMACAccessor, option("hmac_accessor"), strconv.FormatBool(hashed) == a.HMACAccessor)
	}
	if a.Complete {
		left := "nothing"
		for _, name := range []string{"filter", "exclude"} {
			if d.Options[name] != "" {
				left = join(left, "nothing", "what "+name+" says")
			}
		}
		o.equal(source+" leaves out", "nothing", left)
	}
	if a.FilesBelow != "" && d.Type == "file" {
		file := d.Options["file_path"]
		o.judge(source+" file_path", "below "+a.FilesBelow, option("file_path"), strings.HasPrefix(path.Clean(file), a.FilesBelow+"/"))
		bits, err := strconv.ParseUint(d.Options["mode"], 8, 32)
		plain := d.Options["mode"] == "" || err == nil && bits&0o177 == 0 // 0000 leaves the file's mode alone
		o.judge(source+" mode", "0600 or less", option("mode"), plain)
		o.judge(source+" prefix", "not set", map[bool]string{true: "not set", false: "set"}[d.Options["prefix"] == ""], d.Options["prefix"] == "")
	}
}

// isFalse reads a boolean as the server does. What it would refuse is not false.
func isFalse(value string, byDefault bool) bool {
	if value == "" {
		return byDefault
	}
	b, err := strconv.ParseBool(value)
	return err == nil && !b
}
