//go:generate packer-sdc mapstructure-to-hcl2 -type ProvisionerConfig

package plugin

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/hashicorp/packer-plugin-sdk/common"
	"github.com/hashicorp/packer-plugin-sdk/template/config"
	"github.com/hashicorp/packer-plugin-sdk/template/interpolate"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/image"
)

// The comments of the fields below are the reference documentation, as in config.go.

// ProvisionerConfig is what a template says in a `provisioner "strongroom-harden"` block.
type ProvisionerConfig struct {
	common.PackerConfig `mapstructure:",squash"`
	HardeningConfig     `mapstructure:",squash"`

	// The command line that runs a script on the machine as root. `{{ .Path }}` is the script, `{{ .Vars }}` the environment
	// variables, as `NAME='value'`. A script is given to a shell and never executed itself, so a folder that is mounted
	// `noexec` will do. Defaults to `{{ .Vars }} sh {{ .Path }}` where the connection's user is root, and to
	// `sudo -n env {{ .Vars }} sh {{ .Path }}` where not. Where sudo asks for a password:
	// `echo '${var.password}' | sudo -S env {{ .Vars }} sh {{ .Path }}`, with a variable that is `sensitive`.
	ExecuteCommand string `mapstructure:"execute_command"`
	// Environment variables of the scripts, as `NAME=value`: a proxy for the package manager, for example. Packer's own
	// `PACKER_BUILD_NAME` and `PACKER_BUILDER_TYPE` are there too.
	EnvironmentVars []string `mapstructure:"environment_vars"`
	// A folder on the machine for uploads, with room for both programs. Defaults to the first of `/var/tmp`, `/tmp` and the
	// user's home that the user can write to. A directory of a random name is made in it, and removed at the end.
	RemoteFolder string `mapstructure:"remote_folder"`
	// The file on this machine that hostcheck's report goes to, JSON. Defaults to `NAME-report.json` with the name of the build:
	// in `output-NAME` where the builder has made that directory for its artifact, or else in the working directory.
	Report string `mapstructure:"report"`

	ctx interpolate.Context
}

// provisionerID names the provisioner in what Packer says of its configuration.
const provisionerID = "strongroom.harden"

func (c *ProvisionerConfig) decode(raws ...any) error {
	return config.Decode(c, &config.DecodeOpts{
		PluginType:         provisionerID,
		Interpolate:        true,
		InterpolateContext: &c.ctx,
		InterpolateFilter:  &interpolate.RenderFilter{Exclude: []string{"execute_command"}},
	}, raws...)
}

// executeValues is what execute_command may refer to.
type executeValues struct{ Vars, Path string }

// Defaults of execute_command.
const (
	executeAsRoot = "{{ .Vars }} sh {{ .Path }}"
	executeBySudo = "sudo -n env {{ .Vars }} sh {{ .Path }}"
)

// execute renders execute_command for a script.
func (c *ProvisionerConfig) execute(script string, asRoot bool) (string, error) {
	command := executeBySudo
	if asRoot {
		command = executeAsRoot
	}
	ctx := c.ctx
	ctx.Data = &executeValues{Vars: c.variables(), Path: script}
	line, err := interpolate.Render(cmp.Or(c.ExecuteCommand, command), &ctx)
	if err != nil {
		return "", fmt.Errorf("execute_command: %w", err)
	}
	return line, nil
}

// variables are those of environment_vars and Packer's own, as a shell takes them in front of a command.
func (c *ProvisionerConfig) variables() string {
	var out []string
	for _, v := range append([]string{"PACKER_BUILD_NAME=" + c.PackerBuildName, "PACKER_BUILDER_TYPE=" + c.PackerBuilderType}, c.EnvironmentVars...) {
		name, value, _ := strings.Cut(v, "=")
		out = append(out, name+"='"+strings.ReplaceAll(value, "'", `'"'"'`)+"'")
	}
	return strings.Join(out, " ")
}

// check reports what is wrong, all at once. The baseline is compiled for one distribution, so that `packer validate` finds what
// is wrong with its parameters; which one the machine has is seen later.
func (c *ProvisionerConfig) check(load func() (*baseline.Catalogue, error)) error {
	var wrong mistakes
	product, binary := c.defaults(&wrong)
	c.Report = cmp.Or(c.Report, defaultReport(c.PackerBuildName))
	for field, value := range map[string]string{"image_name": c.ImageName, "image_version": c.ImageVersion} {
		if value != "" && !image.ValidName(value) {
			wrong.add(field, "%q has other characters than lower-case letters, digits, '.', '_' and '-'", value)
		}
	}
	line, err := c.execute("/path/of/the/script", false)
	switch {
	case err != nil:
		wrong.add("execute_command", "%w", err)
	case !strings.Contains(line, "/path/of/the/script"):
		wrong.add("execute_command", "it does not run {{ .Path }}, which is the script")
	}
	for _, v := range c.EnvironmentVars {
		if name, _, ok := strings.Cut(v, "="); !ok || !isVariable(name) {
			wrong.add("environment_vars", "%q is not of the form NAME=value", name)
		}
	}
	if c.RemoteFolder != "" && !strings.HasPrefix(c.RemoteFolder, "/") {
		wrong.add("remote_folder", "%q is not an absolute path on the machine", c.RemoteFolder)
	}
	c.Signing.planBaseline(&wrong)
	c.compile(load, product, binary.SHA256, distribution.Installed, distribution.IDs(distribution.Installed)[0], &wrong)
	if wrong.err != nil {
		return wrong.err
	}
	return nil
}

// isVariable says whether a shell takes a name for that of a variable.
func isVariable(name string) bool {
	for i, r := range name {
		letter := r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || r < '0' || r > '9') {
			return false
		}
	}
	return name != ""
}
