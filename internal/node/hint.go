package node

// hinted is an error with the way out on a line of its own.
type hinted struct {
	error
	hint string
}

// Hinted adds the way out to an error.
func Hinted(err error, hint string) error { return hinted{err, hint} }

func (h hinted) Error() string { return h.error.Error() + "\n  hint: " + h.hint }
func (h hinted) Unwrap() error { return h.error }

// Hint gives the way out.
func (h hinted) Hint() string { return h.hint }
