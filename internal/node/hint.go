package node

// hinted is an error with the way out on a line of its own. The hint is part of the text and not
// a method, because several such errors are joined and each keeps its own.
type hinted struct {
	error
	hint string
}

// Hinted adds the way out to an error.
func Hinted(err error, hint string) error { return hinted{err, hint} }

func (h hinted) Error() string { return h.error.Error() + "\n  hint: " + h.hint }
func (h hinted) Unwrap() error { return h.error }
