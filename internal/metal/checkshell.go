package metal

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// shellCheck reads commands of an installer's file: every failure has to be fatal, and everything that is downloaded has to come by HTTPS and be compared with
// its SHA-256 before anything uses it.
type shellCheck struct {
	where   string
	wrong   []error
	fetched []string // files that were downloaded and not compared yet
}

// checkShell checks a script. strict says that it has to begin with `set -e`, as a script does whose every failure is fatal.
func checkShell(where, text string) error {
	s := &shellCheck{where: where}
	s.script(text, true)
	return errors.Join(s.wrong...)
}

func (s *shellCheck) bad(format string, args ...any) {
	s.wrong = append(s.wrong, fmt.Errorf("%s: "+format, append([]any{s.where}, args...)...))
}

// script parses and walks a script; a nested one is that of sh -c.
func (s *shellCheck) script(text string, whole bool) {
	file, err := syntax.NewParser(syntax.Variant(syntax.LangPOSIX)).Parse(strings.NewReader(text), "")
	if err != nil {
		s.bad("the shell cannot read it: %w", err)
		return
	}
	// One `sh -c '…'` has its own `set -e`.
	if len(file.Stmts) == 1 && s.nested(file.Stmts[0]) {
		return
	}
	if len(file.Stmts) == 0 || !setsErrexit(file.Stmts[0]) {
		s.bad("it does not begin with set -eu, so that the failure of a command is not fatal")
	}
	for _, stmt := range file.Stmts {
		s.statement(stmt)
	}
	if whole && len(s.fetched) > 0 {
		s.bad("%s is downloaded and never compared with its SHA-256: echo \"DIGEST  FILE\" | sha256sum -c", strings.Join(s.fetched, ", "))
	}
}

// nested says whether a statement is `sh -c '…'`, and checks what is in it.
func (s *shellCheck) nested(stmt *syntax.Stmt) bool {
	words := plainWords(stmt)
	if len(words) != 3 || words[0] != "sh" || words[1] != "-c" || stmt.Background || stmt.Negated {
		return false
	}
	s.script(words[2], true)
	return true
}

// setsErrexit says whether a statement is `set -e`, alone or with other letters.
func setsErrexit(stmt *syntax.Stmt) bool {
	words := plainWords(stmt)
	return len(words) == 2 && words[0] == "set" && strings.HasPrefix(words[1], "-") && strings.Contains(words[1], "e")
}

// plainWords gives the words of a simple command without expansions, nil for anything else.
func plainWords(stmt *syntax.Stmt) []string {
	call, ok := stmt.Cmd.(*syntax.CallExpr)
	if !ok || len(stmt.Redirs) > 0 || len(call.Assigns) > 0 {
		return nil
	}
	var out []string
	for _, w := range call.Args {
		text, ok := plainWord(w)
		if !ok {
			return nil
		}
		out = append(out, text)
	}
	return out
}

// plainWord gives a word without its quotes, false when there is an expansion in it.
func plainWord(w *syntax.Word) (string, bool) {
	var out strings.Builder
	for _, part := range w.Parts {
		switch part := part.(type) {
		case *syntax.Lit:
			out.WriteString(part.Value)
		case *syntax.SglQuoted:
			out.WriteString(part.Value)
		case *syntax.DblQuoted:
			for _, inner := range part.Parts {
				lit, ok := inner.(*syntax.Lit)
				if !ok {
					return "", false
				}
				out.WriteString(lit.Value)
			}
		default:
			return "", false
		}
	}
	return out.String(), true
}

func (s *shellCheck) statement(stmt *syntax.Stmt) {
	if stmt.Background {
		s.bad("line %d: a command in the background (&) fails unseen", stmt.Pos().Line())
	}
	if stmt.Negated {
		s.bad("line %d: the shell does not stop at what ! negates: write if … then exit 1; fi", stmt.Pos().Line())
	}
	switch cmd := stmt.Cmd.(type) {
	case *syntax.BinaryCmd:
		if cmd.Op == syntax.Pipe && s.comparison(cmd) {
			return
		}
		s.bad("line %d: %s hides the failure of a command: one command after the other, under set -e", stmt.Pos().Line(), cmd.Op)
	case *syntax.CallExpr:
		s.call(cmd)
	case *syntax.IfClause:
		// A condition may fail; what it guards may not.
		for clause := cmd; clause != nil; clause = clause.Else {
			s.all(clause.Then)
		}
	case *syntax.ForClause:
		s.all(cmd.Do)
	case *syntax.WhileClause:
		s.all(cmd.Do)
	case *syntax.Block:
		s.all(cmd.Stmts)
	case *syntax.FuncDecl:
		s.statement(cmd.Body)
	default:
		s.bad("line %d: only simple commands, if, for, while and functions are known here", stmt.Pos().Line())
	}
}

func (s *shellCheck) all(stmts []*syntax.Stmt) {
	for _, stmt := range stmts {
		s.statement(stmt)
	}
}

// sumLine is what `sha256sum -c` reads.
var sumLine = regexp.MustCompile(`^([0-9a-f]{64})  (/[^\s]+)$`)

// comparison recognises `echo "DIGEST  FILE" | sha256sum -c`.
func (s *shellCheck) comparison(cmd *syntax.BinaryCmd) bool {
	echo, sum := plainWords(cmd.X), plainWords(cmd.Y)
	if len(echo) != 2 || echo[0] != "echo" || !slices.Equal(sum, []string{"sha256sum", "-c"}) || cmd.X.Background || cmd.Y.Negated {
		return false
	}
	match := sumLine.FindStringSubmatch(echo[1])
	if match == nil {
		return false
	}
	s.fetched = slices.DeleteFunc(s.fetched, func(f string) bool { return f == match[2] })
	return true
}

// Programs that download. Of each, what names the file that it writes.
var downloaders = map[string][]string{"wget": {"-O", "--output-document"}, "curl": {"-o", "--output"}}

func (s *shellCheck) call(cmd *syntax.CallExpr) {
	var words []string
	for _, w := range cmd.Args {
		text, _ := plainWord(w) // "" for one that only the shell knows
		words = append(words, text)
	}
	if len(words) == 0 {
		return
	}
	line := cmd.Pos().Line()
	for _, w := range words {
		if strings.Contains(w, "http://") || strings.Contains(w, "ftp://") {
			s.bad("line %d: %s is not https", line, w)
		}
	}
	name := words[0][strings.LastIndexByte(words[0], '/')+1:]
	switch {
	case downloaders[name] != nil:
		s.download(line, name, words[1:])
		return
	case slices.Contains([]string{"fetch-url", "ftp", "tftp", "rsync", "scp", "nc", "git"}, name):
		s.bad("line %d: %s downloads without a digest: use wget or curl, and sha256sum -c", line, name)
	case name == "eval" || name == "." || name == "source" || name == "":
		s.bad("line %d: what %s runs cannot be checked", line, cmp.Or(name, "an expansion"))
	case name == "set" && slices.ContainsFunc(words[1:], func(w string) bool { return strings.HasPrefix(w, "+") || w == "-o" }):
		s.bad("line %d: set %s: every failure has to be fatal", line, strings.Join(words[1:], " "))
	case (name == "sh" || name == "bash") && len(words) == 3 && words[1] == "-c":
		s.script(words[2], false)
	}
	for _, w := range words[1:] {
		if slices.Contains(s.fetched, w) {
			s.bad("line %d: %s is used before it is compared with its SHA-256", line, w)
		}
	}
}

// download wants an https URL, no redirection, and a file that is compared later.
func (s *shellCheck) download(line uint, name string, words []string) {
	file := ""
	urls := 0
	for i, w := range words {
		for _, option := range downloaders[name] {
			if w == option && i+1 < len(words) {
				file = words[i+1]
			}
			if value, ok := strings.CutPrefix(w, option+"="); ok {
				file = value
			}
		}
		switch {
		case strings.HasPrefix(w, "https://"):
			urls++
		case slices.Contains([]string{"-k", "--insecure", "--no-check-certificate", "-L", "--location"}, w):
			s.bad("line %d: %s %s: the certificate has to hold, and a redirection leads elsewhere", line, name, w)
		}
	}
	if urls != 1 {
		s.bad("line %d: %s has to name one https URL, as it is written", line, name)
	}
	if !strings.HasPrefix(file, "/") {
		s.bad("line %d: %s has to name the file that it writes by its absolute path (%s), so that it can be compared", line, name, downloaders[name][0])
		return
	}
	s.fetched = append(s.fetched, file)
}
