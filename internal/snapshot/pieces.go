package snapshot

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// inParts adds p to a part of size bytes (0: 8 MiB), which send takes when it is full and more follows: the last part is left to the end of
// the upload.
func inParts(part *[]byte, size int, p []byte, send func() error) (written int, err error) {
	size, written = cmp.Or(size, usualPart), len(p)
	for len(p) > 0 {
		if len(*part) == size { // and there is more
			if err := send(); err != nil {
				return 0, err
			}
		}
		n := min(size-len(*part), len(p))
		*part = append(*part, p[:n]...)
		p = p[n:]
	}
	return written, nil
}

type listing struct {
	objects []Object
	next    string
}

// add takes what lies right below the prefix.
func (l *listing) add(key string, size int64, prefix string) {
	if name, ok := strings.CutPrefix(key, prefix); ok && name != "" && !strings.Contains(name, "/") {
		l.objects = append(l.objects, Object{name, size})
	}
}

// everyPage asks for one page of a listing after the other; query names in next where each begins.
func everyPage(query url.Values, next string, ask func() (*http.Response, error), parse func(io.Reader) (listing, error)) ([]Object, error) {
	var out []Object
	for range maxPages {
		answer, err := ask()
		if err != nil {
			return nil, err
		}
		page, err := parse(answer.Body)
		answer.Body.Close()
		if err != nil {
			return nil, fmt.Errorf("cannot read the listing: %w", err)
		}
		out = append(out, page.objects...)
		if page.next == "" {
			return out, nil
		}
		query.Set(next, page.next)
	}
	return nil, fmt.Errorf("there are more than %d pages of objects", maxPages)
}
