package report

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Format is the name of an encoding.
type Format string

// The formats, for people and for programs.
const (
	Text  Format = "text"
	JSON  Format = "json"
	JUnit Format = "junit"
	SARIF Format = "sarif"
	OSCAL Format = "oscal"
	HTML  Format = "html"
)

var formats = []Format{Text, JSON, JUnit, SARIF, OSCAL, HTML}

// FormatNames lists the formats, for a command's help.
func FormatNames() string {
	names := make([]string, len(formats))
	for i, f := range formats {
		names[i] = string(f)
	}
	return strings.Join(names, ", ")
}

// ParseFormat reads a format's name.
func ParseFormat(name string) (Format, error) {
	if !slices.Contains(formats, Format(name)) {
		return "", fmt.Errorf("unknown format %q (known: %s)", name, FormatNames())
	}
	return Format(name), nil
}

// Options of Write.
type Options struct {
	Color   bool // escape sequences for a terminal (text)
	Verbose bool // also what passes: the facts behind it (text), results of its own (SARIF)
	Brief   bool // only what needs a person: the console of a node (text)
}

// Write writes a document in a format.
func Write(w io.Writer, d *Document, f Format, o Options) error {
	b := bufio.NewWriterSize(w, 16<<10)
	var err error
	switch f {
	case Text:
		err = WriteText(b, d, o)
	case JSON:
		err = WriteJSON(b, d)
	case JUnit:
		err = WriteJUnit(b, d)
	case SARIF:
		err = WriteSARIF(b, d, o.Verbose)
	case OSCAL:
		err = WriteOSCAL(b, d)
	case HTML:
		err = WriteHTML(b, d)
	default:
		_, err = ParseFormat(string(f))
	}
	if err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("cannot write report: %w", err)
	}
	return nil
}
