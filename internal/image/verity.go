package image

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"
)

const verityBlock = 4096

// Verity makes the hash tree of the root file system. Salt and UUID come from the content, so that the
// same tree has the same root hash.
func (a *Assembly) Verity(ctx context.Context) error {
	return a.step(ctx, stepVerity, stepRootFilesystem, func(ctx context.Context) error {
		f, err := a.box.files.Open("root.squashfs")
		if err != nil {
			return err
		}
		defer f.Close()
		content := sha256.New()
		if _, err := io.Copy(content, f); err != nil {
			return err
		}
		digest := content.Sum(nil)
		out, err := a.box.output(a.box.command(ctx, "veritysetup", "format",
			"--hash=sha256", fmt.Sprintf("--data-block-size=%d", verityBlock), fmt.Sprintf("--hash-block-size=%d", verityBlock),
			"--salt="+derive("verity salt", digest), "--uuid="+uuidOf(derive("verity uuid", digest)),
			a.box.path("root.squashfs"), a.box.path("root.verity")))
		if err != nil {
			return fmt.Errorf("cannot make the hash tree: %w", err)
		}
		m := rootHashLine.FindSubmatch(out)
		if m == nil {
			return fmt.Errorf("cannot make the hash tree: veritysetup named no root hash: %s", out)
		}
		a.result.RootHash = string(m[1])
		return nil
	})
}

var rootHashLine = regexp.MustCompile(`(?m)^Root hash:\s*([0-9a-f]{64})$`)

// derive is a number for a purpose that depends on the content alone, in hex.
func derive(purpose string, content []byte) string {
	sum := sha256.Sum256(append([]byte("strongroom "+purpose+"\x00"), content...))
	return hex.EncodeToString(sum[:])
}

// uuidOf writes the first 128 bits of a hex string as a UUID, bit for bit: for partitions the
// Discoverable Partitions Specification wants it so, without a version field.
func uuidOf(hexDigits string) string {
	h := hexDigits[:32]
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
