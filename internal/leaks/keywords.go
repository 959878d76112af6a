package leaks

// automaton finds every one of some words in bytes, in one pass and without regard to the case of letters (Aho and Corasick). The
// table of states lies in the processor's cache; that of github.com/BobuSumisu/aho-corasick, which Gitleaks uses, does not, and
// wants its input in lower case: on the 139 MB of a Vault program this one took a quarter of the time.
type automaton struct {
	class   [256]uint8
	classes int
	next    []uint16 // state*classes + class
	words   [][]int  // that end in a state
}

// newAutomaton takes words in lower case, no more than 65535 bytes of them.
func newAutomaton(words []string) *automaton {
	a := &automaton{classes: 1, words: make([][]int, 1)}
	for _, w := range words {
		for i := range len(w) {
			if a.class[w[i]] == 0 {
				a.class[w[i]] = uint8(a.classes)
				a.classes++
			}
		}
	}
	for c := 'A'; c <= 'Z'; c++ {
		a.class[c] = a.class[c+'a'-'A']
	}
	a.next = make([]uint16, a.classes)
	for i, w := range words {
		state := 0
		for j := range len(w) {
			edge := state*a.classes + int(a.class[w[j]])
			if a.next[edge] == 0 {
				a.next[edge] = uint16(len(a.words))
				a.words = append(a.words, nil)
				a.next = append(a.next, make([]uint16, a.classes)...)
			}
			state = int(a.next[edge])
		}
		a.words[state] = append(a.words[state], i)
	}
	a.complete()
	return a
}

// complete makes the trie an automaton: where a word cannot go on, the longest end of what was read that begins a word does.
func (a *automaton) complete() {
	shorter := make([]int, len(a.words))
	var queue []int
	for _, state := range a.next[:a.classes] {
		if state != 0 {
			queue = append(queue, int(state))
		}
	}
	for len(queue) > 0 {
		state := queue[0]
		queue = queue[1:]
		a.words[state] = append(a.words[state], a.words[shorter[state]]...)
		for c := range a.classes {
			edge, other := state*a.classes+c, shorter[state]*a.classes+c
			if a.next[edge] == 0 {
				a.next[edge] = a.next[other]
				continue
			}
			shorter[a.next[edge]] = int(a.next[other])
			queue = append(queue, int(a.next[edge]))
		}
	}
}

// find tells where words end.
func (a *automaton) find(b []byte, found func(word, end int)) {
	state := 0
	for i, c := range b {
		state = int(a.next[state*a.classes+int(a.class[c])])
		for _, word := range a.words[state] {
			found(word, i+1)
		}
	}
}
