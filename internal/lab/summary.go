package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/image"
)

// Files in the output directory of a bake.
const (
	reportName  = "report.json"
	consoleName = "console.log"
)

// ProveImage proves the image in the output directory of a bake, leaves the node's report
// beside it, and writes a table of what was made and what was shown to w. Options name anything
// but the files.
func ProveImage(ctx context.Context, dir string, o Options, w io.Writer) error {
	manifest, err := readManifest(filepath.Join(dir, image.ManifestName))
	if err != nil {
		return err
	}
	if o.Disk, err = diskOf(dir); err != nil {
		return err
	}
	if o.Services, err = ServicesOf(manifest.Parameters); err != nil {
		return err
	}
	o.Report = filepath.Join(dir, reportName)
	o.ConsoleLog = filepath.Join(dir, consoleName)
	proof, err := Prove(ctx, o)
	if err == nil && proof.Report.Host.RootHash != manifest.RootHash {
		err = fmt.Errorf("the node runs the root %s, and the manifest says %s", proof.Report.Host.RootHash, manifest.RootHash)
	}
	baked, timingsErr := image.ReadTimings(dir)
	return errors.Join(err, timingsErr, WriteSummary(w, manifest, baked, proof))
}

func readManifest(path string) (*image.Result, error) {
	content, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no image at %s\nhint: bake it with `make image`", filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the manifest: %w", err)
	}
	var manifest image.Result
	if err := json.Unmarshal(content, &manifest); err != nil {
		return nil, fmt.Errorf("cannot read the manifest %s: %w", path, err)
	}
	return &manifest, nil
}

func diskOf(dir string) (string, error) {
	for _, name := range []string{"disk.raw", "disk.qcow2", "disk.vmdk", "disk.vhd"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return filepath.Join(dir, name), nil
		}
	}
	return "", fmt.Errorf("no disk.raw, disk.qcow2, disk.vmdk or disk.vhd is in %s\nhint: bake it with `make image`", dir)
}

// WriteSummary writes the table that ends `make image`: the artifacts, what identifies them,
// what the running node said, and the seconds that each step took.
func WriteSummary(w io.Writer, manifest *image.Result, baked []image.StepTime, proof *Proof) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(table, name+"\t"+format+"\n", args...) }
	row("image", "%s %s, %s, kernel %s", manifest.Name, manifest.Version, manifest.Distribution, manifest.Kernel)
	if manifest.Profile != "" {
		row("profile", "%s", manifest.Profile)
	}
	for _, file := range manifest.Files {
		row(file.Name, "%s\tsha256:%s", size(file.Size), file.SHA256)
	}
	row("root hash", "%s", manifest.RootHash)
	if r := proof.Report; r != nil {
		row("baseline", "%s", r.Baseline)
		row("verdict", "%s at stage %s: %d of %d controls pass", r.Verdict, r.Stage, r.Summary[control.Pass.String()], len(r.Controls))
	} else {
		row("verdict", "none: the node did not answer")
	}
	for _, step := range baked {
		row(step.Step, "%.2f s", step.Duration.Seconds())
	}
	for _, step := range proof.Steps {
		row(step.Name, "%.1f s", step.Duration.Seconds())
	}
	return table.Flush()
}

func size(bytes int64) string {
	const mebibyte = 1 << 20
	if bytes < mebibyte {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f MiB", float64(bytes)/mebibyte)
}
