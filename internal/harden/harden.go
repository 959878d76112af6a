package harden

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/distribution"
	"github.com/strongroom/strongroom/internal/image"
	"github.com/strongroom/strongroom/internal/overlay"
)

// armedDir is where the activation waits for the shutdown. It is memory, so that nothing of it is there at the next boot.
const armedDir = "/run/strongroom-activation"

const (
	bootArguments   = "/usr/lib/strongroom/cmdline.d"
	activationUnit  = "strongroom-activation.service"
	roomForPackages = 256 << 20 // bytes, beside the programs
)

// session is one run on one machine.
type session struct {
	Spec
	machine  Machine
	dir      string // of the uploads, on the machine
	user     string // of the connection
	asRoot   bool
	state    string // what a failure would leave
	result   Result
	programs []program
	now      []overlay.Fragment
	late     []overlay.Fragment
	want     map[string]entry
	values   map[string]string
}

// program is a program to install.
type program struct {
	image.InstalledBinary
	source string
	loader string // that it asks for, "" for none
}

// Harden hardens the machine and arms the activation. An error is a [Failure], which says what it leaves.
func Harden(ctx context.Context, machine Machine, spec Spec, judge func(report []byte) error) (Result, error) {
	s := &session{Spec: spec, machine: machine, state: stateUntouched}
	err := s.run(ctx, judge)
	if s.dir != "" {
		// Also when the caller has given up: nothing of ours stays on the machine.
		if _, cleanup := machine.Run(context.WithoutCancel(ctx), "rm -rf -- "+quote(s.dir), &output{log: s.Log}); cleanup != nil && err == nil {
			err = fmt.Errorf("cannot remove %s from the machine: %w", s.dir, cleanup)
		}
	}
	if err != nil {
		return s.result, &Failure{err, s.state}
	}
	return s.result, nil
}

func (s *session) run(ctx context.Context, judge func(report []byte) error) error {
	if err := s.inspectPrograms(); err != nil {
		return err
	}
	for _, step := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"Looking at the machine", s.probe},
		{"Comparing the machine with the baseline", s.compare},
	} {
		if err := s.step(ctx, step.title, step.run); err != nil {
			return err
		}
	}
	if err := s.step(ctx, "Rehearsing the shutdown and verifying what it leaves", s.rehearse); err != nil {
		return err
	}
	if err := judge(s.result.Report); err != nil {
		return err
	}
	return s.step(ctx, "Arming the activation for the shutdown", s.arm)
}

func (s *session) step(ctx context.Context, title string, run func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	s.Log.InfoContext(ctx, title+"...")
	return run(ctx)
}

// inspectPrograms refuses programs that cannot run, before the machine is asked anything.
func (s *session) inspectPrograms() error {
	installed, err := image.InspectBinaries(s.Programs)
	if err != nil {
		return err
	}
	for i, b := range installed {
		loader, err := image.Interpreter(s.Programs[i].Source)
		if err != nil {
			return err
		}
		s.programs = append(s.programs, program{b, s.Programs[i].Source, loader})
	}
	return nil
}

// probe connects: it makes a directory for uploads, and looks whether the machine can be hardened and what it is.
func (s *session) probe(ctx context.Context) error {
	folders := `/var/tmp /tmp "$HOME"`
	if s.Folder != "" {
		folders = quote(s.Folder)
	}
	out := &output{log: s.Log}
	status, err := s.machine.Run(ctx, fmt.Sprintf(`sh -c %s`, quote(`umask 077; echo "strongroom: user=$(id -un)"; echo "strongroom: uid=$(id -u)"
for folder in `+folders+`; do
	dir=$(mktemp -d "$folder/strongroom.XXXXXXXXXX" 2>/dev/null) && echo "strongroom: dir=$dir" && exit 0
done
exit 1`)), out)
	out.close()
	if err != nil {
		return fmt.Errorf("cannot run a command on the machine: %w", err)
	}
	s.user, s.asRoot, s.dir = out.first("user"), out.first("uid") == "0", out.first("dir")
	switch {
	case s.user == "":
		return fmt.Errorf("the machine does not answer as one with a POSIX shell (status %d): %s", status, strings.Join(out.last, "; "))
	case !path.IsAbs(s.dir) || strings.ContainsAny(s.dir, " '\"\\$`"):
		s.dir = ""
		return fmt.Errorf("%s can write to none of %s on the machine\nhint: name a folder that it can write to in remote_folder", s.user, strings.ReplaceAll(folders, `"`, ""))
	}

	room := int64(roomForPackages)
	for _, p := range s.programs {
		room += p.Size
	}
	s.values = map[string]string{"ARMED": armedDir, "NEED_KIB": fmt.Sprint(room >> 10), "FAMILY": ""}
	out, status, err = s.script(ctx, "probe")
	if err != nil {
		return err
	}
	if len(out.all("probed")) == 0 && len(out.all("architecture")) == 0 {
		return s.cannotExecute(status, out)
	}
	var wrong []error
	for _, p := range out.all("problem") {
		wrong = append(wrong, errors.New("the machine cannot be hardened: "+p))
	}
	if a := out.first("architecture"); a != "x86_64" {
		wrong = append(wrong, fmt.Errorf("the machine cannot be hardened: its architecture is %s, and only x86_64 is known", a))
	}
	d, err := distribution.Detect(strings.Join(out.all("os-release"), "\n"))
	if err == nil {
		d, err = distribution.Find(distribution.Installed, d.ID)
	}
	if err != nil {
		wrong = append(wrong, fmt.Errorf("the machine cannot be hardened: %w", err))
	}
	if len(wrong) > 0 {
		return errors.Join(wrong...)
	}
	s.result.Distribution = d
	s.Log.InfoContext(ctx, "The machine is "+d.Name)
	return s.plan(d)
}

// cannotExecute explains a script that has not run at all.
func (s *session) cannotExecute(status int, out *output) error {
	said := strings.Join(out.last, "; ")
	hint := "look at execute_command: it must run {{ .Path }} as root by a shell, as in sudo -n sh {{ .Path }}"
	if strings.Contains(said, "password") || strings.Contains(said, "sudoers") || strings.Contains(said, "terminal") {
		hint = "sudo asks for a password: let execute_command give it, as in echo '${var.password}' | sudo -S sh {{ .Path }}, from a variable that is sensitive"
	}
	return fmt.Errorf("%s cannot run a script as root on the machine (status %d): %s\nhint: %s", s.user, status, said, hint)
}

// plan renders the hardening for the distribution.
func (s *session) plan(d distribution.Distribution) error {
	tree, err := s.Overlay(d)
	if err != nil {
		return err
	}
	s.now, s.late = split(tree, s.Accounts)
	s.want = map[string]entry{}
	var arguments, profiles []string
	for _, f := range s.now {
		s.want[f.Path] = entryOf(f)
		if path.Dir(f.Path) == bootArguments && path.Ext(f.Path) == ".conf" {
			arguments = append(arguments, image.KernelArguments(string(f.Content))...)
		}
	}
	for _, p := range s.programs {
		s.want[p.Path] = entry{kind: "f", mode: "711", uid: "0", gid: "0", content: p.SHA256}
	}
	if d.Family == distribution.Debian {
		profiles = image.AppArmorProfiles(s.now)
	}
	var boot []string
	for _, a := range d.Boot.Command {
		boot = append(boot, strings.ReplaceAll(a, "${ARGUMENTS}", strings.Join(arguments, " ")))
	}
	s.values = map[string]string{
		"FAMILY":        string(d.Family),
		"NEEDED":        strings.Join(slices.Concat(d.Packages.Needed, d.Packages.Compilers), " "),
		"UNWANTED":      strings.Join(slices.Concat(d.Packages.Forbidden, d.Packages.Session), " "),
		"ACCOUNTS":      strings.Join(s.Accounts, " "),
		"PROFILES":      strings.Join(profiles, " "),
		"ARGUMENTS":     strings.Join(arguments, " "),
		"BOOT_COMMAND":  quoteAll(boot),
		"IMAGE_ID":      s.Name,
		"IMAGE_VERSION": s.Version,
		"BUILD_USER":    s.user,
		"ARMED":         armedDir,
		"NEED_KIB":      "0",
		"NOW_SHA256":    "",
		"LATE_SHA256":   "",
	}
	return nil
}

// compare looks what the machine lacks and installs it.
func (s *session) compare(ctx context.Context) error {
	var managed, hashed strings.Builder
	for _, p := range slices.Sorted(mapKeys(s.want)) {
		managed.WriteString(p + "\x00")
		if s.want[p].kind == "f" {
			hashed.WriteString(p + "\x00")
		}
	}
	if err := s.uploads(ctx, map[string][]byte{"managed.list": []byte(managed.String()), "hashed.list": []byte(hashed.String())}); err != nil {
		return err
	}
	lacking, entries, err := s.lacking(ctx)
	if err != nil {
		return err
	}
	s.result.Digest = digest(entries)
	if len(lacking) == 0 {
		s.state = stateFiles // by an earlier run
		s.Log.InfoContext(ctx, "Nothing to change: the machine has all of the hardening (sha256:"+s.result.Digest+")")
		return nil
	}
	for _, l := range lacking {
		s.Log.DebugContext(ctx, "the machine lacks "+l)
	}
	if err := s.install(ctx, entries); err != nil {
		return err
	}
	if lacking, entries, err = s.lacking(ctx); err != nil {
		return err
	}
	s.result.Digest = digest(entries)
	if len(lacking) > 0 {
		return fmt.Errorf("the machine does not keep what was installed: %s\nhint: something on it changes those files; find what does, and run again", strings.Join(lacking, ", "))
	}
	s.Log.InfoContext(ctx, fmt.Sprintf("%d changes; the machine has all of the hardening (sha256:%s)", len(s.result.Changed), s.result.Digest))
	return nil
}

// lacking asks the machine for its state. An activation that an earlier run has armed is disarmed.
func (s *session) lacking(ctx context.Context) ([]string, map[string]entry, error) {
	out, err := s.must(ctx, "state")
	if err != nil {
		return nil, nil, err
	}
	entries, err := readEntries(out.facts)
	if err != nil {
		return nil, nil, err
	}
	if out.first("armed") != "" {
		s.state = stateArmed
		if _, err := s.must(ctx, "disarm"); err != nil {
			return nil, nil, err
		}
		s.state = stateFiles
	}
	return append(out.all("lacks"), differing(s.want, entries)...), entries, nil
}

// install brings what the machine lacks. Every script can be run again after one that was interrupted.
func (s *session) install(ctx context.Context, entries map[string]entry) error {
	different := differing(s.want, entries)
	var programs strings.Builder
	for i, p := range s.programs {
		name := fmt.Sprintf("program-%d", i)
		fmt.Fprintf(&programs, "%s %s %s %s\n", p.SHA256, name, cmp.Or(p.loader, "-"), p.Path)
	}
	var files []overlay.Fragment
	for _, f := range s.now {
		if slices.Contains(different, f.Path) {
			files = append(files, f)
		}
	}
	set, err := newFileSet(files)
	if err != nil {
		return err
	}
	s.values["NOW_SHA256"] = digestOf(set.archive)

	s.Log.InfoContext(ctx, "Installing packages...")
	s.state = statePackages
	if err := s.change(ctx, "packages"); err != nil {
		return err
	}
	s.state = stateFiles
	for i, p := range s.programs {
		if !slices.Contains(different, p.Path) {
			continue
		}
		s.Log.InfoContext(ctx, fmt.Sprintf("Uploading %s (%d MiB)...", path.Base(p.Path), p.Size>>20))
		if err := s.machine.UploadFile(ctx, path.Join(s.dir, fmt.Sprintf("program-%d", i)), p.source); err != nil {
			return fmt.Errorf("cannot upload %s: %w", p.source, err)
		}
	}
	s.Log.InfoContext(ctx, "Installing programs and files...")
	if err := s.uploads(ctx, map[string][]byte{
		"programs.list": []byte(programs.String()), "now.tar": set.archive, "now.list": set.list, "apparmor.features": []byte(image.AppArmorFeatures()),
	}); err != nil {
		return err
	}
	if err := s.change(ctx, "programs"); err != nil {
		return err
	}
	if err := s.change(ctx, "files"); err != nil {
		return err
	}
	s.Log.InfoContext(ctx, "Setting up the boot loader...")
	return s.change(ctx, "boot")
}

// rehearse runs the activation on a copy in memory, and gets the report on what it leaves.
func (s *session) rehearse(ctx context.Context) error {
	late, err := newFileSet(s.late)
	if err != nil {
		return err
	}
	s.values["LATE_SHA256"] = digestOf(late.archive)
	unit, err := scripts.ReadFile("scripts/" + activationUnit)
	if err != nil {
		return err
	}
	if err := s.uploads(ctx, map[string][]byte{
		"late.tar": late.archive, "late.list": late.list, "activate.sh": script("activate", s.values), activationUnit: unit,
	}); err != nil {
		return err
	}
	out, err := s.must(ctx, "rehearse")
	if err != nil {
		return err
	}
	var report bytes.Buffer
	if err := s.machine.Download(ctx, path.Join(s.dir, "report.json"), &report); err != nil {
		return fmt.Errorf("cannot download the report (hostcheck ended with status %s): %w", out.first("verified"), err)
	}
	if report.Len() == 0 {
		return fmt.Errorf("hostcheck has written no report on the machine (status %s): %s", out.first("verified"), strings.Join(out.all("hostcheck"), "; "))
	}
	s.result.Report = report.Bytes()
	return nil
}

func (s *session) arm(ctx context.Context) error {
	before := s.state
	s.state = stateArmed
	out, err := s.must(ctx, "arm")
	if err != nil {
		return err
	}
	if out.first("armed") == "" {
		s.state = before
		return errors.New("the machine has not armed the activation")
	}
	return nil
}

// change runs a script that changes the machine and says what.
func (s *session) change(ctx context.Context, name string) error {
	out, err := s.must(ctx, name)
	if out != nil {
		s.result.Changed = append(s.result.Changed, out.all("changed")...)
	}
	return err
}

// must runs a script that has to succeed.
func (s *session) must(ctx context.Context, name string) (*output, error) {
	out, status, err := s.script(ctx, name)
	if err != nil {
		return out, err
	}
	var wrong []error
	for _, p := range out.all("problem") {
		wrong = append(wrong, errors.New(p))
	}
	if len(wrong) == 0 && status == 0 {
		return out, nil
	}
	if said := strings.Join(out.last, "; "); said != "" || len(wrong) == 0 {
		wrong = append(wrong, fmt.Errorf("the machine says last (status %d): %s", status, said))
	}
	return out, errors.Join(wrong...)
}

// script uploads a script and runs it as root.
func (s *session) script(ctx context.Context, name string) (*output, int, error) {
	if err := ctx.Err(); err != nil {
		return nil, 0, context.Cause(ctx)
	}
	file := path.Join(s.dir, name+".sh")
	if err := s.machine.Upload(ctx, file, script(name, s.values)); err != nil {
		return nil, 0, fmt.Errorf("cannot upload to the machine: %w", err)
	}
	command, err := s.Execute(file, s.asRoot)
	if err != nil {
		return nil, 0, err
	}
	out := &output{log: s.Log}
	status, err := s.machine.Run(ctx, command, out)
	out.close()
	if err != nil {
		// Never the command itself: it may hold a password.
		return out, status, fmt.Errorf("the connection to the machine failed while %s.sh ran: %w", name, err)
	}
	return out, status, nil
}

func (s *session) uploads(ctx context.Context, files map[string][]byte) error {
	for _, name := range slices.Sorted(mapKeys(files)) {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := s.machine.Upload(ctx, path.Join(s.dir, name), files[name]); err != nil {
			return fmt.Errorf("cannot upload to the machine: %w", err)
		}
	}
	return nil
}
