// SPDX-License-Identifier: Apache-2.0

// Reads one object of the Prometheus operator from standard input, by the operator's own types, and refuses fields that they do not
// have. Says the object's kind.
package main

import (
	"fmt"
	"io"
	"os"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func read(text []byte) (string, error) {
	var kind metav1.TypeMeta
	if err := yaml.Unmarshal(text, &kind); err != nil {
		return "", err
	}
	objects := map[string]any{
		monitoring.PodMonitorsKind:    &monitoring.PodMonitor{},
		monitoring.PrometheusRuleKind: &monitoring.PrometheusRule{},
	}
	object, known := objects[kind.Kind]
	if !known || kind.APIVersion != monitoring.SchemeGroupVersion.String() {
		return "", fmt.Errorf("%s %s is no object that is known here", kind.APIVersion, kind.Kind)
	}
	return kind.Kind, yaml.UnmarshalStrict(text, object)
}

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err == nil {
		var kind string
		if kind, err = read(text); err == nil {
			fmt.Println(kind)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
