package main

import (
	"bufio"
	"encoding/json"
	"io"

	"sigs.k8s.io/yaml"
)

// yamlVerdict is a YAML text as the JSON that clients send for it, or why it is none.
type yamlVerdict struct {
	JSON  json.RawMessage `json:"json,omitempty"`
	Error string          `json:"error,omitempty"`
}

// convert turns JSON strings, one a line, into verdicts on the YAML that they hold.
func convert(in *bufio.Scanner, out io.Writer) error {
	encoder := json.NewEncoder(out)
	for in.Scan() {
		var text string
		if err := json.Unmarshal(in.Bytes(), &text); err != nil {
			return err
		}
		found, err := yaml.YAMLToJSONStrict([]byte(text))
		verdict := yamlVerdict{JSON: found}
		if err != nil {
			verdict = yamlVerdict{Error: err.Error()}
		}
		if err := encoder.Encode(verdict); err != nil {
			return err
		}
	}
	return in.Err()
}
