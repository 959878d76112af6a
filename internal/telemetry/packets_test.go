package telemetry

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	metrics "github.com/hashicorp/go-metrics"
)

// Many lines make several packets: none too long, no line torn or lost.
func TestPackets(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := &packets{address: conn.LocalAddr().String()}
	defer p.close()
	var want []string
	for i := range 200 {
		p.SetGaugeWithLabels([]string{"hostcheck", "checks"}, float32(i), []metrics.Label{{Name: "n", Value: fmt.Sprint(i)}})
		want = append(want, fmt.Sprintf("hostcheck.checks.%d:%d|g", i, i))
	}
	for range 2 { // and nothing is left over
		if err := p.flush(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	buf := make([]byte, 1<<16)
	for count := 0; len(got) < len(want); count++ {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			t.Fatalf("%v after %d lines", err, len(got))
		}
		if n > maxPacket || n == 0 {
			t.Errorf("a packet of %d bytes", n)
		}
		got = append(got, strings.Split(string(buf[:n]), "\n")...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// Nothing in a name or a label can make a line of its own, or a tag.
func TestPacketsAreClean(t *testing.T) {
	for dog, want := range map[bool]string{
		false: "a_b.c_d_e:1.5|c\n",
		true:  "a_b:1.5|c|#env:test,l_:c_d_e\n",
	} {
		p := &packets{dog: dog, tags: "env:test"}
		p.IncrCounterWithLabels([]string{"a|b"}, 1.5, []metrics.Label{{Name: "l,", Value: "c\nd:e"}})
		if got := string(p.lines); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A line that is longer than a packet goes alone, and the others are not hurt.
func TestPacketsWithALongLine(t *testing.T) {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	p := &packets{address: conn.LocalAddr().String()}
	defer p.close()
	for _, name := range []string{"a", strings.Repeat("b", maxPacket), "c"} {
		p.SetGauge([]string{name}, 1)
	}
	if err := p.flush(context.Background()); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1<<16)
	for _, want := range []string{"a:1|g", strings.Repeat("b", maxPacket) + ":1|g", "c:1|g"} {
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		n, _, err := conn.ReadFrom(buf)
		if err != nil || string(buf[:n]) != want {
			t.Errorf("got %.20q of %d bytes, %v", buf[:n], n, err)
		}
	}
}
