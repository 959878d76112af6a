package leaks

import (
	"fmt"
	"maps"
	"math"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/viper"
	"github.com/zricethezav/gitleaks/v8/config"

	"github.com/strongroom/strongroom/internal/host"
)

// rule recognises one kind of secret by its bytes: one of Gitleaks', or a shape of internal/host.
type rule struct {
	kind   string
	reason string
	// textOnly rules want a name and an assignment beside the value: in a program that is chance.
	textOnly bool
	generic  bool // gives way to a rule that knows what it has found
	shape    *host.SecretShape
	pattern  *config.Rule
	bounded  bool // the pattern's matches have a longest length
}

// mark is a word that stands where a secret of a rule may be.
type mark struct {
	rule          int
	before, after int // how far from the word the secret may begin and end
	exact         string
}

// ruleset is all of them, and one automaton over all their marks.
type ruleset struct {
	rules   []rule
	always  []*config.Allowlist // Gitleaks' own: placeholders such as ${PASSWORD}
	words   *automaton
	lengths []int    // of the words
	marks   [][]mark // of each word
}

// The farthest that a mark is looked around. A private key in PEM has no end that its rule knows; one of RSA with 16384 bits has 13 KiB.
const (
	mostBefore = 4 << 10
	mostAfter  = 16 << 10
)

// rules loads them once: compiling some hundreds of expressions takes a tenth of a second.
var rules = sync.OnceValues(loadRules)

func loadRules() (*ruleset, error) {
	v := viper.New()
	v.SetConfigType("toml")
	if err := v.ReadConfig(strings.NewReader(config.DefaultConfig)); err != nil {
		return nil, fmt.Errorf("cannot read the rules of Gitleaks: %w", err)
	}
	var raw config.ViperConfig
	if err := v.Unmarshal(&raw); err != nil {
		return nil, fmt.Errorf("cannot read the rules of Gitleaks: %w", err)
	}
	c, err := raw.Translate()
	if err != nil {
		return nil, fmt.Errorf("cannot read the rules of Gitleaks: %w", err)
	}
	s := &ruleset{}
	for _, a := range c.Allowlists {
		// Their paths are those of source trees, such as node_modules: in an image a secret there is one too.
		s.always = append(s.always, withoutPaths(a))
	}
	words := map[string][]mark{}
	for _, id := range c.OrderedRules {
		pattern := c.Rules[id]
		if pattern.Regex == nil || len(pattern.Keywords) == 0 || pattern.SkipReport {
			continue
		}
		if err := s.addPattern(&pattern, words); err != nil {
			return nil, err
		}
	}
	for _, shape := range host.SecretShapes() {
		kind, ok := shapeKinds[shape.What]
		if !ok {
			return nil, fmt.Errorf("the shape %q has no kind", shape.What)
		}
		s.rules = append(s.rules, rule{kind: kind, reason: shape.What, shape: &shape, textOnly: slices.Contains(textShapes, kind)})
		for m := range shape.MarkSeq() {
			word := strings.ToLower(m)
			words[word] = append(words[word], mark{rule: len(s.rules) - 1, exact: m})
		}
	}
	list := slices.Sorted(maps.Keys(words))
	for _, word := range list {
		s.lengths = append(s.lengths, len(word))
		s.marks = append(s.marks, words[word])
	}
	s.words = newAutomaton(list)
	return s, nil
}

// shapeKinds names the shapes of internal/host. Where one of Gitleaks' rules finds the same, that one is told.
var shapeKinds = map[string]string{
	"a private key (PEM)":               "private-key",
	"a private key (PEM in base64)":     "private-key",
	"a private key (PuTTY)":             "private-key",
	"a private key (age)":               "age-secret-key",
	"a token of Vault or OpenBao":       "vault-token",
	"an unseal key of Vault or OpenBao": "unseal-key",
	"an access key of AWS":              "aws-access-token",
	"a secret access key of AWS":        "aws-secret-key",
	"an API key of Google":              "gcp-api-key",
	"an OAuth token of Google":          "gcp-oauth-token",
	"a client secret of Google":         "gcp-client-secret",
	"a storage key of Azure":            "azure-storage-key",
	"a client secret of Azure":          "azure-ad-client-secret",
	"a token of GitHub":                 "github-token",
	"a token of GitLab":                 "gitlab-pat",
	"a token of Slack":                  "slack-token",
	"a token of Terraform":              "hashicorp-tf-api-token",
	"a token of npm":                    "npm-access-token",
	"a JSON web token":                  "jwt",
	"a password in a URL":               "url-password",
}

// textShapes are so short that the bytes of a program have them by chance.
var textShapes = []string{"url-password", "jwt", "azure-ad-client-secret", "vault-token"}

func (s *ruleset) addPattern(pattern *config.Rule, words map[string][]mark) error {
	source := pattern.Regex.String()
	tree, err := syntax.Parse(source, syntax.Perl)
	if err != nil {
		return fmt.Errorf("cannot read the rule %s of Gitleaks: %w", pattern.RuleID, err)
	}
	longest := longestMatch(tree)
	r := rule{
		kind: pattern.RuleID, reason: reasonOf(pattern.Description), pattern: pattern, bounded: longest >= 0 && longest <= mostBefore-64,
		textOnly: strings.Contains(source, `[\w.-]{0,50}`), generic: strings.HasPrefix(pattern.RuleID, "generic-"),
	}
	s.rules = append(s.rules, r)
	plain := strings.ToLower(strings.ReplaceAll(source, `\`, ""))
	for _, word := range pattern.Keywords {
		m := mark{rule: len(s.rules) - 1, before: longest + 64, after: longest + 64}
		switch {
		case !strings.Contains(plain, word): // the word stands near the secret, not in it
			m.before, m.after = mostBefore, mostBefore
		case !r.bounded && len(word) > 4:
			m.before, m.after = 512, mostAfter
		case !r.bounded:
			m.before, m.after = 512, 2<<10
		}
		words[word] = append(words[word], m)
	}
	return nil
}

// reasonOf makes of Gitleaks' sentence what a report says behind "holds".
func reasonOf(description string) string {
	first, _, _ := strings.Cut(description, ",")
	return strings.TrimSuffix(first, ".")
}

// longestMatch is the length of the longest text that an expression matches; -1 when there is none.
func longestMatch(re *syntax.Regexp) int {
	sum := 0
	switch re.Op {
	case syntax.OpLiteral:
		return len(string(re.Rune))
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 1
	case syntax.OpStar, syntax.OpPlus:
		return -1
	case syntax.OpCapture, syntax.OpQuest:
		return longestMatch(re.Sub[0])
	case syntax.OpRepeat:
		n := longestMatch(re.Sub[0])
		if re.Max < 0 || n < 0 {
			return -1
		}
		return n * re.Max
	case syntax.OpConcat:
		for _, sub := range re.Sub {
			n := longestMatch(sub)
			if n < 0 {
				return -1
			}
			sum += n
		}
		return sum
	case syntax.OpAlternate:
		for _, sub := range re.Sub {
			n := longestMatch(sub)
			if n < 0 {
				return -1
			}
			sum = max(sum, n)
		}
		return sum
	}
	return 0 // what stands between characters
}

func withoutPaths(a *config.Allowlist) *config.Allowlist {
	return &config.Allowlist{Description: a.Description, MatchCondition: a.MatchCondition, RegexTarget: a.RegexTarget, Regexes: a.Regexes, StopWords: a.StopWords}
}

// secretIn is where in a match the secret is: as Gitleaks takes it, the group that the rule names, or else the first that has something.
func secretIn(r *config.Rule, groups []int) (from, to int) {
	if r.SecretGroup > 0 {
		if 2*r.SecretGroup+1 < len(groups) && groups[2*r.SecretGroup] >= 0 {
			return groups[2*r.SecretGroup], groups[2*r.SecretGroup+1]
		}
		return groups[0], groups[0]
	}
	for i := 2; i+1 < len(groups); i += 2 {
		if groups[i] >= 0 && groups[i+1] > groups[i] {
			return groups[i], groups[i+1]
		}
	}
	return groups[0], groups[1]
}

// allows tells whether an allow-list of the rules, which knows placeholders and examples, says that a match is no secret.
func allows(a *config.Allowlist, path, secret, match, line string) bool {
	target := secret
	switch a.RegexTarget {
	case "match":
		target = match
	case "line":
		target = line
	}
	expression := slices.ContainsFunc(a.Regexes, func(re *regexp.Regexp) bool { return re.MatchString(target) })
	stop, _ := a.ContainsStopWord(secret)
	if a.MatchCondition != config.AllowlistMatchAnd {
		return expression || stop
	}
	return (len(a.Paths) == 0 || a.PathAllowed(path)) && (len(a.Regexes) == 0 || expression) && (len(a.StopWords) == 0 || stop) && len(a.Commits) == 0
}

// entropy is Shannon's, in bits for each character.
func entropy(text string) float64 {
	counts := map[rune]int{}
	n := 0
	for _, c := range text {
		counts[c]++
		n++
	}
	bits := 0.0
	for _, count := range counts {
		p := float64(count) / float64(n)
		bits -= p * math.Log2(p)
	}
	return bits
}
