package telemetry

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/strongroom/strongroom/internal/atomicfile"
	"github.com/strongroom/strongroom/internal/report"
)

// ReportPath is where the gate leaves its report for the agent.
const ReportPath = "/run/hostcheck/report.json"

// Publish makes the gate's report known on this node: as a file for the agent, and in the
// journal. A journal that cannot be reached is logged and no error: the verdict does not
// depend on it, and the console has the reason too.
func Publish(d *report.Document, log *slog.Logger) error {
	if err := WriteReport(ReportPath, d); err != nil {
		return err
	}
	if err := NewJournal(nil).Report(d); err != nil {
		log.Warn("cannot write to the journal", "error", err)
	}
	return nil
}

// WriteReport replaces a report file. A reader sees the old report or the new one.
func WriteReport(path string, d *report.Document) error {
	if err := atomicfile.Write(path, 0o644, func(w io.Writer) error { return report.WriteJSON(w, d) }); err != nil {
		return fmt.Errorf("cannot publish the report: %w", err)
	}
	return nil
}
