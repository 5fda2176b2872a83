{{/* What every pod of keyturn is, whatever runs in it. */}}
{{- define "keyturn.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ with .Values.image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- define "keyturn.pod" -}}
serviceAccountName: keyturn
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "keyturn.container" -}}
image: {{ include "keyturn.image" . | quote }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: config, mountPath: /etc/rotator, readOnly: true}
  - {name: secrets, mountPath: /run/secrets/keyturn, readOnly: true}
  - {name: vault-token, mountPath: /var/run/secrets/tokens, readOnly: true}
  - {name: tmp, mountPath: /tmp}
  {{- if .Values.persistence.enabled }}
  - {name: data, mountPath: /var/lib/rotator}
  {{- end }}
{{- end }}

{{- define "keyturn.upgrade" -}}
initContainers:
  - name: upgrade
    command: [rotator, db, upgrade]
    env: [{name: ROTATOR_CONFIG, value: /etc/rotator/rotator.yaml}]
    resources: {requests: {cpu: 50m, memory: 96Mi}, limits: {memory: 256Mi}}
    {{- include "keyturn.container" . | nindent 4 }}
      - {name: owner, mountPath: /run/secrets/keyturn-owner, readOnly: true}
{{- end }}

{{- define "keyturn.volumes" -}}
volumes:
  - {name: config, configMap: {name: keyturn}}
  - {name: secrets, secret: {secretName: {{ .Values.secret }}, defaultMode: 0440}}
  - name: vault-token
    projected:
      defaultMode: 0440
      sources:
        - serviceAccountToken: {path: vault, audience: {{ .Values.vaultAudience }}, expirationSeconds: 600}
  - {name: tmp, emptyDir: {medium: Memory, sizeLimit: 16Mi}}
  {{- if .Values.persistence.enabled }}
  - {name: data, persistentVolumeClaim: {claimName: keyturn}}
  {{- end }}
{{- end }}

{{- define "keyturn.owner" -}}
- {name: owner, secret: {secretName: {{ .Values.ownerSecret }}, defaultMode: 0440, optional: true}}
{{- end }}
