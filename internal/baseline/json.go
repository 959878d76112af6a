package baseline

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/resource"
	"github.com/strongroom/strongroom/internal/strictjson"
)

// Schema names the format of the baseline. The number rises when an older hostcheck could
// misread a newer baseline.
const Schema = "strongroom.baseline/v1"

// Path is where the baseline lies on every host.
const Path = "/usr/lib/strongroom/baseline.json"

type documentJSON struct {
	Schema   string           `json:"schema"`
	Profile  control.Profile  `json:"profile"`
	Guide    *control.Guide   `json:"guide,omitempty"`
	Waivers  []control.Waiver `json:"waivers,omitempty"`
	Controls []controlJSON    `json:"controls"`
}

type controlJSON struct {
	ID        string           `json:"id"`
	Family    string           `json:"family"`
	Title     string           `json:"title"`
	Severity  control.Severity `json:"severity"`
	Stage     control.Stage    `json:"stage"`
	Guide     []string         `json:"guide,omitempty"` // a site control may cite none
	Refs      []string         `json:"refs,omitempty"`
	Rationale string           `json:"rationale"`
	Fix       string           `json:"fix,omitempty"`
	Resources []resourceJSON   `json:"resources"`
}

type resourceJSON struct {
	Kind   string          `json:"kind"`
	Fields json.RawMessage `json:"fields"`
}

// JSON is the canonical form: fields in a fixed order, map keys sorted, no HTML escapes, one
// final newline. Its SHA-256 is the baseline's digest.
func (b *Baseline) JSON() ([]byte, error) {
	doc := documentJSON{Schema: Schema, Profile: b.Profile, Waivers: b.Waivers}
	if len(b.Guide.Items) > 0 {
		doc.Guide = &b.Guide
	}
	for _, c := range b.Controls {
		j := controlJSON{
			ID: c.ID, Family: c.Family, Title: c.Title, Severity: c.Severity, Stage: c.Stage,
			Guide: c.Guide, Refs: c.Refs, Rationale: c.Rationale, Fix: c.Fix,
		}
		for _, r := range c.Resources {
			fields, err := encode(r, "")
			if err != nil {
				return nil, fmt.Errorf("cannot encode %s: %w", r.Key(), err)
			}
			j.Resources = append(j.Resources, resourceJSON{r.Key().Kind, bytes.TrimSpace(fields)})
		}
		doc.Controls = append(doc.Controls, j)
	}
	return encode(doc, " ")
}

func encode(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(v)
	return b.Bytes(), err
}

// Fields is the canonical JSON of one resource on one line.
func Fields(r control.Resource) (string, error) {
	raw, err := encode(r, "")
	return strings.TrimSpace(string(raw)), err
}

// Digest is the SHA-256 of the canonical JSON, in hex.
func (b *Baseline) Digest() (string, error) {
	j, err := b.JSON()
	if err != nil {
		return "", err
	}
	return digestOf(j), nil
}

func digestOf(j []byte) string {
	sum := sha256.Sum256(j)
	return hex.EncodeToString(sum[:])
}

// Decode reads a baseline and gives it with the digest of the bytes that were read. What this
// binary does not understand is refused: skipping a control would be a silent pass.
func Decode(r io.Reader) (*Baseline, string, error) {
	raw, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err != nil {
		return nil, "", fmt.Errorf("cannot read baseline: %w", err)
	}
	return DecodeBytes(raw)
}

// DecodeBytes is Decode of bytes in memory.
func DecodeBytes(raw []byte) (*Baseline, string, error) {
	if len(raw) > maxSize {
		return nil, "", fmt.Errorf("cannot read baseline: larger than %d bytes", maxSize)
	}
	// The schema is looked at first, so that a newer format is named as such rather than by its
	// first unknown field.
	var head struct {
		Schema string `json:"schema"`
	}
	if err := json.Unmarshal(raw, &head); err != nil {
		return nil, "", fmt.Errorf("cannot decode baseline: %w", err)
	}
	if head.Schema != Schema {
		if strings.HasPrefix(head.Schema, "strongroom.baseline/") {
			return nil, "", fmt.Errorf("baseline has schema %s and this hostcheck reads %s: %w", head.Schema, Schema, ErrNewer)
		}
		return nil, "", fmt.Errorf("cannot decode baseline: schema %q is not %s", head.Schema, Schema)
	}
	var doc documentJSON
	err := strictjson.Object(bytes.NewReader(raw), map[string]any{
		"schema":  &doc.Schema,
		"profile": &doc.Profile,
		"guide":   &doc.Guide,
		"waivers": &doc.Waivers,
		"controls": strictjson.Each(func(d *json.Decoder) error {
			var c controlJSON
			err := d.Decode(&c)
			doc.Controls = append(doc.Controls, c)
			return err
		}),
	})
	if err != nil {
		return nil, "", fmt.Errorf("cannot decode baseline: %w", err)
	}
	var fields strictjson.Decoder
	b := &Baseline{Profile: doc.Profile}
	if doc.Guide != nil {
		b.Guide = *doc.Guide
	}
	for _, j := range doc.Controls {
		c := control.Control{
			ID: j.ID, Family: j.Family, Title: j.Title, Severity: j.Severity, Stage: j.Stage,
			Guide: j.Guide, Refs: j.Refs, Rationale: j.Rationale, Fix: j.Fix,
		}
		if len(j.Resources) == 0 || !control.ValidID(j.ID) || j.Severity != control.Must && j.Severity != control.Should {
			return nil, "", fmt.Errorf("cannot decode baseline: control %q is not complete", j.ID)
		}
		for _, rj := range j.Resources {
			r, ok := resource.New(rj.Kind)
			if !ok {
				return nil, "", fmt.Errorf("control %s has a resource of kind %q: %w", j.ID, rj.Kind, ErrNewer)
			}
			if err := fields.Decode(rj.Fields, r); err != nil {
				return nil, "", fmt.Errorf("cannot decode %s of control %s: %w", rj.Kind, j.ID, err)
			}
			if err := r.Validate(); err != nil {
				return nil, "", fmt.Errorf("cannot accept %s of control %s: %w", rj.Kind, j.ID, err)
			}
			c.Resources = append(c.Resources, r)
		}
		b.Controls = append(b.Controls, c)
	}
	if len(b.Controls) == 0 {
		return nil, "", errors.New("cannot decode baseline: it has no controls")
	}
	if err := b.setWaivers(doc.Waivers); err != nil {
		return nil, "", fmt.Errorf("cannot decode baseline: %w", err)
	}
	return b, digestOf(raw), nil
}

// ErrNewer says that the baseline was made by a later version than this binary.
var ErrNewer = errors.New("the baseline is from a newer version; use the hostcheck of the image that it came with")

const maxSize = 8 << 20
