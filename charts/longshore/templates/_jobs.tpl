{{/*
Which jobs there are. `longshore.jobs` fills `jobs` of what it is given (a dict with `root` and an empty list `jobs`), one entry for each CronJob:

  kind      what it does: a key of `kinds`
  account   whose service account it runs as
  of        the source, repository, drill, copy, restore or loader that it is about
  name      the CronJob's name
  args      the command line
  env       variables; secrets: variable without _FILE, and the {secret, key} with its value; volumes: repositories on volumes; drops: the volume with drops
  cron      when; byHand: it is suspended, and started by `kubectl create job --from`
  job       what it is made with: jobDefaults, then its kind's, then its own
*/}}
{{- define "longshore.jobs" -}}
{{- $all := . -}}
{{- range $name, $source := .root.Values.sources -}}
{{- $where := printf "sources.%s" $name -}}
{{- range $schedule, $when := $source.schedules -}}
{{- $job := dict "kind" "backup" "account" "backup" "of" $name "schedule" $schedule "when" $when -}}
{{- include "longshore.begin" (dict "root" $all.root "job" $job "options" $source.options "where" $where) -}}
{{- include "longshore.repository" (dict "root" $all.root "job" $job "of" $source.repository "credential" "backup" "prefix" "" "where" $where) -}}
{{- include "longshore.database" (dict "job" $job "of" $source "as" "SOURCE" "where" $where) -}}
{{- $_ := set $job.env "LONGSHORE_NAME" (include "longshore.sourceName" (dict "name" $name "source" $source)) -}}
{{- $_ := set $all "jobs" (append $all.jobs $job) -}}
{{- end -}}
{{- end -}}

{{- range $name, $repository := .root.Values.repositories -}}
{{- range $kind, $credential := dict "verify" "maintenance" "prune" "maintenance" "check" "backup" -}}
{{- $of := default (dict) (get $repository $kind) -}}
{{- range $schedule, $when := $of.schedules -}}
{{- $where := printf "repositories.%s.%s" $name $kind -}}
{{- $job := dict "kind" $kind "account" $credential "of" $name "schedule" $schedule "when" $when -}}
{{- include "longshore.begin" (dict "root" $all.root "job" $job "options" $of.options "where" $where) -}}
{{- include "longshore.repository" (dict "root" $all.root "job" $job "of" $name "credential" $credential "prefix" "" "where" $where) -}}
{{- if and (eq $kind "check") (not (hasKey $job.env "LONGSHORE_MAX_AGE")) -}}{{- fail (printf "%s.options: say max-age, such as 26h" $where) -}}{{- end -}}
{{- $_ := set $all "jobs" (append $all.jobs $job) -}}
{{- end -}}
{{- end -}}
{{- $encrypted := $repository.encryption -}}
{{- if and (ternary $repository.init true (hasKey $repository "init")) (not $encrypted) -}}
{{- $job := dict "kind" "init" "account" "maintenance" "of" $name "byHand" true "when" (dict) -}}
{{- include "longshore.begin" (dict "root" $all.root "job" $job "options" (dict) "where" (printf "repositories.%s" $name)) -}}
{{- include "longshore.repository" (dict "root" $all.root "job" $job "of" $name "credential" "maintenance" "prefix" "" "where" "") -}}
{{- $_ := set $all "jobs" (append $all.jobs $job) -}}
{{- end -}}
{{- end -}}

{{- range $name, $copy := .root.Values.copies -}}
{{- $where := printf "copies.%s" $name -}}
{{- range $schedule, $when := $copy.schedules -}}
{{- $job := dict "kind" "copy" "account" "copy" "of" $name "schedule" $schedule "when" $when -}}
{{- include "longshore.begin" (dict "root" $all.root "job" $job "options" $copy.options "where" $where) -}}
{{- include "longshore.repository" (dict "root" $all.root "job" $job "of" $copy.repository "credential" "restore" "prefix" "" "where" $where) -}}
{{- include "longshore.repository" (dict "root" $all.root "job" $job "of" $copy.to "credential" "backup" "prefix" "TO_" "where" (printf "%s.to" $where)) -}}
{{- $_ := set $all "jobs" (append $all.jobs $job) -}}
{{- end -}}
{{- end -}}

{{- range $name, $drill := .root.Values.drills -}}
{{- $where := printf "drills.%s" $name -}}
{{- range $schedule, $when := $drill.schedules -}}
{{- $job := dict "kind" "drill" "account" "restore" "of" $name "schedule" $schedule "when" $when -}}
{{- include "longshore.begin" (dict "root" $all.root "job" $job "options" $drill.options "where" $where) -}}
{{- include "longshore.repository" (dict "root" $all.root "job" $job "of" $drill.repository "credential" "restore" "prefix" "" "where" $where) -}}
{{- include "longshore.database" (dict "job" $job "of" $drill "as" "TARGET" "where" $where) -}}
{{- $_ := set $job.env "LONGSHORE_FROM" (required (printf "%s.from: the name that backups are kept under" $where) $drill.from) -}}
{{- $_ := set $all "jobs" (append $all.jobs $job) -}}
{{- end -}}
{{- end -}}

{{- range $name, $restore := .root.Values.restores -}}
{{- include "longshore.restores" (dict "all" $all "name" $name "restore" $restore) -}}
{{- end -}}

{{- range $name, $loader := .root.Values.loaders -}}
{{- include "longshore.loader" (dict "all" $all "name" $name "loader" $loader) -}}
{{- end -}}
{{- end -}}

{{/*
A load of a drop. Its lease is what keeps two pods apart; one in a file would be each pod's own, and a load without one as well. Rows that are left out must
not go into a folder that ends with the pod.
*/}}
{{- define "longshore.loader" -}}
{{- $loader := .loader -}}
{{- $where := printf "loaders.%s" .name -}}
{{- $when := dict "job" (default (dict) $loader.settings) "cron" $loader.cron "ping" $loader.ping -}}
{{- $job := dict "kind" "load" "account" "load" "of" .name "byHand" (not $loader.cron) "when" $when -}}
{{- include "longshore.begin" (dict "root" .all.root "job" $job "options" $loader.options "where" $where) -}}
{{- include "longshore.database" (dict "job" $job "of" $loader "as" "TARGET" "where" $where) -}}
{{- $lease := default (dict) $loader.lease -}}
{{- if not (or $lease.url $lease.urlFrom) -}}
{{- fail (printf "%s.lease: name the server that keeps two loads apart, such as url: redis://valkey:6379 (or urlFrom); between pods nothing else does" $where) -}}
{{- end -}}
{{- include "longshore.lease" (dict "job" $job "lease" $lease "schemes" (list "redis" "rediss" "postgresql" "postgres" "s3") "where" (printf "%s.lease" $where)) -}}
{{- $rejects := get (default (dict) $loader.options) "rejects" | default "" | toString -}}
{{- if and $rejects (or (not (hasPrefix "/" $rejects)) (hasPrefix "/tmp/" $rejects) (hasPrefix "/dev/" $rejects) (hasPrefix "/drops/" $rejects)) -}}
{{- fail (printf "%s.options.rejects: rows that are left out would be gone with the pod; name a file on a volume of settings.extraVolumes" $where) -}}
{{- end -}}
{{- $_ := set $job.env "LONGSHORE_JOB" (default .name $loader.job) -}}
{{- $_ := set $job.env "LONGSHORE_TABLE" (required (printf "%s.table: which table is loaded? SCHEMA.TABLE" $where) $loader.table) -}}
{{- $drop := required (printf "%s.drop: which folder of the volume is loaded?" $where) $loader.drop -}}
{{- $inBucket := hasPrefix "s3://" $drop -}}
{{- $_ := set $job.env "LONGSHORE_DROP" (ternary $drop (printf "/drops/%s" $drop) $inBucket) -}}
{{- $_ := set $job.env "LONGSHORE_IMAGE" (include "longshore.image" .all.root) -}}
{{- if not (or $inBucket $loader.volume) -}}{{- fail (printf "%s.volume: where are the drops? persistentVolumeClaim: {claimName: …}" $where) -}}{{- end -}}
{{- with $loader.volume -}}{{- $_ := set $job "drops" . -}}{{- end -}}
{{- with $loader.credentials -}}
{{- include "longshore.s3Keys" (dict "job" $job "credential" . "begin" "LONGSHORE_" "where" (printf "%s.credentials" $where)) -}}
{{- end -}}
{{- $_ := set .all "jobs" (append .all.jobs $job) -}}
{{- end -}}

{{/* The server that keeps runs apart, which is no file: pods would each have their own. */}}
{{- define "longshore.lease" -}}
{{- if and .lease.url (not (has (first (splitList "://" .lease.url)) (ternary .schemes list (contains "://" .lease.url)))) -}}
{{- fail (printf "%s.url: it begins with %s://; a file is no lease between pods" .where (join "://, " .schemes)) -}}
{{- end -}}
{{- include "longshore.database" (dict "job" .job "of" .lease "as" "LEASE" "where" .where) -}}
{{- end -}}

{{/* A restore, the way back, and the mark that allows it. */}}
{{- define "longshore.restores" -}}
{{- $all := .all -}}
{{- $restore := .restore -}}
{{- $where := printf "restores.%s" .name -}}
{{- $kinds := list "restore" -}}
{{- if ternary $restore.rollback true (hasKey $restore "rollback") -}}{{- $kinds = append $kinds "rollback" -}}{{- end -}}
{{- if $restore.mark -}}{{- $kinds = append $kinds "mark" -}}{{- end -}}
{{- range $kind := $kinds -}}
{{- $when := dict "job" (default (dict) $restore.job) -}}
{{- if eq $kind "restore" -}}{{- $_ := set $when "cron" $restore.cron -}}{{- $_ := set $when "ping" $restore.ping -}}{{- end -}}
{{- $job := dict "kind" $kind "account" "restore" "of" $.name "byHand" (not $when.cron) "when" $when -}}
{{- $options := dict -}}
{{- if eq $kind "restore" -}}{{- $options = $restore.options -}}{{- end -}}
{{- include "longshore.begin" (dict "root" $all.root "job" $job "options" $options "where" $where) -}}
{{- include "longshore.database" (dict "job" $job "of" $restore "as" "TARGET" "where" $where) -}}
{{- if eq $kind "restore" -}}
{{- include "longshore.repository" (dict "root" $all.root "job" $job "of" $restore.repository "credential" "restore" "prefix" "" "where" $where) -}}
{{- $_ := set $job.env "LONGSHORE_FROM" (required (printf "%s.from: NAME or NAME@ID" $where) $restore.from) -}}
{{- with $restore.lease -}}
{{- /* S3 would be asked with the key that reads the repository. */ -}}
{{- include "longshore.lease" (dict "job" $job "lease" . "schemes" (list "redis" "rediss" "postgresql" "postgres") "where" (printf "%s.lease" $where)) -}}
{{- $_ := set $job.env "LONGSHORE_JOB" (required (printf "%s.lease.job: the job of the loads and restores that this one must not run beside" $where) .job) -}}
{{- end -}}
{{- with $restore.beforeSwap -}}
{{- $paths := list -}}
{{- range .keys -}}{{- $paths = append $paths (printf "/etc/longshore/before-swap/%s" .) -}}{{- end -}}
{{- $_ := set $job "beforeSwap" . -}}
{{- $_ := set $job.env "LONGSHORE_BEFORE_SWAP" (join "\n" $paths) -}}
{{- end -}}
{{- else if eq $kind "mark" -}}
{{- $_ := set $job "args" (list "mark" "--as" $restore.mark) -}}
{{- end -}}
{{- $_ := set $all "jobs" (append $all.jobs $job) -}}
{{- end -}}
{{- end -}}

{{/* What every job has: its name, its command, its options, its signals, and what it is made with. */}}
{{- define "longshore.begin" -}}
{{- $values := .root.Values -}}
{{- $job := .job -}}
{{- $when := $job.when -}}
{{- $parts := compact (list $job.kind $job.of $job.schedule) -}}
{{- $_ := set $job "name" (include "longshore.name" (dict "root" .root "parts" $parts)) -}}
{{- $_ := set $job "args" (list $job.kind) -}}
{{- $_ := set $job "env" (dict) -}}
{{- $_ := set $job "secrets" (dict) -}}
{{- $_ := set $job "volumes" (dict) -}}
{{- $made := mergeOverwrite (deepCopy $values.jobDefaults) (deepCopy (default (dict) (get $values.kinds $job.kind))) (deepCopy (default (dict) $when.job)) -}}
{{- $_ := set $job "job" $made -}}
{{- if $job.byHand -}}
{{- /* A time that is never reached: what is suspended needs one as well. */ -}}
{{- $_ := set $job "cron" "0 0 31 2 *" -}}
{{- else -}}
{{- $_ := set $job "cron" (required (printf "%s.schedules.%s.cron: when does it run? \"7 * * * *\"" .where $job.schedule) $when.cron) -}}
{{- end -}}
{{- include "longshore.options" (dict "job" $job "options" (default (dict) .options)) -}}
{{- include "longshore.options" (dict "job" $job "options" (default (dict) $when.options)) -}}
{{- $signals := $values.signals -}}
{{- include "longshore.url" (dict "job" $job "of" $signals.pushGateway "variable" "LONGSHORE_PUSH_GATEWAY" "where" "signals.pushGateway") -}}
{{- include "longshore.url" (dict "job" $job "of" $signals.webhook "variable" "LONGSHORE_WEBHOOK" "where" "signals.webhook") -}}
{{- with $signals.webhookTemplate -}}{{- $_ := set $job.env "LONGSHORE_WEBHOOK_TEMPLATE" . -}}{{- end -}}
{{- with $signals.webhookOn -}}{{- $_ := set $job.env "LONGSHORE_WEBHOOK_ON" . -}}{{- end -}}
{{- include "longshore.url" (dict "job" $job "of" (default (dict) $when.ping) "variable" "LONGSHORE_PING" "where" (printf "%s: ping" .where)) -}}
{{- end -}}

{{/* What a source's backups are kept under. */}}
{{- define "longshore.sourceName" -}}
{{- default .name .source.name -}}
{{- end -}}
