package host

// Deriver is a Host that keeps for one run of the checks what was computed from its answers.
type Deriver interface {
	Host
	// Derived gives what compute gave when it was first called for the key.
	Derived(key string, compute func() any) any
}

// Derive computes a value from a host's answers: once for a key in a run of the checks where the host is a
// [Deriver], and each time where it is not. Many resources ask the same of the same files (each sysctl what all of
// sysctl.d sets), and none of them is to parse these again. The value is shared and is not to be changed.
func Derive[T any](h Host, key string, compute func(Host) T) T {
	if d, ok := h.(Deriver); ok {
		if v, ok := d.Derived(key, func() any { return compute(h) }).(T); ok {
			return v
		}
	}
	return compute(h)
}
