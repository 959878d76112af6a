package discovertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Azure is a subscription, with the metadata service of one machine.
type Azure struct {
	Environment  string // AzurePublicCloud
	Subscription string
	Own          string // resource of the machine that asks
	NoIdentity   bool
	ClientID     string // needed, when there are several identities
	Denied       bool
	Interfaces   []AzureInterface
	PageSize     int    // 0: all
	Next         string // in place of the link to the next page
}

// AzureInterface is a network interface.
type AzureInterface struct {
	Tags     map[string]string
	Machine  string // resource; empty: none
	ScaleSet string // group/name
	IPs      []string
}

// AzureToken is that of the managed identity.
const AzureToken = "eyJ0eXAi.PLANTED.EXAMPLE"

func (a *Azure) management() string {
	return map[string]string{"AzurePublicCloud": "management.azure.com", "AzureChinaCloud": "management.chinacloudapi.cn"}[a.Environment]
}

// Metadata is the instance metadata service.
func (a *Azure) Metadata() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.Header.Get("Metadata") != "true", r.Header.Get("X-Forwarded-For") != "":
			w.WriteHeader(http.StatusBadRequest)
		case r.URL.Path == "/metadata/instance/compute" && q.Get("api-version") == "2021-01-01":
			_ = json.NewEncoder(w).Encode(object{"azEnvironment": a.Environment, "location": "westeurope", "resourceId": a.Own, "subscriptionId": a.Subscription,
				"userData": "Y2x1c3Rlcg==", "tagsList": []object{{"name": "a", "value": "b"}}})
		case r.URL.Path == "/metadata/identity/oauth2/token" && q.Get("api-version") == "2018-02-01" && q.Get("resource") == "https://"+a.management()+"/":
			if a.NoIdentity || q.Get("client_id") != a.ClientID {
				w.WriteHeader(http.StatusBadRequest)
				fmt.Fprint(w, `{"error":"invalid_request","error_description":"Identity not found"}`)
				return
			}
			_ = json.NewEncoder(w).Encode(object{"access_token": AzureToken, "client_id": "x", "expires_in": "86399", "expires_on": "1763900000", "resource": q.Get("resource"), "token_type": "Bearer"})
		default:
			w.WriteHeader(http.StatusBadRequest)
		}
	})
}

// API is Azure's management.
func (a *Azure) API() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		var matching []AzureInterface
		group, set, ofSet := strings.Cut(strings.TrimPrefix(r.URL.Path, "/subscriptions/"+a.Subscription+"/resourceGroups/"), "/providers/microsoft.Compute/virtualMachineScaleSets/")
		set, _, _ = strings.Cut(set, "/")
		for _, i := range a.Interfaces {
			if !ofSet || i.ScaleSet == group+"/"+set {
				matching = append(matching, i)
			}
		}
		switch {
		case r.Header.Get("Authorization") != "Bearer "+AzureToken:
			AzureRefusal(w, http.StatusUnauthorized, "AuthenticationFailed", "Authentication failed.")
		case r.Method != http.MethodGet,
			ofSet && (q.Get("api-version") != "2018-10-01" || !strings.HasSuffix(r.URL.Path, "/networkInterfaces")),
			!ofSet && (q.Get("api-version") != "2024-05-01" || r.URL.Path != "/subscriptions/"+a.Subscription+"/providers/Microsoft.Network/networkInterfaces"):
			AzureRefusal(w, http.StatusBadRequest, "InvalidApiVersionParameter", "The api-version is invalid.")
		case a.Denied:
			AzureRefusal(w, http.StatusForbidden, "AuthorizationFailed", "The client 'x' does not have authorization to perform action 'Microsoft.Network/networkInterfaces/read'")
		case ofSet && len(matching) == 0:
			AzureRefusal(w, http.StatusNotFound, "ResourceNotFound", "The Resource was not found.")
		default:
			a.page(w, r, matching)
		}
	})
}

func (a *Azure) page(w http.ResponseWriter, r *http.Request, matching []AzureInterface) {
	from, _ := strconv.Atoi(r.URL.Query().Get("$skiptoken"))
	end := len(matching)
	if a.PageSize > 0 {
		end = min(from+a.PageSize, end)
	}
	list := []object{}
	for _, i := range matching[from:end] {
		var configurations []object
		for _, ip := range i.IPs {
			configurations = append(configurations, object{"name": "ipconfig1", "properties": object{"privateIPAddress": ip, "primary": true}})
		}
		properties := object{"provisioningState": "Succeeded", "ipConfigurations": configurations}
		if i.Machine != "" {
			properties["virtualMachine"] = object{"id": i.Machine}
		}
		list = append(list, object{"name": "nic", "etag": `W/"x"`, "location": "westeurope", "tags": i.Tags, "properties": properties})
	}
	answer := object{"value": list}
	if end < len(matching) {
		q := r.URL.Query()
		q.Set("$skiptoken", strconv.Itoa(end))
		answer["nextLink"] = "https://" + a.management() + r.URL.Path + "?" + q.Encode()
		if a.Next != "" {
			answer["nextLink"] = a.Next
		}
	}
	_ = json.NewEncoder(w).Encode(answer)
}

// AzureRefusal is an error of Azure's management in its own form.
func AzureRefusal(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object{"error": object{"code": code, "message": message}})
}
