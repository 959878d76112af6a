package host_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/host/hosttest"
)

// everything asks all there is to ask.
func everything(h host.Host) map[string]any {
	ctx := context.Background()
	type result struct {
		Value any
		Kinds []bool
	}
	out := map[string]any{}
	note := func(name string, value any, err error) {
		r := result{Value: value}
		for _, kind := range []error{fs.ErrNotExist, fs.ErrPermission, host.ErrNotRunning, host.ErrNotRecorded, host.ErrTooLarge} {
			r.Kinds = append(r.Kinds, errors.Is(err, kind))
		}
		r.Kinds = append(r.Kinds, err != nil)
		out[name] = r
	}
	for _, p := range []string{"/etc/passwd", "/etc/binary", "/nowhere", "/closed", "/link", "/etc"} {
		b, err := h.ReadFile(p)
		note("ReadFile"+p, string(b), err)
		i, err := h.Lstat(p)
		note("Lstat"+p, i, err)
		i, err = h.Stat(p)
		note("Stat"+p, i, err)
		d, err := h.ReadDir(p)
		note("ReadDir"+p, d, err)
	}
	v1, err := h.Swaps()
	note("Swaps", v1, err)
	v2, err := h.Mounts()
	note("Mounts", v2, err)
	v3, err := h.KernelArguments()
	note("KernelArguments", v3, err)
	v4, err := h.Modules()
	note("Modules", v4, err)
	v5, err := h.Listeners()
	note("Listeners", v5, err)
	v6, err := h.Process(7)
	note("Process7", v6, err)
	v7, err := h.Process(8)
	note("Process8", v7, err)
	v8, err := h.Unit(ctx, "vault.service")
	note("Unit vault", v8, err)
	v9, err := h.Unit(ctx, "ssh.service")
	note("Unit ssh", v9, err)
	v10, err := h.Units(ctx)
	note("Units", v10, err)
	v11, err := h.Ruleset(ctx)
	note("Ruleset", v11, err)
	return out
}

func recordedHost() *hosttest.Host {
	return hosttest.New().
		File("/etc/passwd", "root:x:0:0:root:/root:/bin/sh\n").
		File("/etc/binary", "\xff\x00\xfe").
		File("/etc/os-release", "ID=x\nPRETTY_NAME=\"Strong Linux\"\nIMAGE_VERSION=1.2\n").
		File("/proc/sys/kernel/osrelease", "6.12.1\n").
		Symlink("/link", "etc/passwd").
		FailFile("/closed", fs.ErrPermission).
		SetSwaps().
		SetMounts(host.Mount{Point: "/", FSType: "squashfs", Options: []string{"ro"}}).
		SetKernelArguments("lockdown=confidentiality", "x=<&>").
		SetModules("b", "a").
		SetListeners(host.Listener{Protocol: "tcp", Address: "::", Port: 8200, UID: 100}).
		SetProcess(host.Process{PID: 7, CapBounding: 1<<63 + 1, Limits: map[string]host.Limit{"Max core file size": {0, host.NoLimit}}}).
		SetUnit(host.Unit{Name: "vault.service", ActiveState: "active", Properties: map[string]string{"LimitCORE": "0"}}).
		SetNoUnit("ssh.service").
		SetUnits(host.UnitStatus{Name: "vault.service", LoadState: "loaded", ActiveState: "active"}).
		FailFact("Ruleset", host.ErrNotRunning)
}

func TestReplayAnswersLikeTheHost(t *testing.T) {
	h := recordedHost()
	recorder := host.NewRecorder(h)
	want := everything(recorder)
	var first, second bytes.Buffer
	_, err := recorder.WriteTo(&first)
	must(t, err)
	replay, err := host.Replay(bytes.NewReader(first.Bytes()))
	must(t, err)
	again := host.NewRecorder(replay)
	if diff := cmp.Diff(want, everything(again)); diff != "" {
		t.Errorf("host, replay:\n%s", diff)
	}
	if got := replay.About(); got != (host.CaptureHost{Kernel: "6.12.1", Distribution: "Strong Linux", ImageVersion: "1.2"}) {
		t.Errorf("about: %+v", got)
	}
	// Recording in another order gives the same bytes.
	other := host.NewRecorder(h)
	_, _ = other.Ruleset(t.Context())
	_, _ = other.Swaps()
	everything(other)
	_, err = other.WriteTo(&second)
	must(t, err)
	if first.String() != second.String() {
		t.Error("two recordings of one host differ")
	}
	if !strings.Contains(first.String(), `"schema": "strongroom.capture/v1"`) {
		t.Error("no schema")
	}
}

func TestReplayIsLoudAboutWhatWasNotAsked(t *testing.T) {
	recorder := host.NewRecorder(recordedHost())
	_, _ = recorder.Lstat("/etc/passwd")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = host.NewRecorder(recordedHost().FailFact("Units", cancelled.Err())).Units(cancelled)
	var b bytes.Buffer
	_, err := recorder.WriteTo(&b)
	must(t, err)
	replay, err := host.Replay(&b)
	must(t, err)
	if _, err := replay.Stat("/etc/passwd"); !errors.Is(err, host.ErrNotRecorded) || errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Stat, where Lstat was recorded: %v", err)
	}
	if _, err := replay.ReadFile("/absent"); !errors.Is(err, host.ErrNotRecorded) || !strings.Contains(err.Error(), "/absent") {
		t.Errorf("ReadFile: %v", err)
	}
	if _, err := replay.Units(t.Context()); !errors.Is(err, host.ErrNotRecorded) {
		t.Errorf("Units: %v", err)
	}
}

func TestAnInterruptedQuestionIsNotRecorded(t *testing.T) {
	for _, err := range []error{context.Canceled, context.DeadlineExceeded, host.ErrNotRecorded} {
		recorder := host.NewRecorder(hosttest.New().FailFact("Swaps", err))
		if _, got := recorder.Swaps(); !errors.Is(got, err) {
			t.Errorf("the recorder passed on %v", got)
		}
		var b bytes.Buffer
		_, e := recorder.WriteTo(&b)
		must(t, e)
		if strings.Contains(b.String(), "Swaps") {
			t.Errorf("%v was recorded: %s", err, b.String())
		}
	}
}

func TestRecorderIsConcurrent(t *testing.T) {
	recorder := host.NewRecorder(recordedHost())
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() { everything(recorder) })
	}
	group.Wait()
	_, err := recorder.WriteTo(&bytes.Buffer{})
	must(t, err)
}

func TestSecretsNeverReachTheRecording(t *testing.T) {
	const key = "-----BEGIN RSA PRIVATE KEY-----\nU0VDUkVU\n-----END RSA PRIVATE KEY-----\n"
	h := hosttest.New().
		File("/etc/ssl/server.pem", "-----BEGIN CERTIFICATE-----\nUFVCTElD\n-----END CERTIFICATE-----\n"+key).
		File("/etc/ssl/cut.pem", "-----BEGIN OPENSSH PRIVATE KEY-----\nU0VDUkVU\n").
		File("/etc/shadow", "root:*:1::::::\na:$y$j9T$SECRETSALT$SECRETHASH:1::::::\nb:!$6$SECRETSALT$SECRETHASH:1::::::\nc::1::::::\nd:!:1::::::\ne:SECRETDESHASH:1::::::\nf:!!SECRETDESHASH:1::::::\n").
		File("/etc/shadow-", "a:$y$j9T$SECRETSALT$SECRETHASH:1::::::\n").
		File("/etc/vault.d/vault.hcl", "token = \"SECRET\"\nseal \"transit\" { token = \"hvs.SECRETSECRETSECRETSECRET\"\n tls_key_file = \"/run/vault/tls/key\" }\nlog_level = \"info\"\npassword=\"/run/secret-path\"\n").
		File("/etc/env", "VAULT_TOKEN=s.SECRETSECRETSECRETSECRET01\nAWS_SECRET_ACCESS_KEY=SECRETSECRET\nURL=https://user:SECRET@db.example/x\n").
		File("/etc/auth.json", `{"password": "SECRET", "user": "vault"}`).
		File("/run/credentials/vault.service/strongroom.node.hcl", "anything SECRET").
		File("/proc/7/environ", "A=SECRET").
		File("/etc/systemd/system/a.service", "[Service]\nSetCredential=a:SECRET\n").
		SetKernelArguments("systemd.set_credential=name:SECRET", "quiet").
		SetUnit(host.Unit{Name: "a.service", Properties: map[string]string{"SetCredential": `[["x","SECRET"]]`, "Environment": "DB_PASSWORD=SECRETSECRET X=1"}})
	recorder := host.NewRecorder(h)
	files := []string{
		"/etc/ssl/server.pem", "/etc/ssl/cut.pem", "/etc/shadow", "/etc/shadow-", "/etc/vault.d/vault.hcl", "/etc/env", "/etc/auth.json",
		"/run/credentials/vault.service/strongroom.node.hcl", "/proc/7/environ",
		"/etc/systemd/system/a.service",
	}
	for _, f := range files {
		b, err := recorder.ReadFile(f)
		must(t, err)
		if !bytes.Contains(b, []byte("SECRET")) && !bytes.Contains(b, []byte("U0VDUkVU")) {
			t.Errorf("%s: the recorder changed what it passes on: %s", f, b)
		}
	}
	_, err := recorder.KernelArguments()
	must(t, err)
	_, err = recorder.Unit(t.Context(), "a.service")
	must(t, err)
	var out bytes.Buffer
	_, err = recorder.WriteTo(&out)
	must(t, err)
	for _, secret := range []string{"SECRET", "U0VDUkVU"} {
		for line := range strings.Lines(strings.ReplaceAll(out.String(), "AWS_SECRET_ACCESS_KEY", "")) {
			if strings.Contains(line, secret) {
				t.Errorf("in the recording: %s", line)
			}
		}
	}
	replay, err := host.Replay(&out)
	must(t, err)
	for file, want := range map[string]string{
		"/etc/shadow":            "root:*:1::::::\na:$y$[redacted]:1::::::\nb:!$6$[redacted]:1::::::\nc::1::::::\nd:!:1::::::\ne:[redacted]:1::::::\nf:!![redacted]:1::::::\n",
		"/etc/ssl/server.pem":    "-----BEGIN CERTIFICATE-----\nUFVCTElD\n-----END CERTIFICATE-----\n-----BEGIN RSA PRIVATE KEY-----\n[redacted]\n-----END RSA PRIVATE KEY-----\n",
		"/etc/vault.d/vault.hcl": "token = \"[redacted]\"\nseal \"transit\" { token = \"hvs.[redacted]\"\n tls_key_file = \"/run/vault/tls/key\" }\nlog_level = \"info\"\npassword=\"/run/secret-path\"\n",
		"/etc/auth.json":         `{"password": "[redacted]", "user": "vault"}`,
		"/etc/env":               "VAULT_TOKEN=s.[redacted]\nAWS_SECRET_ACCESS_KEY=[redacted]\nURL=https://user:[redacted]@db.example/x\n",
	} {
		b, err := replay.ReadFile(file)
		must(t, err)
		if string(b) != want {
			t.Errorf("%s:\n got %q\nwant %q", file, b, want)
		}
	}
}

func TestRedactionLeavesHardeningAlone(t *testing.T) {
	const text = `PasswordAuthentication no
PASS_MAX_DAYS 99999
password requisite pam_pwquality.so retry=3
kernel.kptr_restrict = 2
LoadCredential=strongroom.tls.key
SystemCallFilter=~@swap @reboot
token_period = "768h"
root:x:0:0:root:/root:/usr/sbin/nologin
disable_mlock = false
tls_cert_file = "/run/vault/tls/cert.pem"
api_addr = "https://10.0.0.1:8200"
`
	recorder := host.NewRecorder(hosttest.New().File("/etc/x", text))
	_, _ = recorder.ReadFile("/etc/x")
	var b bytes.Buffer
	_, err := recorder.WriteTo(&b)
	must(t, err)
	replay, err := host.Replay(&b)
	must(t, err)
	got, err := replay.ReadFile("/etc/x")
	must(t, err)
	if diff := cmp.Diff(text, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestReplayRefusesWhatIsNoRecording(t *testing.T) {
	for _, c := range []string{
		``, `{}`, `[]`, `{"schema":"strongroom.capture/v2","host":{},"answers":[]}`,
		`{"schema":"strongroom.capture/v1","host":{},"answers":[],"more":1}`,
		`{"schema":"strongroom.capture/v1","host":{},"answers":[{"method":"Swaps"}]}`,
		`{"schema":"strongroom.capture/v1","host":{},"answers":[{"method":"Swaps","value":[]},{"method":"Swaps","value":[]}]}`,
	} {
		if _, err := host.Replay(strings.NewReader(c)); err == nil {
			t.Errorf("accepted %s", c)
		}
	}
}

func TestReplayIsLoudAboutAnAnswerThatIsNone(t *testing.T) {
	for _, value := range []string{`null`, `[]`, `{"mode": "420"}`, `{"mode": 4294967296}`, `{"mode": -1}`, `{"uid": 1.5}`, `{"size": null}`, `{"target": 1}`, `{"mode": 1, "mode": 2}`, `{"more": 1}`, `{"text": 1}`, `{"base64": "?"}`} {
		replay, err := host.Replay(strings.NewReader(`{"schema":"strongroom.capture/v1","host":{},"answers":[
			{"method":"Lstat","argument":"/x","value":` + value + `},{"method":"ReadFile","argument":"/x","value":` + value + `}]}`))
		must(t, err)
		if _, err := replay.Lstat("/x"); err == nil || !strings.Contains(err.Error(), "Lstat(/x)") {
			t.Errorf("Lstat takes %s: %v", value, err)
		}
		if _, err := replay.ReadFile("/x"); err == nil || !strings.Contains(err.Error(), "ReadFile(/x)") {
			t.Errorf("ReadFile takes %s: %v", value, err)
		}
	}
}
