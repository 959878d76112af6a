package discover

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// What a cloud answers may be anything.

func judgeMachines(t *testing.T, machines []machine) {
	t.Helper()
	given := false
	found, err := gather("own", func(string) ([]machine, string, error) {
		if given {
			return nil, "", nil
		}
		given = true
		return machines, "next", nil
	})
	if err != nil || len(found) > maxAddresses {
		t.Errorf("%d addresses, %v", len(found), err)
	}
	for _, address := range found {
		if !usable(address) {
			t.Errorf("address %q", address)
		}
	}
}

func judgeRefusal(t *testing.T, code, said string) {
	t.Helper()
	for _, text := range []string{words(code), words(said)} {
		for _, r := range text {
			if r == '\n' || !unicode.IsPrint(r) {
				t.Errorf("%q", text)
			}
		}
		if len([]rune(text)) > 201 {
			t.Errorf("%d characters", len([]rune(text)))
		}
	}
}

func FuzzEC2Answers(f *testing.F) {
	f.Add([]byte(`<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><reservationSet><item><instancesSet><item><instanceId>i-1</instanceId>`+
		`<instanceState><name>running</name></instanceState><privateIpAddress>10.0.0.1</privateIpAddress><ipAddress>198.51.100.1</ipAddress>`+
		`<networkInterfaceSet><item><ipv6AddressesSet><item><ipv6Address>2001:db8::1</ipv6Address></item></ipv6AddressesSet></item></networkInterfaceSet>`+
		`</item></instancesSet></item></reservationSet><nextToken>x</nextToken></DescribeInstancesResponse>`), "public_v6")
	f.Add([]byte(`<Response><Errors><Error><Code>UnauthorizedOperation</Code><Message>x</Message></Error></Errors></Response>`), "")
	f.Add([]byte(`<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><DescribeInstancesResponse>&b;`), "public_v4")
	f.Fuzz(func(t *testing.T, body []byte, kind string) {
		if machines, _, err := ec2Instances(bytes.NewReader(body), kind); err == nil {
			judgeMachines(t, machines)
		}
		code, said := ec2Refusal(body)
		judgeRefusal(t, code, said)
	})
}

// Whatever stands in an answer that encoding/xml writes, is read.
func FuzzEC2Values(f *testing.F) {
	f.Add("i-1", "10.0.0.1", "a+/=<&>\"'&amp;")
	f.Fuzz(func(t *testing.T, id, address, token string) {
		if strings.ContainsFunc(id+" "+address+" "+token, func(r rune) bool { return !unicode.IsPrint(r) || r == unicode.ReplacementChar }) {
			return // an escape that EC2 does not write
		}
		type instance struct {
			ID      string `xml:"instanceId"`
			State   string `xml:"instanceState>name"`
			Private string `xml:"privateIpAddress"`
		}
		body, err := xml.Marshal(struct {
			XMLName  xml.Name `xml:"http://ec2.amazonaws.com/doc/2016-11-15/ DescribeInstancesResponse"`
			Instance instance `xml:"reservationSet>item>instancesSet>item"`
			Token    string   `xml:"nextToken"`
		}{Instance: instance{id, "running", address}, Token: token})
		if err != nil {
			t.Fatal(err)
		}
		machines, after, err := ec2Instances(bytes.NewReader(body), "")
		if err != nil || after != token || len(machines) != 1 || machines[0].id != id || len(machines[0].addresses) != 1 || machines[0].addresses[0] != address {
			t.Errorf("got %q, %q, %v from %s", machines, after, err, body)
		}
	})
}

// What is read as XML has the elements that encoding/xml finds in it, if it is XML at all.
func FuzzElements(f *testing.F) {
	f.Add([]byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<a xmlns="http://x/"><b/><c d="e">&lt;f</c><g>h</g></a>`))
	f.Add([]byte(`<a b='<c>'><!-- </a> --><![CDATA[</a>]]></a>`))
	f.Add([]byte(`<a><b></a></b>`))
	f.Fuzz(func(t *testing.T, body []byte) {
		var ours, theirs []string
		if elements(bytes.NewReader(body), func(path, _ string) {
			name := path[strings.LastIndexByte(path, '/')+1:]
			ours = append(ours, name[strings.LastIndexByte(name, ':')+1:])
		}) != nil {
			return
		}
		for d := xml.NewDecoder(bytes.NewReader(body)); ; {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return
			}
			if end, ok := token.(xml.EndElement); ok {
				theirs = append(theirs, end.Name.Local)
			}
		}
		if !slices.Equal(ours, theirs) {
			t.Errorf("elements %q, theirs %q", ours, theirs)
		}
	})
}

func FuzzGCEAnswers(f *testing.F) {
	f.Add([]byte(`{"items":{"zones/a":{"instances":[{"id":"1","status":"RUNNING","zone":"https://x/zones/a","tags":{"items":["vault"]},"networkInterfaces":[{"networkIP":"10.0.0.1"}]}]}},"nextPageToken":"x"}`))
	f.Add([]byte(`{"error":{"code":403,"message":"no\n","errors":[{"reason":"forbidden"}]}}`))
	zones := regexp.MustCompile(`^(?:.*)$`)
	f.Fuzz(func(t *testing.T, body []byte) {
		if machines, _, err := gceInstances(bytes.NewReader(body), "vault", zones); err == nil {
			judgeMachines(t, machines)
		}
		code, said := gceRefusal(body)
		judgeRefusal(t, code, said)
	})
}

func FuzzAzureAnswers(f *testing.F) {
	f.Add([]byte(`{"value":[{"tags":{"role":"vault"},"properties":{"virtualMachine":{"id":"/x"},"ipConfigurations":[{"properties":{"privateIPAddress":"10.0.0.1"}}]}}],"nextLink":"https://management.azure.com/x"}`))
	f.Add([]byte(`{"error":{"code":"AuthorizationFailed","message":"no"}}`))
	f.Add([]byte(`{"value":[{},null,{"tags":null}],"value":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if machines, after, err := azureMachines(bytes.NewReader(body), "role", "vault"); err == nil {
			judgeMachines(t, machines)
			_ = sameHost(after, "https://management.azure.com/")
			// What it reads piece by piece is what the library makes of the whole.
			var whole struct{ NextLink string }
			if json.Unmarshal(body, &whole) == nil && whole.NextLink == "" && after != "" {
				t.Errorf("next link %q", after)
			}
		}
		code, said := azureRefusal(body)
		judgeRefusal(t, code, said)
	})
}

func FuzzMetadataAnswers(f *testing.F) {
	f.Add([]byte(`{"Code":"Success","AccessKeyId":"a","SecretAccessKey":"b","Token":"c"}`))
	f.Add([]byte(`{"access_token":"a","token_type":"Bearer"}`))
	f.Add([]byte(`{"azEnvironment":"AzurePublicCloud","subscriptionId":"s","resourceId":"r"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if keys, err := parseRoleKeys(body); err == nil && (keys.id == "" || len(keys.secret.Reveal()) == 0 || len(keys.token.Reveal()) == 0) {
			t.Error("half of the credentials")
		}
		if token, err := parseToken(body); err == nil && bytes.ContainsAny(token.Reveal(), " \r\n") {
			t.Errorf("token %q", token.Reveal())
		}
		var place azurePlace
		if json.Unmarshal(body, &place) == nil {
			_, _ = place.management()
		}
	})
}
