{{- define "rocketmart.name" -}}
{{- if contains "rocketmart" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-rocketmart{{ end }}-operator
{{- end -}}

{{- define "rocketmart.selector" -}}
app.kubernetes.io/name: rocketmart-operator
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{- define "rocketmart.labels" -}}
{{ include "rocketmart.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}

{{- define "rocketmart.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag }}
{{- end -}}
