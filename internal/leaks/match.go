package leaks

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
)

// chunk is a part of a file, with as much of its neighbours as a secret at its edge needs.
type chunk struct {
	file  *file
	data  []byte
	at    int64 // where in the file the data begins
	lines int   // of the file before the data
	// Marks in data[lead:len(data)-tail] are this chunk's; those before and behind are the neighbours'.
	lead, tail int
}

func (c *chunk) first() bool { return c.at == 0 }
func (c *chunk) last() bool  { return c.tail == 0 }

// hit is a secret in a chunk's data.
type hit struct {
	rule     *rule
	from, to int // of what the rule matched
	secret   []byte
	public   bool // everybody has it: it is no finding, and nothing that lies over it is one
}

type span struct{ from, to int }

// match finds the secrets of a chunk. Expressions are tried only around the marks that the secrets they know have: on a whole
// image they would take a minute.
func (s *ruleset) match(c *chunk) []hit {
	spans := make(map[int][]span)
	var hits []hit
	s.words.find(c.data[:len(c.data)-c.tail], func(word, end int) {
		start := end - s.lengths[word]
		if end <= c.lead {
			return
		}
		for _, m := range s.marks[word] {
			r := &s.rules[m.rule]
			if r.textOnly && !c.file.text || r.generic && c.file.packaged() {
				continue
			}
			if r.shape != nil {
				if string(c.data[start:end]) == m.exact && r.shape.Is(c.data, start, end) {
					hits = append(hits, hit{rule: r, from: start, to: end, secret: shapeOf(c.data, start, end)})
				}
				continue
			}
			from, to := max(0, start-m.before), min(len(c.data), end+m.after)
			known := spans[m.rule]
			if n := len(known); n > 0 && from <= known[n-1].to {
				known[n-1].to = max(known[n-1].to, to)
				continue
			}
			spans[m.rule] = append(known, span{from, to})
		}
	})
	for i, windows := range spans {
		for _, w := range windows {
			hits = s.rules[i].matchIn(s, c, w, hits)
		}
	}
	return hits
}

// matchIn adds what one of Gitleaks' expressions finds in a window.
func (r *rule) matchIn(s *ruleset, c *chunk, w span, hits []hit) []hit {
	p := r.pattern
	if p.Path != nil && !p.Path.MatchString(c.file.path) {
		return hits
	}
	window := c.data[w.from:w.to]
	for _, groups := range p.Regex.FindAllSubmatchIndex(window, -1) {
		from, to := groups[0], groups[1]
		// What touches an edge that is not the file's may be the end of something longer.
		if from == 0 && (w.from > 0 || !c.first()) || r.bounded && to == len(window) && (w.to < len(c.data) || !c.last()) {
			continue
		}
		match := strings.Trim(string(window[from:to]), "\n")
		a, b := secretIn(p, groups)
		secret := strings.Trim(string(window[a:b]), "\n")
		if secret == "" || p.Entropy != 0 && entropy(secret) <= p.Entropy {
			continue
		}
		line := lineAround(window, from, to)
		allowed := false
		for _, list := range s.always {
			allowed = allowed || allows(list, c.file.path, secret, match, line)
		}
		for _, list := range p.Allowlists {
			allowed = allowed || allows(list, c.file.path, secret, match, line)
		}
		if !allowed {
			hits = append(hits, hit{r, w.from + from, w.from + to, []byte(secret), isPublic([]byte(secret))})
		}
	}
	return hits
}

// lineAround is the text of the lines that a match lies in.
func lineAround(b []byte, from, to int) string {
	if i := bytes.LastIndexByte(b[:from], '\n'); i >= 0 {
		from = i + 1
	} else {
		from = 0
	}
	if i := bytes.IndexByte(b[to:], '\n'); i >= 0 {
		return string(b[from : to+i])
	}
	return string(b[from:])
}

// shapeOf is what a fingerprint is made of where a shape tells no more than that it is one: the mark with what follows on the line.
func shapeOf(b []byte, start, end int) []byte {
	to := min(len(b), end+256)
	if i := bytes.IndexAny(b[end:to], "\n\x00"); i >= 0 {
		to = end + i
	}
	return bytes.Clone(b[start:to])
}

// best keeps one finding of a file where several lie over each other: the one of the rule that knows most.
func best(all []candidate) []Finding {
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), cmp.Compare(a.rank, b.rank), cmp.Compare(a.Offset, b.Offset), cmp.Compare(b.to, a.to), cmp.Compare(a.Kind, b.Kind))
	})
	var kept []Finding
	var of []candidate // the file, those that are kept
	for _, c := range all {
		if len(of) > 0 && of[0].Path != c.Path {
			of = of[:0]
		}
		if !slices.ContainsFunc(of, func(k candidate) bool { return c.Offset < k.to && k.Offset < c.to }) {
			of = append(of, c)
			if !c.public {
				kept = append(kept, c.Finding)
			}
		}
	}
	return kept
}

// candidate is a finding that may lie over another one.
type candidate struct {
	Finding
	to   int64 // where in the file it ends; 0 for the file itself
	rank int   // of the rule: 0 knows most

	public bool
}

func (r *rule) rank() int {
	switch {
	case r.generic:
		return 2
	case r.shape != nil:
		return 1
	}
	return 0
}
