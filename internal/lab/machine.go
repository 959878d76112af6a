package lab

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strongroom/strongroom/internal/lab/network"
)

// The TCP ports of a node that the lab talks to, unless its image has other ones (see Services).
const (
	PortSSH       = 22 // must be closed
	PortAPI       = 8200
	PortRaft      = 8201
	PortTelemetry = 9810
)

// Services are the TCP ports on which a node serves. They are parameters of its image.
type Services struct{ API, Raft, Telemetry int }

// ServicesOf takes the ports from the parameters of an image; those that are not there are the usual ones.
func ServicesOf(parameters map[string]string) (Services, error) {
	s := Services{PortAPI, PortRaft, PortTelemetry}
	for name, port := range map[string]*int{"api_port": &s.API, "cluster_port": &s.Raft, "agent_port": &s.Telemetry} {
		text, ok := parameters[name]
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return Services{}, fmt.Errorf("parameter %s of the image: %q is not a port", name, text)
		}
		*port = int(n)
	}
	return s, nil
}

// orUsual is what an unset value stands for.
func (s Services) orUsual() Services {
	return Services{cmp.Or(s.API, PortAPI), cmp.Or(s.Raft, PortRaft), cmp.Or(s.Telemetry, PortTelemetry)}
}

// Config says what machine to start.
type Config struct {
	Name            string           // on the network; default "node-1"
	Network         *network.Network // StartNode makes one if there is none
	Disk            *Disk            // the machine boots from it; nil: over the network, which has to say what (network.SetBoot)
	BIOS            bool             // firmware without UEFI, whose network card has iPXE in it
	HTTPBoot        bool             // firmware that starts over the network by HTTP alone
	Extra           []*Disk          // further disks
	TPM             *TPM             // nil: the machine has none
	SecureBoot      *SecureBoot      // nil: the firmware starts anything
	Kernel          *Kernel          // nil: what the firmware finds; else QEMU hands it to the firmware
	LoaderArguments string           // a command line by a boot entry of the firmware, as a boot loader gives one; "" for none
	OEMStrings      []string         // SMBIOS type 11, beside the credentials
	UUID            string           // firmware UUID, from which the guest derives its machine id
	Credentials     []Credential     // systemd credentials, by SMBIOS
	Blocks          []string         // further blocks of the node.hcl that StartNode makes
	MemoryMiB       int              // default 2048
	CPUs            int              // default 2; an emulated machine has one
	Services        Services         // the ports of the image; default the usual ones
	Forwards        []int            // guest TCP ports to reach from the host; default SSH and the services
	Dir             string           // made for what QEMU needs, and removed with the machine; default a temporary one
	ConsoleLog      string           // file for the serial console; default inside Dir
	Live            io.Writer        // what the console shows, as it comes; may be nil
	Log             *slog.Logger
}

// Kernel is what a machine is started with in place of what is on its disk.
type Kernel struct{ Image, Initrd, Arguments string }

// orUsual fills in what is not given, but for the network.
func (c Config) orUsual() Config {
	c.Name = cmp.Or(c.Name, "node-1")
	c.MemoryMiB = cmp.Or(c.MemoryMiB, 2048)
	c.CPUs = cmp.Or(c.CPUs, 2)
	c.Services = c.Services.orUsual()
	if c.Forwards == nil {
		c.Forwards = []int{PortSSH, c.Services.API, c.Services.Raft, c.Services.Telemetry}
	}
	return c
}

// Machine is a running virtual machine.
type Machine struct {
	config   Config
	dir      string // firmware variables, credentials
	console  *console
	stderr   bytes.Buffer
	monitor  *monitor
	lease    *network.Lease
	cable    *network.Cable
	started  time.Time
	forwards map[int]string // guest port → address on the host's loopback
	release  []func()       // what goes with the machine, last first

	cancel  context.CancelFunc // kills QEMU; nil before it was started
	done    chan struct{}      // QEMU has ended
	exitErr error              // valid after done

	mu       sync.Mutex
	shutdown *Shutdown
	closing  sync.Once
}

// Shutdown says how a machine went down.
type Shutdown struct {
	Guest  bool   `json:"guest"`  // the guest asked for it
	Reason string `json:"reason"` // "guest-shutdown", "guest-reset", "guest-panic", "host-qmp-quit", …
}

// ErrStopped means that the machine is not running any more.
var ErrStopped = errors.New("the machine has stopped")

// Start boots a machine and returns as soon as its processors run. When ctx ends, so does the
// machine. The caller closes it.
func Start(ctx context.Context, config Config) (_ *Machine, err error) {
	m := &Machine{config: config.orUsual(), forwards: map[int]string{}, done: make(chan struct{})}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if err := m.makeDir(); err != nil {
		return nil, err
	}
	if m.console, err = newConsole(cmp.Or(config.ConsoleLog, filepath.Join(m.dir, "console.log")), config.Live); err != nil {
		return nil, err
	}
	if err := m.join(); err != nil {
		return nil, err
	}
	arguments, err := m.arguments()
	if err != nil {
		return nil, err
	}
	control, err := m.spawn(ctx, arguments)
	if err != nil {
		return nil, err
	}
	// The monitor answers within milliseconds, or QEMU has refused its arguments.
	starting, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	stop := m.cancelOnExit(cancel)
	defer stop()
	if m.monitor, err = newMonitor(starting, control, m.event); err != nil {
		return nil, m.explain(err)
	}
	// Only now: no event of the boot is missed.
	if err := m.monitor.execute(starting, "cont", nil, nil); err != nil {
		return nil, m.explain(err)
	}
	m.started = time.Now()
	config.Log.DebugContext(ctx, "machine started", "name", m.config.Name, "uuid", config.UUID, "console", m.console.log.Name(), "forwards", fmt.Sprint(m.forwards))
	return m, nil
}

func (m *Machine) makeDir() (err error) {
	if m.dir = m.config.Dir; m.dir == "" {
		m.dir, err = os.MkdirTemp("", "strongroom-vm-")
	} else {
		err = os.MkdirAll(m.dir, 0o700)
	}
	if err != nil {
		return fmt.Errorf("cannot create a directory for the machine: %w", err)
	}
	return nil
}

// join gives the machine its place on the network, and the ways from the host to its ports.
func (m *Machine) join() (err error) {
	if m.lease, err = m.config.Network.Lease(m.config.Name, m.config.Services.API); err != nil {
		return err
	}
	for _, port := range m.config.Forwards {
		address, stop, err := m.config.Network.Forward(m.guest(port))
		if err != nil {
			return err
		}
		m.forwards[port] = address
		m.release = append(m.release, stop)
	}
	return nil
}

func (m *Machine) guest(port int) netip.AddrPort {
	return netip.AddrPortFrom(m.lease.Address, uint16(port))
}

// Dial connects to a TCP port of the guest.
func (m *Machine) Dial(ctx context.Context, port int) (net.Conn, error) {
	return m.config.Network.Dial(ctx, m.guest(port))
}

// Cut and Heal take the machine off its network and bring it back; nothing tells it.
func (m *Machine) Cut()  { m.cable.Cut() }
func (m *Machine) Heal() { m.cable.Heal() }

// IsCut tells whether the machine is off its network.
func (m *Machine) IsCut() bool { return m.cable.IsCut() }

// giveRoom lets QEMU send some thousand frames before anybody reads them. With the kernel's default it is some hundred small ones, and a machine was seen to
// send nothing more after a moment in which this process had no processor.
func giveRoom(cable *os.File) error {
	const room = 4 << 20 // the kernel cuts it to net.core.wmem_max
	raw, err := cable.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot make room on a cable: %w", err)
	}
	var refused error
	err = raw.Control(func(fd uintptr) { refused = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF, room) })
	if err = errors.Join(err, refused); err != nil {
		return fmt.Errorf("cannot make room on a cable: %w", err)
	}
	return nil
}

// spawn starts QEMU and a goroutine that waits for its end. The monitor and the network cable are socket pairs that QEMU
// inherits: nothing of them is in the file system.
func (m *Machine) spawn(ctx context.Context, arguments []string) (control net.Conn, err error) {
	control, controlEnd, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer controlEnd.Close()
	frames, framesEnd, err := socketPair()
	if err != nil {
		control.Close()
		return nil, err
	}
	defer framesEnd.Close()
	if err := giveRoom(framesEnd); err != nil {
		control.Close()
		frames.Close()
		return nil, err
	}
	m.cable = m.config.Network.Attach(m.lease, frames)
	m.release = append(m.release, func() { m.cable.Close() })
	inherited := []*os.File{controlEnd, framesEnd} // monitorDescriptor, networkDescriptor
	if m.config.TPM != nil {
		tpmEnd, stop, err := m.config.TPM.start(ctx)
		if err != nil {
			control.Close()
			return nil, err
		}
		defer tpmEnd.Close()
		m.release = append(m.release, stop)
		inherited = append(inherited, tpmEnd) // tpmDescriptor
	}
	ctx, m.cancel = context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", arguments...)
	cmd.Stdout = m.console
	cmd.Stderr = &m.stderr
	cmd.ExtraFiles = inherited
	cmd.WaitDelay = 5 * time.Second
	if err := startMortal(cmd, func(err error) {
		m.exitErr = err
		close(m.done)
	}); err != nil {
		close(m.done)
		control.Close()
		if errors.Is(err, exec.ErrNotFound) {
			return nil, fmt.Errorf("%w\nhint: install what is missing with `make deps`", err)
		}
		return nil, fmt.Errorf("cannot start QEMU: %w", err)
	}
	return control, nil
}

// cancelOnExit calls cancel when QEMU ends, until the returned function is called.
func (m *Machine) cancelOnExit(cancel context.CancelFunc) (stop func()) {
	stopped := make(chan struct{})
	go func() {
		select {
		case <-m.done:
			cancel()
		case <-stopped:
		}
	}()
	return sync.OnceFunc(func() { close(stopped) })
}

// explain adds what QEMU wrote to stderr, if it has ended.
func (m *Machine) explain(err error) error {
	select {
	case <-m.done:
		if text := bytes.TrimSpace(m.stderr.Bytes()); len(text) > 0 {
			return fmt.Errorf("QEMU has ended: %s", text)
		}
		return fmt.Errorf("QEMU has ended (%v): %w", m.exitErr, err)
	default:
		return err
	}
}

// event notes how the machine ends.
func (m *Machine) event(name string, data json.RawMessage) {
	m.config.Log.Debug("machine event", "event", name, "data", string(data))
	if name != "SHUTDOWN" {
		return
	}
	var shutdown Shutdown
	if json.Unmarshal(data, &shutdown) == nil {
		m.mu.Lock()
		m.shutdown = &shutdown
		m.mu.Unlock()
	}
}

// Address is where a guest port is reached from the host. The port must be among the forwards.
func (m *Machine) Address(guestPort int) string { return m.forwards[guestPort] }

// LastLine is the last line of the console, for progress messages.
func (m *Machine) LastLine() string {
	if tail := m.console.Tail(); len(tail) > 0 {
		return tail[len(tail)-1]
	}
	return ""
}

// ConsoleLog is the file with everything that the guest wrote to its serial console.
func (m *Machine) ConsoleLog() string { return m.console.log.Name() }

// Uptime is the time since the processors were started.
func (m *Machine) Uptime() time.Duration { return time.Since(m.started) }

// Done is closed when the machine has stopped.
func (m *Machine) Done() <-chan struct{} { return m.done }

// Status is QEMU's word for the state of the machine: "running", "internal-error", ….
func (m *Machine) Status(ctx context.Context) (string, error) {
	var status struct {
		Status string `json:"status"`
	}
	err := m.monitor.execute(ctx, "query-status", nil, &status)
	return status.Status, err
}

// Wait waits until the machine has stopped and says how.
func (m *Machine) Wait(ctx context.Context) (Shutdown, error) {
	select {
	case <-ctx.Done():
		return Shutdown{}, fmt.Errorf("the machine still runs: %w", context.Cause(ctx))
	case <-m.done:
	}
	// The event was sent before QEMU ended, and is read up to the end of the connection.
	<-m.monitor.closed
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shutdown == nil {
		return Shutdown{}, m.explain(ErrStopped)
	}
	return *m.shutdown, nil
}

// PowerButton presses the ACPI power button. What the guest makes of it, Wait tells.
func (m *Machine) PowerButton(ctx context.Context) error {
	return m.monitor.execute(ctx, "system_powerdown", nil, nil)
}

// Close ends the machine at once, if it still runs, and removes everything but its disk and a
// console log that the caller named. It may be called twice.
func (m *Machine) Close() error {
	var err error
	m.closing.Do(func() {
		if m.monitor != nil {
			m.quit()
			defer m.monitor.Close()
		}
		if m.cancel != nil {
			m.cancel()
			<-m.done
		}
		for _, release := range slices.Backward(m.release) {
			release()
		}
		if m.console != nil {
			m.console.Close()
		}
		err = os.RemoveAll(m.dir)
	})
	return err
}

// Kill ends the machine as a power cut does: nothing is flushed. Its disk stays.
func (m *Machine) Kill() error {
	m.cancel()
	<-m.done
	return m.Close()
}

// quit lets QEMU end by itself: asked to, it flushes the disk, and killed it does not.
func (m *Machine) quit() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if m.monitor.execute(ctx, "quit", nil, nil) != nil {
		return // it has ended before, or does not answer any more
	}
	select {
	case <-m.done:
	case <-ctx.Done():
	}
}
