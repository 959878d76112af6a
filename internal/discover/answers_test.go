package discover

import (
	"bytes"
	"encoding/json"
	"regexp"
	"testing"
	"unicode"

	"github.com/strongroom/strongroom/internal/cloudapi"
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
	for _, text := range []string{cloudapi.OneLine(code), cloudapi.OneLine(said)} {
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
		if keys, err := parseRoleKeys(body); err == nil && (keys.ID == "" || len(keys.Secret.Reveal()) == 0 || len(keys.Token.Reveal()) == 0) {
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
