package resource

import (
	"context"
	"crypto/sha1" //nolint:gosec // kernels before 6.8 digest their policy with it
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// AppArmorProfile is a profile of AppArmor that the kernel enforces. The image carries its text; the
// bake compiles that into a policy beside it, which a unit hands to the kernel before any service
// starts. The names of both hold the digest of the text, so that a policy of another text is never
// loaded.
type AppArmorProfile struct {
	Name   string `yaml:"name" json:"name"`     // of the profile, as the text declares it
	Source string `yaml:"source" json:"source"` // apparmor.d(5), without includes
}

// AppArmorDir holds profiles and what the bake has compiled of them: NAME.profile and NAME.policy.
const AppArmorDir = "/usr/lib/strongroom/apparmor"

// appArmorLSM lists the security modules that are active, appArmorSource is the policy that is loaded.
const (
	activeLSMs     = "/sys/kernel/security/lsm"
	appArmorSource = "/sys/kernel/security/apparmor/policy"
)

var (
	appArmorInclude = regexp.MustCompile(`(?m)^\s*(#?include|abi)\b`)
	appArmorFlags   = regexp.MustCompile(`(?m)^\s*profile\b.*flags=\(([^)]*)\)`)
	appArmorHeader  = regexp.MustCompile(`(?m)^profile\s+(\S+)`)
)

func (p *AppArmorProfile) Key() control.Key {
	return control.Key{Kind: "apparmor_profile", Name: p.Name}
}

func (p *AppArmorProfile) Validate() error {
	var r require
	r.that(slugName.MatchString(p.Name), "name %q is not a slug", p.Name)
	r.that(!appArmorInclude.MatchString(p.Source), "the source includes other files, which another release of AppArmor changes")
	headers := appArmorHeader.FindAllStringSubmatch(p.Source, -1)
	r.that(len(headers) == 1 && headers[0][1] == p.Name, "the source does not declare profile %s, and only that, at the start of a line", p.Name)
	for _, m := range appArmorFlags.FindAllStringSubmatch(p.Source, -1) {
		for _, flag := range strings.FieldsFunc(m[1], func(c rune) bool { return c == ',' || c == ' ' }) {
			r.that(!slices.Contains([]string{"complain", "unconfined", "default_allow", "prompt"}, flag), "flag %s does not enforce", flag)
		}
	}
	return r.err()
}

// stem is the name of text, policy and loading unit.
func (p *AppArmorProfile) stem() string {
	sum := sha256.Sum256([]byte(p.Source))
	return p.Name + "-" + hex.EncodeToString(sum[:8])
}

// Policy is the path of the compiled policy.
func (p *AppArmorProfile) Policy() string { return AppArmorDir + "/" + p.stem() + ".policy" }

func (p *AppArmorProfile) Render(control.Profile) ([]overlay.Fragment, error) {
	unit := "strongroom-apparmor@" + p.stem() + ".service"
	return []overlay.Fragment{
		overlay.File(AppArmorDir+"/"+p.stem()+".profile", p.Source),
		overlay.Symlink("/usr/lib/systemd/system/sysinit.target.wants/"+unit, "../strongroom-apparmor@.service"),
	}, nil
}

// Verify asks for the compiled policy in the image, and of a running kernel that it enforces the very
// bytes of it.
func (p *AppArmorProfile) Verify(_ context.Context, h host.Host, stage control.Stage) []control.Observation {
	disk := onDisk(p.Key())
	want := describe(0o644, 0, 0) + ", compiled"
	policy, err := p.readPolicy(h)
	switch info, statErr := h.Lstat(p.Policy()); {
	case statErr != nil:
		disk.missing(p.Policy(), want, statErr)
	case err != nil:
		disk.unknown(p.Policy(), want, err)
	default:
		got := describe(info.Mode, int(info.UID), int(info.GID))
		if len(policy) > 0 {
			got += ", compiled"
		}
		disk.judge(p.Policy(), want, got, info.Mode.IsRegular() && got == want)
	}
	if !stage.Runs() {
		return disk.out
	}
	o := effective(p.Key())
	o.activeModule(h, "apparmor")
	loaded, loadedErr := h.AppArmor()
	if loadedErr != nil {
		o.missing(appArmorSource, "profile "+p.Name+" in enforce", loadedErr)
		return append(disk.out, o.out...)
	}
	i := slices.IndexFunc(loaded, func(l host.AppArmorProfile) bool { return l.Name == p.Name })
	if i < 0 {
		o.judge(appArmorSource, "profile "+p.Name+" in enforce", "not loaded", false)
		return append(disk.out, o.out...)
	}
	o.judge(appArmorSource+" "+p.Name+" mode", "enforce", loaded[i].Mode, loaded[i].Mode == "enforce")
	source := appArmorSource + " " + p.Name + " digest"
	switch {
	case err != nil:
		o.unknown(source, "that of "+p.Policy(), err)
	case loaded[i].Digest == "":
		o.unknown(source, "that of "+p.Policy(), fmt.Errorf("the kernel keeps no digest of the policy that it has loaded"))
	default:
		o.equal(source, digestLike(loaded[i].Digest, policy), loaded[i].Digest)
	}
	return append(disk.out, o.out...)
}

func (p *AppArmorProfile) readPolicy(h host.Host) ([]byte, error) {
	info, err := h.Lstat(p.Policy())
	if err == nil && !info.Mode.IsRegular() {
		err = fmt.Errorf("%s is not a regular file: %w", p.Policy(), fs.ErrInvalid)
	}
	if err != nil {
		return nil, err
	}
	return h.ReadFile(p.Policy())
}

// digestLike digests as the kernel did.
func digestLike(kernel string, policy []byte) string {
	if strings.HasPrefix(kernel, "sha1:") {
		sum := sha1.Sum(policy)
		return "sha1:" + hex.EncodeToString(sum[:])
	}
	sum := sha256.Sum256(policy)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// activeModule judges that the kernel has a security module on.
func (o *observe) activeModule(h host.Host, name string) {
	content, err := h.ReadFile(activeLSMs)
	if err != nil {
		o.missing(activeLSMs, "contains "+name, err)
		return
	}
	got := strings.TrimSpace(string(content))
	o.judge(activeLSMs, "contains "+name, got, slices.Contains(strings.Split(got, ","), name))
}
