package resource_test

import (
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

func TestSecureBoot(t *testing.T) {
	on := &resource.SecureBoot{State: "on"}
	const secure, setup = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c", "/sys/firmware/efi/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	node := func(secureBoot, setupMode string) *hosttest.Host {
		return hosttest.New().File(secure, "\x06\x00\x00\x00"+secureBoot).File(setup, "\x06\x00\x00\x00"+setupMode)
	}
	expect(t, on, node("\x01", "\x00"), control.Pass, "SecureBoot")
	expect(t, on, node("\x00", "\x00"), control.Fail, "SecureBoot")
	expect(t, on, node("\x01", "\x01"), control.Fail, "SetupMode")
	expect(t, on, node("\x01", "\x00").Remove(secure), control.Fail, "absent")
	expect(t, on, node("\x02", "\x00"), control.Unknown, "SecureBoot")
	expect(t, on, node("", "\x00"), control.Unknown, "4 bytes")
	expect(t, on, node("\x01", "\x00").FailFile(setup, errDenied), control.Unknown, "permission denied")
	if (&resource.SecureBoot{State: "off"}).Validate() == nil {
		t.Error("a state that nobody can want is accepted")
	}
}
