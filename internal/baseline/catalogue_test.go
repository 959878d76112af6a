package baseline_test

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/strongroom/strongroom/internal/baseline"
	"github.com/strongroom/strongroom/internal/control"
	"github.com/strongroom/strongroom/internal/resource"
)

const good = `family: memory
parameters:
  - {name: size, type: string, default: "1", pattern: "[0-9]+"}
controls:
  - id: memory-example-one
    title: An example
    severity: must
    stage: boot
    guide: [B4]
    rationale: Because.
    resources:
      - sysctl: {name: vm.swappiness, value: "${size}"}
`

const guide = `name: A guide
revision: "2026-06-25"
url: https://example.org/guide
items:
  - id: B4
    title: No swap
    level: baseline
    asks: Nothing reaches a disk.
  - id: E1
    title: No login
    level: extended
    asks: Nobody logs in.
`

// people serves the guide's other item, so that the guide is whole.
const people = `family: people
controls:
  - id: people-go-home
    title: Nobody logs in
    severity: should
    stage: image
    guide: [E1]
    rationale: Because.
    resources:
      - procedure: {name: go-home, reason: Nobody can see it from here.}
`

// family is a file system of the guide and other files, name by name.
func family(files ...string) fstest.MapFS {
	m := fstest.MapFS{"guide.yaml": {Data: []byte(guide)}, "people.yaml": {Data: []byte(people)}}
	for i := 0; i+1 < len(files); i += 2 {
		m[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return m
}

func parse(t *testing.T, text string) error {
	t.Helper()
	_, err := baseline.Parse(family("memory.yaml", text), nil)
	return err
}

func TestGoodCatalogueParses(t *testing.T) {
	if err := parse(t, good); err != nil {
		t.Fatal(err)
	}
}

// Every mistake is refused with the file, the line on which it stands, and a word about it.
func TestMistakesNameFileAndLine(t *testing.T) {
	cases := map[string]struct{ old, new, place, says string }{
		"unknown key of a control":  {"    title: An", "    titel: An", "memory.yaml:6:", `unknown key "titel"`},
		"unknown key of a resource": {"value: \"${size}\"", "values: 1", "memory.yaml:12:", `unknown key "values"`},
		"unknown key of the file":   {"parameters:", "parameter:", "memory.yaml:2:", `unknown key "parameter"`},
		"unknown kind":              {"- sysctl:", "- sysctll:", "memory.yaml:12:", `unknown kind "sysctll"`},
		"two kinds in one entry":    {"- sysctl:", "- swap: {}\n        sysctl:", "memory.yaml:12:", "one kind"},
		"unknown parameter":         {"${size}", "${sise}", "memory.yaml:12:", "${sise}"},
		"unknown word of a title":   {"title: An example", "title: Of ${server.nam}", "memory.yaml:5:", "${server.nam}"},
		"nonsense value":            {"vm.swappiness", "vm swappiness", "memory.yaml:12:", "is not a sysctl"},
		"id of one word":            {"memory-example-one", "memory", "memory.yaml:5:", "slug"},
		"severity":                  {"severity: must", "severity: may", "memory.yaml:5:", "neither must nor should"},
		"stage":                     {"stage: boot", "stage: never", "memory.yaml:5:", `unknown stage "never"`},
		"guide item":                {"[B4]", "[B25]", "memory.yaml:5:", `"B25"`},
		"no rationale":              {"rationale: Because.", "rationale: ''", "memory.yaml:5:", "no rationale"},
		"when names nothing":        {"    resources:", "    when: {size_: 1}\n    resources:", "memory.yaml:5:", "size_"},
		"family is not the file":    {"family: memory", "family: network", "memory.yaml:1:", `"network"`},
		"alias":                     {"guide: [B4]", "guide: &g [B4]\n    refs: *g", "memory.yaml:10:", "aliases"},
		"alias in a map": {"      - sysctl: {name: vm.swappiness, value: \"${size}\"}",
			"      - unit_property: {unit: &u a.service, name: x, section: Service, properties: {User: *u}}", "memory.yaml:12:", "aliases"},
		"not YAML":                 {"controls:", "controls: [", "memory.yaml", "did not find"},
		"wrong type":               {"guide: [B4]", "guide: {B4: 1}", "memory.yaml:", "cannot unmarshal"},
		"an empty entry":           {"controls:", "controls:\n  -", "memory.yaml:5:", "empty entry"},
		"a second document":        {"family: memory", "---\nfamily: memory\n---\nfamily: memory", "memory.yaml:3:", "second document"},
		"procedure beside a fact":  {"    resources:\n", "    resources:\n      - procedure: {name: talk, reason: Talk.}\n", "memory.yaml:5:", "a control of its own"},
		"procedure as must":        {"- sysctl: {name: vm.swappiness, value: \"${size}\"}", "- procedure: {name: talk, reason: Talk.}", "memory.yaml:5:", "should"},
		"procedure without reason": {"- sysctl: {name: vm.swappiness, value: \"${size}\"}", "- procedure: {name: talk}", "memory.yaml:12:", "no reason"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			text := strings.Replace(good, c.old, c.new, 1)
			if text == good {
				t.Fatal("the case changes nothing")
			}
			err := parse(t, text)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), c.place) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %q, want it to name %q and say %q", err, c.place, c.says)
			}
		})
	}
}

func TestDuplicateIDNamesBothPlaces(t *testing.T) {
	second := strings.Replace(good, "family: memory\nparameters:\n  - {name: size, type: string, default: \"1\", pattern: \"[0-9]+\"}", "family: network", 1)
	_, err := baseline.Parse(family("memory.yaml", good, "network.yaml", strings.Replace(second, "${size}", "2", 1)), nil)
	if err == nil || !strings.Contains(err.Error(), "network.yaml:3") || !strings.Contains(err.Error(), "memory.yaml:5") {
		t.Errorf("got %v", err)
	}
}

func TestTwoControlsCannotStateTheSame(t *testing.T) {
	other := good[strings.Index(good, "  - id:"):]
	other = strings.Replace(other, "memory-example-one", "memory-example-two", 1)
	c, err := baseline.Parse(family("memory.yaml", good+other), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Compile(control.Profile{Server: "vault", Platform: "vm", Layout: "sealed", Distribution: "debian/trixie"})
	if err == nil || !strings.Contains(err.Error(), "memory-example-one and memory-example-two both state the same, sysctl:vm.swappiness") {
		t.Errorf("got %v", err)
	}
}

func TestProfileMistakesAreAllTold(t *testing.T) {
	c, err := baseline.Parse(family("memory.yaml", good), nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Compile(control.Profile{Server: "etcd", Platform: "moon", Layout: "sealed", Distribution: "debian/trixie", Parameters: map[string]string{"sise": "2"}})
	for _, want := range []string{`server "etcd"`, `platform "moon"`, `unknown parameter "sise"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
}

// A layout stands on some distributions only, and the error for another pair says what to do.
func TestImpossiblePairsAreRefused(t *testing.T) {
	c, err := baseline.Parse(family("memory.yaml", good), nil)
	must(t, err)
	for pair, says := range map[[2]string]string{
		{"sealed", "ubuntu/noble"}:    `layout "sealed" does not stand on distribution "ubuntu/noble": give it one of debian/trixie, debian/bookworm, or harden a machine of Ubuntu 24.04 LTS with layout "installed"`,
		{"sealed", "rhel/9"}:          `with layout "installed"`,
		{"installed", "debian/sid"}:   `"debian/sid" is not one of debian/trixie, debian/bookworm, ubuntu/noble, rhel/10, rhel/9`,
		{"floating", "debian/trixie"}: `layout "floating" is not one of sealed, installed`,
	} {
		_, err := c.Compile(control.Profile{Server: "vault", Platform: "vm", Layout: pair[0], Distribution: pair[1]})
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: got %v, want %q", pair, err, says)
		}
	}
	for _, layout := range baseline.Layouts {
		for _, d := range baseline.Distributions(layout) {
			if _, err := c.Compile(control.Profile{Server: "vault", Platform: "vm", Layout: layout, Distribution: d}); err != nil {
				t.Errorf("%s %s: %v", layout, d, err)
			}
		}
	}
}

// A resource can be for some profiles only. One control states the same fact in two ways, of which a profile has one.
func TestResourcesHaveConditions(t *testing.T) {
	variants := strings.Replace(good, `      - sysctl: {name: vm.swappiness, value: "${size}"}
`, `      - when: {layout: sealed}
        sysctl: {name: vm.swappiness, value: "${size}"}
      - sysctl: {name: vm.swappiness, value: "2"}
        when: {family: rhel}
      - when: {layout: installed, distribution: [debian/trixie, debian/bookworm]}
        sysctl: {name: vm.swappiness, value: "3"}
      - absent: {path: "/${distribution.chrony_unit}"}
      - accounts_known: {users: [root, "${distribution.accounts}"]}
`, 1)
	c, err := baseline.Parse(family("memory.yaml", variants), nil)
	must(t, err)
	for pair, want := range map[[2]string]string{
		{"sealed", "debian/trixie"}: "1 /chrony.service", {"installed", "debian/bookworm"}: "3 /chrony.service", {"installed", "rhel/9"}: "2 /chronyd.service",
		{"installed", "ubuntu/noble"}: "/chrony.service",
	} {
		b, err := c.Compile(control.Profile{Server: "vault", Platform: "vm", Layout: pair[0], Distribution: pair[1]})
		must(t, err)
		ctl, _ := b.Find("memory-example-one")
		var got []string
		for _, res := range ctl.Resources {
			switch r := res.(type) {
			case *resource.Sysctl:
				got = append(got, r.Value)
			case *resource.Absent:
				got = append(got, r.Path)
			case *resource.AccountsKnown:
				if more := len(r.Users) > 1; more != (pair[0] == "installed") {
					t.Errorf("%q: accounts %q", pair, r.Users)
				}
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, want %q", pair, got, want)
		}
	}
	for says, text := range map[string]string{
		`when names "layuot"`:                    strings.Replace(variants, "when: {layout: sealed}", "when: {layuot: sealed}", 1),
		"when selects no profile that there is":  strings.Replace(variants, "when: {layout: sealed}", "when: {layout: sealed, family: rhel}", 1),
		"when selects no profile that there is ": strings.Replace(variants, "when: {family: rhel}", "when: {distribution: debian/trixi}", 1) + " ",
		"neither a value nor a list":             strings.Replace(variants, "when: {family: rhel}", "when: {family: {a: b}}", 1),
		"one kind with its fields":               strings.Replace(variants, "when: {family: rhel}", "absent: {path: /x}", 1),
	} {
		if _, err := baseline.Parse(family("memory.yaml", text), nil); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(says)) || !strings.Contains(err.Error(), "memory.yaml:") {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	// A control of which a profile gets nothing would prove nothing there.
	none := strings.Replace(good, "      - sysctl:", "      - when: {layout: installed}\n        sysctl:", 1)
	c, err = baseline.Parse(family("memory.yaml", none), nil)
	must(t, err)
	if _, err := c.Compile(control.Profile{Server: "vault", Platform: "vm", Layout: "sealed", Distribution: "debian/trixie"}); err == nil || !strings.Contains(err.Error(), "none of its resources is for this profile") {
		t.Errorf("got %v", err)
	}
}

// What lies in a directory of another layout, family or server is not in the overlay.
func TestUnitsOfOtherProfilesStayOut(t *testing.T) {
	units := fstest.MapFS{
		"usr/a": {Data: []byte("every")}, "sealed/usr/a-sealed": {Data: []byte("x")}, "vault/sealed/usr/a-both": {Data: []byte("x")},
		"rhel/usr/a-rhel": {Data: []byte("x")}, "openbao/usr/a-bao": {Data: []byte("x")}, "debian/installed/usr/a-debian": {Data: []byte("x")},
	}
	c, err := baseline.Parse(family("memory.yaml", good), units)
	must(t, err)
	for pair, want := range map[[2]string]string{
		{"sealed", "debian/trixie"}: "/usr/a /usr/a-both /usr/a-sealed", {"installed", "debian/trixie"}: "/usr/a /usr/a-debian", {"installed", "rhel/9"}: "/usr/a /usr/a-rhel",
	} {
		b, err := c.Compile(control.Profile{Server: "vault", Platform: "vm", Layout: pair[0], Distribution: pair[1]})
		must(t, err)
		tree, err := b.Overlay()
		must(t, err)
		var got []string
		for _, f := range tree.Fragments() {
			if strings.HasPrefix(f.Path, "/usr/a") {
				got = append(got, f.Path)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: got %q, want %q", pair, got, want)
		}
	}
}

func TestMistakesOfTheGuideNameFileAndLine(t *testing.T) {
	cases := map[string]struct{ old, new, place, says string }{
		"unknown key":     {"asks: Nothing", "ask: Nothing", "guide.yaml:8:", `unknown key "ask"`},
		"level":           {"level: extended", "level: extra", "guide.yaml:9:", "neither baseline nor extended"},
		"id of the level": {"level: extended", "level: baseline", "guide.yaml:9:", "not the id of a baseline item"},
		"id twice":        {"id: E1", "id: B4", "guide.yaml:9:", "already, in line 5"},
		"no title":        {"    title: No login\n", "", "guide.yaml:9:", "needs a title"},
		"no revision":     {"revision: \"2026-06-25\"\n", "", "guide.yaml:1:", "revision"},
		"not YAML":        {"items:", "items: [", "guide.yaml", "did not find"},
		"cited by none":   {"id: B4", "id: B5", "guide.yaml:5:", "B5 is cited by no control"},
		"cited for none":  {"id: B4", "id: B5", "memory.yaml:5:", `"B4" is not in guide.yaml`},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			files := family("memory.yaml", good)
			text := strings.Replace(guide, c.old, c.new, 1)
			if text == guide {
				t.Fatal("the case changes nothing")
			}
			files["guide.yaml"].Data = []byte(text)
			_, err := baseline.Parse(files, nil)
			if err == nil || !strings.Contains(err.Error(), c.place) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want it to name %q and say %q", err, c.place, c.says)
			}
		})
	}
}
