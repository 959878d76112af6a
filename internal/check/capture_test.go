//go:build boot

package check_test

import (
	"os"
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
	h, err := host.Replay(file)
	if err != nil {
		t.Fatal(err)
	}
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

func digestOf(t *testing.T, b *baseline.Baseline) string {
	t.Helper()
	digest, err := b.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}
