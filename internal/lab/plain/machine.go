// Package plain makes machines as a cloud or an installer hands them over: Debian from its packages on an ext4 root, GRUB, an SSH
// server, a build user with sudo. They are what the tests of the provisioner harden.
package plain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/strongroom/strongroom/internal/lab"
	"github.com/strongroom/strongroom/internal/lab/network"
)

// Config says what machine to start.
type Config struct {
	Image   *Image
	Name    string           // on the network; default "plain"
	Network *network.Network // the caller's: it outlives the machine
	Dir     string           // for the disk and the console logs
	// Prepare is a script that root runs on the first boot, by SSH: what makes this machine another one than the image.
	Prepare string
	Log     *slog.Logger
}

// Machine is a plain machine, over its reboots. The address that it is reached by is another one after each.
type Machine struct {
	config  Config
	boots   int
	running *lab.Machine

	Disk *lab.Disk
	UUID string
}

// Start boots a fresh machine and waits until its SSH server lets the build user in. When ctx ends, so does the machine.
func Start(ctx context.Context, config Config) (*Machine, error) {
	config.Name = cmp.Or(config.Name, "plain")
	disk, err := lab.NewDisk(ctx, config.Dir, config.Image.Disk)
	if err != nil {
		return nil, err
	}
	m := &Machine{config: config, Disk: disk, UUID: lab.NewUUID()}
	if err := m.boot(ctx); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	if config.Prepare != "" {
		if _, err := m.Run(ctx, "sudo sh -eu", config.Prepare); err != nil {
			return nil, errors.Join(fmt.Errorf("cannot prepare the machine: %w", err), m.Close())
		}
	}
	return m, nil
}

// Scripts for Prepare.
const (
	// NoExec mounts /tmp so that nothing on it can be executed, now and after each boot.
	NoExec = `echo 'tmpfs /tmp tmpfs mode=1777,nosuid,nodev,noexec 0 0' >>/etc/fstab; systemctl daemon-reload; mount /tmp` + "\n"
	// NoBash gives the build user a plain shell, and takes bash away from it.
	NoBash = `usermod --shell /bin/dash ` + User + `; chgrp root /usr/bin/bash; chmod 0700 /usr/bin/bash` + "\n"
	// SudoPassword is the password that [AskPassword] sets.
	SudoPassword = "correct horse battery staple"
	// AskPassword makes sudo ask the build user for its password.
	AskPassword = `echo '` + User + `:` + SudoPassword + `' | chpasswd; echo '` + User + ` ALL=(ALL) ALL' >/etc/sudoers.d/90-build` + "\n"
)

// boot starts QEMU on the disk and waits for SSH.
func (m *Machine) boot(ctx context.Context) error {
	m.boots++
	machine, err := lab.Start(ctx, lab.Config{
		Name: m.config.Name, Network: m.config.Network, Disk: m.Disk, UUID: m.UUID, Forwards: []int{lab.PortSSH},
		ConsoleLog: m.ConsoleLog(), Log: m.config.Log,
	})
	if err != nil {
		return err
	}
	m.running = machine
	client, err := m.await(ctx)
	if err != nil {
		return err
	}
	return client.Close()
}

// ConsoleLog is the file with the console since the last start.
func (m *Machine) ConsoleLog() string {
	return fmt.Sprintf("%s/%s-boot-%d.log", m.config.Dir, m.config.Name, m.boots)
}

// Address is where the SSH server is reached from the host.
func (m *Machine) Address() string { return m.running.Address(lab.PortSSH) }

const (
	pollInterval = 500 * time.Millisecond
	bootTimeout  = 6 * time.Minute // emulated, a boot takes one or two on idle cores
)

// await connects as soon as the SSH server answers.
func (m *Machine) await(ctx context.Context) (*ssh.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, bootTimeout)
	defer cancel()
	for {
		client, err := m.dial(ctx)
		if err == nil {
			return client, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("no SSH: %w; the last line of the console: %s", err, m.running.LastLine())
		case <-m.running.Done():
			return nil, fmt.Errorf("%w; the last line of the console: %s", lab.ErrStopped, m.running.LastLine())
		case <-time.After(pollInterval):
		}
	}
}

// dial is one attempt. An emulated guest is slow at a handshake.
func (m *Machine) dial(ctx context.Context) (*ssh.Client, error) {
	const patience = time.Minute
	dialer := net.Dialer{Timeout: patience}
	conn, err := dialer.DialContext(ctx, "tcp", m.Address())
	if err != nil {
		return nil, err
	}
	conn.SetDeadline(time.Now().Add(patience))
	c, channels, requests, err := ssh.NewClientConn(conn, m.Address(), &ssh.ClientConfig{
		User: User, Auth: []ssh.AuthMethod{ssh.PublicKeys(m.config.Image.signer)},
		HostKeyCallback: ssh.InsecureIgnoreHostKey(), // the network is inside this process
	})
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	return ssh.NewClient(c, channels, requests), nil
}

// SSH connects once, without waiting: the way to see whether the machine still lets anybody in.
func (m *Machine) SSH(ctx context.Context) (*ssh.Client, error) { return m.dial(ctx) }

// Run runs a command as the build user and returns what it wrote. An error has that too.
func (m *Machine) Run(ctx context.Context, command, stdin string) (string, error) {
	client, err := m.await(ctx)
	if err != nil {
		return "", fmt.Errorf("cannot connect to the machine: %w", err)
	}
	defer client.Close()
	defer context.AfterFunc(ctx, func() { client.Close() })()
	session, err := client.NewSession()
	if err != nil {
		return "", fmt.Errorf("cannot open a session on the machine: %w", err)
	}
	defer session.Close()
	var output transcript
	session.Stdin, session.Stdout, session.Stderr = strings.NewReader(stdin), &output, &output
	err = session.Run(command)
	text := strings.TrimSpace(output.String())
	if err != nil {
		return text, fmt.Errorf("%s: %w: %s", command, err, text)
	}
	return text, nil
}

// transcript takes what two streams write, in the order in which it comes.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.Write(p)
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// Stop shuts the machine down from inside, by `poweroff` or `reboot`, and waits for its end.
func (m *Machine) Stop(ctx context.Context, verb string) (lab.Shutdown, error) {
	// The connection may end before its answer has come.
	var missing *ssh.ExitMissingError
	if _, err := m.Run(ctx, "sudo systemctl "+verb, ""); err != nil && !errors.As(err, &missing) && !errors.Is(err, io.EOF) {
		return lab.Shutdown{}, err
	}
	shutdown, err := m.running.Wait(ctx)
	if err != nil {
		return shutdown, err
	}
	return shutdown, m.running.Close()
}

// Reboot shuts the machine down for a reboot, and starts it again on its disk.
func (m *Machine) Reboot(ctx context.Context) error {
	shutdown, err := m.Stop(ctx, "reboot")
	if err != nil {
		return err
	}
	if shutdown.Reason != "guest-reset" {
		return fmt.Errorf("the machine went down by %s, want a reboot", shutdown.Reason)
	}
	return m.boot(ctx)
}

// StartNode starts the machine as a node, after Stop: with a node.hcl and certificates of the authority, and the ports of the services
// forwarded. The caller closes the node.
func (m *Machine) StartNode(ctx context.Context, authority *lab.Authority) (*lab.Node, error) {
	m.boots++
	return lab.StartNode(ctx, authority, lab.Config{
		Name: m.config.Name, Network: m.config.Network, Disk: m.Disk, UUID: m.UUID, ConsoleLog: m.ConsoleLog(), Log: m.config.Log,
	})
}

// Close ends the machine at once, if it still runs.
func (m *Machine) Close() error {
	if m.running == nil {
		return nil
	}
	return m.running.Close()
}
