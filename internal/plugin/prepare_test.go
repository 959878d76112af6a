package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	packersdk "github.com/hashicorp/packer-plugin-sdk/packer"

	"github.com/strongroom/strongroom/hardening"
	"github.com/strongroom/strongroom/internal/image"
)

// minimal is the least that a template has to say.
func minimal() map[string]any {
	return map[string]any{
		"image_version":     "1.4.0",
		"vault":             map[string]any{"binary": "/nowhere/vault"},
		"packer_build_name": "vault",
		"cache_directory":   "/nowhere/cache",
	}
}

// with is the minimal template with other attributes; nil removes one.
func with(changes map[string]any) map[string]any {
	raw := minimal()
	maps.Copy(raw, changes)
	maps.DeleteFunc(raw, func(_ string, v any) bool { return v == nil })
	return raw
}

func prepare(t *testing.T, raw map[string]any) (*Builder, error) {
	t.Helper()
	b := &Builder{Catalogue: hardening.Load}
	_, warnings, err := b.Prepare(raw)
	if len(warnings) > 0 {
		t.Errorf("warnings: %q", warnings)
	}
	return b, err
}

func TestPrepareDefaults(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "")
	b, err := prepare(t, minimal())
	if err != nil {
		t.Fatal(err)
	}
	got := b.plan.spec
	if got.Distribution != "debian/trixie" || got.Name != "strongroom" || got.Version != "1.4.0" {
		t.Errorf("identity: %s %s on %s", got.Name, got.Version, got.Distribution)
	}
	if want := []string{image.FormatRaw, image.FormatQCOW2}; !slices.Equal(got.Formats, want) {
		t.Errorf("formats %q, want %q", got.Formats, want)
	}
	if got.DataSize != 4<<30 || got.OutputDir != "output-vault" || got.Replace || !got.Epoch.Equal(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("data size %d, output %s, replace %t, epoch %s", got.DataSize, got.OutputDir, got.Replace, got.Epoch)
	}
	if b.plan.boot != nil {
		t.Error("a boot test without its block")
	}
	if len(b.plan.baselineDigest) != 64 || len(b.plan.overlayDigest) != 64 {
		t.Errorf("digests %q and %q", b.plan.baselineDigest, b.plan.overlayDigest)
	}
	if b.plan.spec.Overlay.Owner("/usr/lib/strongroom/baseline.json") == "" {
		t.Error("the overlay holds no baseline")
	}
}

func TestPrepareValues(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "")
	b, err := prepare(t, with(map[string]any{
		"formats":             []string{"qcow2", "raw"},
		"snapshot":            "20260131T000000Z",
		"data_partition_size": "1TiB",
		"output_directory":    "out/image",
		"packer_force":        true,
		"vault":               map[string]any{"binary": "v", "sha256": strings.Repeat("AB", 32)},
		"boot_test":           map[string]any{"memory": "2GiB", "timeout": "90s"},
	}))
	if err != nil {
		t.Fatal(err)
	}
	got := b.plan.spec
	if got.Formats[0] != image.FormatRaw {
		t.Errorf("formats %q: the raw disk is not first", got.Formats)
	}
	if want := time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC); !got.Epoch.Equal(want) {
		t.Errorf("epoch %s, want the snapshot's %s", got.Epoch, want)
	}
	if got.DataSize != 1<<40 || !got.Replace || got.OutputDir != "out/image" {
		t.Errorf("data size %d, replace %t, output %s", got.DataSize, got.Replace, got.OutputDir)
	}
	if sum := got.Binaries[0].SHA256; sum != strings.Repeat("ab", 32) {
		t.Errorf("sha256 %q is not in lower case", sum)
	}
	if want := (bootPlan{memory: 2 << 30, cpus: 2, timeout: 90 * time.Second}); b.plan.boot == nil || *b.plan.boot != want {
		t.Errorf("boot test %+v, want %+v", b.plan.boot, want)
	}
}

// The block names the server: profile, program and overlay follow it.
func TestPrepareOpenBao(t *testing.T) {
	b, err := prepare(t, with(map[string]any{"vault": nil, "openbao": map[string]any{"binary": "/nowhere/bao"}}))
	if err != nil {
		t.Fatal(err)
	}
	if got := b.plan.spec.Binaries[0]; got.Path != "/usr/bin/bao" || got.Source != "/nowhere/bao" {
		t.Errorf("program %+v", got)
	}
	for path, want := range map[string]bool{"/usr/lib/systemd/system/openbao.service": true, "/usr/lib/systemd/system/vault.service": false} {
		if got := b.plan.spec.Overlay.Owner(path) != ""; got != want {
			t.Errorf("%s is in the overlay: %t", path, got)
		}
	}
}

func TestSourceDateEpochWins(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	b, err := prepare(t, with(map[string]any{"snapshot": "20260131T000000Z"}))
	if err != nil {
		t.Fatal(err)
	}
	if got := b.plan.spec.Epoch.Unix(); got != 1700000000 {
		t.Errorf("epoch %d", got)
	}
}

// Each mistake alone gives one error, which begins with its attribute.
func TestPrepareNamesTheAttribute(t *testing.T) {
	tests := []struct {
		attribute string
		change    map[string]any
		says      string
	}{
		{"image_version", map[string]any{"image_version": nil}, "is required"},
		{"image_version", map[string]any{"image_version": "1 4"}, "not an image version"},
		{"image_name", map[string]any{"image_name": "Vault!"}, "not an image id"},
		{"vault", map[string]any{"vault": nil}, "is required, or openbao"},
		{"vault.binary", map[string]any{"vault": map[string]any{}}, "is required"},
		{"openbao.binary", map[string]any{"vault": nil, "openbao": map[string]any{}}, "path of the OpenBao program"},
		{"openbao.sha256", map[string]any{"vault": nil, "openbao": map[string]any{"binary": "b", "sha256": "abcd"}}, "64 digits"},
		{"openbao", map[string]any{"openbao": map[string]any{"binary": "b"}}, "one server"},
		{"profile", map[string]any{"profile": "openbao/metal"}, "write \"vault/metal\""},
		{"parameters", map[string]any{"vault": nil, "openbao": map[string]any{"binary": "b"}, "parameters": map[string]string{"memory_lock": "on"}}, "OpenBao"},
		{"vault.sha256", map[string]any{"vault": map[string]any{"binary": "v", "sha256": "abcd"}}, "64 digits"},
		{"distribution", map[string]any{"distribution": "debian/woody"}, "debian/trixie"},
		{"mirror", map[string]any{"mirror": "ftp://archive"}, "not an http, https or file URL"},
		{"snapshot", map[string]any{"snapshot": "yesterday"}, "20260131T000000Z"},
		{"packages", map[string]any{"packages": []string{"No Such"}}, "not a package name"},
		{"packages", map[string]any{"packages": []string{"apt"}}, "never in the image"},
		{"profile", map[string]any{"profile": "vault"}, "such as \"vault/vm\""},
		{"profile", map[string]any{"profile": "vault/toaster"}, "cloud, vm, metal"},
		{"parameters", map[string]any{"parameters": map[string]string{"colour": "red"}}, "unknown parameter \"colour\""},
		{"parameters", map[string]any{"parameters": map[string]string{"memory_lock": "maybe"}}, "memory_lock: \"maybe\" is not one of on, off"},
		{"formats", map[string]any{"formats": []string{"vhdx"}}, "\"vhdx\" is not known (known: raw, qcow2, vmdk, vhd, raw.tar.gz, netboot)"},
		{"netboot", map[string]any{"formats": []string{"raw", "netboot"}}, "say which disk"},
		{"netboot", map[string]any{"formats": []string{"raw", "netboot"}, "netboot": map[string]any{"data_disk": "/dev/sda"}}, "say which disk"},
		{"netboot", map[string]any{"formats": []string{"raw", "netboot"}, "netboot": map[string]any{"data_disk": "id:x", "signing_key": "k"}}, "signing_certificate"},
		{"netboot", map[string]any{"formats": []string{"raw", "netboot"}, "netboot": map[string]any{"install_disk": "id:x", "install_url": "https://images.example.net/v1"}}, "give node_config_ca"},
		{"netboot", map[string]any{"netboot": map[string]any{"data_disk": "id:x"}}, "add \"netboot\" to formats"},
		{"formats", map[string]any{"formats": []string{"netboot"}, "netboot": map[string]any{"data_disk": "id:x"}}, "beside a disk"},
		{"boot_test", map[string]any{"formats": []string{"raw.tar.gz"}, "boot_test": map[string]any{}}, "add raw, qcow2, vmdk or vhd"},
		{"data_partition_size", map[string]any{"formats": []string{"vhd"}, "data_partition_size": "2TiB"}, "2040 GiB"},
		{"formats", map[string]any{"formats": []string{}}, "no format"},
		{"formats", map[string]any{"formats": []string{"raw", "raw"}}, "twice"},
		{"data_partition_size", map[string]any{"data_partition_size": "4GB"}, "4GiB"},
		{"data_partition_size", map[string]any{"data_partition_size": "lots"}, "not a size"},
		{"data_partition_size", map[string]any{"data_partition_size": "9999999999TiB"}, "too large"},
		{"output_directory", map[string]any{"output_directory": "/"}, "must not own"},
		{"cache_directory", map[string]any{"cache_directory": "/"}, "must not own"},
		{"boot_test.memory", map[string]any{"boot_test": map[string]any{"memory": "64MiB"}}, "512MiB or more"},
		{"boot_test.cpus", map[string]any{"boot_test": map[string]any{"cpus": -1}}, "1 or more"},
		{"boot_test.timeout", map[string]any{"boot_test": map[string]any{"timeout": "5ms"}}, "too short"},
	}
	for _, tt := range tests {
		t.Run(tt.attribute+" "+tt.says, func(t *testing.T) {
			_, err := prepare(t, with(tt.change))
			var all *packersdk.MultiError
			if !errors.As(err, &all) {
				t.Fatalf("got %v, want a multi error", err)
			}
			if len(all.Errors) != 1 {
				t.Fatalf("got %d errors, want one: %v", len(all.Errors), all)
			}
			if got := all.Errors[0].Error(); !strings.HasPrefix(got, tt.attribute+": ") || !strings.Contains(got, tt.says) {
				t.Errorf("got %q, want %s and %q", got, tt.attribute, tt.says)
			}
		})
	}
}

func TestPrepareReportsAllMistakesAtOnce(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "noon")
	_, err := prepare(t, map[string]any{
		"distribution":        "debian/woody",
		"profile":             "vault/toaster",
		"parameters":          map[string]string{"colour": "red"},
		"formats":             []string{"vhdx"},
		"data_partition_size": "big",
		"boot_test":           map[string]any{"memory": "much"},
		"cache_directory":     "/nowhere",
	})
	if err == nil {
		t.Fatal("no error")
	}
	for _, attribute := range []string{
		"image_version", "vault", "distribution", "profile", "parameters", "formats", "data_partition_size", "boot_test.memory", "environment",
	} {
		if n := strings.Count(err.Error(), "* "+attribute+": "); n != 1 {
			t.Errorf("%s is reported %d times:\n%v", attribute, n, err)
		}
	}
}

func TestPrepareRefusesUnknownAttributes(t *testing.T) {
	_, err := prepare(t, with(map[string]any{"vualt": "typo"}))
	if err == nil || !strings.Contains(err.Error(), "vualt") {
		t.Errorf("got %v, want an error that names vualt", err)
	}
}

// The parameter brings the program.
func TestPrepareShipsLogs(t *testing.T) {
	b := &Builder{Catalogue: hardening.Load}
	for ships, parameters := range map[bool]map[string]any{true: {"log_shipping": "journal-upload"}, false: {}} {
		if _, _, err := b.Prepare(with(map[string]any{"parameters": parameters})); err != nil {
			t.Fatal(err)
		}
		if b.plan.spec.ShipsLogs != ships {
			t.Errorf("%v: the image ships the journal: %v", parameters, b.plan.spec.ShipsLogs)
		}
	}
	if _, _, err := b.Prepare(with(map[string]any{"parameters": map[string]any{"log_shipping": "syslog"}})); err == nil || !strings.Contains(err.Error(), "log_shipping") {
		t.Errorf("another way to ship: %v", err)
	}
}

// Packer prepares a builder more than once; nothing may pile up or survive.
func TestPrepareIsIdempotent(t *testing.T) {
	b := &Builder{Catalogue: hardening.Load}
	raw := with(map[string]any{"packages": []string{"jq"}, "boot_test": map[string]any{}})
	var first plan
	for i := range 3 {
		vars, _, err := b.Prepare(raw)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(vars, varBaselineDigest) || !slices.Contains(vars, varRootHash) {
			t.Errorf("generated variables %q", vars)
		}
		if i == 0 {
			first = b.plan
		}
		if !slices.Equal(b.plan.spec.Packages, first.spec.Packages) || b.plan.overlayDigest != first.overlayDigest {
			t.Errorf("round %d differs", i)
		}
	}
	if _, _, err := b.Prepare(minimal()); err != nil {
		t.Fatal(err)
	}
	if b.plan.boot != nil || len(b.plan.spec.Packages) != 0 {
		t.Error("a second template inherits from the first")
	}
	if _, _, err := b.Prepare(map[string]any{}); err == nil || b.plan.spec.Overlay != nil {
		t.Errorf("after a failure the last plan is still there (%v)", err)
	}
}

// Prepare must not look at this machine: nothing that it names exists.
func TestPrepareTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if _, err := prepare(t, with(map[string]any{"output_directory": "out/image", "cache_directory": "cache", "hostcheck": "missing"})); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("Prepare made %q", left)
	}
}

// The digests of the programs go into the baseline: that of the server as the template names it, or else that of the file, and hostcheck's.
func TestTheBaselineKnowsThePrograms(t *testing.T) {
	dir := t.TempDir()
	server, agent := filepath.Join(dir, "vault"), filepath.Join(dir, "hostcheck")
	for name, content := range map[string]string{server: "ELF", agent: "agent"} {
		if err := os.WriteFile(name, []byte(content), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	named := strings.Repeat("ab", 32)
	measured := func(vault map[string]any, hostcheck string) (*Builder, error) {
		t.Helper()
		b, err := prepare(t, with(map[string]any{"vault": vault, "hostcheck": hostcheck}))
		if err != nil {
			t.Fatal(err)
		}
		before := b.plan.baselineDigest
		if err := b.measurePrograms(t.Context()); err != nil {
			return nil, err
		}
		if b.plan.baselineDigest == before {
			t.Error("the baseline is the same as before the programs were read")
		}
		for _, binary := range b.plan.spec.Binaries {
			if len(binary.SHA256) != 64 {
				t.Errorf("%s has digest %q", binary.Path, binary.SHA256)
			}
		}
		return b, nil
	}
	parameters := func(b *Builder) (server, agent string) {
		return b.plan.spec.Parameters[serverDigestParameter], b.plan.spec.Parameters[agentDigestParameter]
	}
	b, err := measured(map[string]any{"binary": server}, agent)
	if err != nil {
		t.Fatal(err)
	}
	if s, a := parameters(b); s != digestOf("ELF") || a != digestOf("agent") {
		t.Errorf("server %s, hostcheck %s", s, a)
	}
	if b, err = measured(map[string]any{"binary": "/nowhere/vault", "sha256": strings.ToUpper(named)}, agent); err != nil {
		t.Fatal(err)
	}
	if s, a := parameters(b); s != named || a != digestOf("agent") {
		t.Errorf("server %s, hostcheck %s", s, a)
	}
	for _, parameter := range []string{serverDigestParameter, agentDigestParameter} {
		b, err := prepare(t, with(map[string]any{
			"vault": map[string]any{"binary": server}, "hostcheck": agent, "parameters": map[string]string{parameter: strings.Repeat("cd", 32)},
		}))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.measurePrograms(t.Context()); err == nil || !strings.Contains(err.Error(), parameter) || !strings.Contains(err.Error(), "leave it out") {
			t.Errorf("another %s: %v", parameter, err)
		}
	}
	if _, err := measured(map[string]any{"binary": "/nowhere/vault"}, agent); err == nil || !strings.Contains(err.Error(), "/nowhere/vault") {
		t.Errorf("a server that is not there: %v", err)
	}
	if _, err := measured(map[string]any{"binary": server}, "/nowhere/hostcheck"); err == nil || !strings.Contains(err.Error(), "/nowhere/hostcheck") {
		t.Errorf("a hostcheck that is not there: %v", err)
	}
}

func digestOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
