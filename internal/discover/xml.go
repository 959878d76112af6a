package discover

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// maxDepth is twice what an answer of EC2 has.
const maxDepth = 24

// elements reads XML as EC2 writes it, and calls ended for each element when it ends: with the names from the root on, joined by slashes,
// and with its text if it holds nothing else. Comments, CDATA and document types do not occur there and are refused. encoding/xml, which the
// tests hold this against, costs every verb of hostcheck memory (docs/decisions/small-agent.md).
func elements(r io.Reader, ended func(path, text string)) error {
	in := bufio.NewReader(r)
	var path []string
	leaf := false
	entities := strings.NewReplacer("&lt;", "<", "&gt;", ">", "&amp;", "&", "&quot;", `"`, "&apos;", "'", "&#34;", `"`, "&#39;", "'")
	for {
		between, err := in.ReadBytes('<')
		if errors.Is(err, io.EOF) && len(path) == 0 && len(bytes.TrimSpace(between)) == 0 {
			return nil
		}
		if err != nil {
			return broken(err)
		}
		tag, err := in.ReadBytes('>')
		if err != nil {
			return broken(err)
		}
		tag = tag[:len(tag)-1]
		name, rest, _ := strings.Cut(string(bytes.TrimRight(tag, " \t\r\n")), " ")
		switch {
		case len(path) == 0 && strings.HasPrefix(name, "?") && strings.HasSuffix(string(tag), "?"):
			continue
		case strings.Count(rest, `"`)%2 != 0 || strings.ContainsAny(rest, "'<") || strings.ContainsAny(name, "!?\"'&<="):
			return fmt.Errorf("it has markup that EC2 does not write: <%.20q>", tag)
		case strings.HasPrefix(name, "/"):
			if len(path) == 0 || name[1:] != path[len(path)-1] {
				return fmt.Errorf("%.40q ends what did not begin", name)
			}
			content := ""
			if leaf {
				content = entities.Replace(string(between[:len(between)-1]))
			}
			ended(strings.Join(path, "/"), content)
			path, leaf = path[:len(path)-1], false
			continue
		}
		empty := strings.HasSuffix(name+rest, "/")
		path = append(path, strings.TrimSuffix(name, "/"))
		switch {
		case path[len(path)-1] == "":
			return errors.New("an element has no name")
		case len(path) > maxDepth:
			return fmt.Errorf("it is nested more than %d deep", maxDepth)
		case empty:
			ended(strings.Join(path, "/"), "")
			path, leaf = path[:len(path)-1], false
		default:
			leaf = true
		}
	}
}

func broken(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
