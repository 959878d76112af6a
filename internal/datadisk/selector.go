// Package datadisk finds the one disk of a machine that a netbooted node may keep its data on, or be installed to. It reads; what is made
// on the disk, systemd-repart makes.
package datadisk

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Argument is the kernel argument that carries the selector. In a unified kernel image it is signed with the rest.
const Argument = "strongroom.data_disk"

// Selector says which disk.
type Selector struct {
	id       string // link below /dev/disk/by-id
	label    string // name of a partition of the disk
	min, max uint64 // bytes, both included
}

// named reports whether a text is a name of at most so many letters, digits and marks, and begins with one of the first two.
// No regular expressions: the agent would compile them at every start.
func named(s, marks string, most int) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || strings.IndexByte(marks, c) < 0) {
			return false
		}
	}
	return s != "" && len(s) <= most
}

// ParseSelector reads "id:NAME" (a link below /dev/disk/by-id), "label:NAME" (a partition of that name is on it) or
// "size:FROM-TO", as in "size:900GB-1TB".
func ParseSelector(text string) (Selector, error) {
	kind, value, _ := strings.Cut(text, ":")
	switch kind {
	case "id":
		if !named(value, "._:+-", 255) {
			return Selector{}, fmt.Errorf("%q is no name of a link below /dev/disk/by-id", value)
		}
		return Selector{id: value}, nil
	case "label":
		if !named(value, "._-", 36) {
			return Selector{}, fmt.Errorf("%q is no name of a partition", value)
		}
		return Selector{label: value}, nil
	case "size":
		from, to, both := strings.Cut(value, "-")
		low, err := parseSize(from)
		if err != nil {
			return Selector{}, err
		}
		high := low
		if both {
			if high, err = parseSize(to); err != nil {
				return Selector{}, err
			}
		}
		if low == 0 || high < low {
			return Selector{}, fmt.Errorf("%q is no range of sizes, from the smaller to the larger", value)
		}
		return Selector{min: low, max: high}, nil
	}
	return Selector{}, errors.New(`say which disk of the machine may be used: "id:NAME" with a name below /dev/disk/by-id, "size:900GB-1TB", or "label:NAME" of a partition`)
}

func parseSize(text string) (uint64, error) {
	digits := strings.TrimRight(text, "KMGTiB")
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a size such as 480GB, 1TiB or a number of bytes", text)
	}
	unit := text[len(digits):]
	if unit == "" {
		return n, nil
	}
	power, binary := strings.IndexByte("KMGT", unit[0])+1, unit[1:] == "iB"
	if power == 0 || !binary && unit[1:] != "B" {
		return 0, fmt.Errorf("%q is not a unit of sizes: KB, MB, GB, TB, or KiB, MiB, GiB, TiB", unit)
	}
	base := uint64(1000)
	if binary {
		base = 1024
	}
	for range power {
		if n > 1<<62/base {
			return 0, fmt.Errorf("%s is more than any disk has", text)
		}
		n *= base
	}
	return n, nil
}

// String is the selector for a message.
func (s Selector) String() string {
	switch {
	case s.id != "":
		return "id:" + s.id
	case s.label != "":
		return "label:" + s.label
	case s.min == s.max:
		return fmt.Sprintf("size:%d", s.min)
	}
	return fmt.Sprintf("size:%d-%d", s.min, s.max)
}

func (s Selector) matches(d disk) bool {
	switch {
	case s.id != "":
		return d.hasID(s.id)
	case s.label != "":
		return d.hasPartition(s.label)
	}
	return s.min <= d.size && d.size <= s.max
}
