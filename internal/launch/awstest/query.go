package awstest

import (
	"cmp"
	"net/url"
	"reflect"
	"strconv"
	"strings"
)

// wireNames are the parameters of EC2's query protocol that are neither the name of the SDK's field nor its singular.
var wireNames = map[string]string{"Groups": "SecurityGroupId", "Versions": "LaunchTemplateVersion", "DefaultVersion": "SetDefaultVersion", "OwnerIds": "Owner"}

// decode fills an input of the SDK from a form. A key that it has no field for is an error, and so is a value that its
// enumeration does not have.
func decode(form url.Values, into any) error {
	left := map[string]string{}
	for key, values := range form {
		if len(values) != 1 {
			return wrong("%s is given %d times", key, len(values))
		}
		left[key] = values[0]
	}
	delete(left, "Action")
	delete(left, "Version")
	if err := fill(reflect.ValueOf(into).Elem(), "", left); err != nil {
		return err
	}
	for key := range left {
		return wrong("there is no parameter %s", key)
	}
	return nil
}

// fill takes what belongs to a value out of left.
func fill(v reflect.Value, prefix string, left map[string]string) error {
	switch v.Kind() {
	case reflect.Pointer:
		if !has(left, prefix) {
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		return fill(v.Elem(), prefix, left)
	case reflect.Struct:
		for i := range v.NumField() {
			f := v.Type().Field(i)
			if !f.IsExported() || f.Name == "ResultMetadata" {
				continue
			}
			name := cmp.Or(wireNames[f.Name], f.Name)
			if f.Type.Kind() == reflect.Slice && name == f.Name {
				name = strings.TrimSuffix(name, "s")
			}
			if has(left, join(prefix, name)) {
				if err := fill(v.Field(i), join(prefix, name), left); err != nil {
					return err
				}
			}
		}
		return nil
	case reflect.Slice:
		for n := 1; has(left, join(prefix, strconv.Itoa(n))); n++ {
			item := reflect.New(v.Type().Elem()).Elem()
			if err := fill(item, join(prefix, strconv.Itoa(n)), left); err != nil {
				return err
			}
			v.Set(reflect.Append(v, item))
		}
		return nil
	}
	text, ok := left[prefix]
	if !ok {
		return nil
	}
	delete(left, prefix)
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		if enum := v.MethodByName("Values"); enum.IsValid() {
			known := enum.Call(nil)[0]
			found := false
			for i := range known.Len() {
				found = found || known.Index(i).String() == text
			}
			if !found {
				return wrong("%s has no value %q", prefix, text)
			}
		}
	case reflect.Bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return wrong("%s: %v", prefix, err)
		}
		v.SetBool(b)
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(text, 10, v.Type().Bits())
		if err != nil {
			return wrong("%s: %v", prefix, err)
		}
		v.SetInt(n)
	default:
		return wrong("%s has the type %s, which this server does not know", prefix, v.Type())
	}
	return nil
}

func join(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}

func has(left map[string]string, prefix string) bool {
	for key := range left {
		if key == prefix || strings.HasPrefix(key, prefix+".") {
			return true
		}
	}
	return false
}
