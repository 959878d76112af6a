package statement

import (
	"cmp"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/sbom"
)

// Schema versions the result of a verification.
const Schema = "strongroom.verification/v1"

// Outcome is what a check came to.
type Outcome string

// Outcomes. What could not be looked at is not passed.
const (
	Pass    Outcome = "pass"
	Fail    Outcome = "fail"
	Unknown Outcome = "unknown"
)

// Check is one thing that was looked at.
type Check struct {
	Name    string  `json:"name"` // "signature", "file disk.raw"
	Outcome Outcome `json:"outcome"`
	Says    string  `json:"says,omitempty"`
}

// Result is a verification.
type Result struct {
	Schema    string     `json:"schema"`
	Outcome   Outcome    `json:"outcome"` // the worst of the checks
	Key       string     `json:"key,omitempty"`
	Checks    []Check    `json:"checks"`
	Predicate *Predicate `json:"predicate,omitempty"` // only of a statement whose signature holds
}

// Options say what is believed.
type Options struct {
	Keys []crypto.PublicKey // one of them must have signed
	Now  time.Time
	// File restricts the verification to one artifact of the directory, such as a disk that was copied away without the others:
	// its name there.
	File string
}

// Verify checks the output directory of a bake, or one artifact and the statement beside it, against the statement. It asks
// nobody and writes nothing.
func Verify(ctx context.Context, dir string, o Options) (*Result, error) {
	text, err := readStatement(dir)
	if err != nil {
		return nil, err
	}
	return VerifyText(ctx, dir, text, o)
}

func readStatement(dir string) ([]byte, error) {
	f, err := os.Open(filepath.Join(dir, FileName))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot verify %s: there is no %s: the image was baked without the block signing, or it lies elsewhere", dir, FileName)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the statement: %w", err)
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxSize+1))
}

// VerifyText is Verify with a statement from elsewhere.
func VerifyText(ctx context.Context, dir string, text []byte, o Options) (*Result, error) {
	v := &verification{ctx: ctx, dir: dir, result: &Result{Schema: Schema}}
	e, err := Parse(text)
	if err != nil {
		v.add("statement", Fail, err.Error())
		return v.finish(), nil
	}
	v.s = e.Statement
	key, err := e.Verify(ctx, o.Keys...)
	if err != nil {
		v.add("signature", Fail, err.Error()) // what follows would judge by somebody's word
		return v.finish(), nil
	}
	v.add("signature", Pass, "by the key "+key)
	v.result.Key, v.result.Predicate = key, &v.s.Predicate
	v.validity(o.Now)
	if o.File != "" {
		return v.oneFile(o.File)
	}
	v.files()
	v.manifest()
	v.report()
	v.bills()
	v.measurements()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return v.finish(), nil
}

type verification struct {
	ctx    context.Context
	dir    string
	s      Statement
	result *Result
	sound  map[string]bool // files that are what the statement says
}

func (v *verification) add(name string, outcome Outcome, says string) {
	v.result.Checks = append(v.result.Checks, Check{name, outcome, says})
}

// judge is a check that either passes or fails, with what is wrong.
func (v *verification) judge(name string, wrong []string) {
	if len(wrong) == 0 {
		v.add(name, Pass, "")
		return
	}
	v.add(name, Fail, strings.Join(wrong, "; "))
}

func (v *verification) finish() *Result {
	worst := Pass
	for _, c := range v.result.Checks {
		if c.Outcome == Fail || c.Outcome == Unknown && worst == Pass {
			worst = c.Outcome
		}
	}
	v.result.Outcome = worst
	return v.result
}

func (v *verification) validity(now time.Time) {
	until := v.s.Predicate.ValidUntil
	switch {
	case until.IsZero():
	case now.After(until):
		v.add("validity", Fail, "expired: the statement was valid until "+until.Format(time.RFC3339))
	default:
		v.add("validity", Pass, "until "+until.Format(time.RFC3339))
	}
}

// oneFile judges a single artifact.
func (v *verification) oneFile(name string) (*Result, error) {
	i := slices.IndexFunc(v.s.Subjects, func(s Subject) bool { return s.Name == name })
	if i < 0 {
		// It may have another name here; the digest tells.
		got, err := readSubject(v.ctx, v.dir, name)
		if err != nil {
			return nil, fmt.Errorf("cannot read %s: %w", name, err)
		}
		if i = slices.IndexFunc(v.s.Subjects, func(s Subject) bool { return s.SHA256 == got.SHA256 }); i < 0 {
			v.add("file "+name, Fail, "the statement is about no such file: none of its subjects has this name or the SHA-256 "+got.SHA256)
			return v.finish(), nil
		}
		v.add("file "+name, Pass, "it is "+v.s.Subjects[i].Name)
		return v.finish(), nil
	}
	v.file(v.s.Subjects[i])
	return v.finish(), v.ctx.Err()
}

// files compares the directory with the subjects, both ways.
func (v *verification) files() {
	v.sound = map[string]bool{}
	stated := map[string]bool{}
	for _, s := range v.s.Subjects {
		stated[s.Name] = true
		v.file(s)
	}
	names, err := list(v.dir)
	if err != nil {
		v.add("directory", Unknown, err.Error())
		return
	}
	for _, name := range names {
		if !stated[name] {
			v.add("file "+name, Fail, "it is not part of this bake: the statement does not name it")
		}
	}
}

func (v *verification) file(want Subject) {
	name := "file " + want.Name
	info, err := os.Lstat(filepath.Join(v.dir, filepath.FromSlash(want.Name)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		v.add(name, Fail, "missing: the statement names it, and it is not here")
		return
	case err != nil:
		v.add(name, Unknown, err.Error())
		return
	case info.Mode().IsRegular() && info.Size() < want.Size:
		v.add(name, Fail, fmt.Sprintf("truncated: %d bytes of %d", info.Size(), want.Size))
		return
	case info.Mode().IsRegular() && info.Size() > want.Size:
		v.add(name, Fail, fmt.Sprintf("something was added: %d bytes in the place of %d", info.Size(), want.Size))
		return
	}
	got, err := readSubject(v.ctx, v.dir, want.Name)
	switch {
	case err != nil:
		v.add(name, Unknown, err.Error())
	case got.SHA256 != want.SHA256:
		v.add(name, Fail, "changed: SHA-256 "+got.SHA256+", and the statement says "+want.SHA256)
	default:
		v.add(name, Pass, "")
		if v.sound != nil {
			v.sound[want.Name] = true
		}
	}
}

// differs collects what two sides do not agree about.
type differs []string

func (d *differs) compare(what, got, want string) {
	if got != want {
		*d = append(*d, fmt.Sprintf("%s is %s, and the statement says %s", what, cmp.Or(got, "not there"), cmp.Or(want, "nothing")))
	}
}

// manifest compares what the manifest says of the image with what the statement says: a statement of another image disagrees here in
// words that people can use.
func (v *verification) manifest() {
	m, err := readManifest(v.dir)
	if err != nil {
		v.add("image", Unknown, err.Error())
		return
	}
	p := v.s.Predicate
	var wrong differs
	wrong.compare("the image", m.Name+" "+m.Version, p.Name+" "+p.Version)
	wrong.compare("the root hash", m.RootHash, p.RootHash)
	wrong.compare("the overlay", m.Overlay, p.Overlay)
	wrong.compare("the distribution", m.Distribution+" "+m.Snapshot, p.Distribution+" "+p.Snapshot)
	wrong.compare("the profile", m.Profile, p.Profile)
	if m.Netboot != nil {
		wrong.compare("the root hash of the netboot bundle", m.Netboot.RootHash, p.RootHash)
	}
	stated := map[string]string{}
	for _, s := range v.s.Subjects {
		stated[s.Name] = s.SHA256
	}
	for _, f := range m.listed() {
		wrong.compare("the manifest's "+f.Name, f.SHA256, stated[f.Name])
	}
	v.judge("image", wrong)
	v.lock(m.Lock)
}

func (v *verification) lock(got *Lock) {
	want := v.s.Predicate.Lock
	if got == nil && want == nil {
		return
	}
	var a, b Lock
	if got != nil {
		a = *got
	}
	if want != nil {
		b = *want
	}
	var wrong differs
	wrong.compare("the lock", a.SHA256, b.SHA256)
	wrong.compare("the file "+b.Path, v.subject(b.Path), b.SHA256)
	v.judge("lock", wrong)
}

// report looks into the report on the sealed tree: whose baseline it is, and whether it passed.
func (v *verification) report() {
	f, err := os.Open(filepath.Join(v.dir, ReportName))
	if err != nil {
		v.add("report", Unknown, err.Error())
		return
	}
	defer f.Close()
	document, err := report.ReadJSON(f)
	if err != nil {
		v.add("report", Fail, err.Error())
		return
	}
	var wrong differs
	wrong.compare("the baseline that was judged", document.Baseline, v.s.Predicate.Baseline)
	wrong.compare("the verdict", string(document.Verdict), string(check.Pass))
	if !v.sound[ReportName] {
		wrong = append(wrong, "the report was edited: it is not the one that the bake made")
	}
	v.judge("report", wrong)
	wrong = nil
	wrong.compare("the file", v.subject(ReportName), v.s.Predicate.Report)
	v.judge("report digest", wrong)
}

// subject is the stated digest of a file.
func (v *verification) subject(name string) string {
	for _, s := range v.s.Subjects {
		if s.Name == name {
			return s.SHA256
		}
	}
	return ""
}

// bills reads the bills of materials: that they can be read, and that they are about this image.
func (v *verification) bills() {
	for name, want := range v.s.Predicate.Bills {
		if !plain(name) {
			v.add("sbom "+name, Fail, "that is no file of an output directory")
			continue
		}
		var wrong differs
		wrong.compare("the digest", v.subject(name), want)
		text, err := os.ReadFile(filepath.Join(v.dir, filepath.FromSlash(name)))
		if err != nil {
			v.add("sbom "+name, Unknown, err.Error())
			continue
		}
		bill, err := sbom.Read(text)
		if err != nil {
			wrong = append(wrong, err.Error())
		} else {
			wrong.compare("the image", bill.Name+" "+bill.Version, v.s.Predicate.Name+" "+v.s.Predicate.Version)
		}
		if !v.sound[name] {
			wrong = append(wrong, "the bill of materials was edited: it is not the one that the bake made")
		}
		v.judge("sbom "+path.Base(name), wrong)
	}
	slices.SortStableFunc(v.result.Checks, func(a, b Check) int { // of a map
		if strings.HasPrefix(a.Name, "sbom ") && strings.HasPrefix(b.Name, "sbom ") {
			return strings.Compare(a.Name, b.Name)
		}
		return 0
	})
}

// measurements compares the expected registers, of which the statement has a copy.
func (v *verification) measurements() {
	text, err := os.ReadFile(filepath.Join(v.dir, measure.FileName))
	if err != nil {
		v.add("measurements", Unknown, err.Error())
		return
	}
	got, err := measure.Parse(text)
	if err != nil {
		v.add("measurements", Fail, err.Error())
		return
	}
	want := v.s.Predicate.Measurements
	var wrong differs
	wrong.compare("the root hash", got.RootHash, v.s.Predicate.RootHash)
	if !reflect.DeepEqual(got, want) {
		wrong = append(wrong, "the expected registers are others than the statement says")
	}
	v.judge("measurements", wrong)
}

// WriteText writes a result for people: what failed in full, and of the rest a line each.
func WriteText(w io.Writer, r *Result) error {
	var b strings.Builder
	for _, c := range r.Checks {
		word := map[Outcome]string{Pass: "ok", Fail: "FAILED", Unknown: "unknown"}[c.Outcome]
		says := ""
		if c.Says != "" {
			says = "  " + fmt.Sprintf("%q", c.Says)
			if printable(c.Says) {
				says = "  " + c.Says
			}
		}
		fmt.Fprintf(&b, "  %-8s%s%s\n", word, quoted(c.Name), says)
	}
	switch {
	case r.Outcome == Pass:
		p := r.Predicate
		fmt.Fprintf(&b, "verified: image %s %s, root hash %s, signed by %s\n", p.Name, p.Version, p.RootHash, r.Key)
	case r.Outcome == Fail:
		b.WriteString("NOT VERIFIED: this is not what was baked and signed\n")
	default:
		b.WriteString("NOT VERIFIED: not everything could be looked at\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// printable reports whether a text from a file can be shown as it is.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f })
}

func quoted(s string) string {
	if printable(s) {
		return s
	}
	return fmt.Sprintf("%q", s)
}

// WriteJSON writes a result for programs.
func WriteJSON(w io.Writer, r *Result) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
