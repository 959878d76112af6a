package launch

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// undoTimeout is for the whole way back. It is not the caller's: a build that was cancelled is the usual reason to go
// back.
const undoTimeout = 5 * time.Minute

// Undo knows what a run has made, and how to take it back.
type Undo struct{ made []step }

type step struct {
	what   string // "snapshot snap-1"
	remove string // the command that an operator types
	back   func(context.Context) error
}

// Made notes that something now exists. back removes it, remove is the command that does.
func (u *Undo) Made(what, remove string, back func(context.Context) error) {
	u.made = append(u.made, step{what, remove, back})
}

// Keep says that what was made is in use from now on, and stays whatever comes.
func (u *Undo) Keep() {
	for i := range u.made {
		u.made[i].back = nil
	}
}

// Back takes back what was made, the newest first, and gives the cause with an exact account. What cannot be taken
// back does not keep the older things from being tried.
func (u *Undo) Back(ctx context.Context, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	var lines []string
	for _, s := range slices.Backward(u.made) {
		if s.back == nil {
			lines = append(lines, fmt.Sprintf("%s stays; run the build again to finish, or remove it: %s", s.what, s.remove))
		} else if err := s.back(ctx); err != nil {
			lines = append(lines, fmt.Sprintf("%s could not be removed (%v): %s", s.what, err, s.remove))
		} else {
			lines = append(lines, s.what+" was removed again")
		}
	}
	u.made = nil
	if lines == nil {
		return fmt.Errorf("%w\nnothing was left behind", cause)
	}
	return fmt.Errorf("%w\n%s", cause, strings.Join(lines, "\n"))
}
