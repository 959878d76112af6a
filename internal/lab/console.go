package lab

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// console takes what the guest writes to its serial port: all of it to a log file, and to a
// live writer if there is one. It remembers the last lines for progress and error messages.
type console struct {
	mu   sync.Mutex
	log  *os.File
	live io.Writer
	line []byte   // the line being written
	tail []string // the last lines with something on them
}

// tailLines is how much of the console an error quotes.
const tailLines = 15

// A guest that writes no line break must not fill the memory of the lab.
const longestConsoleLine = 4096

// Firmware draws with terminal escapes, systemd colours its status.
var terminalEscape = regexp.MustCompile(`\x1b(\[[0-9;?=]*[a-zA-Z]|\][^\a\x1b]*(\a|\x1b\\)|[()][A-Z0-9]|[=>78cM])|[\x00-\x08\x0b-\x1f\x7f]`)

func newConsole(path string, live io.Writer) (*console, error) {
	log, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot create the console log: %w", err)
	}
	return &console{log: log, live: live}, nil
}

// Write never fails: a full disk or a closed terminal must not stop the machine.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log.Write(p)
	if c.live != nil {
		c.live.Write(p)
	}
	for rest := p; len(rest) > 0; {
		part, after, ended := bytes.Cut(rest, []byte("\n"))
		rest = after
		if c.line = append(c.line, part...); ended || len(c.line) > longestConsoleLine {
			if text := plainText(c.line); text != "" {
				c.tail = append(c.tail, text)
				c.tail = c.tail[max(0, len(c.tail)-tailLines):]
			}
			c.line = c.line[:0]
		}
	}
	return len(p), nil
}

// Tail is the last lines with something on them, without terminal escapes.
func (c *console) Tail() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	tail := slices.Clone(c.tail)
	if text := plainText(c.line); text != "" {
		tail = append(tail, text)
	}
	return tail
}

func (c *console) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log.Close()
}

func plainText(line []byte) string {
	return strings.TrimSpace(terminalEscape.ReplaceAllString(strings.ToValidUTF8(string(line), ""), ""))
}
