package checktest

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/strongroom/strongroom/internal/host"
)

// Mutation is one way in which an answer of a host can be another one.
type Mutation struct {
	Name   string
	Answer Answer
}

// Mutations changes one thing in an answer, in every way that is known for its type: it knows types and not
// facts, so a new fact is covered by being asked for.
func Mutations(f Fact, a Answer) []Mutation {
	var out []Mutation
	add := func(name string, v any) { out = append(out, Mutation{name, Answer{Value: v}}) }
	switch {
	case errors.Is(a.Err, fs.ErrNotExist):
		appear(f, add)
	case a.Err == nil:
		if isPath(f) {
			out = append(out, Mutation{"gone", Answer{Err: &fs.PathError{Op: "open", Path: f.Argument, Err: fs.ErrNotExist}}})
		}
		vary(reflect.ValueOf(a.Value), func(name string, v reflect.Value) { add(name, v.Interface()) })
	}
	return out
}

func isPath(f Fact) bool {
	return slices.Contains([]string{"ReadFile", "Lstat", "Stat", "ReadDir"}, f.Method)
}

// appear gives answers to a question about a path where nothing was.
func appear(f Fact, add func(string, any)) {
	switch f.Method {
	case "ReadFile":
		for _, text := range []string{"0\n", "1\n", "2\n", "4242\n", "Y\n", "foreign\n"} {
			add(fmt.Sprintf("is %q", text), []byte(text))
		}
	case "Lstat", "Stat":
		add("is a file", host.FileInfo{Mode: 0o644})
		add("is a directory", host.FileInfo{Mode: fs.ModeDir | 0o755})
		add("is a link", host.FileInfo{Mode: fs.ModeSymlink | 0o777, Target: "/dev/null"})
		add("is setuid", host.FileInfo{Mode: fs.ModeSetuid | 0o755})
	case "ReadDir":
		for _, name := range foreignNames {
			add("has "+name, []string{name})
		}
	}
}

var foreignNames = []string{"foreign", "zz-foreign.conf", "foreign.service", "foreign.hcl"}

// vary calls emit with copies of v that differ from it in one place.
func vary(v reflect.Value, emit func(string, reflect.Value)) {
	if text, isText := v.Interface().([]byte); isText {
		for name, changed := range varyText(string(text)) {
			emit(name, reflect.ValueOf([]byte(changed)))
		}
		return
	}
	if mode, isMode := v.Interface().(fs.FileMode); isMode {
		for _, bit := range []fs.FileMode{0o001, 0o002, 0o004, 0o020, 0o040, 0o100, 0o200, 0o400, fs.ModeSetuid, fs.ModeSetgid, fs.ModeSticky, fs.ModeDir, fs.ModeSymlink} {
			emit(fmt.Sprintf("mode %s", mode^bit), reflect.ValueOf(mode^bit))
		}
		return
	}
	if when, isTime := v.Interface().(time.Time); isTime {
		for _, years := range []int{-20, 20} {
			emit(fmt.Sprintf("%d years", years), reflect.ValueOf(when.AddDate(years, 0, 0)))
		}
		return
	}
	set := func(name string, to any) {
		c := reflect.New(v.Type()).Elem()
		c.Set(reflect.ValueOf(to).Convert(v.Type()))
		emit(name, c)
	}
	switch v.Kind() {
	case reflect.String:
		for _, s := range varyWord(v.String()) {
			set(fmt.Sprintf("%.60q", s), s)
		}
	case reflect.Bool:
		set(fmt.Sprint(!v.Bool()), !v.Bool())
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		for _, n := range []int64{0, 1, v.Int() + 1, v.Int() - 1, -v.Int(), math.MaxInt32} {
			if n != v.Int() {
				set(fmt.Sprint(n), n)
			}
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		for _, n := range []uint64{0, 1, 2, v.Uint() + 1, v.Uint() ^ 1<<20, 4242, math.MaxUint64} {
			if n != v.Uint() {
				set(fmt.Sprint(n), n)
			}
		}
	case reflect.Float32, reflect.Float64:
		for _, x := range []float64{0, v.Float() + 1, -v.Float(), 1e9} {
			set(fmt.Sprint(x), x)
		}
	case reflect.Struct:
		varyStruct(v, emit)
	case reflect.Pointer:
		if v.IsNil() {
			emit("set", foreign(v.Type(), 0))
			return
		}
		emit("nil", reflect.Zero(v.Type()))
		vary(v.Elem(), func(name string, e reflect.Value) {
			p := reflect.New(v.Type().Elem())
			p.Elem().Set(e)
			emit(name, p)
		})
	case reflect.Slice, reflect.Array:
		varyList(v, emit)
	case reflect.Map:
		varyMap(v, emit)
	}
}

func varyStruct(v reflect.Value, emit func(string, reflect.Value)) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		if !field.IsExported() {
			continue
		}
		vary(v.Field(i), func(name string, changed reflect.Value) {
			c := clone(v)
			c.Field(i).Set(changed)
			emit(field.Name+" "+name, c)
		})
	}
}

func varyList(v reflect.Value, emit func(string, reflect.Value)) {
	for i := range v.Len() {
		at := label(v.Index(i), i)
		vary(v.Index(i), func(name string, changed reflect.Value) {
			c := clone(v)
			c.Index(i).Set(changed)
			emit(at+" "+name, c)
		})
		if v.Kind() == reflect.Slice {
			emit("without "+at, reflect.AppendSlice(clone(v.Slice(0, i)), v.Slice(i+1, v.Len())))
		}
	}
	if v.Kind() != reflect.Slice {
		return
	}
	if v.Type().Elem().Kind() == reflect.Struct {
		varyAll(v, emit)
	}
	if v.Type().Elem().Kind() == reflect.String {
		for _, name := range foreignNames {
			emit("and "+name, reflect.Append(clone(v), reflect.ValueOf(name).Convert(v.Type().Elem())))
		}
		return
	}
	emit("and a foreign one", reflect.Append(clone(v), foreign(v.Type().Elem(), 0)))
	if v.Len() > 0 {
		vary(v.Index(0), func(name string, changed reflect.Value) {
			emit("and another one, "+name, reflect.Append(clone(v), changed))
		})
	}
}

// varyAll gives all elements the same truth in one field: where one of several is enough, all have to be wrong.
func varyAll(v reflect.Value, emit func(string, reflect.Value)) {
	for i := range v.Type().Elem().NumField() {
		field := v.Type().Elem().Field(i)
		if field.Type.Kind() != reflect.Bool {
			continue
		}
		for _, truth := range []bool{false, true} {
			c := clone(v)
			for j := range c.Len() {
				c.Index(j).Field(i).SetBool(truth)
			}
			emit(fmt.Sprintf("all %s %t", field.Name, truth), c)
		}
	}
}

func varyMap(v reflect.Value, emit func(string, reflect.Value)) {
	for _, key := range v.MapKeys() {
		with := func(how string, changed reflect.Value) {
			c := reflect.MakeMap(v.Type())
			for _, k := range v.MapKeys() {
				c.SetMapIndex(k, v.MapIndex(k))
			}
			c.SetMapIndex(key, changed)
			emit(fmt.Sprint(key)+" "+how, c)
		}
		with("gone", reflect.Value{})
		vary(v.MapIndex(key), with)
	}
	c := reflect.MakeMap(v.Type())
	for _, k := range v.MapKeys() {
		c.SetMapIndex(k, v.MapIndex(k))
	}
	c.SetMapIndex(foreign(v.Type().Key(), 0), foreign(v.Type().Elem(), 0))
	emit("and a foreign one", c)
}

// clone copies a value deep enough for one element or field to be replaced.
func clone(v reflect.Value) reflect.Value {
	if v.Kind() == reflect.Slice {
		return reflect.AppendSlice(reflect.MakeSlice(v.Type(), 0, v.Len()+1), v)
	}
	c := reflect.New(v.Type()).Elem()
	c.Set(v)
	return c
}

// label names an element for a reader: by its name where it has one.
func label(v reflect.Value, i int) string {
	switch v.Kind() {
	case reflect.String:
		return v.String()
	case reflect.Struct:
		for _, name := range []string{"Name", "Point", "Device"} {
			if f := v.FieldByName(name); f.IsValid() && f.Kind() == reflect.String {
				return f.String()
			}
		}
	}
	return strconv.Itoa(i)
}

// foreign is a value that no node has.
func foreign(t reflect.Type, depth int) reflect.Value {
	v := reflect.New(t).Elem()
	if depth > 4 {
		return v
	}
	switch t.Kind() {
	case reflect.String:
		v.SetString("foreign")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(4242)
	case reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		v.SetUint(4242)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				v.Field(i).Set(foreign(v.Field(i).Type(), depth+1))
			}
		}
	case reflect.Pointer:
		v.Set(reflect.New(t.Elem()))
		v.Elem().Set(foreign(t.Elem(), depth+1))
	}
	return v
}

// varyWord gives other values of a setting.
func varyWord(s string) []string {
	out := []string{"", "foreign", s + " foreign", s + "x", "0", "1", "yes", "no", "4242", "infinity"}
	switch s {
	case "accept":
		out = append(out, "drop")
	case "drop":
		out = append(out, "accept")
	case "active":
		out = append(out, "inactive", "failed")
	case "inactive":
		out = append(out, "active")
	case "loaded":
		out = append(out, "masked", "not-found")
	case "masked", "not-found":
		out = append(out, "loaded")
	}
	if denied, denies := strings.CutPrefix(s, "~"); denies {
		out = append(out, denied)
	} else if s != "" {
		out = append(out, "~"+s)
	}
	words := strings.Fields(s)
	for i := range words {
		if len(words) > 1 && i < 60 {
			out = append(out, strings.Join(slices.Concat(words[:i], words[i+1:]), " "))
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(v string) bool { return v == s })
}

var token = regexp.MustCompile(`[A-Za-z0-9_./+-]+`)

// varyText changes a text file: as a whole, by line, and by word.
func varyText(s string) map[string]string {
	out := map[string]string{"empty": ""}
	for _, whole := range []string{"0\n", "1\n", "2\n", "3\n", "-1\n", "4242\n", "N\n", "Y\n", "foreign\n"} {
		out[fmt.Sprintf("is %q", whole)] = whole
	}
	out["ends in foreign"] = s + "foreign\n"
	lines := strings.SplitAfter(s, "\n")
	for i, line := range lines {
		if line == "" || i > 200 {
			continue
		}
		out[fmt.Sprintf("line %d gone", i+1)] = strings.Join(slices.Concat(lines[:i], lines[i+1:]), "")
		out[fmt.Sprintf("line %d twice", i+1)] = s + line
		if len(line) > 500 {
			continue
		}
		for _, at := range token.FindAllStringIndex(line, 40) {
			for _, other := range otherTokens(line[at[0]:at[1]]) {
				changed := line[:at[0]] + other + line[at[1]:]
				name := fmt.Sprintf("line %d, %q at %d is %q", i+1, line[at[0]:at[1]], at[0], other)
				out[name] = strings.Join(slices.Concat(lines[:i], []string{changed}, lines[i+1:]), "")
				out[name+" in another line"] = s + changed
			}
		}
	}
	for name, text := range out {
		if text == s {
			delete(out, name)
		}
	}
	return out
}

func otherTokens(word string) []string {
	switch word {
	case "true":
		return []string{"false"}
	case "false":
		return []string{"true"}
	case "none":
		return []string{"foreign"}
	}
	if _, err := strconv.ParseFloat(word, 64); err == nil {
		return []string{"0", "1", "4242", "-1"}
	}
	return []string{"foreign", word + "x", "+" + word}
}
