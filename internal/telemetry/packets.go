package telemetry

import (
	"context"
	"net"
	"strconv"
	"strings"
	"time"

	metrics "github.com/hashicorp/go-metrics"
)

const (
	// maxPacket is what fits into one frame of an Ethernet with IPv6 and some tunnel around it.
	maxPacket = 1400
	// dialTime bounds the look-up of the receiver's name.
	dialTime = 5 * time.Second
	// dialAgain is how long a name's address is believed: a receiver that has moved does not say so.
	dialAgain = 5 * time.Minute
)

// packets is a sink of go-metrics for StatsD or DogStatsD. The library's own sinks are for programs that count all the
// time: each wakes up ten times a second, and DogStatsD's client keeps four megabytes of buffers. Here everything there is to say
// is said at once, by flush.
type packets struct {
	address string
	dog     bool   // labels become tags; otherwise they are the end of the name
	tags    string // of every line: "env:prod,node_id:i-1"

	conn    net.Conn
	dialled time.Time
	lines   []byte
	ends    []int // of each line
}

func (p *packets) SetGauge(key []string, v float32) { p.add(key, float64(v), "g", nil) }
func (p *packets) SetGaugeWithLabels(key []string, v float32, l []metrics.Label) {
	p.add(key, float64(v), "g", l)
}
func (p *packets) SetPrecisionGauge(key []string, v float64) { p.add(key, v, "g", nil) }
func (p *packets) SetPrecisionGaugeWithLabels(key []string, v float64, l []metrics.Label) {
	p.add(key, v, "g", l)
}
func (p *packets) EmitKey([]string, float32)           {} // neither has such a thing
func (p *packets) IncrCounter(key []string, v float32) { p.add(key, float64(v), "c", nil) }
func (p *packets) AddSample(key []string, v float32)   { p.add(key, float64(v), "ms", nil) }
func (p *packets) IncrCounterWithLabels(key []string, v float32, l []metrics.Label) {
	p.add(key, float64(v), "c", l)
}
func (p *packets) AddSampleWithLabels(key []string, v float32, l []metrics.Label) {
	p.add(key, float64(v), "ms", l)
}

// add writes a line: "name.label:1|g" or "name:1|g|#tag:label".
func (p *packets) add(key []string, value float64, kind string, labels []metrics.Label) {
	p.lines = append(p.lines, clean(strings.Join(key, "."))...)
	if !p.dog {
		for _, l := range labels {
			p.lines = append(append(p.lines, '.'), clean(l.Value)...)
		}
	}
	p.lines = append(p.lines, ':')
	p.lines = strconv.AppendFloat(p.lines, value, 'f', -1, 64)
	p.lines = append(append(p.lines, '|'), kind...)
	if p.dog {
		before := "|#"
		if p.tags != "" {
			p.lines = append(append(p.lines, before...), p.tags...)
			before = ","
		}
		for _, l := range labels {
			p.lines = append(append(append(append(p.lines, before...), clean(l.Name)...), ':'), clean(l.Value)...)
			before = ","
		}
	}
	p.lines = append(p.lines, '\n')
	p.ends = append(p.ends, len(p.lines))
}

// clean takes away what has a meaning in a line.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(":|@#,", r) || r <= ' ' {
			return '_'
		}
		return r
	}, text)
}

// flush sends what was added, in as few packets as may be. What cannot be sent is forgotten: the next time says it anew.
func (p *packets) flush(ctx context.Context) error {
	defer func() { p.lines, p.ends = p.lines[:0], p.ends[:0] }()
	if p.conn != nil && time.Since(p.dialled) > dialAgain {
		p.close()
	}
	if p.conn == nil {
		conn, err := (&net.Dialer{Timeout: dialTime}).DialContext(ctx, "udp", p.address)
		if err != nil {
			return err
		}
		p.conn, p.dialled = conn, time.Now()
	}
	start, last := 0, 0
	for _, end := range append(p.ends, len(p.lines)+maxPacket) { // the last sends what is left
		if end-start > maxPacket && last > start {
			if _, err := p.conn.Write(p.lines[start : last-1]); err != nil { // without the last line's end
				p.close()
				return err
			}
			start = last
		}
		last = end
	}
	return nil
}

func (p *packets) close() {
	if p.conn != nil {
		_ = p.conn.Close() // nothing is lost by it
		p.conn = nil
	}
}
