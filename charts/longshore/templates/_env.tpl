{{/*
What a job is told: variables, and files that hold secrets. A secret never becomes a variable: it is a file, and LONGSHORE_…_FILE names it.
Each of these adds to the `env` (variable: value) and `secrets` (variable: {secret, key}) of `job`, and prints nothing.
*/}}

{{/* A value as text: Helm's numbers are floating, and a list stands on lines of its own, as the program reads it. */}}
{{- define "longshore.text" -}}
{{- if kindIs "slice" . -}}
{{- $lines := list -}}
{{- range . -}}{{- $lines = append $lines (include "longshore.text" .) -}}{{- end -}}
{{- join "\n" $lines -}}
{{- else if and (kindIs "float64" .) (eq . (floor .)) -}}
{{- printf "%d" (int64 .) -}}
{{- else -}}
{{- toString . -}}
{{- end -}}
{{- end -}}

{{/* An option by its name without dashes: `name` is max-rate, the variable LONGSHORE_MAX_RATE. */}}
{{- define "longshore.option" -}}
{{- $_ := set .job.env (printf "LONGSHORE_%s" (.name | upper | replace "-" "_")) (include "longshore.text" .value) -}}
{{- end -}}

{{- define "longshore.options" -}}
{{- $job := .job -}}
{{- range $name, $value := .options -}}
{{- if not (kindIs "invalid" $value) -}}
{{- include "longshore.option" (dict "job" $job "name" $name "value" $value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* A file of a Secret: `from` is {secret, key}, `variable` without _FILE. */}}
{{- define "longshore.secret" -}}
{{- if .from -}}
{{- if not (and .from.secret .from.key) -}}{{- fail (printf "%s: name both secret and key" .where) -}}{{- end -}}
{{- $_ := set .job.secrets .variable (dict "secret" .from.secret "key" .from.key) -}}
{{- end -}}
{{- end -}}

{{/* A URL: `of` has url, or urlFrom. */}}
{{- define "longshore.url" -}}
{{- if and .of.url .of.urlFrom -}}{{- fail (printf "%s: url and urlFrom are both there; leave one out" .where) -}}{{- end -}}
{{- if .of.url -}}
{{- $_ := set .job.env .variable .of.url -}}
{{- else if .of.urlFrom -}}
{{- include "longshore.secret" (dict "job" .job "from" .of.urlFrom "variable" .variable "where" (printf "%s.urlFrom" .where)) -}}
{{- else if .required -}}
{{- fail (printf "%s: url is missing (or urlFrom)" .where) -}}
{{- end -}}
{{- end -}}

{{/* A database: `of` has url or urlFrom, and perhaps password. `as` is SOURCE or TARGET, or LEASE for a server that keeps one. */}}
{{- define "longshore.database" -}}
{{- $variable := printf "LONGSHORE_%s" .as -}}
{{- include "longshore.url" (dict "job" .job "of" .of "variable" $variable "where" .where "required" true) -}}
{{- include "longshore.secret" (dict "job" .job "from" .of.password "variable" (printf "%s_PASSWORD" $variable) "where" (printf "%s.password" .where)) -}}
{{- end -}}

{{/*
A repository as one of its credentials sees it: `of` its name, `credential` backup, restore or maintenance, `where` who names it. `prefix` is empty, or TO_ for
the repository that a copy writes to. A writer's key goes to who writes backups, an identity to who reads them, and neither to maintenance.
*/}}
{{- define "longshore.repository" -}}
{{- $repository := get .root.Values.repositories (default "" .of) -}}
{{- if not $repository -}}
{{- fail (printf "%s names the repository %q; repositories has: %s" .where (default "" .of) (keys .root.Values.repositories | sortAlpha | join ", ")) -}}
{{- end -}}
{{- $job := .job -}}
{{- $where := printf "repositories.%s" .of -}}
{{- $begin := printf "LONGSHORE_%s" .prefix -}}
{{- $url := ternary "LONGSHORE_TO" "LONGSHORE_REPO" (eq .prefix "TO_") -}}
{{- include "longshore.url" (dict "job" $job "of" $repository "variable" $url "where" $where "required" true) -}}
{{- /* What metrics call it; of a copy the one that is written to, which an alert is about. */}}
{{- if or (eq .prefix "TO_") (not (hasKey $job.env "LONGSHORE_REPO_LABEL")) -}}{{- $_ := set $job.env "LONGSHORE_REPO_LABEL" .of -}}{{- end -}}
{{- with $repository.repositoryKey -}}{{- $_ := set $job.env (printf "%sREPOSITORY_KEY" $begin) . -}}{{- end -}}
{{- $credential := get (default (dict) $repository.credentials) .credential -}}
{{- if $credential -}}
{{- include "longshore.s3Keys" (dict "job" $job "credential" $credential "begin" $begin "where" (printf "%s.credentials.%s" $where .credential)) -}}
{{- end -}}
{{- $encryption := default (dict) $repository.encryption -}}
{{- if and (eq .credential "backup") (ne $job.kind "check") -}}
{{- include "longshore.secret" (dict "job" $job "from" $encryption.writerKey "variable" (printf "%sWRITER_KEY" $begin) "where" (printf "%s.encryption.writerKey" $where)) -}}
{{- else if eq .credential "restore" -}}
{{- include "longshore.secret" (dict "job" $job "from" $encryption.identity "variable" (printf "%sIDENTITY" $begin) "where" (printf "%s.encryption.identity" $where)) -}}
{{- end -}}
{{- if $repository.volume -}}
{{- if not $repository.mountPath -}}{{- fail (printf "%s.mountPath: say where the volume is mounted" $where) -}}{{- end -}}
{{- $_ := set $job.volumes .of (dict "volume" $repository.volume "mountPath" $repository.mountPath) -}}
{{- end -}}
{{- end -}}

{{/* The keys of an S3 credential, as files. */}}
{{- define "longshore.s3Keys" -}}
{{- $access := dict "secret" .credential.secret "key" (default "access-key" .credential.accessKey) -}}
{{- $secret := dict "secret" .credential.secret "key" (default "secret-key" .credential.secretKey) -}}
{{- include "longshore.secret" (dict "job" .job "from" $access "variable" (printf "%sS3_ACCESS_KEY" .begin) "where" .where) -}}
{{- include "longshore.secret" (dict "job" .job "from" $secret "variable" (printf "%sS3_SECRET_KEY" .begin) "where" .where) -}}
{{- end -}}
