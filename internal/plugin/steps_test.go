package plugin

import (
	"reflect"
	"strings"
	"testing"
)

// The names are what -debug and -on-error show; the order is that of the assembly.
func TestStepNames(t *testing.T) {
	names := func(p plan) string {
		var names []string
		for _, s := range (&bake{plan: p}).steps() {
			names = append(names, strings.TrimPrefix(reflect.Indirect(reflect.ValueOf(s)).Type().Name(), "step"))
		}
		return strings.Join(names, " ")
	}
	const want = "Open BaseTree Overlay Connect StepProvision Seal Verify RootFilesystem Verity Initrd UnifiedKernel Disk Convert Manifest Publish"
	if got := names(plan{}); got != want {
		t.Errorf("steps:\n got %s\nwant %s", got, want)
	}
	if got := names(plan{boot: &bootPlan{}}); got != strings.Replace(want, "Manifest", "Manifest BootTest", 1) {
		t.Errorf("steps with a boot test: %s", got)
	}
}
