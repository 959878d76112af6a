package discover

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/strongroom/strongroom/internal/cloudapi"
	"github.com/strongroom/strongroom/internal/node"
)

// The wire: Azure REST API, "Network Interfaces - List All" and "- List Virtual Machine Scale Set Network Interfaces", with the versions that
// azure-sdk-for-go has; "Azure Instance Metadata Service" and "How to use managed identities … to acquire an access token".
const (
	azureInterfaces  = "2024-05-01"
	azureScaleSet    = "2018-10-01"
	azureInstance    = "/metadata/instance/compute?api-version=2021-01-01"
	azureTokenOfThis = "/metadata/identity/oauth2/token?api-version=2018-02-01&resource="
)

// azurePlace is this instance as Azure knows it.
type azurePlace struct {
	Environment  string `json:"azEnvironment"`
	Subscription string `json:"subscriptionId"`
	Resource     string `json:"resourceId"`
}

// management is the API's address in a cloud of Azure, which is also what a token is for.
func (p azurePlace) management() (string, error) {
	switch p.Environment {
	case "AzurePublicCloud":
		return "https://management.azure.com/", nil
	case "AzureUSGovernmentCloud":
		return "https://management.usgovcloudapi.net/", nil
	case "AzureChinaCloud":
		return "https://management.chinacloudapi.cn/", nil
	}
	return "", fmt.Errorf("cannot use the answer of the metadata service: no environment %.80q of Azure is known", p.Environment)
}

// azure lists the network interfaces with a tag, or those of a scale set, that belong to a machine.
func (f *Finder) azure(ctx context.Context, api api, o map[string]string) ([]string, error) {
	place, err := f.azurePlace(ctx)
	if err != nil {
		return nil, err
	}
	management, err := place.management()
	if err != nil {
		return nil, err
	}
	token, err := f.azureToken(ctx, management, o["client_id"])
	if err != nil {
		return nil, err
	}
	subscription := place.Subscription
	if o["subscription_id"] != "" {
		subscription = o["subscription_id"]
	}
	first := management + "subscriptions/" + url.PathEscape(subscription)
	permission, what := "Microsoft.Network/networkInterfaces/read", ""
	if o["vm_scale_set"] != "" {
		first += "/resourceGroups/" + url.PathEscape(o["resource_group"]) + "/providers/microsoft.Compute/virtualMachineScaleSets/" + url.PathEscape(o["vm_scale_set"]) +
			"/networkInterfaces?api-version=" + azureScaleSet
		permission = "Microsoft.Compute/virtualMachineScaleSets/networkInterfaces/read"
		what = fmt.Sprintf("an interface in the scale set %s of the resource group %s", o["vm_scale_set"], o["resource_group"])
	} else {
		first += "/providers/Microsoft.Network/networkInterfaces?api-version=" + azureInterfaces
		what = fmt.Sprintf("an interface with the tag %s=%s", o["tag_name"], o["tag_value"])
	}
	found, err := gather(place.Resource, func(link string) (machines []machine, after string, err error) {
		if link == "" {
			link = first
		} else if err := sameHost(link, management); err != nil {
			return nil, "", err
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, link, http.NoBody)
		if err != nil {
			return nil, "", err
		}
		request.Header.Set("Authorization", "Bearer "+string(token.Reveal()))
		request.Header.Set("Accept", "application/json")
		err = api.ask(request, func(answer io.Reader) (err error) {
			machines, after, err = azureMachines(answer, o["tag_name"], o["tag_value"])
			return err
		}, azureRefusal)
		return machines, after, err
	})
	if err != nil {
		return nil, azureHint(fmt.Errorf("%s in subscription %s: %w", permission, subscription, err), permission)
	}
	if len(found) == 0 {
		return nil, nobody(what + ", in subscription " + subscription)
	}
	return found, nil
}

func (f *Finder) azurePlace(ctx context.Context) (azurePlace, error) {
	var place azurePlace
	content, err := f.about(ctx, node.Azure, azureInstance, "which instance this is", "")
	if err != nil {
		return place, err
	}
	if json.Unmarshal(content, &place) != nil || place.Subscription == "" || place.Resource == "" {
		return place, errors.New("cannot use the answer of the metadata service: it names no instance of a subscription")
	}
	return place, nil
}

// azureToken is one of the instance's managed identity; with several, client says which.
func (f *Finder) azureToken(ctx context.Context, resource, client string) (node.Secret, error) {
	path := azureTokenOfThis + url.QueryEscape(resource)
	if client != "" {
		path += "&client_id=" + url.QueryEscape(client)
	}
	content, err := f.about(ctx, node.Azure, path, "the token of this instance's managed identity",
		"give the instance a managed identity; with more than one of the user's, name one in auto_join: client_id=…")
	if err != nil {
		return node.Secret{}, err
	}
	return parseToken(content)
}

// sameHost keeps the token with the API: what a page names as the next one is believed no further.
func sameHost(link, management string) error {
	next, err := url.Parse(link)
	base, _ := url.Parse(management)
	if err != nil || next.Scheme != base.Scheme || next.Host != base.Host || next.User != nil {
		return fmt.Errorf("the next page lies elsewhere: not at %s", management)
	}
	return nil
}

// azureMachines reads a page: interfaces that belong to a machine and have the tag (with an empty name: all), with their private addresses, as
// go-discover takes them. Whether a machine runs its interface does not say.
func azureMachines(answer io.Reader, tagName, tagValue string) (machines []machine, after string, err error) {
	decoder := json.NewDecoder(answer)
	if t, err := decoder.Token(); err != nil || t != json.Delim('{') {
		return nil, "", errors.Join(errors.New("it is no JSON object"), err)
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return nil, "", err
		}
		switch name {
		case "value":
			machines, err = azureInterfaceList(decoder, tagName, tagValue)
		case "nextLink":
			err = decoder.Decode(&after)
		default:
			var other json.RawMessage
			err = decoder.Decode(&other)
		}
		if err != nil {
			return nil, "", err
		}
	}
	_, err = decoder.Token()
	return machines, after, err
}

// azureInterfaceList reads one interface after the other: a page has a thousand.
func azureInterfaceList(decoder *json.Decoder, tagName, tagValue string) ([]machine, error) {
	if t, err := decoder.Token(); err != nil || t != json.Delim('[') {
		return nil, errors.Join(errors.New("it has no list of interfaces"), err)
	}
	var machines []machine
	for decoder.More() {
		var i struct {
			Tags       map[string]string `json:"tags"`
			Properties struct {
				VirtualMachine struct {
					ID string `json:"id"`
				} `json:"virtualMachine"`
				IPConfigurations []struct {
					Properties struct {
						PrivateIPAddress string `json:"privateIPAddress"`
					} `json:"properties"`
				} `json:"ipConfigurations"`
			} `json:"properties"`
		}
		if err := decoder.Decode(&i); err != nil {
			return nil, err
		}
		value, tagged := i.Tags[tagName]
		if i.Properties.VirtualMachine.ID == "" || tagName != "" && (!tagged || value != tagValue) {
			continue
		}
		m := machine{id: i.Properties.VirtualMachine.ID}
		for _, c := range i.Properties.IPConfigurations {
			m.addresses = append(m.addresses, c.Properties.PrivateIPAddress)
		}
		machines = append(machines, m)
	}
	_, err := decoder.Token()
	return machines, err
}

// azureRefusal reads an error of Azure's management.
func azureRefusal(body []byte) (code, said string) {
	var answer struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	_ = json.Unmarshal(body, &answer)
	return answer.Error.Code, answer.Error.Message
}

func azureHint(err error, permission string) error {
	var r *cloudapi.Refused
	if !errors.As(err, &r) {
		return err
	}
	switch {
	case r.Status == http.StatusTooManyRequests, r.Status >= 500:
		return node.Hinted(err, "it is asked again")
	case r.Status == http.StatusForbidden, r.Status == http.StatusUnauthorized:
		return node.Hinted(err, "the managed identity needs the permission "+permission)
	case r.Status == http.StatusNotFound:
		return node.Hinted(err, "are subscription_id, resource_group and vm_scale_set right? A scale set must be a uniform one")
	}
	return err
}
