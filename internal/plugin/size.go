package plugin

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
)

var sizePattern = regexp.MustCompile(`^(\d+)\s*(\S*)$`)

var sizeUnits = map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}

// parseSize reads "512MiB", "4GiB" or "1TiB". A bare number and the decimal units are refused,
// since nobody agrees on what they mean.
func parseSize(s string) (int64, error) {
	m := sizePattern.FindStringSubmatch(s)
	if m == nil {
		return 0, fmt.Errorf("%q is not a size: write it as 512MiB, 4GiB or 1TiB", s)
	}
	unit, ok := sizeUnits[m[2]]
	if !ok {
		return 0, fmt.Errorf("%q has no unit that is known: write it as 512MiB, 4GiB or 1TiB", s)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64/unit {
		return 0, fmt.Errorf("%q is too large", s)
	}
	return n * unit, nil
}
