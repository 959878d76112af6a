package plugin

import (
	"bytes"
	"context"
	"crypto"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/hashicorp/packer-plugin-sdk/multistep"

	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/sign"
	"github.com/strongroom/strongroom/internal/signature"
	"github.com/strongroom/strongroom/internal/statement"
)

// plan checks the block without looking at the key; a nil block signs nothing.
func (b *SigningConfig) plan(wrong *mistakes) *signingPlan {
	if b == nil {
		return nil
	}
	p := &signingPlan{}
	switch {
	case b.Key == "":
		wrong.add("signing.key", "is required: the path of a private key, PEM, or vault:MOUNT/KEY")
	case sign.IsTransit(b.Key):
		if err := sign.CheckTransit(b.Key); err != nil {
			wrong.add("signing.key", "%w", err)
		}
	}
	if b.ValidUntil != "" && b.ValidUntil != unknown {
		until, err := time.Parse(time.RFC3339, b.ValidUntil)
		if err != nil {
			wrong.add("signing.valid_until", "%q is not a time such as 2027-06-30T00:00:00Z", b.ValidUntil)
		}
		p.validUntil = until.UTC()
	}
	return p
}

// planBaseline checks the block of a component that writes no statement.
func (b *SigningConfig) planBaseline(wrong *mistakes) {
	b.plan(wrong)
	if b != nil && b.ValidUntil != "" {
		wrong.add("signing.valid_until", "only the statement of a bake has an end, and this signs the baseline alone: leave it out")
	}
}

// openKey opens the key when the build starts: Prepare reads no secrets and asks nobody. A nil block has none.
func (b *SigningConfig) openKey() (crypto.Signer, error) {
	if b == nil {
		return nil, nil
	}
	var wrong mistakes
	key, err := sign.OpenKey(b.Key)
	if err == nil {
		err = signature.CheckKey(key.Public())
	}
	if err != nil {
		wrong.add("signing.key", "%w", err)
		return nil, wrong.err
	}
	return key, nil
}

// readSigningKey opens the key of the bake.
func (c *Config) readSigningKey(p *signingPlan) (err error) {
	if p != nil {
		p.key, err = c.Signing.openKey()
	}
	return err
}

// signBaseline adds the baseline's signature to what goes into the image, and the key that hostcheck verifies it by.
func (p *plan) signBaseline() (err error) {
	if p.signing == nil {
		return nil
	}
	if err := baseline.Sign(p.spec.Overlay, p.signing.key); err != nil {
		return err
	}
	p.overlayDigest, err = p.spec.Overlay.Digest()
	return err
}

// stepStatement states what lies beside the output directory, all of it, and signs that. It is the last step before the image
// is published.
type stepStatement struct{ bake *bake }

func (s *stepStatement) Run(ctx context.Context, state multistep.StateBag) multistep.StepAction {
	s.bake.ui.Say("Signing the statement...")
	return proceed(state, s.sign(ctx))
}

func (*stepStatement) Cleanup(multistep.StateBag) {}

func (s *stepStatement) sign(ctx context.Context) error {
	dir, p := s.bake.assembly.StagingDir(), s.bake.plan
	stated, err := statement.Describe(ctx, dir, statement.Facts{
		Baseline: p.baselineDigest, Builder: s.bake.version, Time: s.bake.assembly.Epoch(), ValidUntil: p.signing.validUntil,
	})
	if err != nil {
		return err
	}
	signed, err := statement.Sign(ctx, stated, p.signing.key)
	if err != nil {
		return err
	}
	err = atomicfile.Write(filepath.Join(dir, statement.FileName), 0o644, func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(signed))
		return err
	})
	if err != nil {
		return fmt.Errorf("cannot write the statement: %w", err)
	}
	s.bake.made = append(s.bake.made, statement.FileName)
	return nil
}
