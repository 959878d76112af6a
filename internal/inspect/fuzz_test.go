package inspect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// newc writes an archive of the "new" format.
func newc(members ...[2]string) []byte {
	var b bytes.Buffer
	for _, m := range append(members, [2]string{"TRAILER!!!", ""}) {
		fmt.Fprintf(&b, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00", 1, 0o100400, 0, 0, 1, 0, len(m[1]), 0, 0, 0, 0, len(m[0])+1, 0, m[0])
		b.Write(make([]byte, (4-b.Len()%4)%4))
		b.WriteString(m[1])
		b.Write(make([]byte, (4-b.Len()%4)%4))
	}
	return b.Bytes()
}

func FuzzFindArchive(f *testing.F) {
	archive := newc([2]string{"strongroom", ""}, [2]string{carriedRoot, "the root"}, [2]string{carriedHashes, "hashes"})
	good := append(bytes.Repeat([]byte("packed initrd 070701 "), 80), archive...)
	if len(good)%4 != 0 {
		f.Fatal("the archive is at no multiple of four")
	}
	members, err := findArchive(io.NewSectionReader(bytes.NewReader(good), 0, int64(len(good))))
	if m := members[carriedRoot]; err != nil || string(good[m.at:m.at+m.size]) != "the root" {
		f.Fatalf("%+v, %v", members, err)
	}
	f.Add(good)
	f.Add(archive)
	f.Add(archive[:200])
	f.Fuzz(func(t *testing.T, b []byte) {
		members, err := findArchive(io.NewSectionReader(bytes.NewReader(b), 0, int64(len(b))))
		if err != nil {
			return
		}
		for name, m := range members {
			if m.at < 0 || m.size < 0 || m.at+m.size > int64(len(b)) {
				t.Errorf("%q is %+v of %d bytes", name, m, len(b))
			}
		}
	})
}

func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"schema":"strongroom.image/v1","root_hash":"00","files":[{"name":"disk.raw","format":"raw","size":1,"virtual_size":1,"sha256":"00"}]}`))
	f.Add([]byte(`{"schema":"strongroom.netboot/v1","files":[{"role":"uki"}]}`))
	f.Add([]byte(`{"schema":"strongroom.image/v1","files":[{"name":"../../etc/passwd"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		m, err := parseManifest(text)
		if err != nil {
			return
		}
		if !json.Valid(text) {
			t.Error("it is no JSON")
		}
		for _, name := range m.names() {
			if !filepath.IsLocal(name) {
				t.Errorf("%q leads out of the directory", name)
			}
		}
	})
}

func FuzzReadStatus(f *testing.F) {
	f.Add("Package: a\nStatus: install ok installed\nVersion: 1\nDescription: x\n Package: b\n\nPackage: c\nStatus: deinstall ok config-files\n")
	f.Fuzz(func(t *testing.T, text string) {
		list, err := readStatus(strings.NewReader(text))
		if err != nil {
			return
		}
		for _, p := range list {
			if p.Name == "" {
				t.Error("a package without a name")
			}
		}
	})
}

func FuzzListens(f *testing.F) {
	f.Add("[Socket]\nListenStream=80\nListenStream=\nListenDatagram = [::]:53\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, l := range listens(text) {
			isNetwork(l)
		}
	})
}

func TestWhatListens(t *testing.T) {
	got := listens("[Socket]\nListenStream=80\nListenStream=\nListenDatagram = [::]:53\nListenStream=/run/x\nListenStream=@abstract\n")
	if fmt.Sprint(got) != "[Datagram [::]:53 Stream /run/x Stream @abstract]" {
		t.Errorf("%q", got)
	}
	for listen, want := range map[string]bool{"Stream 80": true, "Datagram [::]:53": true, "Stream 127.0.0.1:5": true, "Stream /run/x": false, "Stream @a": false, "Netlink route 1": false, "FIFO /run/f": false} {
		if isNetwork(listen) != want {
			t.Errorf("%s: network is %v", listen, !want)
		}
	}
}
