// Package statement makes and verifies the one statement of a bake: an in-toto attestation (Statement v1) in a signed DSSE envelope,
// which binds every file of the output to the root hash, the baseline, the report, the bills of materials, the expected
// measurements and the lock. docs/decisions/statement.md says why its predicate is a type of our own.
package statement

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	intoto "github.com/in-toto/attestation/go/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/strongroom/strongroom/internal/measure"
	"github.com/strongroom/strongroom/internal/strictjson"
)

// FileName is the statement's name in the output directory of a bake. It is the one file there that it does not name.
const FileName = "statement.dsse.json"

// PayloadType is that of in-toto's statements in a DSSE envelope.
const PayloadType = "application/vnd.in-toto+json"

// PredicateType names what the predicate is. The number rises when an older program could misread a newer predicate.
const PredicateType = "https://github.com/strongroom/strongroom/attestation/image/v1"

// Builder is what has baked.
type Builder struct {
	ID      string `json:"id"`
	Version string `json:"version"`
}

// BuilderID names this project's builder.
const BuilderID = "https://github.com/strongroom/strongroom"

// Predicate is what a bake states of its image.
type Predicate struct {
	Name         string            `json:"name"`    // IMAGE_ID of os-release
	Version      string            `json:"version"` // IMAGE_VERSION
	Distribution string            `json:"distribution"`
	Snapshot     string            `json:"snapshot,omitempty"`
	Profile      string            `json:"profile,omitempty"`
	Parameters   map[string]string `json:"parameters,omitempty"`
	Time         time.Time         `json:"time"`                 // SOURCE_DATE_EPOCH: of the image's files, and not of the bake
	ValidUntil   time.Time         `json:"valid_until,omitzero"` // zero is without end
	Builder      Builder           `json:"builder"`

	RootHash string            `json:"root_hash"`       // dm-verity
	Overlay  string            `json:"overlay_sha256"`  // of the hardening's files, as a tar
	Baseline string            `json:"baseline_sha256"` // what hostcheck judges a node by
	Report   string            `json:"report_sha256"`   // of the file ReportName: hostcheck on the sealed tree
	Bills    map[string]string `json:"sbom_sha256"`     // by file name
	Lock     *Lock             `json:"lock,omitempty"`  // what the bake took in; nil without a lock
	// Measurements are the expected values of the TPM's registers, as in the file of that name.
	Measurements measure.Statement `json:"measurements"`
}

// ReportName is the file with hostcheck's report on the sealed tree.
const ReportName = "image-report.json"

// Lock names the lock file of a bake.
type Lock struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
}

// Subject is one file of the output.
type Subject struct {
	Name   string `json:"name"` // relative to the output directory, with slashes
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
}

// Statement is the payload.
type Statement struct {
	Subjects  []Subject
	Predicate Predicate
}

// marshal writes the payload; the same statement gives the same bytes.
func (s Statement) marshal() ([]byte, error) {
	predicate, err := json.Marshal(s.Predicate)
	if err != nil {
		return nil, err
	}
	var fields structpb.Struct
	if err := protojson.Unmarshal(predicate, &fields); err != nil {
		return nil, err
	}
	out := &intoto.Statement{Type: intoto.StatementTypeUri, PredicateType: PredicateType, Predicate: &fields}
	for _, subject := range s.Subjects {
		size, err := structpb.NewStruct(map[string]any{"size": subject.Size})
		if err != nil {
			return nil, err
		}
		out.Subject = append(out.Subject, &intoto.ResourceDescriptor{Name: subject.Name, Digest: map[string]string{"sha256": subject.SHA256}, Annotations: size})
	}
	if err := out.Validate(); err != nil {
		return nil, err
	}
	text, err := protojson.Marshal(out)
	if err != nil {
		return nil, err
	}
	var compact bytes.Buffer // protojson varies its white space on purpose
	err = json.Compact(&compact, text)
	return compact.Bytes(), err
}

// parse reads a payload strictly: a field that this program does not know could change what the others mean.
func parse(payload []byte) (Statement, error) {
	var in intoto.Statement
	if err := protojson.Unmarshal(payload, &in); err != nil {
		return Statement{}, fmt.Errorf("it is no in-toto statement: %w", err)
	}
	if err := in.Validate(); err != nil {
		return Statement{}, fmt.Errorf("it is no in-toto statement: %w", err)
	}
	if in.GetType() != intoto.StatementTypeUri || in.GetPredicateType() != PredicateType {
		return Statement{}, fmt.Errorf("it is a statement of another kind: %s about %s", in.GetType(), in.GetPredicateType())
	}
	predicate, err := protojson.Marshal(in.GetPredicate())
	if err != nil {
		return Statement{}, err
	}
	var s Statement
	if err := strictjson.Document(predicate, &s.Predicate); err != nil {
		return Statement{}, fmt.Errorf("its predicate cannot be read: %w", err)
	}
	seen := map[string]bool{}
	for _, r := range in.GetSubject() {
		subject := Subject{Name: r.GetName(), SHA256: r.GetDigest()["sha256"], Size: int64(r.GetAnnotations().GetFields()["size"].GetNumberValue())}
		switch {
		case !plain(subject.Name) || subject.Name == FileName:
			return Statement{}, fmt.Errorf("its subject %q is no file of an output directory", subject.Name)
		case seen[subject.Name]:
			return Statement{}, fmt.Errorf("its subject %s is there twice", subject.Name)
		case len(subject.SHA256) != 64 || subject.Size < 0:
			return Statement{}, fmt.Errorf("its subject %s has no SHA-256 and size", subject.Name)
		}
		seen[subject.Name] = true
		s.Subjects = append(s.Subjects, subject)
	}
	return s, s.Predicate.check()
}

func (p Predicate) check() error {
	for what, value := range map[string]string{"name": p.Name, "version": p.Version, "root_hash": p.RootHash, "baseline_sha256": p.Baseline, "report_sha256": p.Report} {
		if value == "" {
			return fmt.Errorf("its predicate has no %s", what)
		}
	}
	if len(p.Bills) == 0 || p.Time.IsZero() {
		return errors.New("its predicate has no bill of materials, or no time")
	}
	return nil
}

// plain reports whether a name stays below its directory.
func plain(name string) bool {
	return name != "" && name == path.Clean(name) && !path.IsAbs(name) && name != "." && name != ".." && !strings.HasPrefix(name, "../") && !strings.ContainsAny(name, "\\\x00")
}
