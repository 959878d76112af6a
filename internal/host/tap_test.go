package host_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
)

// A question that a recorder passes on without a word would be missing from recordings, and from the proof
// that checks fail.
func TestEveryQuestionIsTappedAndRecorded(t *testing.T) {
	type asked struct{ method, argument string }
	seen := map[asked]bool{}
	lie := errors.New("a lie")
	h := host.Tapped(hosttest.New(), func(method, argument string, _ any, _ error) (any, error) {
		seen[asked{method, argument}] = true
		return nil, lie
	})
	methods := reflect.TypeFor[host.Host]()
	for i := range methods.NumMethod() {
		m := methods.Method(i)
		var in []reflect.Value
		for j := range m.Type.NumIn() {
			v := reflect.Zero(m.Type.In(j))
			if m.Type.In(j) == reflect.TypeFor[context.Context]() {
				v = reflect.ValueOf(t.Context())
			}
			in = append(in, v)
		}
		before := len(seen)
		out := reflect.ValueOf(h).MethodByName(m.Name).Call(in)
		if err, _ := out[len(out)-1].Interface().(error); !errors.Is(err, lie) || len(seen) != before+1 {
			t.Errorf("%s does not go through the tap: %v", m.Name, err)
		}
	}
	for q := range seen {
		if _, ok := methods.MethodByName(q.method); !ok {
			t.Errorf("%s is recorded under a name that no method has", q.method)
		}
	}
}

func TestTapped(t *testing.T) {
	h := host.Tapped(hosttest.New().File("/a", "b").SetModules("c"), func(method, argument string, value any, err error) (any, error) {
		switch method {
		case "ReadFile":
			return append(value.([]byte), argument...), err
		case "Swaps":
			return []host.Swap{{Device: "/dev/x"}}, nil
		case "Modules":
			return "of the wrong type", nil
		}
		return value, err
	})
	if content, err := h.ReadFile("/a"); err != nil || string(content) != "b/a" {
		t.Errorf("a file: %q, %v", content, err)
	}
	if swaps, err := h.Swaps(); err != nil || len(swaps) != 1 {
		t.Errorf("swaps that were not set: %v, %v", swaps, err)
	}
	if _, err := h.Modules(); err == nil {
		t.Error("an answer of the wrong type was passed on")
	}
	if _, err := h.Mounts(); !errors.Is(err, hosttest.ErrNotSet) {
		t.Errorf("a fact that nobody changed: %v", err)
	}
}
