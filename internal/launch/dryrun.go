package launch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// Call is one request to an API that a dry run writes down in place of sending it.
type Call struct {
	Service string // "ec2", "compute.googleapis.com"
	Action  string // "RegisterImage", "images.insert"
	Method  string // of HTTP, for APIs whose resources are URLs; else empty
	URL     string // likewise
	Input   any    // what is sent, in the SDK's own type or as the JSON that it made
}

// Calls are what a dry run has written down. The zero value is ready; it may be used from several goroutines.
type Calls struct {
	mu   sync.Mutex
	list []Call
}

// Add writes a call down.
func (c *Calls) Add(call Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list = append(c.list, call)
}

// List gives them in the order in which they were made.
func (c *Calls) List() []Call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.list
}

// Names in the directory of a dry run.
const (
	callsName     = "calls.json"
	terraformName = "main.tf.json"
)

// listed is one entry of calls.json.
type listed struct {
	File    string `json:"file,omitempty"` // with the input; a request without one has none
	Service string `json:"service"`
	Action  string `json:"action"`
	Method  string `json:"method,omitempty"`
	URL     string `json:"url,omitempty"`
}

// WriteDryRun writes the inputs of the calls, one numbered file each, their list, and Terraform's JSON into a
// directory, and returns the paths. A directory of an earlier dry run is replaced, any other is refused.
func WriteDryRun(dir string, calls []Call, terraform any) (paths []string, err error) {
	if err := clearDryRun(dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	write := func(name string, v any) error {
		var text bytes.Buffer
		e := json.NewEncoder(&text)
		e.SetEscapeHTML(false) // URLs are to be read by people
		e.SetIndent("", "  ")
		if err := e.Encode(v); err != nil {
			return err
		}
		path := filepath.Join(dir, name)
		paths = append(paths, path)
		return os.WriteFile(path, text.Bytes(), 0o644)
	}
	index := make([]listed, len(calls))
	for i, c := range calls {
		index[i] = listed{Service: c.Service, Action: c.Action, Method: c.Method, URL: c.URL}
		if c.Input == nil {
			continue
		}
		input, err := Pruned(c.Input)
		if err != nil {
			return nil, fmt.Errorf("cannot write %s: %w", c.Action, err)
		}
		index[i].File = fmt.Sprintf("%02d-%s.json", i+1, strings.ReplaceAll(c.Action, "/", "-"))
		if err := write(index[i].File, input); err != nil {
			return nil, err
		}
	}
	if err := write(callsName, index); err != nil {
		return nil, err
	}
	return paths, write(terraformName, terraform)
}

var ownName = regexp.MustCompile(`^(\d\d-[A-Za-z.-]+\.json|calls\.json|main\.tf\.json)$`)

// clearDryRun removes the files of an earlier dry run, and nothing else.
func clearDryRun(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if !e.Type().IsRegular() || !ownName.MatchString(e.Name()) {
			return fmt.Errorf("%s holds %s, which is not of a dry run: choose another output_directory", dir, e.Name())
		}
	}
	for _, e := range entries {
		if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
