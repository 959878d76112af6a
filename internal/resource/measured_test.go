package resource_test

import (
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

func TestMeasured(t *testing.T) {
	m := &resource.Measured{Credential: "strongroom.measurements"}
	const statement, pcr = "/run/hostcheck/strongroom.measurements", "/sys/class/tpm/tpm0/pcr-sha256/"
	a, b, c, d := strings.Repeat("aa", 32), strings.Repeat("bb", 32), strings.Repeat("cc", 32), strings.Repeat("dd", 32)
	text := `{"schema": "strongroom.measurements/v1", "kernels": [
		{"name": "netboot", "pcr4": "` + d + `", "pcr11": [{"sha256": "` + d + `"}]},
		{"name": "disk", "pcr4": "` + a + `", "pcr11": [{"phase": "", "sha256": "` + d + `"}, {"phase": "ready", "sha256": "` + c + `"}], "firmware": [{"name": "x", "pcr7": "` + b + `"}]}]}`
	node := func(pcr4, pcr7, pcr11 string) *hosttest.Host {
		return hosttest.New().File(statement, text).File(pcr+"4", strings.ToUpper(pcr4)+"\n").File(pcr+"7", strings.ToUpper(pcr7)+"\n").File(pcr+"11", strings.ToUpper(pcr11)+"\n")
	}
	expect(t, m, node(a, b, c), control.Pass, "pcr-sha256/11")
	expect(t, m, node(d, b, d), control.Pass, "pcr-sha256/11") // the other kernel, whose firmware nobody has told
	expect(t, m, node(d, b, c), control.Fail, "pcr-sha256/4")  // one kernel's program, the other's sections
	expect(t, m, node(a, c, c), control.Fail, "pcr-sha256/7")
	expect(t, m, node(a, b, b), control.Fail, "pcr-sha256/11")
	expect(t, m, node(a, b, c).Remove(pcr+"11"), control.Fail, "absent")
	expect(t, m, node(a, b, c).FailFile(pcr+"4", errDenied), control.Unknown, "permission denied")
	expect(t, m, node(a, b, c).Remove(statement), control.NotApplicable, "no statement")
	expect(t, m, node(a, b, c).FailFile(statement, errDenied), control.Unknown, "permission denied")
	expect(t, m, node(a, b, c).File(statement, "{}"), control.Unknown, "schema")
	expect(t, m, node(a, b, c).File(statement, strings.ReplaceAll(text, "pcr11", "pcr12")), control.Unknown, "PCR 11")
	if (&resource.Measured{Credential: "../x"}).Validate() == nil {
		t.Error("a path is accepted as the name of a credential")
	}
}

func FuzzParseMeasurements(f *testing.F) {
	f.Add([]byte(`{"schema": "strongroom.measurements/v1", "kernels": [{"pcr11": [{"sha256": "01"}]}]}`))
	f.Add([]byte(`{"schema": "strongroom.measurements/v1", "kernels": [{"pcr4": "00", "pcr11": []}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		kernels, err := resource.ParseMeasurements(text)
		if err != nil {
			return
		}
		for _, k := range kernels {
			if len(k.PCRs[11]) == 0 {
				t.Error("a kernel without a value of PCR 11 would pass")
			}
		}
	})
}
