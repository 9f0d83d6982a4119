{{/* The pod of a job: `root`, and `job` as longshore.jobs made it. */}}
{{- define "longshore.podMetadata" -}}
{{- $made := .job.job -}}
labels:
  {{- include "longshore.labels" .root | nindent 2 }}
  app.kubernetes.io/component: {{ .job.kind }}
  longshore/of: {{ .job.of }}
  {{- if eq .root.Values.istio.sidecar "disabled" }}
  sidecar.istio.io/inject: "false"
  {{- end }}
  {{- with $made.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- $mesh := dict -}}
{{- if eq .root.Values.istio.sidecar "native" -}}
{{- $mesh = dict "sidecar.istio.io/nativeSidecar" "true" -}}
{{- end }}
{{ include "longshore.annotations" (dict "root" .root "extra" (merge (dict) (default (dict) $made.podAnnotations) (default (dict) .job.annotations) $mesh)) }}
{{- end -}}

{{- define "longshore.podSpec" -}}
{{- $job := .job -}}
{{- $made := .job.job -}}
restartPolicy: Never
serviceAccountName: {{ include "longshore.serviceAccount" (dict "root" .root "role" $job.account) }}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ $made.terminationGracePeriodSeconds }}
securityContext:
  {{- include "longshore.podSecurityContext" .root | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $field := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" "schedulerName" }}
{{- with get $made $field }}
{{ $field }}:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
containers:
  - name: longshore
    image: {{ include "longshore.image" .root | quote }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    command: [longshore]
    args:
      {{- toYaml $job.args | nindent 6 }}
    env:
      {{- include "longshore.env" . | trim | nindent 6 }}
    {{- with $made.extraEnvFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    resources:
      {{- toYaml $made.resources | nindent 6 }}
    securityContext:
      {{- toYaml .root.Values.securityContext | nindent 6 }}
    terminationMessagePath: /dev/termination-log
    terminationMessagePolicy: FallbackToLogsOnError
    volumeMounts:
      {{- include "longshore.mounts" . | nindent 6 }}
volumes:
  {{- include "longshore.volumes" . | nindent 2 }}
{{- end -}}

{{/* OpenShift gives each namespace its own users and groups, and refuses pods that ask for others. */}}
{{- define "longshore.podSecurityContext" -}}
{{- $context := deepCopy .Values.podSecurityContext -}}
{{- if or (eq .Values.platform "openshift") (and (eq .Values.platform "auto") (.Capabilities.APIVersions.Has "security.openshift.io/v1")) -}}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" "fsGroupChangePolicy" "supplementalGroups" -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{/* Variables, and the names of files with secrets. Kubernetes replaces $(NAME) in values, and reads $$ as $. */}}
{{- define "longshore.env" -}}
{{- $all := deepCopy .job.env -}}
{{- range $variable, $from := .job.secrets -}}
{{- $_ := set $all (printf "%s_FILE" $variable) (printf "/etc/longshore/secrets/%s" (include "longshore.fileName" $variable)) -}}
{{- end -}}
{{- range $name, $value := $all }}
- name: {{ $name }}
  value: {{ $value | replace "$" "$$" | quote }}
{{- end }}
- name: TMPDIR
  value: /tmp
{{- with .job.job.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "longshore.fileName" -}}
{{- . | trimPrefix "LONGSHORE_" | lower | replace "_" "-" -}}
{{- end -}}

{{- define "longshore.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- if .job.secrets }}
- name: secrets
  mountPath: /etc/longshore/secrets
  readOnly: true
{{- end }}
{{- if .root.Values.certificates }}
- name: certificates
  mountPath: /etc/longshore/certificates
  readOnly: true
{{- end }}
{{- if .job.beforeSwap }}
- name: before-swap
  mountPath: /etc/longshore/before-swap
  readOnly: true
{{- end }}
{{- if .job.drops }}
- name: drops
  mountPath: /drops
  readOnly: true
{{- end }}
{{- range $name, $volume := .job.volumes }}
- name: repository-{{ $name }}
  mountPath: {{ $volume.mountPath | quote }}
{{- end }}
{{- with .job.job.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "longshore.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ .job.job.tmpSize }}
{{- if .job.secrets }}
- name: secrets
  projected:
    # Not for everybody: the pod's group may read them.
    defaultMode: 0440
    sources:
      {{- range $variable, $from := .job.secrets }}
      - secret:
          name: {{ $from.secret | quote }}
          items:
            - key: {{ $from.key | quote }}
              path: {{ include "longshore.fileName" $variable }}
      {{- end }}
{{- end }}
{{- with .root.Values.certificates }}
- name: certificates
  {{- if .secret }}
  secret:
    secretName: {{ .secret | quote }}
  {{- else }}
  configMap:
    name: {{ required "certificates: name a configMap or a secret" .configMap | quote }}
  {{- end }}
{{- end }}
{{- with .job.beforeSwap }}
- name: before-swap
  configMap:
    name: {{ .configMap | quote }}
    items:
      {{- range .keys }}
      - key: {{ . | quote }}
        path: {{ . | quote }}
      {{- end }}
{{- end }}
{{- with .job.drops }}
- name: drops
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- range $name, $volume := .job.volumes }}
- name: repository-{{ $name }}
  {{- toYaml $volume.volume | nindent 2 }}
{{- end }}
{{- with .job.job.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/*
What exit codes mean for repetitions, as docs/exit-codes.md has it: those that it says "no" to end the job; 69, 74 and 75 are tried again, and so is what killed
the process (137). A pod that a node got rid of was not the job's failure.
*/}}
{{- define "longshore.podFailurePolicy" -}}
rules:
  - action: Ignore
    onPodConditions:
      - type: DisruptionTarget
        status: "True"
  - action: FailJob
    onExitCodes:
      containerName: longshore
      operator: In
      values: [64, 65, 66, 70, 73, 76, 77, 78]
{{- end -}}
