package host

import "errors"

// ErrNotRunning is the answer of a root tree to a question about running state.
var ErrNotRunning = errors.New("nothing runs in a root tree")

// ErrNotRecorded is the answer of a replay to a question that the capture never asked. It is
// not fs.ErrNotExist: an absent recording must never look like an absent file.
var ErrNotRecorded = errors.New("not in the recording")

// ErrTooLarge is the answer to a read of more than MaxFile bytes.
var ErrTooLarge = errors.New("file is too large to judge")
