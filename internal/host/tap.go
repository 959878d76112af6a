package host

import "fmt"

// Tap sees the answer to each question before the asker does, and may give another one instead: a value of
// the type that the method gives, or an error. Tests break hosts with it, one fact at a time.
type Tap func(method, argument string, value any, err error) (any, error)

// Tapped is a host whose answers go through tap. Every method that a [Recorder] passes on is covered, since it
// is one.
func Tapped(h Host, tap Tap) Host { return &Recorder{host: h, tap: tap} }

// tapped gives what tap makes of an answer.
func tapped[T any](tap Tap, method, argument string, value T, err error) (T, error) {
	given, err := tap(method, argument, value, err)
	if err != nil || given == nil {
		var zero T
		return zero, err
	}
	v, ok := given.(T)
	if !ok {
		return v, fmt.Errorf("a tap gave a %T for %s, which answers with %T", given, method, value)
	}
	return v, nil
}
