//go:build bake

package metal

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed" // the script
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// early are the commands of each installer's file that look at the disk, as the installer finds them there.
func early(t *testing.T, c Config) string {
	t.Helper()
	text := string(render(c, someDigest))
	switch Installer(c.Distribution) {
	case Preseed:
		// A backslash at the end of a line joins it to the next.
		for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", "")) {
			if value, ok := strings.CutPrefix(line, "d-i partman/early_command string "); ok {
				return value
			}
		}
	case Kickstart:
		_, rest, _ := strings.Cut(text, "\n%pre ")
		_, rest, _ = strings.Cut(rest, "\n")
		if script, _, ok := strings.Cut(rest, "%end\n"); ok {
			return script
		}
	case Autoinstall:
		var data struct {
			Autoinstall struct {
				Early []string `yaml:"early-commands"`
			}
		}
		if err := yaml.Unmarshal([]byte(text), &data); err != nil {
			t.Fatal(err)
		}
		if len(data.Autoinstall.Early) == 1 {
			return data.Autoinstall.Early[0]
		}
	}
	t.Fatalf("%s: no commands that look at the disk", c.Distribution.ID)
	return ""
}

// attempt is what an installer's early commands made of a disk.
type attempt struct {
	console string // its first line
	refused bool
	set     string // what they told the installer
}

//go:embed testdata/installer.sh
var installerRun string

// try runs the early commands on a loop device whose name below /dev/disk/by-id is that of the config, as root of a namespace in which nothing
// that they write stays. present says whether the disk has that name.
func try(t *testing.T, c Config, device string, present bool) attempt {
	t.Helper()
	dir := t.TempDir()
	pipe := filepath.Join(dir, "console")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	console, err := os.OpenFile(pipe, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer console.Close()
	if err := os.WriteFile(filepath.Join(dir, "command"), []byte(early(t, c)), 0o600); err != nil {
		t.Fatal(err)
	}
	name := c.Disk
	if !present {
		name += "-other"
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
		"sh", "-c", installerRun, "installer.sh", dir, device, name, Installer(c.Distribution), "", "")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		err := cmd.Wait()
		io.WriteString(console, "ended without a word\n") // so that there is always a line
		ended <- err
	}()
	line, err := bufio.NewReader(console).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	a := attempt{console: strings.TrimSpace(line)}
	if Installer(c.Distribution) == Preseed && strings.HasPrefix(a.console, "strongroom: ") {
		// Debian's installer goes on after an error, so the refusal must not end.
		a.refused = syscall.Kill(cmd.Process.Pid, 0) == nil
		cancel()
		<-ended
		return a
	}
	a.refused = <-ended != nil
	set, err := os.ReadFile(filepath.Join(dir, "set"))
	if err != nil {
		t.Fatalf("%v: %s", err, said.Bytes())
	}
	a.set = string(set)
	if a.refused && !strings.HasPrefix(a.console, "strongroom: ") {
		t.Errorf("%s", said.Bytes())
	}
	return a
}

// loopDisk is an image of 64 MiB behind a loop device.
func loopDisk(t *testing.T, fill func(t *testing.T, image string)) (device, image string) {
	t.Helper()
	image = filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, diskSize); err != nil {
		t.Fatal(err)
	}
	if fill != nil {
		fill(t, image)
	}
	out, err := exec.Command("losetup", "--find", "--show", "--partscan", image).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", device).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return device, image
}

const diskSize = 64 << 20

func sumOf(t *testing.T, file string) [32]byte {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(content)
}

// put writes bytes at a place of the disk.
func put(offset int64, content string) func(*testing.T, string) {
	return func(t *testing.T, image string) {
		t.Helper()
		f, err := os.OpenFile(image, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte(content), offset); err != nil {
			t.Fatal(err)
		}
	}
}

// tool lets a program make of the disk what it makes of disks.
func tool(stdin string, argv ...string) func(*testing.T, string) {
	return func(t *testing.T, image string) {
		t.Helper()
		cmd := exec.Command(argv[0], append(argv[1:], image)...)
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = append(os.Environ(), "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
}

// foreign are disks that belong to somebody.
var foreign = map[string]func(*testing.T, string){
	"ext4":                    tool("", "mke2fs", "-q", "-t", "ext4", "-F"),
	"FAT":                     tool("", "mkfs.vfat"),
	"GPT with a partition":    tool("label: gpt\nsize=8M\n", "sfdisk", "--quiet"),
	"MBR with a partition":    tool("label: dos\nsize=8M\n", "sfdisk", "--quiet"),
	"GPT without a partition": tool("label: gpt\n", "sfdisk", "--quiet"),
	"GPT of which the end is left": func(t *testing.T, image string) {
		tool("label: gpt\n", "sfdisk", "--quiet")(t, image)
		put(0, strings.Repeat("\x00", 1<<20))(t, image)
	},
	"LUKS":                          put(0, "LUKS\xba\xbe\x00\x02"),
	"LVM":                           put(512, "LABELONE"),
	"btrfs":                         put(64<<10+64, "_BHRfS_M"),
	"RAID with its mark at the end": put(diskSize-8192, "\xfc\x4e\x2b\xa9"),
	"a raw database":                put(0, "something of somebody's"),
	"one byte at 3 MiB":             put(3<<20+77, "\x01"),
	"the last byte":                 put(diskSize-1, "\x01"),
}

// installers are one distribution for each installer.
var installers = map[string]string{Preseed: "debian/trixie", Kickstart: "rhel/10", Autoinstall: "ubuntu/noble"}

// A disk that holds somebody's data is refused by each installer's own commands, which are told why, and is the same bit for bit.
func TestForeignDiskSurvives(t *testing.T) {
	needsRoot(t)
	for name, fill := range foreign {
		t.Run(name, func(t *testing.T) {
			device, image := loopDisk(t, fill)
			before := sumOf(t, image)
			for installer, id := range installers {
				a := try(t, config(t, id), device, true)
				if !a.refused || !strings.HasPrefix(a.console, "strongroom: the disk /dev/disk/by-id/ata-DISK_1234 ") || !strings.Contains(a.console, " and is left alone") || a.set != "" {
					t.Errorf("%s: %+v", installer, a)
				}
			}
			if sumOf(t, image) != before {
				t.Error("the disk has changed")
			}
		})
	}
}

// A disk that cannot be read, or is not there, is refused too: nobody knows what is on it.
func TestUnreadableDiskIsRefused(t *testing.T) {
	needsRoot(t)
	for name, c := range map[string]struct {
		present bool
		size    int64
		says    string
	}{
		"half of it cannot be read": {true, diskSize / 2, "holds data"},
		"all of it cannot be read":  {true, 0, "holds data"},
		"it is not there":           {false, diskSize, "there is no disk"},
	} {
		t.Run(name, func(t *testing.T) {
			device, image := loopDisk(t, nil)
			if err := os.Truncate(image, c.size); err != nil {
				t.Fatal(err)
			}
			for installer, id := range installers {
				if a := try(t, config(t, id), device, c.present); !a.refused || !strings.Contains(a.console, c.says) || a.set != "" {
					t.Errorf("%s: %+v", installer, a)
				}
			}
		})
	}
}

// An empty disk is taken, and so is another where overwriting is allowed; looking changes neither.
func TestEmptyDiskIsTaken(t *testing.T) {
	needsRoot(t)
	for name, overwrite := range map[string]bool{"empty": false, "overwritten": true} {
		t.Run(name, func(t *testing.T) {
			var fill func(*testing.T, string)
			if overwrite {
				fill = foreign["GPT with a partition"]
			}
			device, image := loopDisk(t, fill)
			before := sumOf(t, image)
			for installer, id := range installers {
				c := config(t, id)
				c.Overwrite = overwrite
				a := try(t, c, device, true)
				want := map[string]string{
					Preseed: "partman-auto/disk " + device + "\ngrub-installer/bootdev " + device + "\n", Kickstart: "", Autoinstall: "path: " + device + "\n",
				}[installer]
				if a.refused || a.console != "ended 0" || a.set != want {
					t.Errorf("%s: %+v", installer, a)
				}
			}
			if sumOf(t, image) != before {
				t.Error("the disk has changed")
			}
		})
	}
}

func needsRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: loop devices and mounts")
	}
}
