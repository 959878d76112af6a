package image

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// toolPath is where host tools are looked up: an ordinary user's PATH often lacks sbin.
const toolPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// sandbox is a mount and PID namespace, for an ordinary user a user namespace too, that exists as
// long as its keeper process does. Its work directory is a tmpfs that only this mount namespace
// knows. So there is nothing to clean up on the host: when the keeper ends, the kernel ends every
// process of the PID namespace and frees the mounts.
type sandbox struct {
	keeper *exec.Cmd
	pipe   io.WriteCloser // the keeper reads it, and ends with it: also when this process is killed
	work   string         // absolute path of the work directory, the same inside and outside
	files  *os.Root       // the work directory as seen from outside; never used for paths in the tree
	log    *slog.Logger
	ended  chan error
	onDisk bool
	closed bool
}

// openSandbox starts the keeper and mounts the work directory.
func openSandbox(cacheDir string, need int64, log *slog.Logger) (*sandbox, error) {
	args := []string{"--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	if os.Geteuid() != 0 {
		if err := requireSubordinateIDs(); err != nil {
			return nil, err
		}
		args = append(args, "--user", "--map-root-user", "--map-auto")
	}
	b := &sandbox{log: log, ended: make(chan error, 1)}
	// The keeper is cat: it does nothing, tells by its echo that the namespaces stand, and ends at end of file.
	b.keeper = exec.Command("unshare", append(args, "--", "cat")...)
	b.keeper.Env = toolEnvironment()
	b.keeper.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is ours to handle
	var stderr bytes.Buffer
	b.keeper.Stderr = &stderr
	in, err := b.keeper.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := b.keeper.StdoutPipe()
	if err != nil {
		return nil, err
	}
	b.pipe = in
	if err := b.keeper.Start(); err != nil {
		return nil, fmt.Errorf("cannot start the bake's namespaces: %w", err)
	}
	if _, err = io.WriteString(in, "ready\n"); err == nil {
		_, err = bufio.NewReader(out).ReadString('\n')
	}
	if err != nil {
		in.Close()
		b.keeper.Wait()
		said := firstOf(stderr.String(), err.Error())
		return nil, withHint(fmt.Errorf("cannot make the bake's namespaces: %s", said), namespaceHint(said))
	}
	go func() { b.ended <- b.keeper.Wait() }()
	if err := b.openWork(cacheDir, need); err != nil {
		return nil, errors.Join(err, b.close())
	}
	return b, nil
}

// openWork mounts the work directory in memory, or makes it on disk when the memory is short.
func (b *sandbox) openWork(cacheDir string, need int64) error {
	if err := b.sweepWork(cacheDir); err != nil {
		return err
	}
	if have := memoryAvailable(); have < need {
		b.log.Warn("not enough memory for the tree, working on disk", "available_mib", have>>20, "wanted_mib", need>>20)
		dir, err := os.MkdirTemp(cacheDir, workPrefix)
		if err != nil {
			return fmt.Errorf("cannot make the work directory: %w", err)
		}
		b.onDisk, b.work = true, dir
		if err := os.Chmod(dir, 0o755); err != nil { // the tree's own users pass through it
			return err
		}
		// A mount of its own, so that one umount takes every mount below it away.
		if err := b.run(b.command(context.Background(), "mount", "--bind", dir, dir)); err != nil {
			return err
		}
	} else {
		// The mount point stays empty on the host, and every bake may use the same one.
		b.work = filepath.Join(cacheDir, "work")
		if err := os.MkdirAll(b.work, 0o755); err != nil {
			return fmt.Errorf("cannot make the mount point of the work directory: %w", err)
		}
		mount := b.command(context.Background(), "mount", "-t", "tmpfs", "-o", fmt.Sprintf("mode=0755,size=%d", 4*need), "strongroom", b.work)
		if err := b.run(mount); err != nil {
			return err
		}
	}
	var err error
	b.files, err = os.OpenRoot(fmt.Sprintf("/proc/%d/root%s", b.keeper.Process.Pid, b.work))
	if err != nil {
		return fmt.Errorf("cannot open the work directory: %w", err)
	}
	if b.onDisk {
		lock, err := b.files.Open(".")
		if err != nil {
			return err
		}
		// Held until the process ends, whatever ends it: an unlocked work directory is a dead bake's.
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			return fmt.Errorf("cannot lock the work directory: %w", err)
		}
	}
	if err := b.files.Mkdir("tmp", 0o777); err != nil {
		return err
	}
	return b.files.Chmod("tmp", os.ModeSticky|0o777) // past the umask: apt's own user works there
}

// path is the absolute path of a file in the work directory, for the argv of a tool.
func (b *sandbox) path(elem ...string) string {
	return filepath.Join(append([]string{b.work}, elem...)...)
}

// command is a host tool inside the namespaces. Cancelling ctx kills it with everything that it started.
func (b *sandbox) command(ctx context.Context, argv ...string) *exec.Cmd {
	pid := b.keeper.Process.Pid
	args := []string{"--target", fmt.Sprint(pid), "--mount", fmt.Sprintf("--pid=/proc/%d/ns/pid_for_children", pid)}
	if os.Geteuid() != 0 {
		args = append(args, "--user")
	}
	args = append(args, "--", "sh", "-c", withUmask, "sh")
	cmd := exec.CommandContext(ctx, "nsenter", append(args, argv...)...)
	cmd.Env = append(toolEnvironment(), "TMPDIR="+b.path("tmp"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// withUmask starts a tool with the umask of every bake: modes of the tree do not depend on who bakes.
const withUmask = `umask 022 && exec "$@"`

// chroot is a command inside the namespaces whose root is a tree in the work directory.
func (b *sandbox) chroot(ctx context.Context, tree string, argv ...string) *exec.Cmd {
	cmd := b.command(ctx, append([]string{"chroot", b.path(tree)}, argv...)...)
	cmd.Env = toolEnvironment()
	return cmd
}

// run runs a command whose output is only for the log. An error carries what the command
// wrote last to stderr.
func (b *sandbox) run(cmd *exec.Cmd) error {
	out := &tail{log: b.log, name: toolName(cmd)}
	if cmd.Stdout == nil {
		cmd.Stdout = out
	}
	cmd.Stderr = out
	b.log.Debug("running", "tool", toolName(cmd), "arguments", cmd.Args[1:])
	err := cmd.Run()
	out.flush()
	if err == nil {
		return nil
	}
	return &toolError{Tool: toolName(cmd), Output: out.text(), Err: err}
}

// output runs a command and returns its standard output.
func (b *sandbox) output(cmd *exec.Cmd) ([]byte, error) {
	var out bytes.Buffer
	cmd.Stdout = &out
	err := b.run(cmd)
	return out.Bytes(), err
}

// close ends the keeper, and so everything in the sandbox.
func (b *sandbox) close() error {
	if b.closed {
		return nil
	}
	b.closed = true
	var err error
	if b.onDisk {
		err = errors.Join(
			b.run(b.command(context.Background(), "umount", "--recursive", "--lazy", b.work)),
			b.run(b.command(context.Background(), "rm", "-rf", "--one-file-system", "--", b.work)), // from inside, like sweepWork
		)
	}
	if b.files != nil {
		b.files.Close()
	}
	b.pipe.Close()
	select {
	case <-b.ended:
	case <-time.After(5 * time.Second):
		b.keeper.Process.Kill()
		<-b.ended
	}
	return err
}

const workPrefix = "work-"

// sweepWork removes the work directories that killed bakes left on disk.
func (b *sandbox) sweepWork(cacheDir string) error {
	dirs, err := filepath.Glob(filepath.Join(cacheDir, workPrefix+"*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		f, err := os.Open(dir)
		if err != nil {
			continue // another bake was faster
		}
		dead := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
		f.Close()
		if !dead {
			continue
		}
		// From inside: as an ordinary user only the namespace's root may remove what the tree's users own.
		if err := b.run(b.command(context.Background(), "rm", "-rf", "--one-file-system", "--", dir)); err != nil {
			return fmt.Errorf("cannot remove what a killed bake left: %w", err)
		}
	}
	return nil
}

// toolEnvironment is what tools see of the caller's environment: how to reach the network.
func toolEnvironment() []string {
	env := []string{"PATH=" + toolPath, "LC_ALL=C.UTF-8", "HOME=/root", "DEBIAN_FRONTEND=noninteractive"}
	for _, name := range []string{"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// toolName is the program of a sandboxed command, without what brings it into the sandbox.
func toolName(cmd *exec.Cmd) string {
	for i, a := range cmd.Args {
		if a != "--" {
			continue
		}
		rest := cmd.Args[i+1:]
		if len(rest) > 4 && rest[2] == withUmask {
			rest = rest[4:]
		}
		if len(rest) > 2 && rest[0] == "chroot" {
			rest = rest[2:]
		}
		if len(rest) > 0 {
			return filepath.Base(rest[0])
		}
	}
	return filepath.Base(cmd.Path)
}

// firstOf is the first text that is not blank.
func firstOf(texts ...string) string {
	for _, t := range texts {
		if t = strings.TrimSpace(t); t != "" {
			return t
		}
	}
	return ""
}
