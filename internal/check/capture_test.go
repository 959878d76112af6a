//go:build boot

package check_test

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"testing"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
)

// TestEveryCheckCanFailOnARecordedNode is TestEveryCheckCanFail over the recording of a node that was booted: what
// passes there is broken there. It runs with the boots, since a recording ages: one that is older than the catalogue has no
// answer to a new question, and is made again by `make fixtures`.
func TestEveryCheckCanFailOnARecordedNode(t *testing.T) {
	file, err := os.Open(recordedNode)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	recording, err := host.Replay(file)
	if err != nil {
		t.Fatal(err)
	}
	h := completed{recording}
	content, err := h.ReadFile(baseline.Path)
	if err != nil {
		t.Fatal(err)
	}
	recorded, _, err := baseline.DecodeBytes(content)
	if err != nil {
		t.Fatalf("the recording has a baseline that is not read any more: make fixtures\n%v", err)
	}
	now := checktest.Compile(t, recorded.Profile)
	if digest, err := now.Digest(); err != nil || digest != digestOf(t, recorded) {
		t.Errorf("the recording is older than the catalogue, so it says nothing about what is new: make fixtures (%v)", err)
	}
	total := proof{}
	for _, c := range recorded.Controls {
		if c.Stage > control.StageRun {
			continue // recorded at stage run
		}
		for _, res := range c.Resources {
			p, gaps := prove(t, recorded, c, res, h, denied)
			total = total.plus(p)
			for _, gap := range gaps {
				t.Errorf("%s: %s", c.ID, gap)
			}
		}
	}
	t.Logf("%d controls; %d facts unreadable; %d observations broken by %d breakages", len(recorded.Controls), total.facts, total.observations, total.breakages)
}

// completed is the recorded node with what the laboratory's plain node does not have: encrypted partitions, a time server that it
// can reach, and firmware with Secure Boot, a TPM, and the measurements that were expected.
type completed struct{ host.Host }

// firmware is what a machine with Secure Boot and a TPM shows beside the recording.
var firmware = map[string]string{
	"/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c": "\x06\x00\x00\x00\x01",
	"/sys/firmware/efi/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c":  "\x06\x00\x00\x00\x00",
	"/sys/class/tpm/tpm0/tpm_version_major":                                     "2\n",
	"/sys/class/tpm/tpm0/pcr-sha256/4":                                          measured + "\n",
	"/sys/class/tpm/tpm0/pcr-sha256/11":                                         measured + "\n",
	"/run/hostcheck/strongroom.measurements":                                    `{"schema": "strongroom.measurements/v1", "kernels": [{"name": "disk", "pcr4": "` + measured + `", "pcr11": [{"sha256": "` + measured + `"}]}]}`,
}

const measured = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func (completed) Clock() (host.Clock, error) {
	return host.Clock{Synchronised: true, MaxErrorMicroseconds: 31000, EstimatedErrorMicroseconds: 7}, nil
}

func (h completed) Stat(name string) (host.FileInfo, error) {
	if text, ok := firmware[name]; ok {
		return host.FileInfo{Mode: 0o444, Size: int64(len(text))}, nil
	}
	return h.Host.Stat(name)
}

func (h completed) ReadFile(name string) ([]byte, error) {
	if text, ok := firmware[name]; ok {
		return []byte(text), nil
	}
	content, err := h.Host.ReadFile(name)
	if isMapping, _ := path.Match("/sys/dev/block/*/dm/uuid", name); isMapping && errors.Is(err, fs.ErrNotExist) {
		return []byte("CRYPT-LUKS2-0123456789abcdef-data\n"), nil
	}
	return content, err
}

func digestOf(t *testing.T, b *baseline.Baseline) string {
	t.Helper()
	digest, err := b.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}
