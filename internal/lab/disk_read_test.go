//go:build boot

package lab

import (
	"encoding/json"
	"os/exec"
	"testing"
)

func output(t *testing.T, name string, arguments ...string) []byte {
	t.Helper()
	out, err := exec.Command(name, arguments...).Output()
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return out
}

// partition is where a partition begins, in bytes.
func partition(t *testing.T, disk, label string) int64 {
	t.Helper()
	var table struct {
		PartitionTable struct {
			SectorSize int64 `json:"sectorsize"`
			Partitions []struct {
				Start int64  `json:"start"`
				Name  string `json:"name"`
			} `json:"partitions"`
		} `json:"partitiontable"`
	}
	if err := json.Unmarshal(output(t, "sfdisk", "--json", disk), &table); err != nil {
		t.Fatal(err)
	}
	for _, p := range table.PartitionTable.Partitions {
		if p.Name == label {
			return p.Start * table.PartitionTable.SectorSize
		}
	}
	t.Fatalf("%s has no partition %s", disk, label)
	return 0
}
