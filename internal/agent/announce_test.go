package agent

import (
	"context"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coreos/go-systemd/v22/journal"

	"github.com/strongroom/strongroom/internal/check"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host"
	"github.com/strongroom/strongroom/internal/report"
	"github.com/strongroom/strongroom/internal/telemetry"
	"github.com/strongroom/strongroom/internal/watch"
)

// An announcement is looked at at once, and the journal says who has announced what it finds. One that never ends costs no more than a few looks.
func TestAnnouncements(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine(t)
		m.gateSays(check.Pass)
		m.vault.Active = "active"
		a := m.agent
		a.material = newRenewable("", "", a.Log, a.Exporter.SetTLSExpiry)
		a.announcements = newAnnouncements()
		var looks []time.Time
		during := func() {}
		a.Judge = func(_ context.Context, stage control.Stage) (*report.Document, error) {
			looks = append(looks, time.Now())
			during()
			return verdict(stage, m.host), nil
		}
		announced := ""
		a.Journal = telemetry.NewJournal(func(_ string, _ journal.Priority, fields map[string]string) error {
			if fields["STRONGROOM_CONTROL"] != "" {
				announced = fields["STRONGROOM_ANNOUNCED"]
			}
			return nil
		})
		var changed func(watch.Source)
		a.Watch = func(ctx context.Context, l watch.Listener) {
			changed = l.Changed
			<-ctx.Done()
		}
		ctx, cancel := context.WithCancel(t.Context())
		a.listen(ctx)
		done := make(chan error, 1)
		go func() { done <- a.loop(ctx, nil) }()
		time.Sleep(settleTime + time.Minute + time.Second)

		m.host = check.Fail
		before, began := len(looks), time.Now()
		changed(watch.Systemd)
		changed(watch.Mounts)
		changed(watch.Mounts)
		time.Sleep(time.Second)
		switch {
		case len(looks) != before+1:
			t.Errorf("%d looks for what belongs together", len(looks)-before)
		case looks[before].Sub(began) > 50*time.Millisecond:
			t.Errorf("looked after %s", looks[before].Sub(began))
		}
		if announced != "mounts systemd" {
			t.Errorf("the journal says that %q has announced it", announced)
		}
		m.host = check.Pass
		time.Sleep(2 * a.Interval)
		if announced != "reading" {
			t.Errorf("the journal says that %q has announced what nobody has", announced)
		}

		// What changes while the agent looks may have been read before: it looks again.
		time.Sleep(time.Minute)
		before = len(looks)
		during = func() {
			during = func() {}
			m.host = check.Fail
			changed(watch.Nftables)
		}
		changed(watch.Routes)
		time.Sleep(time.Second)
		if len(looks) != before+2 || announced != "nftables routes" {
			t.Errorf("%d looks, announced by %q", len(looks)-before, announced)
		}
		m.host = check.Pass

		time.Sleep(time.Minute)
		before = len(looks)
		for range 6000 {
			changed(watch.Routes)
			time.Sleep(10 * time.Millisecond)
		}
		if n := len(looks) - before; n < 12 || n > 24 {
			t.Errorf("%d looks in a minute of announcements", n)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		a.tasks.Wait()
	})
}

func TestReads(t *testing.T) {
	var reads Reads
	for _, path := range []string{
		"/proc/sys/vm/swappiness", "/proc/cmdline", "/proc/1/status", "/sys/kernel/kexec_loaded", "/etc/passwd", "/etc/passwd",
		"/run/vault", "/run/vault/tls.crt", "/run/sealed/file", "/runny", "/var/lib/x",
	} {
		reads.Note(path)
	}
	mounts := []host.Mount{
		{Point: "/", Options: []string{"ro"}}, {Point: "/proc", Options: []string{"rw"}}, {Point: "/sys", Options: []string{"rw"}}, {Point: "/run", Options: []string{"rw"}},
		{Point: "/run/sealed", Options: []string{"ro"}}, {Point: "/var", Options: []string{"ro"}}, {Point: "/var", Options: []string{"rw"}},
	}
	want := []string{"/proc/sys/vm/swappiness", "/run/vault", "/run/vault/tls.crt", "/sys/kernel/kexec_loaded", "/var/lib/x"}
	if got := slices.Sorted(maps.Keys(reads.Take(mounts))); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := reads.Take(mounts); len(got) > 0 {
		t.Errorf("again: %v", got)
	}
}
