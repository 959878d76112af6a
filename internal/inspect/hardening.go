package inspect

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
)

// hardening judges the tree by the statement that it carries, as hostcheck does at the end of a bake.
func (in *inspector) hardening(ctx context.Context) {
	b, sum, err := in.baseline()
	if errors.Is(err, fs.ErrNotExist) {
		v := Unknown
		if in.ours {
			v = Fail
		}
		in.add("baseline", v, in.root.name, "the root has no %s: it does not say what it is hardened for", baseline.Path)
		return
	}
	if err != nil {
		in.add("baseline", Unknown, in.root.name, "%s: %v", baseline.Path, err).Hint = "inspect the image with the imagebuild of the version that baked it"
		return
	}
	in.add("baseline", Pass, in.root.name, "for %s on %s, with %d controls, SHA-256 %s", b.Profile.Server, b.Profile.Platform, len(b.Controls), sum)
	in.baselineSignature()
	r := check.Run(ctx, b, sum, treeHost{fs: in.tree}, control.StageImage, check.Options{Timeout: time.Minute})
	h := &Hardening{Baseline: sum, Profile: b.Profile.Server + "/" + b.Profile.Platform, Verdict: string(r.Verdict), Controls: map[string]int{}}
	for _, c := range r.Controls {
		h.Controls[c.Outcome.String()]++
		if c.Outcome != control.Fail && c.Outcome != control.Unknown {
			continue
		}
		for _, o := range c.Observations {
			if o.Outcome != c.Outcome {
				continue
			}
			got := o.Got
			if o.Err != nil {
				got = o.Err.Error()
			}
			h.Failed = append(h.Failed, Finding{c.Control.ID, string(c.Control.Severity), c.Outcome.String(), o.Source, o.Want, got})
		}
	}
	in.Hardening = h
	verdict := map[check.Verdict]Verdict{check.Pass: Pass, check.Fail: Fail, check.Unknown: Unknown}[r.Verdict]
	var ids []string
	for _, f := range h.Failed {
		if f.Severity == string(control.Must) && (len(ids) == 0 || ids[len(ids)-1] != f.Control) {
			ids = append(ids, f.Control)
		}
	}
	if verdict == Pass {
		in.add("hardening", Pass, in.root.name, "the tree is what its baseline says (stage image)")
		return
	}
	in.add("hardening", verdict, in.root.name, "the tree is not what its baseline says: %s", strings.Join(ids, ", "))
}

// baseline reads the statement in the tree.
func (in *inspector) baseline() (*baseline.Baseline, string, error) {
	n, err := in.tree.Follow(strings.TrimPrefix(baseline.Path, "/"))
	if err != nil {
		return nil, "", err
	}
	if !n.Mode.IsRegular() {
		return nil, "", errors.New("it is no file")
	}
	return baseline.Decode(io.Reader(in.tree.Reader(n)))
}

// baselineSignature judges the statement by the signature and the public key that lie beside it, as hostcheck does at each start. Whose key
// that is, the fingerprint tells those who know it from elsewhere.
func (in *inspector) baselineSignature() {
	signed, errSigned := in.readFile(strings.TrimPrefix(baseline.SignaturePath, "/"))
	key, errKey := in.readFile(strings.TrimPrefix(baseline.KeyPath, "/"))
	if errors.Is(errSigned, fs.ErrNotExist) && errors.Is(errKey, fs.ErrNotExist) {
		in.add("baseline-signature", Absent, in.root.name, "the baseline is not signed: the root hash alone covers it")
		return
	}
	content, err := in.readFile(strings.TrimPrefix(baseline.Path, "/"))
	if err := errors.Join(errSigned, errKey, err); err != nil {
		in.add("baseline-signature", Fail, in.root.name, "signature and key belong together: %v", err)
		return
	}
	fingerprint, err := baseline.VerifySignature(content, signed, key)
	if err != nil {
		in.add("baseline-signature", Fail, in.root.name, "%v", err)
		return
	}
	in.add("baseline-signature", Pass, in.root.name, "by the key in the root, %s", fingerprint)
}
