package image

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// defaultEpoch is the time of the files of an image when nothing else says one: a constant, so
// that the same sources give the same bytes. A node's clock never runs before it.
var defaultEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// SourceDateEpoch is the time of every file of an image that has no lock yet: $SOURCE_DATE_EPOCH, the moment of the
// dated archive, or a constant. Never the clock.
func SourceDateEpoch(snapshot string) (time.Time, error) {
	if s := os.Getenv("SOURCE_DATE_EPOCH"); s != "" {
		seconds, err := strconv.ParseInt(s, 10, 64)
		if err != nil || seconds < 0 {
			return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH=%q is not a number of seconds since 1970", s)
		}
		return time.Unix(seconds, 0).UTC(), nil
	}
	if t, err := time.Parse(snapshotLayout, snapshot); err == nil {
		return t, nil
	}
	return defaultEpoch, nil
}
