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
	doc, err := splitDocument(raw)
	if err != nil {
		return nil, "", err
	}
	b := &Baseline{}
	var waivers []control.Waiver
	var d strictjson.Decoder
	for _, part := range []struct {
		name   string
		target any
	}{{"profile", &b.Profile}, {"waivers", &waivers}} {
		if doc[part.name] == nil {
			continue
		}
		if err := d.Decode(doc[part.name], part.target); err != nil {
			return nil, "", fmt.Errorf("cannot decode baseline: %s: %w", part.name, err)
		}
	}
	if doc["guide"] != nil {
		if err := readGuide(strictjson.NewReader(doc["guide"]), &d, &b.Guide); err != nil {
			return nil, "", fmt.Errorf("cannot decode baseline: guide: %w", err)
		}
	}
	if doc["controls"] != nil {
		r := strictjson.NewReader(doc["controls"])
		var refused error // what is wrong with the control itself says so in its own words, not by its place
		err := r.Array(func() error {
			c, resources, err := readControl(r)
			if err != nil {
				return err
			}
			complete := control.ValidID(c.ID) && (c.Severity == control.Must || c.Severity == control.Should)
			if complete {
				if c.Resources, refused = decodeResources(c.ID, resources, &d); refused != nil {
					return refused
				}
			}
			if len(c.Resources) == 0 {
				refused = fmt.Errorf("cannot decode baseline: control %q is not complete", c.ID)
			}
			b.Controls = append(b.Controls, c)
			return refused
		})
		if refused != nil {
			return nil, "", refused
		}
		if err != nil {
			return nil, "", fmt.Errorf("cannot decode baseline: controls: %w", err)
		}
	}
	if len(b.Controls) == 0 {
		return nil, "", errors.New("cannot decode baseline: it has no controls")
	}
	if err := b.setWaivers(waivers); err != nil {
		return nil, "", fmt.Errorf("cannot decode baseline: %w", err)
	}
	return b, digestOf(raw), nil
}

// splitDocument gives the fields of a baseline as they are written. The schema is looked at before any of them, so
// that a newer format is named as such rather than by its first unknown field.
func splitDocument(raw []byte) (map[string][]byte, error) {
	doc := map[string][]byte{}
	var schema string
	var unknown error
	r := strictjson.NewReader(raw)
	err := r.Object(func(name string) (err error) {
		switch name {
		case "schema":
			schema, err = r.String()
			return err
		case "profile", "guide", "waivers", "controls":
		default:
			unknown = strictjson.Unknown(name)
		}
		doc[name], err = r.Raw()
		return err
	})
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return nil, fmt.Errorf("cannot decode baseline: %w", err)
	}
	if schema != Schema {
		if strings.HasPrefix(schema, "strongroom.baseline/") {
			return nil, fmt.Errorf("baseline has schema %s and this hostcheck reads %s: %w", schema, Schema, ErrNewer)
		}
		return nil, fmt.Errorf("cannot decode baseline: schema %q is not %s", schema, Schema)
	}
	if unknown != nil {
		return nil, fmt.Errorf("cannot decode baseline: %w", unknown)
	}
	return doc, nil
}

// readGuide reads what [control.Guide] is written as, item by item: all at once would need a buffer of its size.
func readGuide(r *strictjson.Reader, d *strictjson.Decoder, guide *control.Guide) error {
	return r.Object(func(name string) (err error) {
		switch name {
		case "name":
			guide.Name, err = r.String()
		case "revision":
			guide.Revision, err = r.String()
		case "url":
			guide.URL, err = r.String()
		case "items":
			err = r.Array(func() error {
				var item control.GuideItem
				raw, err := r.Raw()
				if err == nil {
					err = d.Decode(raw, &item)
				}
				guide.Items = append(guide.Items, item)
				return err
			})
		default:
			err = strictjson.Unknown(name)
		}
		return err
	})
}

// readControl reads what [controlJSON] is written as: in place, for a baseline has hundreds, and their texts are most
// of it. The resources it gives as they are written: an error in one is to name the control, whose id may come later.
func readControl(r *strictjson.Reader) (c control.Control, resources []byte, err error) {
	err = r.Object(func(name string) (err error) {
		switch name {
		case "id":
			c.ID, err = r.String()
		case "family":
			c.Family, err = r.String()
		case "title":
			c.Title, err = r.String()
		case "severity":
			var severity string
			severity, err = r.String()
			c.Severity = control.Severity(severity)
		case "stage":
			var stage []byte
			if stage, err = r.Bytes(); err == nil {
				err = c.Stage.UnmarshalText(stage)
			}
		case "guide":
			c.Guide, err = r.Strings()
		case "refs":
			c.Refs, err = r.Strings()
		case "rationale":
			c.Rationale, err = r.String()
		case "fix":
			c.Fix, err = r.String()
		case "resources":
			resources, err = r.Raw()
		default:
			err = strictjson.Unknown(name)
		}
		return err
	})
	return c, resources, err
}

// decodeResources reads what the [resourceJSON] of a control are written as.
func decodeResources(id string, raw []byte, d *strictjson.Decoder) (out []control.Resource, err error) {
	if raw == nil {
		return nil, nil
	}
	r := strictjson.NewReader(raw)
	var refused error
	err = r.Array(func() error {
		var kind string
		var fields []byte
		if err := r.Object(func(name string) (err error) {
			switch name {
			case "kind":
				kind, err = r.String()
			case "fields":
				fields, err = r.Raw()
			default:
				err = strictjson.Unknown(name)
			}
			return err
		}); err != nil {
			return err
		}
		res, ok := resource.New(kind)
		if !ok {
			refused = fmt.Errorf("control %s has a resource of kind %q: %w", id, kind, ErrNewer)
		} else if err := d.Decode(fields, res); err != nil {
			refused = fmt.Errorf("cannot decode %s of control %s: %w", kind, id, err)
		} else if err := res.Validate(); err != nil {
			refused = fmt.Errorf("cannot accept %s of control %s: %w", kind, id, err)
		}
		out = append(out, res)
		return refused
	})
	if refused == nil && err != nil {
		refused = fmt.Errorf("cannot decode baseline: resources of control %q: %w", id, err)
	}
	return out, refused
}

// ErrNewer says that the baseline was made by a later version than this binary.
var ErrNewer = errors.New("the baseline is from a newer version; use the hostcheck of the image that it came with")

const maxSize = 8 << 20
