package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// TimingsName is the file beside the manifest that says how long the bake took. It is not in the
// manifest, because a clock's reading would make every manifest another.
const TimingsName = "timings.json"

const timingsSchema = "strongroom.timings/v1"

type timings struct {
	Schema string   `json:"schema"`
	Steps  []timing `json:"steps"`
}

type timing struct {
	Step    string  `json:"step"`
	Seconds float64 `json:"seconds"`
}

// WriteTimings writes the steps' wall times into a directory.
func WriteTimings(dir string, steps []StepTime) error {
	t := timings{Schema: timingsSchema}
	for _, s := range steps {
		t.Steps = append(t.Steps, timing{s.Step, s.Duration.Seconds()})
	}
	text, err := json.MarshalIndent(t, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, TimingsName), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("cannot write the bake's times: %w", err)
	}
	return nil
}

// ReadTimings reads what WriteTimings wrote; none when the directory has no such file.
func ReadTimings(dir string) ([]StepTime, error) {
	text, err := os.ReadFile(filepath.Join(dir, TimingsName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the bake's times: %w", err)
	}
	var t timings
	if err := json.Unmarshal(text, &t); err != nil || t.Schema != timingsSchema {
		return nil, fmt.Errorf("cannot read the bake's times: %s is not of schema %s", TimingsName, timingsSchema)
	}
	var steps []StepTime
	for _, s := range t.Steps {
		steps = append(steps, StepTime{s.Step, time.Duration(s.Seconds * float64(time.Second))})
	}
	return steps, nil
}
