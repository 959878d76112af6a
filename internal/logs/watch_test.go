package logs

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const (
	byRoot   = `{"time":"2026-11-23T01:02:03.5Z","type":"request","auth":{"policies":["default","root"]},"request":{"id":"r-1","operation":"read","path":"kv/a","remote_address":"10.0.0.9"}}`
	answer   = `{"time":"2026-11-23T01:02:03.6Z","type":"response","auth":{"policies":["root"]},"request":{"id":"r-1","operation":"read","path":"kv/a"},"response":{"data":{"complete":"hmac-sha256:1"}}}`
	byOthers = `{"time":"2026-11-23T01:02:04Z","type":"request","auth":{"policies":["default"]},"request":{"id":"r-2","operation":"read","path":"kv/\"root\"","remote_address":"10.0.0.9"}}`
	handed   = `{"time":"2026-11-23T01:02:05Z","type":"response","request":{"id":"r-3","operation":"update","path":"auth/token/create"},"response":{"auth":{"policies":["root"]}}}`
	ceremony = `{"time":"2026-11-23T01:02:06Z","type":"response","request":{"id":"r-4","operation":"update","path":"sys/generate-root/update"},"response":{"data":{"complete":true}}}`
	share    = `{"time":"2026-11-23T01:02:06Z","type":"response","request":{"id":"r-4","operation":"update","path":"sys/generate-root/update"},"response":{"data":{"complete":false}}}`
)

func TestEntries(t *testing.T) {
	for line, want := range map[string]string{
		byRoot: "used read kv/a by 10.0.0.9, r-1", answer: "", byOthers: "", handed: "made update auth/token/create by , r-3", ceremony: "made update sys/generate-root/update by , r-4",
		share: "", "": "", "{}": "", `{"root"`: "?", `{"type":"request","auth":{"policies":"root", "x": "root"}}`: "?", "<json:object>": "?",
		strings.Replace(handed, `"type"`, `"error":"no","type"`, 1):   "",
		strings.Replace(byRoot, "kv/a", strings.Repeat("p", 1000), 1): "used read " + strings.Repeat("p", 256) + " by 10.0.0.9, r-1",
	} {
		use, understood := readEntry([]byte(line))
		got := ""
		if !understood {
			got = "?"
		}
		if use != nil {
			got = fmt.Sprintf("%s %s %s by %s, %s", map[bool]string{true: "made", false: "used"}[use.Made], use.Operation, use.Path, use.Remote, use.Request)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func FuzzEntry(f *testing.F) {
	for _, s := range []string{byRoot, answer, handed, ceremony, "{", `{"root":1}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		if use, understood := readEntry(line); use != nil && (!understood || len(use.Path) > 256) {
			t.Errorf("%q: %+v", line, use)
		}
	})
}

func FuzzSeen(f *testing.F) {
	f.Add([]byte(`{"at":"2026-11-23T01:02:03Z","uses":1,"made":0,"unreadable":0,"position":{"inode":7,"offset":9}}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		path := filepath.Join(dir, "seen.json")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := ReadSeen(path); (s == nil) == (err == nil) {
			t.Errorf("%q: %+v, %v", text, s, err)
		}
	})
}

// Lines come whole, however the writes and the reads fall, and one that is too long is told apart.
func FuzzLines(f *testing.F) {
	f.Add("a\nb", "c\n\nd\n")
	f.Fuzz(func(t *testing.T, first, second string) {
		var follow follower
		var got []string
		each := func(line []byte) { got = append(got, string(line)+"\n") }
		follow.split([]byte(first), each)
		follow.split([]byte(second), each)
		if joined := strings.Join(got, "") + string(follow.rest); joined != first+second {
			t.Errorf("%q and %q: %q", first, second, joined)
		}
	})
}

// watched is a watch over a file that the test writes.
type watched struct {
	t      *testing.T
	path   string
	events []string
	w      *Watcher
}

func newWatched(t *testing.T) *watched {
	m := &watched{t: t, path: filepath.Join(t.TempDir(), AuditFile)}
	m.start()
	return m
}

func (m *watched) start() {
	m.w = &Watcher{File: m.path, Seen: m.path + ".seen", Log: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: time.Now, Event: func(use RootUse, more int) {
		m.events = append(m.events, fmt.Sprintf("%s+%d", use.Request, more))
	}}
	if err := m.w.begin(); err != nil {
		m.t.Fatal(err)
	}
}

func (m *watched) append(name, text string) {
	m.t.Helper()
	f, err := os.OpenFile(name, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = f.WriteString(text)
		f.Close()
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *watched) expect(uses, made, unreadable uint64, events string) {
	m.t.Helper()
	if err := m.w.look(); err != nil {
		m.t.Fatal(err)
	}
	if s := m.w.seen; s.Uses != uses || s.Made != made || s.Unreadable != unreadable || strings.Join(m.events, " ") != events {
		m.t.Errorf("%+v, events %q; want %d uses, %d made, %d unreadable, events %q", s, m.events, uses, made, unreadable, events)
	}
}

func use(id string) string { return strings.Replace(byRoot, "r-1", id, 1) + "\n" }

// Whatever happens to the file, each line is read once.
func TestEachLineIsReadOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatched(t)
		m.expect(0, 0, 0, "") // before the server has made the file
		m.append(m.path, byOthers+"\n"+use("a")[:20])
		m.expect(0, 0, 0, "")
		m.append(m.path, use("a")[20:]+"garbage\n")
		m.expect(1, 0, 1, "a+0")
		// Put aside; the server writes to the old one until it hears of it, and the new one has lines before the watch looks.
		time.Sleep(time.Hour)
		if err := os.Rename(m.path, m.path+".1"); err != nil {
			t.Fatal(err)
		}
		m.append(m.path+".1", use("b"))
		m.expect(2, 0, 1, "a+0 b+0")
		time.Sleep(time.Hour)
		m.append(m.path+".1", use("c"))
		m.append(m.path, handed+"\n")
		m.expect(3, 1, 1, "a+0 b+0 c+0 r-3+0")
		// Killed in the middle of a line; the file is put aside while nobody looks.
		m.append(m.path, use("d")[:30])
		m.expect(3, 1, 1, "a+0 b+0 c+0 r-3+0")
		m.append(m.path, use("d")[30:])
		if err := os.Rename(m.path, m.path+".1"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		m.append(m.path, ceremony+"\n")
		m.start()
		m.expect(4, 2, 1, "a+0 b+0 c+0 r-3+0 d+0 r-4+0")
		// Somebody empties it: what is written then is read.
		if err := os.Truncate(m.path, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		m.expect(4, 2, 1, "a+0 b+0 c+0 r-3+0 d+0 r-4+0")
		m.append(m.path, use("e"))
		m.expect(5, 2, 1, "a+0 b+0 c+0 r-3+0 d+0 r-4+0 e+0")
		// A line that is too long, and one behind it.
		time.Sleep(time.Hour)
		m.append(m.path, `{"`+strings.Repeat("x", maxLine)+"\n"+use("f"))
		m.expect(6, 2, 2, "a+0 b+0 c+0 r-3+0 d+0 r-4+0 e+0 f+0")
		m.w.follow.close()
	})
}

// What was there before the first watch of a boot is of another one.
func TestOldEntriesAreNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), AuditFile)
		m := &watched{t: t, path: path}
		m.append(path, use("old"))
		m.start()
		m.append(path, use("new"))
		m.expect(1, 0, 0, "new+0")
		m.w.follow.close()
	})
}

// A token in a loop is one event a minute, and what is made is told all the same.
func TestManyUsesAreFewEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newWatched(t)
		m.append(m.path, use("a"))
		m.expect(1, 0, 0, "a+0")
		for range 30 {
			time.Sleep(time.Second)
			m.append(m.path, use("b")+use("c"))
			if err := m.w.look(); err != nil {
				t.Fatal(err)
			}
		}
		m.expect(61, 0, 0, "a+0")
		time.Sleep(31 * time.Second)
		m.expect(61, 0, 0, "a+0 c+59") // at the end of the minute, without another use
		m.append(m.path, use("d")+handed+"\n")
		m.expect(62, 1, 0, "a+0 c+59 r-3+1")
		m.w.follow.close()
	})
}

func TestSeenOfAnother(t *testing.T) {
	m := newWatched(t)
	if err := os.WriteFile(m.w.Seen, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadSeen(m.w.Seen); err == nil {
		t.Error("half a file is read")
	}
	m.start()
	m.append(m.path, use("a"))
	m.expect(1, 0, 0, "a+0")
	if s, err := ReadSeen(m.w.Seen); err != nil || s.Uses != 1 || s.LastUse.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
	if s, err := ReadSeen(m.w.Seen + ".none"); s != nil || err != nil {
		t.Errorf("%+v, %v", s, err)
	}
}
