package plugin

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/hashicorp/packer-plugin-sdk/multistep"
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
	const want = "Open BaseTree Overlay Connect StepProvision Seal Verify LeakGate RootFilesystem Verity Initrd UnifiedKernel Disk Convert Manifest Publish"
	if got := names(plan{}); got != want {
		t.Errorf("steps:\n got %s\nwant %s", got, want)
	}
	if got := names(plan{boot: &bootPlan{}}); got != strings.Replace(want, "Manifest", "Manifest BootTest", 1) {
		t.Errorf("steps with a boot test: %s", got)
	}
}

// A step that was tried again and has passed leaves no error behind, which Run would take for the build's.
func TestProceed(t *testing.T) {
	state := new(multistep.BasicStateBag)
	if proceed(state, errors.New("no")) != multistep.ActionHalt || state.Get("error") == nil {
		t.Error("an error does not halt")
	}
	if proceed(state, nil) != multistep.ActionContinue || state.Get("error") != nil {
		t.Errorf("the error of the first try is still there: %v", state.Get("error"))
	}
}
