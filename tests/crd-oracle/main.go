// Judges documents as an API server with the CRDs of Gateway API does when they are created.
//
// A filter: one JSON document a line in, one verdict a line out, in the same order:
//
//	{"object": {...}}                               accepted, with its defaults
//	{"errors": [{"field": "...", "message": "..."}]} refused
//
// Usage: oracle DIRECTORY-OF-CRDS, or oracle -yaml to convert YAML texts to JSON as clients do (yaml.go)
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const maxLine = 64 << 20 // bytes

// fault is one reason why a document is refused.
type fault struct {
	Field   string `json:"field"`
	Message string `json:"message"`
}

type verdict struct {
	Object map[string]any `json:"object,omitempty"`
	Errors []fault        `json:"errors,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "oracle:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return fmt.Errorf("usage: oracle DIRECTORY-OF-CRDS")
	}
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, maxLine)
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	if os.Args[1] == "-yaml" {
		return convert(in, out)
	}
	resources, err := loadAll(os.Args[1])
	if err != nil {
		return err
	}
	encoder := json.NewEncoder(out)
	for in.Scan() {
		if err := encoder.Encode(judge(resources, in.Bytes())); err != nil {
			return err
		}
	}
	return in.Err()
}

// loadAll reads the CRDs of a directory.
func loadAll(directory string) (map[schema.GroupVersionKind]*resource, error) {
	files, err := filepath.Glob(filepath.Join(directory, "*_*s.yaml")) // GROUP_PLURAL.yaml
	if err != nil {
		return nil, err
	}
	resources := map[schema.GroupVersionKind]*resource{}
	for _, file := range files {
		if strings.Contains(file, "_vap_") { // a ValidatingAdmissionPolicy
			continue
		}
		if err := load(file, resources); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return resources, nil
}

func judge(resources map[schema.GroupVersionKind]*resource, text []byte) verdict {
	decoded, kind, err := unstructured.UnstructuredJSONScheme.Decode(text, nil, nil)
	if err != nil {
		return verdict{Errors: faults(err)}
	}
	found := resources[*kind]
	if found == nil {
		return verdict{Errors: []fault{{"kind", "no matches for " + kind.String()}}}
	}
	object := decoded.(*unstructured.Unstructured)
	if err := found.create(context.Background(), object); err != nil {
		return verdict{Errors: faults(err)}
	}
	return verdict{Object: object.Object}
}

func faults(err error) []fault {
	list, ok := err.(utilerrors.Aggregate)
	if !ok {
		return []fault{{Message: err.Error()}}
	}
	var out []fault
	for _, e := range list.Errors() {
		if at, ok := e.(*field.Error); ok {
			out = append(out, fault{at.Field, at.Detail})
		} else {
			out = append(out, fault{Message: e.Error()})
		}
	}
	return out
}
