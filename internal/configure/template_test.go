package configure_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sockaddr "github.com/hashicorp/go-sockaddr"

	"github.com/strongroom/strongroom/internal/configure"
)

const routeHeader = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"

func TestResolve(t *testing.T) {
	const (
		viaEth1  = "eth1\t00000000\t0102000A\t0003\t0\t0\t100\t00000000\t0\t0\t0\n"
		viaEth0  = "eth0\t00000000\t0101000A\t0003\t0\t0\t1024\t00000000\t0\t0\t0\n"
		subnet   = "eth0\t0001000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n"
		v6Eth1   = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth1\n"
		v6Reject = "00000000000000000000000000000000 00 00000000000000000000000000000000 00 00000000000000000000000000000000 ffffffff 00000001 00000000 00200200       lo\n"
	)
	cases := map[string]struct {
		route, ipv6Route string
		template, want   string
		fails            string
	}{
		"private, by default route":  {route: viaEth0 + subnet + viaEth1, template: "https://{{ GetPrivateIP }}:8201", want: "https://10.0.2.5:8201"},
		"private, the other metric":  {route: subnet + viaEth0, template: "{{ GetPrivateIP }}", want: "10.0.1.5"},
		"private, IPv6 route only":   {ipv6Route: v6Reject + v6Eth1, template: "{{ GetPrivateIP }}", want: "10.0.2.5"},
		"private, no route at all":   {template: "{{ GetPrivateIP }}", want: "10.0.1.5"},
		"public":                     {route: viaEth1, template: "{{ GetPublicIP }}", want: "8.8.4.4"},
		"default interfaces":         {route: viaEth1, template: `{{ GetDefaultInterfaces | include "type" "IPv4" | attr "address" }}`, want: "10.0.2.5"},
		"default interfaces, none":   {template: `{{ GetDefaultInterfaces | attr "address" }}`, fails: "no default route"},
		"by interface, sorted":       {template: `{{ GetAllInterfaces | include "name" "eth0" | sort "size" | attr "address" }}`, want: "10.0.1.5"},
		"sort that would run ip(8)":  {template: `{{ GetAllInterfaces | sort "size, Default" | attr "address" }}`, fails: "begin with GetDefaultInterfaces"},
		"joined, with a number":      {template: `{{ GetAllInterfaces | exclude "name" "lo" | offset 1 | limit 2 | join "address" "," }}`, want: "10.0.2.5,8.8.4.4"},
		"brackets and the dot":       {template: `{{ attr "address" (include "name" "eth0" .) }}`, want: "10.0.1.5"},
		"a number that is negative":  {template: `{{ limit -1 . }}`, fails: "argument 1 of limit"},
		"an argument is missing":     {template: `{{ GetAllInterfaces | include "name" }}`, fails: "include takes 3 arguments, not 2"},
		"a range":                    {template: `{{ range . }}{{ end }}`, fails: "only functions joined by |"},
		"a variable":                 {template: `{{ $a := GetPrivateIP }}`, fails: "only functions joined by |"},
		"a method":                   {template: `{{ .Len }}`, fails: "only functions joined by |"},
		"a function of the language": {template: `{{ printf "x" }}`, fails: "not defined"},
		"nothing":                    {template: ``, want: ""},
		"a comment":                  {template: `a{{/* b */}}c`, want: "ac"},
		"a function that is unknown": {template: `{{ Exec "id" }}`, fails: "not defined"},
	}
	// A program named ip in the path would be run by go-sockaddr itself.
	bin := t.TempDir()
	ran := filepath.Join(bin, "ran")
	if err := os.WriteFile(filepath.Join(bin, "ip"), []byte("#!/bin/sh\ntouch "+ran+"\necho default via 10.0.1.1 dev eth0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			proc := t.TempDir()
			if err := os.Mkdir(filepath.Join(proc, "net"), 0o755); err != nil {
				t.Fatal(err)
			}
			put(t, proc, "net/route", routeHeader+c.route)
			if c.ipv6Route != "" {
				put(t, proc, "net/ipv6_route", c.ipv6Route)
			}
			r := configure.Resolver{Proc: proc, Interfaces: func() (sockaddr.IfAddrs, error) {
				return sockaddr.IfAddrs{
					address("lo", "127.0.0.1/8", net.FlagUp|net.FlagLoopback),
					address("eth0", "10.0.1.5/24", net.FlagUp), address("eth1", "10.0.2.5/24", net.FlagUp),
					address("eth1", "8.8.4.4/24", net.FlagUp),
				}, nil
			}}
			got, err := r.Resolve(c.template)
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("got %q and error %v, want an error with %q", got, err, c.fails)
				}
				return
			}
			if err != nil || got != c.want {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
	if _, err := os.Stat(ran); err == nil {
		t.Error("ip(8) was run")
	}
}

func address(name, cidr string, flags net.Flags) sockaddr.IfAddr {
	return sockaddr.IfAddr{SockAddr: sockaddr.MustIPAddr(cidr), Interface: net.Interface{Name: name, Flags: flags}}
}

func FuzzResolve(f *testing.F) {
	for _, seed := range []string{"https://{{ GetPrivateIP }}:8201", `{{ GetAllInterfaces | include "type" "IPv4" | sort "size" | limit 1 | attr "address" }}`,
		`{{ math "network" "+5" . | join "address" " " }}`, "{{ range . }}", "{{/* */}}", "{{", "{{ unique \"name\" (offset -1 .) }}"} {
		f.Add(seed)
	}
	r := configure.Resolver{Proc: f.TempDir(), Interfaces: func() (sockaddr.IfAddrs, error) {
		return sockaddr.IfAddrs{address("eth0", "10.0.1.5/24", net.FlagUp), address("eth1", "8.8.4.4/24", net.FlagUp)}, nil
	}}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := r.Resolve(text)
		if err != nil && got != "" {
			t.Errorf("%q with error %v", got, err)
		}
	})
}
