package node

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"sync"
)

// Platform is a cloud with a metadata service, by the name that the firmware gives it.
type Platform string

// The platforms whose metadata services are known. The empty one is any other machine.
const (
	AWS   Platform = "aws"
	GCP   Platform = "gcp"
	Azure Platform = "azure"
)

// platform reads what the firmware says (SMBIOS, as the kernel shows it). A machine that is none of these asks no metadata
// service: on a network of one's own nobody owns 169.254.169.254, and whoever answers there could say who the node is.
//
// Amazon: instances on Nitro, which are those that boot by UEFI. Microsoft: the tag of the chassis, because
// vendor and product are the same on any Hyper-V.
func (s *Sources) platform() Platform {
	switch {
	case s.dmi("sys_vendor") == "Amazon EC2":
		return AWS
	case s.dmi("product_name") == "Google Compute Engine":
		return GCP
	case s.dmi("chassis_asset_tag") == "7783-7084-3265-9085-8269-3286-77":
		return Azure
	}
	return ""
}

// dmi gives a field of the firmware's tables, "" when there is none.
func (s *Sources) dmi(field string) string {
	content, err := os.ReadFile(s.path("/sys/class/dmi/id/" + field))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(content))
}

// productUUID is compiled on first use, as hostname is.
var productUUID = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
})

// Machine says which machine this is, so that a data partition can tell whether it still is in the same one.
type Machine struct {
	Platform Platform
	// Instance is the metadata service's name for the machine: "i-0123456789abcdef0" (AWS), "4520031799277581759" (GCP),
	// a UUID (Azure). Empty on any other platform, and where the service is turned off.
	Instance string
	// Firmware is the UUID that the firmware gives, "" when it gives none that could be its own.
	Firmware string
}

// Names are what is remembered of the machine, the surest first: "aws i-0123456789abcdef0", "firmware UUID".
func (m Machine) Names() []string {
	var names []string
	if m.Instance != "" {
		names = append(names, fmt.Sprintf("%s %s", m.Platform, m.Instance))
	}
	if m.Firmware != "" {
		names = append(names, "firmware "+m.Firmware)
	}
	return names
}

// machineName is what Names gives.
var machineName = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(aws|gcp|azure|firmware) [A-Za-z0-9][A-Za-z0-9-]{2,62}$`)
})

// IsMachineName reports whether a text is one of the [Machine.Names] of some machine.
func IsMachineName(text string) bool { return machineName().MatchString(text) }

// firmwareUUID leaves out what a maker wrote into every board.
func (s *Sources) firmwareUUID() string {
	uuid := strings.ToLower(s.dmi("product_uuid"))
	digits := strings.ReplaceAll(uuid, "-", "")
	switch {
	case !productUUID().MatchString(uuid),
		strings.Trim(digits, digits[:1]) == "",
		uuid == "03000200-0400-0500-0006-000700080009":
		return ""
	}
	return uuid
}
