package resource_test

import (
	"testing"

	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/host/hosttest"
	"github.com/strongroom/strongroom/internal/resource"
)

func TestAccount(t *testing.T) {
	a := &resource.Account{Name: "vault", UID: 800, Home: "/var/lib/vault"}
	const root = "root:x:0:0:root:/root:/usr/sbin/nologin\n"
	for passwd, c := range map[string]struct {
		want control.Outcome
		text string
	}{
		root + "vault:x:800:800:V:/var/lib/vault:/usr/sbin/nologin\n": {control.Pass, "uid 800, gid 800"},
		root + "vault:x:800:800:V:/var/lib/vault:/bin/false":          {control.Pass, ""},
		root: {control.Fail, "no such account"},
		root + "vault:x:801:800:V:/var/lib/vault:/usr/sbin/nologin\n":                         {control.Fail, "uid 801"},
		root + "vault:x:800:0:V:/var/lib/vault:/usr/sbin/nologin\n":                           {control.Fail, "gid 0"},
		root + "vault:x:800:800:V:/home/vault:/usr/sbin/nologin\n":                            {control.Fail, "home /home/vault"},
		root + "vault:x:800:800:V:/var/lib/vault:/bin/sh\n":                                   {control.Fail, "shell /bin/sh"},
		root + "vault:x:800:800:V:/var/lib/vault:\n":                                          {control.Fail, "shell "},
		root + "vault:x:800:800:V:/var/lib/vault:/bin/false\nbao:x:800:9::/:/bin/false\n":     {control.Fail, "others with uid 800: want none, got bao"},
		root + "bao:x:0800:9::/:/bin/false\nvault:x:800:800:V:/var/lib/vault:/bin/false\n":    {control.Fail, "got bao"},
		root + "vault:x:801:801::/:/bin/false\nvault:x:800:800:V:/var/lib/vault:/bin/false\n": {control.Fail, "uid 801"},
		root + "vault:x:800:800:/var/lib/vault:/usr/sbin/nologin\n":                           {control.Unknown, "line 2 has 6 fields"},
	} {
		expectAt(t, a, hosttest.New().File("/etc/passwd", passwd), control.StageImage, c.want, c.text)
	}
	expect(t, a, hosttest.New(), control.Fail, "absent")
	expect(t, a, hosttest.New().FailFile("/etc/passwd", errDenied), control.Unknown, "permission denied")
}

func TestEveryAccount(t *testing.T) {
	const root, rootShadow = "root:x:0:0:root:/root:/usr/sbin/nologin\n", "root:*:1::::::\n"
	for name, c := range map[string]struct {
		passwd, shadow string
		want           control.Outcome
		text           string
	}{
		"only root":                              {"", "", control.Pass, "usable passwords: want none, got none"},
		"a locked account":                       {"a:x:5:5::/:/bin/false\n", "a:!$y$hash:1::::::\n", control.Pass, ""},
		"a disabled account":                     {"a:*:5:5::/:/bin/false\n", "", control.Pass, ""},
		"empty lines":                            {"\n\n", "\n", control.Pass, ""},
		"a shell":                                {"a:*:5:5::/:/bin/bash\n", "", control.Fail, "a (/bin/bash)"},
		"an empty shell is /bin/sh":              {"a:*:5:5::/:\n", "", control.Fail, "a ()"},
		"a carriage return":                      {"a:*:5:5::/:/bin/false\r\n", "", control.Fail, "login shells"},
		"a second root":                          {"toor:*:0:0::/:/bin/false\n", "", control.Fail, "got root, toor"},
		"a second root, written 00":              {"toor:*:00:0::/:/bin/false\n", "", control.Fail, "toor"},
		"an id that is none":                     {"a:*::5::/:/bin/false\n", "", control.Fail, "uid 0"},
		"an id with a sign":                      {"a:*:-0:5::/:/bin/false\n", "", control.Fail, "uid 0"},
		"an id beyond 32 bits":                   {"a:*:4294967296:5::/:/bin/false\n", "", control.Fail, "uid 0"},
		"no password in passwd":                  {"a::5:5::/:/bin/false\n", "", control.Fail, "usable passwords: want none, got a"},
		"a password in passwd":                   {"a:$1$x:5:5::/:/bin/false\n", "", control.Fail, "got a"},
		"no password in shadow":                  {"a:x:5:5::/:/bin/false\n", "a::1::::::\n", control.Fail, "got a"},
		"a password in shadow":                   {"a:x:5:5::/:/bin/false\n", "a:$y$x:1::::::\n", control.Fail, "got a"},
		"not in shadow":                          {"a:x:5:5::/:/bin/false\n", "", control.Fail, "got a"},
		"everybody of NIS":                       {"+::::::\n", "", control.Fail, "include other databases: want none, got +"},
		"NIS in disguise":                        {"+:*:5:5::/:/bin/false\n", "", control.Fail, "include other databases: want none, got +"},
		"a netgroup":                             {"+@admins:*:5:5::/:/bin/false\n", "", control.Fail, "got +@admins"},
		"NIS in shadow":                          {"", "+:*:::::::\n", control.Fail, "usable passwords: want none, got +"},
		"the short form of NIS":                  {"+\n", "", control.Unknown, "line 2 has 1 fields"},
		"a line of shadow with a field too many": {"", "a:!:1:::::::\n", control.Unknown, "line 2 has 10 fields"},
	} {
		t.Run(name, func(t *testing.T) {
			h := hosttest.New().File("/etc/passwd", root+c.passwd).File("/etc/shadow", rootShadow+c.shadow)
			expectAt(t, &resource.Account{Name: "*"}, h, control.StageImage, c.want, c.text)
		})
	}
	h := hosttest.New().File("/etc/passwd", root)
	expect(t, &resource.Account{Name: "*"}, h, control.Fail, "/etc/shadow: want no usable password, got absent")
	expect(t, &resource.Account{Name: "*"}, h.FailFile("/etc/shadow", errDenied), control.Unknown, "permission denied")
}
