{{/* Names and labels. */}}

{{- define "longshore.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/*
The name of an object, of the parts in `parts`: a CronJob's has 52 characters at most, because its jobs' names have eleven more. What is longer is cut,
and told apart by a hash of the whole.
*/}}
{{- define "longshore.name" -}}
{{- $whole := join "-" (concat (list (include "longshore.fullname" .root)) .parts) -}}
{{- if gt (len $whole) 52 -}}
{{- printf "%s-%s" ($whole | trunc 43 | trimSuffix "-") ($whole | sha256sum | trunc 8) -}}
{{- else -}}
{{- $whole -}}
{{- end -}}
{{- end -}}

{{- define "longshore.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "longshore.labels" -}}
{{ include "longshore.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* `annotations:` of an object, of those of all objects and `extra`; nothing where there are none. */}}
{{- define "longshore.annotations" -}}
{{- with merge (dict) (default (dict) .extra) .root.Values.commonAnnotations -}}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end -}}
{{- end -}}

{{/* The service account of a credential: `role` is backup, restore, maintenance, copy or load. */}}
{{- define "longshore.serviceAccount" -}}
{{- $account := index .root.Values.serviceAccounts .role -}}
{{- if $account.name -}}
{{- $account.name -}}
{{- else if .root.Values.serviceAccounts.create -}}
{{- include "longshore.name" (dict "root" .root "parts" (list .role)) -}}
{{- else -}}
{{- fail (printf "serviceAccounts.%s.name: name an existing service account, or set serviceAccounts.create" .role) -}}
{{- end -}}
{{- end -}}

{{- define "longshore.image" -}}
{{- $tag := default .Chart.AppVersion .Values.image.tag -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository $tag -}}
{{- end -}}
{{- end -}}
