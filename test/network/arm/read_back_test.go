package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	armnetwork "github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/network/armnetwork/v9"
)

// TestReadBack: the documents that `verify --balancer` is tried with are such as Azure's API gives. They are written by
// hand, so each property must be one of Azure's types.
func TestReadBack(t *testing.T) {
	files, err := filepath.Glob("../../../internal/balancer/testdata/azure/*.rest.json")
	if err != nil || len(files) != 3 {
		t.Fatalf("%v, %d documents", err, len(files))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var given any
		if err := json.Unmarshal(text, &given); err != nil {
			t.Fatal(err)
		}
		var into any = &armnetwork.PrivateLinkService{}
		if strings.HasPrefix(filepath.Base(file), "lb.") {
			into = &armnetwork.LoadBalancer{}
		}
		again, err := throughType(given, into)
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, lost := range missing(filepath.Base(file), given, again) {
			t.Error(lost)
		}
	}
}
