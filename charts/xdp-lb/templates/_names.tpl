{{/* SPDX-License-Identifier: Apache-2.0 */}}

{{- define "xdp-lb.name" -}}
{{- default .Release.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "xdp-lb.selector" -}}
app.kubernetes.io/name: xdp-lb
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "xdp-lb.labels" -}}
{{ include "xdp-lb.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "xdp-lb.keySecret" -}}
{{- default (printf "%s-key" (include "xdp-lb.name" .)) .Values.key.existingSecret -}}
{{- end -}}

{{/* Where metrics are served, and where the node's own kubelet asks for them. */}}
{{- define "xdp-lb.metricsAddress" -}}
{{- with .Values.metrics -}}
{{- if .address -}}{{ .address }}{{- else if .podMonitor.enabled -}}0.0.0.0{{- else -}}127.0.0.1{{- end -}}
{{- end -}}
{{- end -}}

{{- define "xdp-lb.probeAddress" -}}
{{- $address := include "xdp-lb.metricsAddress" . -}}
{{- if eq $address "0.0.0.0" -}}127.0.0.1{{- else if eq $address "::" -}}::1{{- else -}}{{ $address }}{{- end -}}
{{- end -}}

{{- define "xdp-lb.metricsListen" -}}
{{- $address := include "xdp-lb.metricsAddress" . -}}
{{- if contains ":" $address -}}[{{ $address }}]{{- else -}}{{ $address }}{{- end -}}:{{ .Values.metrics.port }}
{{- end -}}

{{/* backends=131072,slots=16777216: whole numbers, which a value of a million or more is not when it is printed as it comes. */}}
{{- define "xdp-lb.tableSizes" -}}
{{- $parts := list -}}
{{- range $name, $entries := .Values.tableSizes -}}{{- $parts = append $parts (printf "%s=%d" $name (int64 $entries)) -}}{{- end -}}
{{- join "," $parts -}}
{{- end -}}

{{/* Refuses an IPv4 range that ends before it begins; what else can be wrong the schema has refused. */}}
{{- define "xdp-lb.checkRange" -}}
{{- $ends := splitList "-" (nospace .range) -}}
{{- if and (eq (len $ends) 2) (contains "." (first $ends)) -}}
{{- $number := dict -}}
{{- range $i, $end := $ends -}}
{{- $value := 0 -}}
{{- range splitList "." $end -}}{{- $value = add (mul $value 256) (int .) -}}{{- end -}}
{{- $_ := set $number (toString $i) $value -}}
{{- end -}}
{{- if gt (get $number "0") (get $number "1") -}}
{{- fail (printf "pools: %s: invalid IP range %q: start IP %q is after the end IP %q" .pool .range (first $ends) (last $ends)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
