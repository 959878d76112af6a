package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/strongroom/strongroom/internal/check/checktest"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/report"
)

// The test binary serves as hostcheck when it is called by that name.
func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"hostcheck": main}) }

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, errors.New("unknown condition " + name)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":  exits,
			"report": readReport,
			// tree DIR writes a root tree that was baked from the real catalogue.
			"tree": func(ts *testscript.TestScript, _ bool, args []string) {
				t := scriptT{TB: t, ts: ts}
				checktest.WriteTree(t, ts.MkAbs(args[0]), checktest.Tree(t, checktest.Compile(t, checktest.Profile())))
			},
			// node FILE STAGE records a conforming node that runs.
			"node": func(ts *testscript.TestScript, _ bool, args []string) {
				t := scriptT{TB: t, ts: ts}
				stage, err := control.ParseStage(args[1])
				ts.Check(err)
				checktest.WriteCapture(t, ts.MkAbs(args[0]), checktest.Node(t, checktest.Compile(t, checktest.Profile())), stage)
			},
		},
	})
}

// exits CODE PROGRAM [ARG...] runs a program and asks for that very exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var e *exec.ExitError
		if !errors.As(err, &e) {
			ts.Fatalf("%v", err)
		}
		got = e.ExitCode()
	}
	if (got == want) == neg {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// report FILE VERDICT STAGE [CONTROL OUTCOME] decodes a JSON report as its readers do. FILE may be stdout.
func readReport(ts *testscript.TestScript, _ bool, args []string) {
	f, err := os.Open(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	d, err := report.ReadJSON(f)
	ts.Check(err)
	if string(d.Verdict) != args[1] || d.Stage.String() != args[2] {
		ts.Fatalf("verdict %s at stage %s, want %s at %s", d.Verdict, d.Stage, args[1], args[2])
	}
	if len(args) == 3 {
		return
	}
	for _, c := range d.Controls {
		if c.ID == args[3] {
			if c.Outcome.String() != args[4] {
				ts.Fatalf("%s is %s, want %s", c.ID, c.Outcome, args[4])
			}
			return
		}
	}
	ts.Fatalf("no control %s in the report", args[3])
}

// scriptT ends the script, and not the test of all scripts, when a fixture cannot be made.
type scriptT struct {
	testing.TB
	ts *testscript.TestScript
}

func (t scriptT) Fatal(args ...any) { t.ts.Fatalf("%v", args) }
