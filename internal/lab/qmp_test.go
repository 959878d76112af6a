package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// fakeMonitor answers as QEMU does: a greeting, then what the script says for each command.
func fakeMonitor(t *testing.T, script map[string]string) net.Conn {
	end, conn := net.Pipe()
	t.Cleanup(func() { end.Close() })
	go func() {
		defer conn.Close()
		fmt.Fprintln(conn, `{"QMP": {"version": {"qemu": {"major": 7}}, "capabilities": ["oob"]}}`)
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			var request struct {
				Execute string `json:"execute"`
				ID      int    `json:"id"`
			}
			json.Unmarshal(lines.Bytes(), &request)
			answer, known := script[request.Execute]
			if !known {
				return
			}
			fmt.Fprintln(conn, strings.ReplaceAll(answer, "ID", fmt.Sprint(request.ID)))
		}
	}()
	return end
}

func TestMonitor(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	socket := fakeMonitor(t, map[string]string{
		"qmp_capabilities": `{"return": {}, "id": ID}`,
		"query-status": `{"event": "RESET", "data": {"guest": true}}
{"return": {"status": "stale"}, "id": 0}
{"return": {"status": "running"}, "id": ID}`,
		"device_del": `{"error": {"class": "DeviceNotFound", "desc": "no device"}, "id": ID}`,
	})
	var events []string
	m, err := newMonitor(ctx, socket, func(name string, data json.RawMessage) { events = append(events, name+string(data)) })
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	var status struct{ Status string }
	if err := m.execute(ctx, "query-status", nil, &status); err != nil || status.Status != "running" {
		t.Errorf("status %q, error %v; want the answer with the command's id", status.Status, err)
	}
	if len(events) != 1 || events[0] != `RESET{"guest": true}` {
		t.Errorf("events %q", events)
	}
	if err := m.execute(ctx, "device_del", nil, nil); err == nil || !strings.Contains(err.Error(), "DeviceNotFound: no device") {
		t.Errorf("refused command: %v", err)
	}
	if err := m.execute(ctx, "quit", nil, nil); !errors.Is(err, errMonitorClosed) {
		t.Errorf("command to a monitor that ends: %v", err)
	}
}

// A command that QEMU does not answer must not hold the caller longer than its context.
func TestMonitorSilence(t *testing.T) {
	socket := fakeMonitor(t, map[string]string{"qmp_capabilities": ``})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := newMonitor(ctx, socket, func(string, json.RawMessage) {}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("silent monitor: %v", err)
	}
}
