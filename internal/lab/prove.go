package lab

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// Options of [Prove].
type Options struct {
	Disk       string        // the image: any that NewDisk takes
	Services   Services      // the ports of the image; default the usual ones
	Report     string        // file for the node's report, as it came; empty: not kept
	ConsoleLog string        // file for the serial console; empty: not kept
	MemoryMiB  int           // default 2048
	CPUs       int           // default 2; an emulated machine has one
	Timeout    time.Duration // of the boot; default 10 minutes
	Log        *slog.Logger  // progress goes here
}

// Proof is what a boot has shown.
type Proof struct {
	Report  *report.Document
	Metrics []byte // the agent's page for Prometheus
	Steps   []Step
}

// Step is one part of the proof and the wall time that it took.
type Step struct {
	Name     string
	Duration time.Duration
}

// VerdictError means that the node came up and says that it is not what was baked.
type VerdictError struct{ Report *report.Document }

func (e *VerdictError) Error() string {
	var controls []string
	for _, c := range e.Report.Controls {
		if c.Severity == control.Must && (c.Outcome == control.Fail || c.Outcome == control.Unknown) {
			controls = append(controls, fmt.Sprintf("%s (%s)", c.ID, c.Outcome))
		}
	}
	return fmt.Sprintf("the node's verdict at stage %s is %s: %s", e.Report.Stage, e.Report.Verdict, strings.Join(controls, ", "))
}

// powerOffTimeout is twice what systemd gives a service to stop.
const powerOffTimeout = 3 * time.Minute

// Prove boots an image on a throw-away disk, waits for the verdict of the node, and presses the
// power button. It fails unless the verdict is pass and the node shuts down in order. The proof
// is returned beside an error too, as far as it got.
func Prove(ctx context.Context, o Options) (*Proof, error) {
	proof := &Proof{}
	dir, err := os.MkdirTemp("", "strongroom-proof-")
	if err != nil {
		return proof, fmt.Errorf("cannot create a directory for the disk: %w", err)
	}
	defer os.RemoveAll(dir)
	disk, err := NewDisk(ctx, dir, o.Disk)
	if err != nil {
		return proof, err
	}
	authority, err := NewAuthority()
	if err != nil {
		return proof, err
	}
	started := time.Now()
	step := func(name string) {
		now := time.Now()
		proof.Steps = append(proof.Steps, Step{name, now.Sub(started)})
		o.Log.InfoContext(ctx, name, "seconds", fmt.Sprintf("%.1f", now.Sub(started).Seconds()))
		started = now
	}
	node, err := StartNode(ctx, authority, Config{
		Disk: disk, Services: o.Services, UUID: NewUUID(), MemoryMiB: o.MemoryMiB, CPUs: o.CPUs, ConsoleLog: o.ConsoleLog, Log: o.Log,
	})
	if err != nil {
		return proof, err
	}
	defer node.Close()
	stop := node.progress(o.Log, "waiting for the node")
	defer stop()

	booting, cancel := context.WithTimeout(ctx, cmp.Or(o.Timeout, 10*time.Minute))
	defer cancel()
	document, body, err := node.AwaitVerdict(booting)
	if err != nil {
		return proof, err
	}
	proof.Report = document
	step("boot to verdict")
	if err := keep(o.Report, body); err != nil {
		return proof, err
	}
	if proof.Metrics, err = node.Metrics(booting); err != nil {
		return proof, fmt.Errorf("cannot read the node's metrics: %w", err)
	}
	if document.Verdict != check.Pass {
		return proof, &VerdictError{document}
	}
	stopping, cancel := context.WithTimeout(ctx, powerOffTimeout)
	defer cancel()
	if _, err := node.PowerOff(stopping); err != nil {
		return proof, err
	}
	step("power off")
	return proof, nil
}

// keep writes a file whole or not at all.
func keep(path string, content []byte) error {
	if path == "" {
		return nil
	}
	write := func(w io.Writer) error { _, err := w.Write(content); return err }
	if err := atomicfile.Write(path, 0o644, write); err != nil {
		return fmt.Errorf("cannot save the report: %w", err)
	}
	return nil
}

// NewUUID makes a random firmware UUID, that is: another machine.
func NewUUID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80 // version 4, RFC 9562
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}
