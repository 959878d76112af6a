package measure_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/measure/measuretest"
)

func unified(version string) []byte {
	return measuretest.Program(
		measuretest.Section{Name: ".text", Data: []byte("code of the stub")},
		measuretest.Section{Name: ".sbat", Data: []byte("sbat,1\n")},
		measuretest.Stub(version),
		measuretest.Section{Name: ".osrel", Data: []byte("ID=debian\n")},
		measuretest.Section{Name: ".cmdline", Data: []byte("roothash=00 ro")},
		measuretest.Section{Name: ".uname", Data: []byte("6.12.1")},
		measuretest.Section{Name: ".pcrpkey", Data: []byte("public key")},
		measuretest.Section{Name: ".pcrsig", Data: []byte("{}")},
		measuretest.Section{Name: ".initrd", Data: bytes.Repeat([]byte("initrd"), 100)},
		measuretest.Section{Name: ".linux", Data: bytes.Repeat([]byte("kernel"), 1000)},
	)
}

// The values were calculated by systemd-measure 257.13-1~deb13u1 and 252.39-1~deb12u2 of the same contents.
func TestPCR11IsThatOfSystemdMeasure(t *testing.T) {
	for version, want := range map[string][]string{
		"257.13-1~deb13u1": {
			"de6b8780f0fb57ca059b2a0e58f6334c831446a1e910c78049a2ade3c5956dd8",
			"a332f07594dcf58ef447fb1e28484d7b2623fda35be58f8f858e274e6f96b112",
			"4a2f058a7748b86f2d7f97e8e66150ea6dd410bf0ad3ede4d851d2972b9036ef",
			"9f4a44e31749e9c88ad34016c4a43d175eef6fb7bd4a6754d7f3d4d6f294272c",
			"6f8cbffec14e25422baf6481f951ee9ab6408697148e5c2494d3580b90f46ca0",
		},
		"252.39-1~deb12u2": {
			"f8f892d7d436143b388a345a82f27b7f6a4cbae71b1c30e897aff42baf01769e",
			"fb2148008c12892e138ae11f42a2aaac3121d244da896adef21d3f2033b2ddd6",
			"dd3c6ca005986bc92bd01cfb8a20d7dc8d294cf5239ffb54c73c1a4fcea84bd4",
			"6442e1d290b7ff1a9f6f0d151cae79e47338c12007da3e3f6327f82ff10cb1bd",
			"98497d11a08342d16e174f39e71ac8139e442174fcf355b65d14dd3f8faff1d8",
		},
	} {
		t.Run(version, func(t *testing.T) {
			image, err := measure.ReadImage(bytes.NewReader(unified(version)))
			if err != nil {
				t.Fatal(err)
			}
			if want := "systemd-stub " + version; image.Stub != want {
				t.Errorf("stub %q, want %q", image.Stub, want)
			}
			for i, v := range image.PCR11() {
				if v.SHA256.String() != want[i] || v.Phase != measure.Phases()[i] {
					t.Errorf("phase %q: %s, want %s", v.Phase, v.SHA256, want[i])
				}
			}
		})
	}
}

// Every byte that is measured changes the value, and the signature of the policy does not.
func TestPCR11FollowsTheSections(t *testing.T) {
	value := func(program []byte) measure.Digest {
		t.Helper()
		image, err := measure.ReadImage(bytes.NewReader(program))
		if err != nil {
			t.Fatal(err)
		}
		return image.PCR11()[0].SHA256
	}
	original := unified("257.13")
	for content, changes := range map[string]bool{
		"roothash=00": true, "ID=debian": true, "initrdinitrd": true, "kernelkernel": true, "public key": true, "sbat,1": true, "6.12.1": true,
		"code of the stub": false, // the firmware measures it, into PCR 4
		"{}":               false,
	} {
		at := bytes.Index(original, []byte(content))
		changed := bytes.Clone(original)
		changed[at] ^= 1
		if got := value(changed) != value(original); got != changes {
			t.Errorf("with another byte in %q, PCR 11 is another one: %v, want %v", content, got, changes)
		}
	}
}

func TestReadImageRefuses(t *testing.T) {
	linux, stub := measuretest.Section{Name: ".linux", Data: []byte("kernel")}, measuretest.Stub("257.13")
	for name, tt := range map[string]struct {
		program []byte
		says    string
	}{
		"nothing":       {nil, "cannot read"},
		"no stub":       {measuretest.Program(linux), "not systemd's boot stub"},
		"another stub":  {measuretest.Program(linux, measuretest.Section{Name: ".sdmagic", Data: []byte("#### LoaderInfo: systemd-boot 257 ####")}), "does not tell the version"},
		"a newer stub":  {measuretest.Program(linux, measuretest.Stub("999.1")), "not known what systemd-stub 999 measures"},
		"no kernel":     {measuretest.Program(stub), "no section .linux"},
		"a kernel more": {measuretest.Program(stub, linux, linux), "twice"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := measure.ReadImage(bytes.NewReader(tt.program)); err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("got %v, want an error that says %q", err, tt.says)
			}
		})
	}
}

func FuzzReadImage(f *testing.F) {
	f.Add(unified("257.13"))
	f.Add(measuretest.Program(measuretest.Stub("252")))
	f.Fuzz(func(t *testing.T, program []byte) {
		image, err := measure.ReadImage(bytes.NewReader(program))
		if err == nil && len(image.PCR11()) != len(measure.Phases()) {
			t.Error("an image without values")
		}
	})
}
