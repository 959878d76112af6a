package image

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"path"
	"strings"

	"github.com/strongroom/strongroom/internal/overlay"
)

// apparmorDir holds the AppArmor profiles that the image's controls state: NAME.profile, beside which the
// bake puts the policy that the kernel takes, NAME.policy.
const apparmorDir = "/usr/lib/strongroom/apparmor"

// apparmorFeatures pins what the compiler may count on in the kernel. It comes with this program and
// not with a package or from the kernel of the host that bakes, so that one profile is one
// policy; a rule that it could not turn into policy ends the bake. Every kernel that an image can stand on has these features, and the profiles need no more.
//
//go:embed apparmor.features
var apparmorFeatures string

// AppArmorFeatures is the text of those features, for apparmor_parser's --features-file.
func AppArmorFeatures() string { return apparmorFeatures }

// compilePolicies compiles the profiles of the overlay with the compiler of the tree, which is sealed
// away later.
func (a *Assembly) compilePolicies(ctx context.Context) error {
	const features, config = "/tmp/apparmor.features", "/tmp/apparmor.conf"
	for i, name := range AppArmorProfiles(a.spec.Overlay.Fragments()) {
		if i == 0 {
			for path, text := range map[string]string{features: apparmorFeatures, config: ""} {
				if err := a.Upload(ctx, path, 0o644, strings.NewReader(text)); err != nil {
					return err
				}
			}
		}
		policy, err := a.box.output(a.Command(ctx, "apparmor_parser", "--config-file="+config, "--features-file="+features,
			"--skip-kernel-load", "--skip-cache", "--Werror=rule-not-enforced", "--stdout", name))
		if err != nil {
			return fmt.Errorf("cannot compile the AppArmor profile %s: %w", name, err)
		}
		if len(policy) == 0 {
			return fmt.Errorf("cannot compile the AppArmor profile %s: the compiler wrote nothing", name)
		}
		if err := a.Upload(ctx, strings.TrimSuffix(name, profileSuffix)+".policy", 0o644, bytes.NewReader(policy)); err != nil {
			return err
		}
	}
	return nil
}

const profileSuffix = ".profile"

// AppArmorProfiles picks the profiles out of the overlay, by path.
func AppArmorProfiles(fragments []overlay.Fragment) []string {
	var out []string
	for _, f := range fragments {
		if path.Dir(f.Path) == apparmorDir && path.Ext(f.Path) == profileSuffix {
			out = append(out, f.Path)
		}
	}
	return out
}
