// Package control is the vocabulary of Strongroom: what a hardening control is, what it
// states (resources), what a check of it saw (observations) and what that means (outcomes).
// The catalogue, the baseline, the bake and the agent all speak in these terms.
package control

import (
	"context"
	"fmt"
	"regexp"

	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/overlay"
)

// Control is one statement about a hardened host, told by typed resources. The same
// resources render the image and judge the node.
type Control struct {
	ID        string   // slug, unique and never reused: "memory-swap-off"
	Family    string   // catalogue file it comes from: "memory"
	Title     string   // one sentence an auditor reads
	Severity  Severity // Must closes the gate
	Stage     Stage    // first stage at which the effective state is judged
	Guide     []string // items of the Vault production hardening guide: "B4", "E1"
	Refs      []string // CIS, KSPP, STIG identifiers where they exist
	Rationale string   // why, in the words of `hostcheck explain`
	Fix       string   // the way out when it fails
	Resources []Resource
}

// Resource is one typed piece of desired state. Values are immutable: Render and Verify
// derive from the same fields, so that bake and check cannot drift apart.
type Resource interface {
	// Key is unique in a baseline.
	Key() Key
	// Validate refuses nonsense when the catalogue is loaded.
	Validate() error
	// Render gives the files that bring the state about. It is pure.
	Render(p Profile) ([]overlay.Fragment, error)
	// Verify compares the host with the desired state. It only reads. The bytes of rendered
	// fragments are compared by the check engine for every kind; Verify adds what its kind
	// alone knows: OnDisk facts in any stage, Effective facts only when stage.Runs().
	Verify(ctx context.Context, h host.Host, stage Stage) []Observation
}

// Key names a resource: the kind and the name that is unique within the kind.
type Key struct {
	Kind string `json:"kind"`
	Name string `json:"name"`
}

func (k Key) String() string { return k.Kind + ":" + k.Name }

// Profile is what a baseline is compiled for.
type Profile struct {
	Server       string            `json:"server"`       // "vault", "openbao"
	Platform     string            `json:"platform"`     // "cloud", "vm", "metal"
	Layout       string            `json:"layout"`       // "sealed": we own disk and boot chain; "installed": somebody else's installer made them
	Distribution string            `json:"distribution"` // "debian/trixie"
	Parameters   map[string]string `json:"parameters"`   // every declared parameter, resolved
}

// Observation is one fact that a check looked at.
type Observation struct {
	Resource Key
	Layer    Layer
	Outcome  Outcome
	Want     string
	Got      string
	Source   string // "/proc/sys/kernel/kptr_restrict", "org.freedesktop.systemd1 vault.service LimitCORE"
	Err      error  // set when Outcome is Unknown
}

// Layer says which face of the host a fact was read from.
type Layer string

const (
	OnDisk    Layer = "on-disk"   // the bytes that were rendered, or the tree that was baked
	Effective Layer = "effective" // what the running kernel, systemd, nftables or Vault says
)

// Outcome is the result of one observation, and by [Worst] of a control.
type Outcome int

const (
	Unknown       Outcome = iota // could not look; never passes
	Fail                         // looked, and it is wrong
	Waived                       // wrong, with a waiver that has not expired
	Pending                      // its stage has not come yet
	Pass                         // looked, and it is right
	NotApplicable                // no host of this profile can have the fact
)

var outcomeNames = [...]string{"unknown", "fail", "waived", "pending", "pass", "not-applicable"}

func (o Outcome) String() string {
	if o < 0 || int(o) >= len(outcomeNames) {
		return "unknown"
	}
	return outcomeNames[o]
}

// MarshalText writes the outcome's name.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// UnmarshalText reads an outcome's name.
func (o *Outcome) UnmarshalText(b []byte) error {
	for i, n := range outcomeNames {
		if n == string(b) {
			*o = Outcome(i)
			return nil
		}
	}
	return fmt.Errorf("unknown outcome %q", b)
}

// Worst folds the observations of one control into its outcome. A failure outweighs an
// unknown, since it is certain; an unknown outweighs everything else, since it may hide one.
func Worst(obs []Observation) Outcome {
	outcomes := make([]Outcome, len(obs))
	for i, o := range obs {
		outcomes[i] = o.Outcome
	}
	return WorstOutcome(outcomes)
}

// WorstOutcome is [Worst] of outcomes alone, such as those of the controls of one item of the guide.
func WorstOutcome(outcomes []Outcome) Outcome {
	if len(outcomes) == 0 {
		return Unknown // what looked at nothing proves nothing
	}
	worst := NotApplicable
	for _, o := range outcomes {
		if o < 0 || int(o) >= len(ranks) {
			o = Unknown
		}
		if ranks[o] > ranks[worst] {
			worst = o
		}
	}
	return worst
}

var ranks = [...]int{Fail: 5, Unknown: 4, Waived: 3, Pass: 2, Pending: 1, NotApplicable: 0}

// Severity says what a failure does.
type Severity string

const (
	Must   Severity = "must"   // closes the gate
	Should Severity = "should" // is reported
)

// Stage is a moment in the life of a node, in order.
type Stage int

const (
	StageImage  Stage = iota // a root tree; nothing runs
	StageBoot                // before Vault: no network, no synchronised clock, no Vault needed
	StageRun                 // Vault's process and listener, sealed or not
	StageMember              // joined, unsealed, token present; reported, never gates
)

var stageNames = [...]string{"image", "boot", "run", "member"}

func (s Stage) String() string {
	if s < 0 || int(s) >= len(stageNames) {
		return "invalid"
	}
	return stageNames[s]
}

// Runs reports whether a kernel runs at this stage, so that there is effective state.
func (s Stage) Runs() bool { return s >= StageBoot }

// ParseStage reads a stage's name.
func ParseStage(name string) (Stage, error) {
	for i, n := range stageNames {
		if n == name {
			return Stage(i), nil
		}
	}
	return 0, fmt.Errorf("unknown stage %q (known: image, boot, run, member)", name)
}

// MarshalText writes the stage's name.
func (s Stage) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads a stage's name.
func (s *Stage) UnmarshalText(b []byte) error {
	v, err := ParseStage(string(b))
	if err != nil {
		return err
	}
	*s = v
	return nil
}

var slug = regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)+$`)

// ValidID reports whether an id is a slug that explains itself: two words or more.
func ValidID(id string) bool { return slug.MatchString(id) }
